// Issuer: signs the gateway's own tokens (RFC 7519) and says what is published about its keys (OpenID Connect Discovery
// 1.0, RFC 7517). Immutable: after a rotation there is another one, and whoever holds the old one goes on with it.
// Shared by all loops. Times in, texts out: no file, no clock.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "issuer/key_ring.h"
#include "jose/key.h"
#include "platform/clock.h"
#include "platform/entropy.h"

namespace postern::issuer {

struct IssuerOptions {
  std::string url;  // `iss`, byte for byte; https, without query, fragment and slash at its end
  // The first one signs for whoever does not ask for another. EdDSA is published under an issuer of its own,
  // url + "/eddsa": clouds that take no such key never see it.
  std::vector<jose::Algorithm> algorithms = {jose::Algorithm::RS256};
  Duration lifetime = std::chrono::minutes(5);    // of a token, 1 to 60 minutes
  Duration back_date = std::chrono::seconds(30);  // of iat and nbf: for verifiers whose clock is behind
  RotationTimes rotation = {};
  bool operator==(const IssuerOptions&) const = default;
};

// A key of the issuer with its place in the rotation.
struct IssuerKey {
  KeyRing::Entry entry;
  std::shared_ptr<const jose::PrivateKey> key;
};

// What is signed beyond iss, iat, nbf, exp and jti.
struct TokenRequest {
  std::string_view subject;
  std::string_view audience;
  std::optional<jose::Algorithm> algorithm = {};  // nullopt: the first one of the options
  std::string_view type = "JWT";
  std::span<const std::pair<std::string_view, std::string_view>> more = {};  // further claims of text
  std::optional<Duration> lifetime = {};                                     // nullopt: that of the options
};

struct SignedToken {
  std::string token;
  WallTime issued_at{};  // when it was made; iat is earlier
  WallTime expires{};
};

// One published document: where, and what. Discovery is at /.well-known/openid-configuration below the issuer's path,
// the key set at /.well-known/jwks.json.
struct Document {
  std::string path;  // below the issuer's host: "/tenant/.well-known/openid-configuration"
  std::string body;  // JSON
};

// The paths of the documents, below the issuer's host, whatever its keys are.
[[nodiscard]] std::vector<std::string> document_paths(const IssuerOptions& options);

class Issuer {
 public:
  // Errors: internal, Side::gateway, if a key of `ring` has no private key in `keys`, or one of another kid or
  // algorithm, or if an algorithm has no key at all.
  [[nodiscard]] static Result<std::shared_ptr<const Issuer>> make(IssuerOptions options, KeyRing ring,
                                                                  std::vector<IssuerKey> keys);

  // `iss` of tokens with that algorithm.
  [[nodiscard]] std::string url(jose::Algorithm algorithm) const;
  [[nodiscard]] const IssuerOptions& options() const noexcept [[clang::lifetimebound]] { return options_; }
  [[nodiscard]] const KeyRing& ring() const noexcept [[clang::lifetimebound]] { return ring_; }

  // A new token, signed now: 1 ms for RS256. Single aud; jti is 128 random bits; kid always. Errors: internal,
  // Side::gateway, if OpenSSL does not sign, the algorithm is none of the issuer's, subject or audience are "", a claim
  // of `more` is one of ours, or the lifetime is not 1 second to 1 hour.
  [[nodiscard]] Result<SignedToken> sign(const TokenRequest& request, WallTime now, const Entropy& entropy) const;

  // What is to be published at `now`, discovery and key set of each issuer path; the same until next_change(). Keys of
  // algorithms that are not among the options are published too: what they have signed may still be on its way.
  [[nodiscard]] std::vector<Document> documents(WallTime now) const;
  // nullopt: never.
  [[nodiscard]] std::optional<WallTime> next_change(WallTime now) const;

 private:
  Issuer(IssuerOptions options, KeyRing ring, std::vector<IssuerKey> keys);
  [[nodiscard]] const jose::PrivateKey* private_key(std::string_view kid) const noexcept;
  [[nodiscard]] const jose::PrivateKey* signing_key(jose::Algorithm algorithm, WallTime now) const noexcept;

  IssuerOptions options_;
  KeyRing ring_;
  std::vector<IssuerKey> keys_;
};

}  // namespace postern::issuer
