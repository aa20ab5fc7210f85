// HMAC-SHA-256 (RFC 2104, FIPS 198-1) under a key that is scheduled once. A message costs a copy of that state and the
// hash: no lookup of an algorithm, no key schedule.
//
// The key lies in memory that OpenSSL cleanses when the object goes, and so does every message under way; no accessor
// gives it back. Compare a tag with equal_in_constant_time() (signature/digest.h). Errors: none but std::bad_alloc, for
// the same reason as there. What it costs: bench/signature_bench.cc.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <string_view>

typedef struct evp_mac_ctx_st EVP_MAC_CTX;

namespace postern::signature {

class HmacSha256 {
 public:
  // The whole of it: nobody truncates.
  using Tag = std::array<unsigned char, 32>;

  // Copies the key; the caller cleanses its own. Any length is taken, the minimum is the caller's rule: RFC 7518 3.2
  // and our configuration ask for 32 bytes.
  explicit HmacSha256(std::string_view key);
  // What was moved from can only be destroyed or assigned to.
  HmacSha256(HmacSha256&&) noexcept;
  HmacSha256& operator=(HmacSha256&&) noexcept;
  ~HmacSha256();

  // Of the parts in a row, as if they were joined. Safe on several threads at once: the object is only read.
  [[nodiscard]] Tag compute(std::initializer_list<std::string_view> parts) const;
  [[nodiscard]] Tag compute(std::string_view message) const { return compute({message}); }

  // One message that arrives in pieces; one thread at a time. Independent of the key object once it was begun.
  class Message {
   public:
    Message(Message&&) noexcept;
    Message& operator=(Message&&) noexcept;
    ~Message();

    // The bytes are read before it returns.
    void update(std::string_view bytes);
    // Once, at the end: nothing may follow.
    [[nodiscard]] Tag finish();

   private:
    friend class HmacSha256;
    struct Free {
      void operator()(EVP_MAC_CTX* context) const noexcept;
    };
    explicit Message(EVP_MAC_CTX* context) : context_(context) {}

    std::unique_ptr<EVP_MAC_CTX, Free> context_;
  };
  // For a body that comes by in chunks. Like compute(), safe on several threads at once.
  [[nodiscard]] Message begin() const;

 private:
  Message scheduled_;  // has seen the key and no byte of a message
};

}  // namespace postern::signature
