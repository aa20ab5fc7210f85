// JWS in its compact form (RFC 7515 3.1): header.payload.signature.
//
// Who verifies chooses the keys; the header only says which of them. `jwk`, `jku`, `x5u` and `x5c` in a header are
// never a source of keys (RFC 8725 3.10): they are not looked at. `kid` is an index into the set that the caller gives.
// `alg` must be the one that is bound to the key. No I/O, no clock; pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "jose/json.h"
#include "jose/jwk_set.h"
#include "jose/key.h"
#include "jose/token_fault.h"

namespace postern::jose {

// Of a whole token, checked before anything is decoded; and of its header.
inline constexpr std::size_t kMaxToken = 16 * 1024;
inline constexpr std::size_t kMaxTokenHeader = 4 * 1024;

// What a header says. Only what is needed to find and to use a key is read; all of it is a claim of whoever sent it.
struct JwsHeader {
  Algorithm algorithm;
  std::string kid;   // "": none. What cannot be a kid (is_key_id()) is fault unknown_key
  std::string type;  // typ as it was written, "": none
};

struct UnverifiedClaims;  // jwt.h

// The payload of a token whose signature was good: a copy, which the caller may believe. Only Jws::verify() makes one,
// so whatever takes it cannot be given the payload of a token that nobody has checked.
class VerifiedPayload {
 public:
  [[nodiscard]] const std::string& text() const noexcept [[clang::lifetimebound]] { return text_; }

 private:
  friend class Jws;
  explicit VerifiedPayload(std::string text) noexcept : text_(std::move(text)) {}
  std::string text_;
};

// A token that has been taken apart. Nothing of it is to be believed before verify() has succeeded.
class Jws {
 public:
  // Checks form, encoding and header, not the signature. Copies what it needs: a token may be parsed, a key set fetched
  // for its sake, and the token verified long after its request's buffer is gone.
  [[nodiscard]] static TokenResult<Jws> parse(std::string_view token);

  [[nodiscard]] const JwsHeader& header() const noexcept [[clang::lifetimebound]] { return header_; }

  // The payload, if the key has signed it. With one key there is nothing to choose, so kid does not count. Faults:
  // algorithm_mismatch, bad_signature.
  [[nodiscard]] TokenResult<VerifiedPayload> verify(const PublicKey& key) const;
  [[nodiscard]] TokenResult<VerifiedPayload> verify(const SymmetricKey& key) const;
  // With the key that kid and alg name; unknown_key or algorithm_mismatch if there is none. Without kid: with the only
  // key for that alg, else ambiguous_key.
  [[nodiscard]] TokenResult<VerifiedPayload> verify(const KeySet& keys) const;

  // Whether typ is `wanted`: media types (RFC 7515 4.1.9), so case does not count and "application/" may be left out.
  [[nodiscard]] bool has_type(std::string_view wanted) const noexcept;

 private:
  friend TokenResult<UnverifiedClaims> unverified_claims(const Jws& jws);
  Jws() = default;
  template <typename Key>
  [[nodiscard]] TokenResult<VerifiedPayload> verify_with(const Key& key) const;
  std::string signing_input_;  // header.payload, as it was written
  JwsHeader header_{};
  std::string payload_;
  std::string signature_;
};

// How the header of a new token is written.
struct JwsOptions {
  enum class KeyId : std::uint8_t { written, omitted };
  std::string_view type = "JWT";  // typ; "": none
  KeyId key_id = KeyId::written;  // a key without kid writes none
  // More members of text, such as x5t#S256. Their names are not alg, typ, kid, crit or b64, and each stands once.
  std::span<const std::pair<std::string_view, std::string_view>> more = {};
};

// alg is that of the key. Errors: internal, Side::gateway, if OpenSSL does not sign, if `more` breaks its rule, or if
// the token would be larger than kMaxToken.
[[nodiscard]] Result<std::string> sign_jws(const PrivateKey& key, std::string_view payload,
                                           const JwsOptions& options = {});
[[nodiscard]] Result<std::string> sign_jws(const SymmetricKey& key, std::string_view payload,
                                           const JwsOptions& options = {});

}  // namespace postern::jose
