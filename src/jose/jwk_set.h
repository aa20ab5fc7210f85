// KeySet: the public keys of one issuer (RFC 7517 5), ours to publish or a stranger's to verify with. One set per
// issuer: keys of two issuers never lie in one, since kid says nothing across issuers.
//
// Immutable after construction, so it is shared by all loops; a new set replaces it as a whole. No I/O: who fetches a
// set limits how often, and keeps the last good one when parse() fails. There is no built-in key to fall back to.
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "jose/key.h"

namespace postern::jose {

inline constexpr std::size_t kMaxKeySetText = 512 * 1024;
inline constexpr std::size_t kMaxKeys = 100;

class KeySet {
 public:
  struct Options {
    // What an RSA key without "alg" is for: RS* or PS*. Such keys are common (Entra ID publishes no other).
    Algorithm rsa_algorithm = Algorithm::RS256;
    Owner owner = Owner::stranger;
  };
  // Entries of a parsed set that are not among its keys.
  struct Skipped {
    std::size_t unknown = 0;          // type, curve or algorithm that is not known here
    std::size_t not_for_signing = 0;  // use "enc" and the like
    std::size_t repeated = 0;         // the same key again, under the same kid
    std::size_t unusable = 0;         // malformed or too weak
    std::string first_unusable;       // "key 3: ...", for people
    [[nodiscard]] std::size_t all() const noexcept { return unknown + not_for_signing + repeated + unusable; }
  };

  // At least one key must remain (RFC 7517 5 lets the others be skipped). The whole set is refused if it is no JSON
  // that json.h reads, is over the limits, if any entry holds a private half or a shared secret (whoever published that
  // has lost it), or if two different keys have the same kid and algorithm, for then kid would not say which. The error
  // is all of it in a text for people, with nothing of the keys: a set is a stranger's, a peer's or a file of ours, and
  // only the caller knows whose fault it is.
  [[nodiscard]] static std::expected<KeySet, std::string> parse(std::string_view json, const Options& options);
  [[nodiscard]] static std::expected<KeySet, std::string> parse(std::string_view json) {
    return parse(json, Options());
  }
  // Ours. The same rules for kid; may be empty. Errors: io_failed, Side::gateway.
  [[nodiscard]] static Result<KeySet> of(std::vector<PublicKey> keys);

  [[nodiscard]] std::span<const PublicKey> keys() const noexcept [[clang::lifetimebound]] { return keys_; }
  // The key of that kid for that algorithm, or nullptr. Equality of bytes, nothing else.
  [[nodiscard]] const PublicKey* find(std::string_view kid, Algorithm algorithm) const noexcept
      [[clang::lifetimebound]];
  // For a token that has no kid: the key for that algorithm if there is exactly one, else nullptr.
  [[nodiscard]] const PublicKey* only(Algorithm algorithm) const noexcept [[clang::lifetimebound]];
  [[nodiscard]] bool has_kid(std::string_view kid) const noexcept;
  [[nodiscard]] const Skipped& skipped() const noexcept [[clang::lifetimebound]] { return skipped_; }

  // {"keys":[...]}, each as PublicKey::to_jwk() has it, in the order of keys().
  [[nodiscard]] std::string to_json() const;

 private:
  KeySet() = default;
  std::vector<PublicKey> keys_;
  Skipped skipped_;
};

}  // namespace postern::jose
