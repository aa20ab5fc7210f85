// HTTP Message Signatures (RFC 9421): the signature base, and the two fields a signer adds.
//
// No I/O, no clock, no randomness: the caller gives `created`, the nonce and the key. Sign what the origin will see:
// after every rewrite, with the Host as it is sent, and afresh for each attempt, because a nonce is good for one.
// What verifies is in http_message_verifier.h. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "signature/hmac.h"
#include "signature/message.h"

namespace postern::signature {

// Names of the registry (RFC 9421 6.2.2). Which one a key uses is bound to the key, never taken from a message.
// What a key must be to have one: signature/message_keys.h.
inline constexpr std::string_view kEd25519 = "ed25519";
inline constexpr std::string_view kEcdsaP256Sha256 = "ecdsa-p256-sha256";
inline constexpr std::string_view kEcdsaP384Sha384 = "ecdsa-p384-sha384";
inline constexpr std::string_view kRsaPssSha512 = "rsa-pss-sha512";
inline constexpr std::string_view kRsaV15Sha256 = "rsa-v1_5-sha256";
inline constexpr std::string_view kHmacSha256 = "hmac-sha256";

// What signs: a private key or a shared secret. Shared by all loops, so sign() is safe on several threads at once.
class MessageSigner {
 public:
  virtual ~MessageSigner() = default;
  // Of the registry above; lives as long as the signer.
  [[nodiscard]] virtual std::string_view algorithm() const noexcept = 0;
  // Raw signature bytes: r||s for ECDSA (RFC 9421 3.3.4). Errors: internal, Side::gateway.
  [[nodiscard]] virtual Result<std::string> sign(std::string_view base) const = 0;
};

// What checks: a public key or a shared secret.
class MessageVerifier {
 public:
  virtual ~MessageVerifier() = default;
  // Of the registry above; a signature whose `alg` says something else is refused before verify() is asked.
  [[nodiscard]] virtual std::string_view algorithm() const noexcept = 0;
  // False for whatever is no signature of this key for `base`: another length or form, or an error of OpenSSL.
  [[nodiscard]] virtual bool verify(std::string_view base, std::string_view signature) const = 0;
};

// hmac-sha256 (RFC 9421 3.3.3), both sides. RFC 9421 7.3.3: whoever can verify can sign.
class SharedSecret final : public MessageSigner, public MessageVerifier {
 public:
  // RFC 7518 3.2: as many bytes as the hash has. One that is shorter, or empty, signs nothing and verifies nothing.
  static constexpr std::size_t kMinSize = 32;
  // The secret is copied into memory that is cleansed.
  explicit SharedSecret(std::string_view secret) : key_(secret), usable_(secret.size() >= kMinSize) {}
  [[nodiscard]] std::string_view algorithm() const noexcept override { return kHmacSha256; }
  [[nodiscard]] Result<std::string> sign(std::string_view base) const override;
  [[nodiscard]] bool verify(std::string_view base, std::string_view signature) const override;

 private:
  HmacSha256 key_;
  bool usable_;
};

// RFC 9421 2.3. Texts are printable ASCII, seconds are of Unix time.
struct SignatureParameters {
  // When it was made. Required: without it a signature is good for ever, and no verifier of ours takes it.
  std::optional<std::int64_t> created = {};
  // Until when it may be used: short, for a signature is good for everybody who sees it. Absent: it says nothing.
  std::optional<std::int64_t> expires = {};
  // Which key; an index for the verifier. "": absent; so the others.
  std::string_view keyid = {};
  std::string_view alg = {};    // redundant if the verifier knows the key, and then best left out
  std::string_view nonce = {};  // new for every attempt, or a retry looks like a replay
  std::string_view tag = {};    // of the application, so that a signature for one is none for another (RFC 9421 7.2.7)
  // Whether a signature may be made that covers no component, and so fits every message (RFC 9421 7.2.1).
  enum class Coverage : std::uint8_t { something, may_be_nothing } coverage = Coverage::something;
};

struct SignedFields {
  std::string signature_input;  // of Signature-Input: sig=("@method" ...);created=...
  std::string signature;        // of Signature: sig=:...:
  std::string base;             // what was signed, for `postern origin test`; holds values of the request, no secret
};

// `label` names the signature in both fields, a key of RFC 8941. Components come in the order in which they were added;
// one with Presence::if_present is left out if its field is not there.
// Errors: what append_component_value() says; internal, Side::gateway: a label or parameter without a
// text, no `created`, nothing that is covered, or a key that failed.
[[nodiscard]] Result<SignedFields> sign_message(const Message& message, const CoveredComponents& components,
                                                const SignatureParameters& parameters, std::string_view label,
                                                const MessageSigner& signer);

// The signature base of RFC 9421 2.5: one line for each component, LF between them and none at the end. For components
// and the text of their "@signature-params", as both sides need it.
[[nodiscard]] Result<std::string> signature_base(const Message& message, const CoveredComponents& components,
                                                 std::string_view signature_params);

}  // namespace postern::signature
