#include "jose/jwk.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/param_build.h>
#include <openssl/params.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "jose/base64url.h"
#include "jose/key_material.h"
#include "tls/openssl.h"
#include "tls/pem.h"

namespace postern::jose {
namespace {

using internal::NumberPtr;
using tls::unusable;
using BuilderPtr = std::unique_ptr<OSSL_PARAM_BLD, tls::Freed<OSSL_PARAM_BLD_free>>;
using ParametersPtr = std::unique_ptr<OSSL_PARAM, tls::Freed<OSSL_PARAM_free>>;

constexpr JsonLimits kJwkLimits{.bytes = kMaxKeyText, .depth = 4, .values = 256};
// Bytes of the largest modulus there is; more is not decoded.
constexpr std::size_t kMaxNumber = kMaxOwnRsaBits / 8;
constexpr std::size_t kEd25519 = 32;

std::unexpected<JwkError> refuse(JwkFault fault, std::string detail) {
  return std::unexpected(JwkError{fault, std::move(detail)});
}
std::unexpected<JwkError> bad(std::string_view name, std::string_view what) {
  return refuse(JwkFault::unusable, "\"" + std::string(name) + "\" " + std::string(what));
}

enum class Type : std::uint8_t { rsa, p256, p384, ed25519, oct };

std::expected<Type, JwkError> type_of(const Json& jwk) {
  if (!jwk.if_object()) return refuse(JwkFault::unusable, "the key is no JSON object");
  const std::string* const kty = jwk.find_string("kty");
  if (!kty) return bad("kty", "is missing, or no text");
  if (*kty == "RSA") return Type::rsa;
  if (*kty == "oct") return Type::oct;
  if (*kty != "EC" && *kty != "OKP") return refuse(JwkFault::unknown_type, "a type of key that is not known here");
  const std::string* const crv = jwk.find_string("crv");
  if (!crv) return bad("crv", "is missing, or no text");
  if (*kty == "EC" && *crv == "P-256") return Type::p256;
  if (*kty == "EC" && *crv == "P-384") return Type::p384;
  if (*kty == "OKP" && *crv == "Ed25519") return Type::ed25519;
  return refuse(JwkFault::unknown_type, "a curve that is not known here");
}

// nullopt: the type does not say.
std::optional<Algorithm> algorithm_of(Type type) {
  switch (type) {
    case Type::p256: return Algorithm::ES256;
    case Type::p384: return Algorithm::ES384;
    case Type::ed25519: return Algorithm::EdDSA;
    case Type::rsa:
    case Type::oct: break;
  }
  return std::nullopt;
}

// RFC 7517 4.2 and 4.3.
std::expected<void, JwkError> check_use(const Json& jwk, std::string_view operation) {
  if (const Json* const use = jwk.find("use")) {
    if (!use->if_string()) return bad("use", "is no text");
    if (*use->if_string() != "sig") return refuse(JwkFault::not_for_signing, "its use is not signatures");
  }
  const Json* const operations = jwk.find("key_ops");
  if (!operations) return {};
  if (!operations->if_array()) return bad("key_ops", "is no list");
  for (const Json& item : *operations->if_array()) {
    if (!item.if_string()) return bad("key_ops", "holds something that is no text");
    if (*item.if_string() == operation) return {};
  }
  return refuse(JwkFault::not_for_signing, "its key_ops are not those of signatures");
}

// The alg of the JWK, nullopt if it has none.
std::expected<std::optional<Algorithm>, JwkError> stated_algorithm(const Json& jwk) {
  const Json* const alg = jwk.find("alg");
  if (!alg) return std::nullopt;
  if (!alg->if_string()) return bad("alg", "is no text");
  const std::optional<Algorithm> known = algorithm_by_name(*alg->if_string());
  if (!known) return refuse(JwkFault::unknown_algorithm, "an algorithm that is not known here");
  return known;
}

std::expected<std::string_view, JwkError> kid_of(const Json& jwk) {
  const Json* const kid = jwk.find("kid");
  if (!kid) return std::string_view();
  if (!kid->if_string() || !is_key_id(*kid->if_string())) {
    return bad("kid", "is no text of 1 to " + std::to_string(kMaxKeyId) + " visible ASCII characters");
  }
  return std::string_view(*kid->if_string());
}

// Decoded; wiped by whoever holds it, since it may be private.
class Number {
 public:
  static std::expected<Number, JwkError> of(const Json& jwk, std::string_view name) {
    const std::string* const text = jwk.find_string(name);
    if (!text) return bad(name, "is missing, or no text");
    if (text->size() > (kMaxNumber * 4 + 2) / 3) return bad(name, "is too long");
    std::optional<std::string> bytes = from_base64url(*text);
    if (!bytes || bytes->empty()) return bad(name, "is no base64url");
    return Number(std::move(*bytes));
  }
  Number(Number&&) noexcept = default;
  Number& operator=(Number&&) = delete;
  ~Number() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }
  [[nodiscard]] bool has_leading_zero() const noexcept { return bytes_.front() == '\0'; }
  [[nodiscard]] NumberPtr value() const {
    NumberPtr out(BN_secure_new());
    return out && BN_bin2bn(data(), static_cast<int>(bytes_.size()), out.get()) ? std::move(out) : nullptr;
  }
  [[nodiscard]] const unsigned char* data() const noexcept {
    return reinterpret_cast<const unsigned char*>(bytes_.data());
  }

 private:
  explicit Number(std::string&& bytes) noexcept : bytes_(std::move(bytes)) {}
  std::string bytes_;
};

// The parameters of an EVP_PKEY. The builder borrows what is pushed, so they stay here until the key is made.
class Material {
 public:
  bool push(const char* name, const Number& number) {
    NumberPtr value = number.value();
    if (!value || OSSL_PARAM_BLD_push_BN(builder_.get(), name, value.get()) != 1) return false;
    numbers_.push_back(std::move(value));
    return true;
  }
  bool push_octets(const char* name, std::string_view octets) {
    return OSSL_PARAM_BLD_push_octet_string(builder_.get(), name, octets.data(), octets.size()) == 1;
  }
  bool push_text(const char* name, const char* text) {
    return OSSL_PARAM_BLD_push_utf8_string(builder_.get(), name, text, 0) == 1;
  }
  tls::KeyPtr make(const char* type, int selection) {
    const ParametersPtr parameters(OSSL_PARAM_BLD_to_param(builder_.get()));
    const internal::KeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    EVP_PKEY* key = nullptr;
    if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &key, selection, parameters.get()) != 1) {
      return nullptr;
    }
    return tls::KeyPtr(key);
  }

 private:
  BuilderPtr builder_{OSSL_PARAM_BLD_new()};
  std::vector<NumberPtr> numbers_;
};

using Half = internal::Use;  // sign: with the private half

std::expected<tls::KeyPtr, JwkError> made(tls::KeyPtr key) {
  if (!key) return refuse(JwkFault::unusable, "its numbers make no key");
  return key;
}
int selection_of(Half half) { return half == Half::sign ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY; }

std::expected<tls::KeyPtr, JwkError> rsa_key(const Json& jwk, Half half) {
  struct Member {
    std::string_view name;
    const char* parameter;
  };
  constexpr std::array kMembers = {
      Member{"n", OSSL_PKEY_PARAM_RSA_N},          Member{"e", OSSL_PKEY_PARAM_RSA_E},
      Member{"d", OSSL_PKEY_PARAM_RSA_D},          Member{"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
      Member{"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    Member{"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
      Member{"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, Member{"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
  if (jwk.find("oth")) return bad("oth", "makes it a key of more than two primes, which is not taken");
  Material material;
  const std::size_t count = half == Half::sign ? kMembers.size() : 2;
  for (std::size_t i = 0; i < count; ++i) {
    auto number = Number::of(jwk, kMembers[i].name);
    if (!number) return std::unexpected(std::move(number.error()));
    // RFC 7518 2: the fewest octets. Private numbers are written by libraries that do not know it.
    if (i < 2 && number->has_leading_zero()) return bad(kMembers[i].name, "begins with a zero");
    if (!material.push(kMembers[i].parameter, *number)) return made(nullptr);
  }
  return made(material.make("RSA", selection_of(half)));
}

std::expected<tls::KeyPtr, JwkError> ec_key(const Json& jwk, const char* group, std::size_t width, Half half) {
  Material material;
  // RFC 7518 6.2.1.2: the full width of a coordinate, always.
  std::string point = "\x04";
  for (const std::string_view name : {"x", "y"}) {
    const auto coordinate = Number::of(jwk, name);
    if (!coordinate) return std::unexpected(coordinate.error());
    if (coordinate->bytes().size() != width) return bad(name, "has not the width of the curve");
    point += coordinate->bytes();
  }
  if (!material.push_text(OSSL_PKEY_PARAM_GROUP_NAME, group) || !material.push_octets(OSSL_PKEY_PARAM_PUB_KEY, point)) {
    return made(nullptr);
  }
  if (half == Half::sign) {
    const auto d = Number::of(jwk, "d");
    if (!d) return std::unexpected(d.error());
    if (d->bytes().size() != width) return bad("d", "has not the width of the curve");
    if (!material.push(OSSL_PKEY_PARAM_PRIV_KEY, *d)) return made(nullptr);
    return made(material.make("EC", selection_of(half)));
  }
  return made(material.make("EC", selection_of(half)));
}

std::expected<tls::KeyPtr, JwkError> ed25519_key(const Json& jwk, Half half) {
  const auto x = Number::of(jwk, "x");
  if (!x) return std::unexpected(x.error());
  if (x->bytes().size() != kEd25519) return bad("x", "has not the width of the curve");
  if (half == Half::verify)
    return made(tls::KeyPtr(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, x->data(), kEd25519)));
  const auto d = Number::of(jwk, "d");
  if (!d) return std::unexpected(d.error());
  if (d->bytes().size() != kEd25519) return bad("d", "has not the width of the curve");
  auto key = made(tls::KeyPtr(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, d->data(), kEd25519)));
  if (!key) return key;
  // OpenSSL derives the public half; the stated one must be it.
  std::array<unsigned char, kEd25519> derived{};
  std::size_t size = derived.size();
  if (EVP_PKEY_get_raw_public_key(key->get(), derived.data(), &size) != 1 ||
      !std::equal(derived.begin(), derived.end(), x->data())) {
    return refuse(JwkFault::unusable, "the private and the public half of the key do not belong together");
  }
  return key;
}

std::expected<tls::KeyPtr, JwkError> key_of(const Json& jwk, Type type, Half half) {
  const tls::CleanErrorQueue errors;
  switch (type) {
    case Type::rsa: return rsa_key(jwk, half);
    case Type::p256: return ec_key(jwk, "P-256", 32, half);
    case Type::p384: return ec_key(jwk, "P-384", 48, half);
    case Type::ed25519: return ed25519_key(jwk, half);
    case Type::oct: break;
  }
  return refuse(JwkFault::unusable, "a shared secret, where a key pair belongs");
}

// What is private in a key of any type, known here or not.
bool is_private(const Json& jwk) {
  return std::ranges::any_of(std::array<std::string_view, 9>{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"},
                             [&](std::string_view name) { return jwk.find(name) != nullptr; });
}

struct WipedJson {
  Json json;
  ~WipedJson() { json.wipe(); }
};

struct Own {
  Type type;
  Algorithm algorithm;
  std::string kid;
};

// What our own JWK says about itself: type, algorithm, name.
Result<Own> describe(const Json& jwk, std::optional<Algorithm> configured) {
  const auto type = type_of(jwk);
  if (!type) return unusable(type.error().detail);
  if (auto good = check_use(jwk, "sign"); !good) return unusable(good.error().detail);
  const auto stated = stated_algorithm(jwk);
  if (!stated) return unusable(stated.error().detail);
  const auto kid = kid_of(jwk);
  if (!kid) return unusable(kid.error().detail);
  if (configured && *stated && *configured != **stated) {
    return unusable("the key is for " + std::string(name_of(**stated)) + ", not for " +
                    std::string(name_of(*configured)));
  }
  const std::optional<Algorithm> algorithm = configured ? configured : *stated ? *stated : algorithm_of(*type);
  if (!algorithm) return unusable("\"alg\" is missing: it is needed for this type of key");
  return Own{*type, *algorithm, std::string(*kid)};
}

Result<Json> parse(std::string_view text) {
  auto json = Json::parse(text, kJwkLimits);
  if (!json) return unusable("the key is no JSON that can be read: " + json.error().to_string());
  return std::move(*json);
}

}  // namespace

std::expected<PublicKey, JwkError> public_key_from_jwk(const Json& jwk, Owner owner, Algorithm rsa_algorithm) {
  const auto type = type_of(jwk);
  // A secret that was published is worth an alarm even if the key is of no use here.
  if (jwk.if_object() && is_private(jwk)) {
    return refuse(JwkFault::private_members, "the key was published with its private half");
  }
  if (!type) return std::unexpected(type.error());
  if (*type == Type::oct) return refuse(JwkFault::private_members, "a shared secret, where public keys belong");
  if (auto good = check_use(jwk, "verify"); !good) return std::unexpected(std::move(good.error()));
  const auto stated = stated_algorithm(jwk);
  if (!stated) return std::unexpected(stated.error());
  const auto kid = kid_of(jwk);
  if (!kid) return std::unexpected(kid.error());
  auto key = key_of(jwk, *type, Half::verify);
  if (!key) return std::unexpected(std::move(key.error()));
  const Algorithm algorithm = stated->value_or(algorithm_of(*type).value_or(rsa_algorithm));
  Result<PublicKey> out = PublicKey::from_evp(key->get(), algorithm, *kid, owner);
  if (!out) return refuse(JwkFault::unusable, std::string(out.error().detail()));
  return std::move(*out);
}

Result<PrivateKey> private_key_from_jwk(std::string_view text, std::optional<Algorithm> algorithm) {
  Result<Json> json = parse(text);
  if (!json) return std::unexpected(std::move(json.error()));
  const WipedJson jwk{std::move(*json)};
  const Result<Own> own = describe(jwk.json, algorithm);
  if (!own) return unusable(std::string(own.error().detail()));
  auto key = key_of(jwk.json, own->type, Half::sign);
  if (!key) return unusable(key.error().detail);
  return PrivateKey::from_evp(std::move(*key), own->algorithm, own->kid);
}

Result<SymmetricKey> symmetric_key_from_jwk(std::string_view text, std::optional<Algorithm> algorithm) {
  Result<Json> json = parse(text);
  if (!json) return std::unexpected(std::move(json.error()));
  const WipedJson jwk{std::move(*json)};
  const Result<Own> own = describe(jwk.json, algorithm);
  if (!own) return unusable(std::string(own.error().detail()));
  if (own->type != Type::oct) return unusable("a key pair, where a shared secret (kty \"oct\") belongs");
  const auto secret = Number::of(jwk.json, "k");
  if (!secret) return unusable(secret.error().detail);
  return SymmetricKey::from_bytes(secret->bytes(), own->algorithm, own->kid);
}

}  // namespace postern::jose
