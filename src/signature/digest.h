// SHA-256 and SHA-512 (FIPS 180-4) on OpenSSL, with the algorithms looked up once per process: in OpenSSL 3 finding one
// by name costs more than hashing a short text.
//
// Nothing here has an error: the only cause would be that memory ran out, and that throws std::bad_alloc like any other
// allocation.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

typedef struct evp_md_ctx_st EVP_MD_CTX;

namespace postern::signature {

using Sha256 = std::array<unsigned char, 32>;

[[nodiscard]] Sha256 sha256(std::string_view bytes);

// The bytes of an array as a view; valid as long as the array.
template <std::size_t Size>
[[nodiscard]] std::string_view bytes_of(const std::array<unsigned char, Size>& array
                                        [[clang::lifetimebound]]) noexcept {
  return {reinterpret_cast<const char*>(array.data()), Size};
}

// Appends two lower-case digits for every byte.
void append_hex(std::string& out, std::string_view bytes);

// Equal or not, in a time that depends on the lengths alone.
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept;

enum class DigestAlgorithm : std::uint8_t { sha_256, sha_512 };

// A hash of what arrives in pieces. One thread at a time.
class Digester {
 public:
  explicit Digester(DigestAlgorithm algorithm);
  Digester(Digester&&) noexcept;
  Digester& operator=(Digester&&) noexcept;
  ~Digester();

  void update(std::string_view bytes);
  // 32 or 64 bytes. The digester is empty again afterwards and takes the next message.
  [[nodiscard]] std::string finish();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const noexcept;
  };
  void begin();

  DigestAlgorithm algorithm_;
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

}  // namespace postern::signature
