// What keys are made of: an EVP_PKEY with everything prepared that a signature needs. Internal to this room.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jose/key.h"
#include "tls/openssl.h"

namespace postern::jose::internal {

using DigestPtr = std::unique_ptr<EVP_MD, tls::Freed<EVP_MD_free>>;
using KeyContextPtr = std::unique_ptr<EVP_PKEY_CTX, tls::Freed<EVP_PKEY_CTX_free>>;
using MacContextPtr = std::unique_ptr<EVP_MAC_CTX, tls::Freed<EVP_MAC_CTX_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, tls::Freed<BN_clear_free>>;

enum class Use : std::uint8_t { sign, verify };

// One prepared context per key, never used itself: each signature works on a copy, so that any thread may make one.
// That is what saves OpenSSL 3.0's look-up of algorithms, which takes longer than an Ed25519 signature and locks.
struct AsymmetricKey {
  tls::KeyPtr key;
  Algorithm algorithm = Algorithm::ES256;
  std::string kid;
  std::string thumbprint;
  DigestPtr digest;                // nullptr for EdDSA
  KeyContextPtr context;           // RSA and EC: takes a hash
  tls::DigestContextPtr one_shot;  // EdDSA: takes the message (RFC 8032 5.1.6 hashes it twice)
  std::size_t signature_size = 0;  // exactly
};

struct HmacKey {
  MacContextPtr context;
  Algorithm algorithm = Algorithm::HS256;
  std::string kid;
  std::size_t size = 0;
};

// Fails as PublicKey and PrivateKey say. The key of a pair has its private half checked against the public one by
// whoever signs with it for a trial.
[[nodiscard]] Result<std::unique_ptr<AsymmetricKey>> prepare(tls::KeyPtr key, Algorithm algorithm, std::string_view kid,
                                                             Owner owner, Use use);
[[nodiscard]] Result<std::string> sign(const AsymmetricKey& key, std::string_view data);
[[nodiscard]] bool verify(const AsymmetricKey& key, std::string_view data, std::string_view signature);

// Whether the primes of an RSA key and what is derived from them (RFC 8017 3.2) fit its modulus and exponents. Whether
// they are primes is not asked: that takes half a second, and a trial signature tells as much. True for other keys.
[[nodiscard]] bool factors_fit(EVP_PKEY* key);

// Only the public half, as a key of its own. nullptr without memory.
[[nodiscard]] tls::KeyPtr public_half(EVP_PKEY* key);

// The members of a JWK that make the public key, in lexicographic order (RFC 7638 3.2), kty among them. Empty if
// OpenSSL does not give them.
[[nodiscard]] std::vector<std::pair<std::string_view, std::string>> public_members(EVP_PKEY* key);

// "SHA256", "SHA384" or "SHA512"; "" for EdDSA.
[[nodiscard]] const char* digest_name(Algorithm algorithm) noexcept;
// "P-256" for ES256, "" for what is no ECDSA.
[[nodiscard]] std::string_view curve_of(Algorithm algorithm) noexcept;

// A kid that configuration gives: "" or is_key_id().
[[nodiscard]] Result<void> check_kid(std::string_view kid);

}  // namespace postern::jose::internal
