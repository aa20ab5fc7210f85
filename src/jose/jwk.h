// Keys as JSON (RFC 7517, RFC 7518 6, RFC 8037 2), read.
//
// Only the numbers of the key count, with alg, use, key_ops and kid: x5c, x5u and x5t are not looked at, so nothing is
// trusted, or fetched, for being mentioned in a key. Numbers have one spelling: no leading zeros in n and e,
// coordinates of exactly the width of the curve.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "jose/json.h"
#include "jose/key.h"

namespace postern::jose {

// Why a JWK makes no key that verifies signatures here. The first three are no mistakes (RFC 7517 5 has them ignored).
enum class JwkFault : std::uint8_t {
  unknown_type,       // kty or crv that is not known here
  not_for_signing,    // use other than "sig", or key_ops without "verify"
  unknown_algorithm,  // alg that is not known here
  private_members,    // it holds the private half, or is a shared secret: it was published by mistake
  unusable,           // malformed, too weak, too large, or alg of another kind of key
};

struct JwkError {
  JwkFault fault;
  std::string detail;  // for people; nothing of the key in it
};

// A public key. Without alg the algorithm follows from the curve, and for RSA it is `rsa_algorithm` (RS* or PS*); for
// keys without kid the thumbprint stands in.
[[nodiscard]] std::expected<PublicKey, JwkError> public_key_from_jwk(const Json& jwk, Owner owner = Owner::stranger,
                                                                     Algorithm rsa_algorithm = Algorithm::RS256);

// A private key of ours from the text of a JWK, at most kMaxKeyText. `algorithm` is what the configuration says;
// nullopt: the alg of the JWK, or what follows from its curve. Where both say something they must agree. RSA needs its
// primes (p, q, dp, dq, qi), as RFC 7518 6.3.2 recommends; more than two primes ("oth") are refused. Copies of what was
// read are wiped, but for the caller's text.
[[nodiscard]] Result<PrivateKey> private_key_from_jwk(std::string_view text,
                                                      std::optional<Algorithm> algorithm = std::nullopt);

// A shared secret (kty "oct"), as above. Without `algorithm` its alg is required.
[[nodiscard]] Result<SymmetricKey> symmetric_key_from_jwk(std::string_view text,
                                                          std::optional<Algorithm> algorithm = std::nullopt);

}  // namespace postern::jose
