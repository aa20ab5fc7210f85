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

// In one go, for what lies in memory. Any thread.
[[nodiscard]] Sha256 sha256(std::string_view bytes);

// The bytes of an array as a view; valid as long as the array.
template <std::size_t Size>
[[nodiscard]] std::string_view bytes_of(const std::array<unsigned char, Size>& array
                                        [[clang::lifetimebound]]) noexcept {
  return {reinterpret_cast<const char*>(array.data()), Size};
}

// Appends two lower-case digits for every byte: SigV4 and Stripe's form compare texts, so the case matters.
void append_hex(std::string& out, std::string_view bytes);

// Equal or not, in a time that depends on the lengths alone: for whatever a stranger must not guess byte by byte. Two
// empty texts are equal, so a caller that compares what it parsed checks the length first.
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept;

// What Content-Digest knows (RFC 9530 7.2).
enum class DigestAlgorithm : std::uint8_t { sha_256, sha_512 };

// A hash of what arrives in pieces. One thread at a time.
class Digester {
 public:
  // Ready for the first byte.
  explicit Digester(DigestAlgorithm algorithm);
  // What was moved from can only be destroyed or assigned to.
  Digester(Digester&&) noexcept;
  Digester& operator=(Digester&&) noexcept;
  ~Digester();

  // The bytes are read before it returns; a piece may be empty.
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
