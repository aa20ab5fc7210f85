// JWT: claims in a JWS (RFC 7519), validated as RFC 8725 wants it. `now` comes from the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "jose/json.h"
#include "jose/jws.h"
#include "jose/token_fault.h"
#include "platform/clock.h"

namespace postern::jose {

// Claims as a key has signed them. Registered ones are checked for type and bounds; nothing is judged yet.
class Claims {
 public:
  // An object as json.h reads it, at most 16 levels deep. Fault: bad_claims, also for iss, sub or jti that is no text
  // of 1 to 2,048 bytes without control characters, aud that is neither text nor a list of at most 100 texts, and times
  // that are no number from 0 on. NumericDate may have a fraction (RFC 7519 2). A time after 2250, which WallTime could
  // not be calculated with, counts as the beginning of 2250.
  [[nodiscard]] static TokenResult<Claims> parse(const VerifiedPayload& payload);

  // "" and nullopt: not there.
  [[nodiscard]] const std::string& issuer() const noexcept [[clang::lifetimebound]] { return issuer_; }
  [[nodiscard]] const std::string& subject() const noexcept [[clang::lifetimebound]] { return subject_; }
  [[nodiscard]] const std::string& jwt_id() const noexcept [[clang::lifetimebound]] { return jwt_id_; }
  [[nodiscard]] std::span<const std::string> audience() const noexcept [[clang::lifetimebound]] { return audience_; }
  [[nodiscard]] std::optional<WallTime> expires() const noexcept { return expires_; }
  [[nodiscard]] std::optional<WallTime> not_before() const noexcept { return not_before_; }
  [[nodiscard]] std::optional<WallTime> issued_at() const noexcept { return issued_at_; }
  // All of them, for what is not registered.
  [[nodiscard]] const Json& json() const noexcept [[clang::lifetimebound]] { return json_; }

 private:
  friend TokenResult<UnverifiedClaims> unverified_claims(const Jws& jws);
  Claims() = default;
  [[nodiscard]] static TokenResult<Claims> read(std::string_view text);
  Json json_;
  std::string issuer_, subject_, jwt_id_;
  std::vector<std::string> audience_;
  std::optional<WallTime> expires_, not_before_, issued_at_;
};

// What a token says of itself before anybody has checked it, and so perhaps a forgery. Nothing here can be judged by
// validate(). Good for two things: choosing, by name, the issuer whose keys the token has to verify with; and, for a
// token that we were given as our own credential, knowing when to ask for the next one.
struct UnverifiedClaims {
  std::string issuer;               // "": none
  std::optional<WallTime> expires;  // nullopt: no exp
  std::string text;                 // the whole payload: JSON as Claims::parse() reads it
};

// Fault: bad_claims, as Claims::parse().
[[nodiscard]] TokenResult<UnverifiedClaims> unverified_claims(const Jws& jws);

// What a verifier insists on. Issuer and audience have no default: a token is good for somebody or for nobody
// (RFC 8725 3.8, 3.9), so with either left empty nothing is accepted.
struct Expectations {
  std::string_view issuer = {};                      // exactly this
  std::span<const std::string_view> audiences = {};  // at least one of them, exactly
  std::string_view subject = {};                     // exactly this; "": any
  WallTime now = {};                                 // has to be set: without it every token has expired
  Duration leeway = std::chrono::seconds(0);         // for clocks that differ, in both directions
  std::optional<Duration> max_age = {};              // since iat, which is then required
  std::optional<Duration> max_lifetime = {};         // from iat to exp; both are then required
  std::string_view type = {};                        // typ, checked by verify_jwt() only; "": any
  enum class Expiry : std::uint8_t { required, optional } expiry = Expiry::required;
};

// A token is good before exp + leeway and from nbf - leeway on; iat may not lie after now + leeway.
[[nodiscard]] TokenResult<void> validate(const Claims& claims, const Expectations& expected);

// The whole check: form, typ, key, signature, claims. The order is that; so nothing is said about the claims of a token
// that was not signed.
[[nodiscard]] TokenResult<Claims> verify_jwt(std::string_view token, const KeySet& keys, const Expectations& expected);
[[nodiscard]] TokenResult<Claims> verify_jwt(std::string_view token, const PublicKey& key,
                                             const Expectations& expected);
[[nodiscard]] TokenResult<Claims> verify_jwt(std::string_view token, const SymmetricKey& key,
                                             const Expectations& expected);

// Writes claims, in the order of the calls. Text that is not UTF-8 becomes U+FFFD (base/json_writer.h).
class ClaimsWriter {
 public:
  ClaimsWriter& issuer(std::string_view value) { return text("iss", value); }
  ClaimsWriter& subject(std::string_view value) { return text("sub", value); }
  // One audience, as a text and never a list: clouds take no other.
  ClaimsWriter& audience(std::string_view value) { return text("aud", value); }
  ClaimsWriter& jwt_id(std::string_view value) { return text("jti", value); }
  // Whole seconds: iat and nbf rounded down, exp too, so a token never lives longer than was meant.
  ClaimsWriter& issued_at(WallTime when) { return seconds("iat", when); }
  ClaimsWriter& not_before(WallTime when) { return seconds("nbf", when); }
  ClaimsWriter& expires(WallTime when) { return seconds("exp", when); }
  ClaimsWriter& text(std::string_view name, std::string_view value);
  ClaimsWriter& number(std::string_view name, std::int64_t value);
  ClaimsWriter& truth(std::string_view name, bool value);
  ClaimsWriter& texts(std::string_view name, std::span<const std::string_view> values);
  ClaimsWriter& seconds(std::string_view name, WallTime when);

  // The JSON object. Error: internal, Side::gateway, if a claim was written twice: readers would differ about it.
  [[nodiscard]] Result<std::string> finish() const;

 private:
  void begin(std::string_view name);
  std::string members_;  // without the braces
  std::vector<std::string> names_;
  bool twice_ = false;
};

}  // namespace postern::jose
