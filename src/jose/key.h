// Keys that sign and verify: RFC 7517 (JWK), RFC 7518 (algorithms), RFC 8037 (Ed25519), on OpenSSL's EVP.
//
// One key, one algorithm: it is bound when the key is made, from configuration or from the key's own JWK, and nothing
// that a token says changes it (RFC 8725 3.1). So a public key is never an HMAC secret: those are a class of their own.
//
// Keys are const after construction and safe on several threads at once: all loops share them. What OpenSSL would look
// up for every signature (digest, signature method, padding) is prepared once; a signature copies the prepared context.
// Texts that cannot be used are Code::io_failed, Side::gateway, with all of it in the detail, as in tls; a detail never
// holds key material. OpenSSL's error queue is empty after each call.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tls/certificate.h"

namespace postern::jose {

// RFC 7518 3.1 and RFC 8037 3.1; EdDSA is Ed25519. PS512 is what RFC 9421 calls rsa-pss-sha512. The salt of PS* is as
// long as its hash.
enum class Algorithm : std::uint8_t {
  RS256,
  RS384,
  RS512,
  PS256,
  PS384,
  PS512,
  ES256,
  ES384,
  EdDSA,
  HS256,
  HS384,
  HS512
};

// "RS256": constant text.
[[nodiscard]] std::string_view name_of(Algorithm algorithm) noexcept;
// Exactly these names, as they are written; "none" is nobody's.
[[nodiscard]] std::optional<Algorithm> algorithm_by_name(std::string_view name) noexcept;
[[nodiscard]] bool is_symmetric(Algorithm algorithm) noexcept;

// Limits. RSA keys of ours are 2,048 to 8,192 bits with e >= 65537; those of strangers end at 4,096 bits, for verifying
// costs us, and may have e = 3 (RFC 8017 3.1: odd, at least 3).
inline constexpr int kMinRsaBits = 2048;
inline constexpr int kMaxOwnRsaBits = 8192;
inline constexpr int kMaxForeignRsaBits = 4096;
inline constexpr std::size_t kMaxKeyText = 32 * 1024;
// A key identifier: visible ASCII, and no more than this.
inline constexpr std::size_t kMaxKeyId = 256;

// What may stand in a `kid` of ours or of a key set: 1 to kMaxKeyId bytes of visible ASCII. It is an index into a set
// and nothing else: never a path, never a URL.
[[nodiscard]] bool is_key_id(std::string_view text) noexcept;

// A text that is wiped when it is destroyed or moved from.
class SecretText {
 public:
  SecretText() = default;
  // Takes the text as it is; the caller's object is left empty.
  explicit SecretText(std::string&& text) noexcept;
  SecretText(SecretText&& other) noexcept;
  SecretText& operator=(SecretText&& other) noexcept;
  SecretText(const SecretText&) = delete;
  SecretText& operator=(const SecretText&) = delete;
  ~SecretText();
  // Valid until the object is moved or destroyed.
  [[nodiscard]] std::string_view reveal() const noexcept [[clang::lifetimebound]] { return text_; }

 private:
  std::string text_;
};

// Whose key it is decides its limits (above).
enum class Owner : std::uint8_t { us, stranger };

namespace internal {
struct AsymmetricKey;  // key_material.h
struct HmacKey;
}  // namespace internal

// A key that verifies. A value: copies share what is inside.
class PublicKey {
 public:
  // `kid` "" is the thumbprint. Each of these fails if the key does not fit the algorithm or the limits of its owner,
  // or if it is no valid key: a point that is not on its curve (of Ed25519 also one of small order, for which anybody
  // can sign), parameters written out instead of a named curve. Whether the modulus of RSA has two primes cannot be
  // seen. From a PEM block "PUBLIC KEY" (SubjectPublicKeyInfo).
  [[nodiscard]] static Result<PublicKey> from_pem(std::string_view pem, Algorithm algorithm, std::string_view kid = {},
                                                  Owner owner = Owner::us);
  // Takes its own copy of the public half, as from a certificate.
  [[nodiscard]] static Result<PublicKey> from_evp(EVP_PKEY* key, Algorithm algorithm, std::string_view kid = {},
                                                  Owner owner = Owner::us);

  [[nodiscard]] Algorithm algorithm() const noexcept;
  [[nodiscard]] const std::string& kid() const noexcept [[clang::lifetimebound]];
  // Whether `signature`, as JWS has it (ECDSA: r||s of fixed width, RFC 7518 3.4), is one of this key for `data`. Only
  // the form that sign() makes is taken: no DER, no other length. False as well without memory.
  [[nodiscard]] bool verify(std::string_view data, std::string_view signature) const;

  // A JSON object: kty, use "sig", alg, kid, and n e | crv x y | crv x (RFC 7517 4, RFC 7518 6, RFC 8037 2). No x5c, no
  // x5t: clouds refuse keys with more than that.
  [[nodiscard]] std::string to_jwk() const;
  // RFC 7638 with SHA-256, in base64url: 43 characters.
  [[nodiscard]] const std::string& thumbprint() const noexcept [[clang::lifetimebound]];
  // "PUBLIC KEY". "" only without memory.
  [[nodiscard]] std::string to_pem() const;
  // For OpenSSL, which counts references in it; never changed.
  [[nodiscard]] EVP_PKEY* native() const noexcept;

 private:
  friend class PrivateKey;
  explicit PublicKey(std::shared_ptr<const internal::AsymmetricKey> key) noexcept : key_(std::move(key)) {}
  std::shared_ptr<const internal::AsymmetricKey> key_;
};

// A key that signs. Moved, never copied; OpenSSL wipes it.
class PrivateKey {
 public:
  // PKCS #8, or the older forms for RSA (PKCS #1) and EC (SEC 1), unencrypted. A key whose numbers do not belong
  // together is refused: it signs once for a trial. `kid` "" is the thumbprint.
  [[nodiscard]] static Result<PrivateKey> from_pem(std::string_view pem, Algorithm algorithm,
                                                   std::string_view kid = {});
  [[nodiscard]] static Result<PrivateKey> from_evp(tls::KeyPtr key, Algorithm algorithm, std::string_view kid = {});
  // A new key; `rsa_bits` counts for RS* and PS* only. RSA takes 50 ms to seconds: not on a loop.
  [[nodiscard]] static Result<PrivateKey> generate(Algorithm algorithm, std::string_view kid = {},
                                                   int rsa_bits = kMinRsaBits);
  PrivateKey(PrivateKey&& other) noexcept;
  PrivateKey& operator=(PrivateKey&& other) noexcept;
  ~PrivateKey();

  [[nodiscard]] Algorithm algorithm() const noexcept { return public_.algorithm(); }
  [[nodiscard]] const std::string& kid() const noexcept [[clang::lifetimebound]] { return public_.kid(); }
  // The signature as JWS has it (RFC 7518 3.3 to 3.5, RFC 8037 3.1); RFC 9421 has the same. ES* and PS* are different
  // each time. Errors: internal, Side::gateway, if OpenSSL has no memory or no randomness.
  [[nodiscard]] Result<std::string> sign(std::string_view data) const;
  [[nodiscard]] const PublicKey& public_key() const noexcept [[clang::lifetimebound]] { return public_; }
  // PKCS #8, unencrypted: for a file of ours with mode 0600 and for nothing else.
  [[nodiscard]] Result<SecretText> to_pem() const;

 private:
  PrivateKey(std::unique_ptr<const internal::AsymmetricKey> key, PublicKey half) noexcept;
  std::unique_ptr<const internal::AsymmetricKey> key_;
  PublicKey public_;
};

// A shared secret for HS256, HS384 and HS512: whoever can verify can sign. Moved, never copied; wiped.
class SymmetricKey {
 public:
  // At least as many bytes as the hash has (RFC 7518 3.2), at most 4,096; a text that is a PEM block is refused, for a
  // public key is no secret (RFC 8725 2.1). `kid` may be "", and then it has none: the hash of a secret is not shown.
  [[nodiscard]] static Result<SymmetricKey> from_bytes(std::string_view secret, Algorithm algorithm,
                                                       std::string_view kid = {});
  SymmetricKey(SymmetricKey&& other) noexcept;
  SymmetricKey& operator=(SymmetricKey&& other) noexcept;
  ~SymmetricKey();

  [[nodiscard]] Algorithm algorithm() const noexcept;
  [[nodiscard]] const std::string& kid() const noexcept [[clang::lifetimebound]];
  // The whole HMAC. Errors: internal, Side::gateway, without memory.
  [[nodiscard]] Result<std::string> sign(std::string_view data) const;
  // In constant time for a signature of the right length.
  [[nodiscard]] bool verify(std::string_view data, std::string_view signature) const;

 private:
  explicit SymmetricKey(std::unique_ptr<const internal::HmacKey> key) noexcept;
  std::unique_ptr<const internal::HmacKey> key_;
};

}  // namespace postern::jose
