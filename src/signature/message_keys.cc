#include "signature/message_keys.h"

#include <utility>

namespace postern::signature {
namespace {

Result<std::string_view> require_name(jose::Algorithm algorithm) {
  const std::optional<std::string_view> name = message_algorithm(algorithm);
  if (name) return *name;
  return fail(Code::internal, Side::gateway,
              "HTTP message signatures have no algorithm like " + std::string(jose::name_of(algorithm)));
}

}  // namespace

std::optional<std::string_view> message_algorithm(jose::Algorithm algorithm) noexcept {
  using enum jose::Algorithm;
  switch (algorithm) {
    case EdDSA: return kEd25519;
    case ES256: return kEcdsaP256Sha256;
    case ES384: return kEcdsaP384Sha384;
    case PS512: return kRsaPssSha512;
    case RS256: return kRsaV15Sha256;
    case HS256: return kHmacSha256;
    case RS384:
    case RS512:
    case PS256:
    case PS384:
    case HS384:
    case HS512: break;
  }
  return std::nullopt;
}

Result<std::shared_ptr<const PrivateMessageKey>> PrivateMessageKey::make(std::shared_ptr<const jose::PrivateKey> key) {
  if (!key) return fail(Code::internal, Side::gateway, "no key to sign messages with");
  const Result<std::string_view> name = require_name(key->algorithm());
  if (!name) return fail(name.error().code(), name.error().side(), std::string(name.error().detail()));
  return std::shared_ptr<const PrivateMessageKey>(new PrivateMessageKey(std::move(key), *name));
}

Result<std::shared_ptr<const PublicMessageKey>> PublicMessageKey::make(jose::PublicKey key) {
  const Result<std::string_view> name = require_name(key.algorithm());
  if (!name) return fail(name.error().code(), name.error().side(), std::string(name.error().detail()));
  return std::shared_ptr<const PublicMessageKey>(new PublicMessageKey(std::move(key), *name));
}

}  // namespace postern::signature
