// Keys of src/jose as signers and verifiers of HTTP messages. The bytes are the same: RFC 9421 3.3 takes from each
// algorithm what RFC 7518 takes, r||s for ECDSA among it; only the names differ.
//
// Immutable; shared by all loops.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "jose/key.h"
#include "signature/http_message_signature.h"

namespace postern::signature {

// The name in the registry (RFC 9421 6.2.2); nullopt for what it does not have: RS384, RS512, PS256, PS384, HS384,
// HS512.
[[nodiscard]] std::optional<std::string_view> message_algorithm(jose::Algorithm algorithm) noexcept;

// A private key as signer. Shared, because tokens may be signed with the same one.
class PrivateMessageKey final : public MessageSigner {
 public:
  // Errors: internal, Side::gateway: no key, or one whose algorithm RFC 9421 has no name for. The detail says which.
  [[nodiscard]] static Result<std::shared_ptr<const PrivateMessageKey>> make(
      std::shared_ptr<const jose::PrivateKey> key);

  [[nodiscard]] std::string_view algorithm() const noexcept override { return algorithm_; }
  [[nodiscard]] Result<std::string> sign(std::string_view base) const override { return key_->sign(base); }

 private:
  PrivateMessageKey(std::shared_ptr<const jose::PrivateKey> key, std::string_view algorithm) noexcept
      : key_(std::move(key)), algorithm_(algorithm) {}

  std::shared_ptr<const jose::PrivateKey> key_;
  std::string_view algorithm_;
};

// A public key as verifier.
class PublicMessageKey final : public MessageVerifier {
 public:
  // Errors as above.
  [[nodiscard]] static Result<std::shared_ptr<const PublicMessageKey>> make(jose::PublicKey key);

  [[nodiscard]] std::string_view algorithm() const noexcept override { return algorithm_; }
  [[nodiscard]] bool verify(std::string_view base, std::string_view signature) const override {
    return key_.verify(base, signature);
  }

 private:
  PublicMessageKey(jose::PublicKey key, std::string_view algorithm) noexcept
      : key_(std::move(key)), algorithm_(algorithm) {}

  jose::PublicKey key_;
  std::string_view algorithm_;
};

}  // namespace postern::signature
