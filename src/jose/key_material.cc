#include "jose/key_material.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>

#include "base/json_writer.h"
#include "jose/base64url.h"
#include "jose/ed25519_point.h"
#include "tls/pem.h"

namespace postern::jose::internal {
namespace {

using tls::unusable;

enum class Family : std::uint8_t { rsa, pss, ecdsa, eddsa, hmac };

struct Row {
  Algorithm algorithm;
  std::string_view name;
  Family family;
  const char* digest;
  std::string_view curve;   // as JWK has it
  std::string_view group;   // as OpenSSL has it
  std::size_t curve_bytes;  // of a coordinate, and of half a signature
};

// In the order of the enumerators.
constexpr std::array kRows = {
    Row{Algorithm::RS256, "RS256", Family::rsa, "SHA256", "", "", 0},
    Row{Algorithm::RS384, "RS384", Family::rsa, "SHA384", "", "", 0},
    Row{Algorithm::RS512, "RS512", Family::rsa, "SHA512", "", "", 0},
    Row{Algorithm::PS256, "PS256", Family::pss, "SHA256", "", "", 0},
    Row{Algorithm::PS384, "PS384", Family::pss, "SHA384", "", "", 0},
    Row{Algorithm::PS512, "PS512", Family::pss, "SHA512", "", "", 0},
    Row{Algorithm::ES256, "ES256", Family::ecdsa, "SHA256", "P-256", "prime256v1", 32},
    Row{Algorithm::ES384, "ES384", Family::ecdsa, "SHA384", "P-384", "secp384r1", 48},
    Row{Algorithm::EdDSA, "EdDSA", Family::eddsa, "", "", "", 0},
    Row{Algorithm::HS256, "HS256", Family::hmac, "SHA256", "", "", 0},
    Row{Algorithm::HS384, "HS384", Family::hmac, "SHA384", "", "", 0},
    Row{Algorithm::HS512, "HS512", Family::hmac, "SHA512", "", "", 0},
};
static_assert([] {
  for (std::size_t i = 0; i < kRows.size(); ++i) {
    if (static_cast<std::size_t>(kRows[i].algorithm) != i) return false;
  }
  return true;
}());

const Row& row_of(Algorithm algorithm) noexcept { return kRows[static_cast<std::size_t>(algorithm)]; }

constexpr std::size_t kEd25519Signature = 64;  // RFC 8032 5.1.6

const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

NumberPtr number(EVP_PKEY* key, const char* name) {
  BIGNUM* out = nullptr;
  return NumberPtr(EVP_PKEY_get_bn_param(key, name, &out) == 1 ? out : nullptr);
}

// `width` 0: as many bytes as the number has, without leading zeros (RFC 7518 2, Base64urlUInt).
std::string text_of(const BIGNUM* number, std::size_t width = 0) {
  std::string out(width == 0 ? static_cast<std::size_t>(BN_num_bytes(number)) : width, '\0');
  const int size = static_cast<int>(out.size());
  if (BN_bn2binpad(number, bytes(out), size) != size) return {};
  return to_base64url(out);
}

std::string group_of(EVP_PKEY* key) {
  std::array<char, 64> name{};
  std::size_t size = 0;
  return EVP_PKEY_get_group_name(key, name.data(), name.size(), &size) == 1 ? std::string(name.data(), size) : "";
}

// What a key is, for people.
std::string kind_of(EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA: return "RSA of " + std::to_string(EVP_PKEY_get_bits(key)) + " bits";
    case EVP_PKEY_RSA_PSS: return "RSASSA-PSS of " + std::to_string(EVP_PKEY_get_bits(key)) + " bits";
    case EVP_PKEY_EC: {
      const std::string group = group_of(key);
      return group.empty() ? "EC on a curve without a name" : "EC on " + group;
    }
    case EVP_PKEY_ED25519: return "Ed25519";
    case EVP_PKEY_ED448: return "Ed448";
    default: return "of another kind";
  }
}

std::unexpected<Error> does_not_fit(EVP_PKEY* key, Algorithm algorithm, std::string_view wanted) {
  return unusable("the key is " + kind_of(key) + "; " + std::string(name_of(algorithm)) + " takes " +
                  std::string(wanted));
}

Result<void> check_rsa(EVP_PKEY* key, Algorithm algorithm, Owner owner) {
  const int kind = EVP_PKEY_get_base_id(key);
  const bool pss = row_of(algorithm).family == Family::pss;
  if (kind != EVP_PKEY_RSA && !(pss && kind == EVP_PKEY_RSA_PSS)) return does_not_fit(key, algorithm, "RSA");
  const int most = owner == Owner::us ? kMaxOwnRsaBits : kMaxForeignRsaBits;
  if (const int bits = EVP_PKEY_get_bits(key); bits < kMinRsaBits || bits > most) {
    return does_not_fit(key, algorithm, std::to_string(kMinRsaBits) + " to " + std::to_string(most) + " bits");
  }
  const NumberPtr n = number(key, OSSL_PKEY_PARAM_RSA_N);
  const NumberPtr e = number(key, OSSL_PKEY_PARAM_RSA_E);
  if (!n || !e) return unusable("the key cannot be read: OpenSSL gives neither modulus nor exponent");
  if (!BN_is_odd(n.get())) return unusable("the modulus of the RSA key is even: it is damaged");
  const unsigned long least = owner == Owner::us ? 65537 : 3;
  // An exponent as long as the modulus makes verifying as slow as signing, and nobody has one.
  if (!BN_is_odd(e.get()) || BN_num_bits(e.get()) > 64 || (BN_num_bits(e.get()) < 32 && BN_get_word(e.get()) < least)) {
    return unusable("the public exponent of the RSA key is even, or outside of " + std::to_string(least) + " to 2^64");
  }
  return {};
}

Result<void> check_ed25519(EVP_PKEY* key, Algorithm algorithm) {
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) return does_not_fit(key, algorithm, "Ed25519");
  Ed25519Point point{};
  std::size_t size = point.size();
  if (EVP_PKEY_get_raw_public_key(key, point.data(), &size) != 1 || size != point.size()) {
    return unusable("the key cannot be read: OpenSSL does not give its point");
  }
  switch (check_point(point)) {
    case PointFault::none: return {};
    case PointFault::off_curve: return unusable("the point of the Ed25519 key is not on its curve");
    case PointFault::small_order: break;
  }
  return unusable("the Ed25519 key is a point for which anybody can sign");
}

Result<void> check_ec(EVP_PKEY* key, Algorithm algorithm) {
  const Row& row = row_of(algorithm);
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || group_of(key) != row.group) {
    return does_not_fit(key, algorithm, "EC on " + std::string(row.curve));
  }
  // Parameters written out can name another generator, and so another private key for the same point (CVE-2020-0601).
  int is_explicit = 0;
  if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) == 1 &&
      is_explicit != 0) {
    return unusable("the EC key has its curve written out; only curves by their names are taken");
  }
  // On the curve, and not infinity. Both curves have cofactor 1, so the long check of the order (1 ms) says no more.
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, key, nullptr));
  if (!context || EVP_PKEY_public_check_quick(context.get()) != 1) {
    return unusable("the point of the EC key is not on its curve");
  }
  return {};
}

Result<void> check_key(EVP_PKEY* key, Algorithm algorithm, Owner owner) {
  switch (row_of(algorithm).family) {
    case Family::rsa:
    case Family::pss: return check_rsa(key, algorithm, owner);
    case Family::ecdsa: return check_ec(key, algorithm);
    case Family::eddsa: return check_ed25519(key, algorithm);
    case Family::hmac: break;
  }
  return unusable(std::string(name_of(algorithm)) + " takes a shared secret; this is a key pair");
}

std::string thumbprint_of(EVP_PKEY* key) {
  std::string json;
  JsonWriter writer(json);
  writer.begin_object();
  for (const auto& [name, value] : public_members(key)) writer.field(name, value);
  writer.end_object();
  std::string hash(32, '\0');
  if (EVP_Q_digest(nullptr, "SHA256", nullptr, json.data(), json.size(), bytes(hash), nullptr) != 1) return {};
  return to_base64url(hash);
}

bool prepare_context(AsymmetricKey& out, Use use) {
  const Row& row = row_of(out.algorithm);
  if (row.family == Family::eddsa) {
    out.signature_size = kEd25519Signature;
    out.one_shot.reset(EVP_MD_CTX_new());
    if (!out.one_shot) return false;
    return (use == Use::sign ? EVP_DigestSignInit_ex : EVP_DigestVerifyInit_ex)(
               out.one_shot.get(), nullptr, nullptr, nullptr, nullptr, out.key.get(), nullptr) == 1;
  }
  out.signature_size =
      row.family == Family::ecdsa ? 2 * row.curve_bytes : static_cast<std::size_t>(EVP_PKEY_get_size(out.key.get()));
  out.digest.reset(EVP_MD_fetch(nullptr, row.digest, nullptr));
  out.context.reset(EVP_PKEY_CTX_new_from_pkey(nullptr, out.key.get(), nullptr));
  EVP_PKEY_CTX* const context = out.context.get();
  if (!out.digest || !context) return false;
  if ((use == Use::sign ? EVP_PKEY_sign_init : EVP_PKEY_verify_init)(context) != 1) return false;
  if (row.family == Family::rsa && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) != 1) return false;
  if (row.family == Family::pss && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) != 1) return false;
  if (EVP_PKEY_CTX_set_signature_md(context, out.digest.get()) != 1) return false;
  // RFC 7518 3.5: MGF1 with the same hash, and a salt as long as it.
  return row.family != Family::pss || (EVP_PKEY_CTX_set_rsa_mgf1_md(context, out.digest.get()) == 1 &&
                                       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

// OpenSSL has ECDSA signatures in DER: SEQUENCE { INTEGER r, INTEGER s }. Both curves stay below 128 bytes of content,
// so every length is one byte.
constexpr std::size_t kMaxDer = 2 + 2 * (2 + 1 + 48);

// One INTEGER at `at`, right-aligned into `out`. False if there is none, or it is too long.
bool take_integer(std::string_view der, std::size_t& at, std::string& out, std::size_t end) {
  if (der.size() < at + 2 || der[at] != 0x02) return false;
  std::size_t length = static_cast<unsigned char>(der[at + 1]);
  at += 2;
  if (length > der.size() - at) return false;
  std::string_view digits = der.substr(at, length);
  at += length;
  while (!digits.empty() && digits.front() == '\0') digits.remove_prefix(1);
  if (digits.size() > out.size() / 2) return false;
  std::copy(digits.begin(), digits.end(), out.begin() + static_cast<std::ptrdiff_t>(end - digits.size()));
  return true;
}

// "" if `der` is none.
std::string raw_of_der(std::string_view der, std::size_t half) {
  std::string out(2 * half, '\0');
  if (der.size() < 2 || der[0] != 0x30 || static_cast<unsigned char>(der[1]) != der.size() - 2) return {};
  std::size_t at = 2;
  if (!take_integer(der, at, out, half) || !take_integer(der, at, out, 2 * half) || at != der.size()) return {};
  return out;
}

struct Der {
  std::array<unsigned char, kMaxDer> bytes;
  std::size_t size = 2;
};

void append_integer(Der& out, std::string_view digits) {
  while (digits.size() > 1 && digits.front() == '\0') digits.remove_prefix(1);
  const bool pad = static_cast<unsigned char>(digits.front()) >= 0x80;
  out.bytes[out.size++] = 0x02;
  out.bytes[out.size++] = static_cast<unsigned char>(digits.size() + (pad ? 1 : 0));
  if (pad) out.bytes[out.size++] = 0;
  for (const char c : digits) out.bytes[out.size++] = static_cast<unsigned char>(c);
}

Der der_of_raw(std::string_view raw) {
  Der out;
  append_integer(out, raw.substr(0, raw.size() / 2));
  append_integer(out, raw.substr(raw.size() / 2));
  out.bytes[0] = 0x30;
  out.bytes[1] = static_cast<unsigned char>(out.size - 2);
  return out;
}

struct Hash {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned int size = 0;
};
bool hash(const AsymmetricKey& key, std::string_view data, Hash& out) {
  return EVP_Digest(data.data(), data.size(), out.bytes.data(), &out.size, key.digest.get(), nullptr) == 1;
}

tls::DigestContextPtr copy_of(const EVP_MD_CTX* prepared) {
  tls::DigestContextPtr out(EVP_MD_CTX_new());
  if (out && EVP_MD_CTX_copy_ex(out.get(), prepared) != 1) out.reset();
  return out;
}

}  // namespace

Result<std::unique_ptr<AsymmetricKey>> prepare(tls::KeyPtr key, Algorithm algorithm, std::string_view kid, Owner owner,
                                               Use use) {
  const tls::CleanErrorQueue errors;
  if (!key) return fail(Code::internal, Side::gateway, "OpenSSL made no key");
  if (Result<void> good = check_kid(kid); !good) return std::unexpected(std::move(good.error()));
  if (Result<void> good = check_key(key.get(), algorithm, owner); !good)
    return std::unexpected(std::move(good.error()));
  auto out = std::make_unique<AsymmetricKey>();
  out->key = std::move(key);
  out->algorithm = algorithm;
  // A key of RSASSA-PSS may be bound to another hash by its own parameters (RFC 4055 1.2).
  if (!prepare_context(*out, use)) {
    return unusable("the key cannot be used for " + std::string(name_of(algorithm)) + ": OpenSSL refuses it");
  }
  out->thumbprint = thumbprint_of(out->key.get());
  if (out->thumbprint.empty()) return fail(Code::internal, Side::gateway, "OpenSSL made no hash");
  out->kid = kid.empty() ? out->thumbprint : std::string(kid);
  return out;
}

Result<std::string> sign(const AsymmetricKey& key, std::string_view data) {
  const tls::CleanErrorQueue errors;
  const auto failed = [] { return fail(Code::internal, Side::gateway, "OpenSSL made no signature"); };
  if (key.one_shot) {
    const tls::DigestContextPtr context = copy_of(key.one_shot.get());
    std::string out(key.signature_size, '\0');
    std::size_t size = out.size();
    if (!context || EVP_DigestSign(context.get(), bytes(out), &size, bytes(data), data.size()) != 1 ||
        size != out.size()) {
      return failed();
    }
    return out;
  }
  Hash hashed;
  const KeyContextPtr context(EVP_PKEY_CTX_dup(key.context.get()));
  if (!context || !hash(key, data, hashed)) return failed();
  const std::size_t half = row_of(key.algorithm).curve_bytes;
  std::string out(half == 0 ? key.signature_size : kMaxDer, '\0');
  std::size_t size = out.size();
  if (EVP_PKEY_sign(context.get(), bytes(out), &size, hashed.bytes.data(), hashed.size) != 1) return failed();
  if (half == 0) {
    if (size != out.size()) return failed();
    return out;
  }
  out = raw_of_der(std::string_view(out).substr(0, size), half);
  if (out.empty()) return failed();
  return out;
}

bool verify(const AsymmetricKey& key, std::string_view data, std::string_view signature) {
  const tls::CleanErrorQueue errors;
  // Before all else: RFC 8017 8.2.2 step 1, RFC 7518 3.4, RFC 8032 5.1.7.
  if (signature.size() != key.signature_size) return false;
  if (key.one_shot) {
    const tls::DigestContextPtr context = copy_of(key.one_shot.get());
    return context &&
           EVP_DigestVerify(context.get(), bytes(signature), signature.size(), bytes(data), data.size()) == 1;
  }
  Hash hashed;
  const KeyContextPtr context(EVP_PKEY_CTX_dup(key.context.get()));
  if (!context || !hash(key, data, hashed)) return false;
  if (row_of(key.algorithm).curve_bytes == 0) {
    return EVP_PKEY_verify(context.get(), bytes(signature), signature.size(), hashed.bytes.data(), hashed.size) == 1;
  }
  const Der der = der_of_raw(signature);
  return EVP_PKEY_verify(context.get(), der.bytes.data(), der.size, hashed.bytes.data(), hashed.size) == 1;
}

bool factors_fit(EVP_PKEY* key) {
  const tls::CleanErrorQueue errors;
  const int kind = EVP_PKEY_get_base_id(key);
  if (kind != EVP_PKEY_RSA && kind != EVP_PKEY_RSA_PSS) return true;
  const NumberPtr n = number(key, OSSL_PKEY_PARAM_RSA_N);
  const NumberPtr e = number(key, OSSL_PKEY_PARAM_RSA_E);
  const NumberPtr p = number(key, OSSL_PKEY_PARAM_RSA_FACTOR1);
  const NumberPtr q = number(key, OSSL_PKEY_PARAM_RSA_FACTOR2);
  const NumberPtr dp = number(key, OSSL_PKEY_PARAM_RSA_EXPONENT1);
  const NumberPtr dq = number(key, OSSL_PKEY_PARAM_RSA_EXPONENT2);
  const NumberPtr qi = number(key, OSSL_PKEY_PARAM_RSA_COEFFICIENT1);
  const NumberPtr third = number(key, OSSL_PKEY_PARAM_RSA_FACTOR3);
  const std::unique_ptr<BN_CTX, tls::Freed<BN_CTX_free>> context(BN_CTX_secure_new());
  const NumberPtr out(BN_secure_new());
  if (!n || !e || !p || !q || !dp || !dq || !qi || third || !context || !out) return false;
  // a * b = 1 modulo m - less.
  const auto inverse = [&](const BIGNUM* a, const BIGNUM* b, const BIGNUM* m, BN_ULONG less) {
    const NumberPtr modulus(BN_dup(m));
    return modulus && BN_sub_word(modulus.get(), less) == 1 &&
           BN_mod_mul(out.get(), a, b, modulus.get(), context.get()) == 1 && BN_is_one(out.get());
  };
  return BN_mul(out.get(), p.get(), q.get(), context.get()) == 1 && BN_cmp(out.get(), n.get()) == 0 &&
         inverse(e.get(), dp.get(), p.get(), 1) && inverse(e.get(), dq.get(), q.get(), 1) &&
         inverse(qi.get(), q.get(), p.get(), 0);
}

tls::KeyPtr public_half(EVP_PKEY* key) {
  const tls::CleanErrorQueue errors;
  unsigned char* der = nullptr;
  const int length = i2d_PUBKEY(key, &der);
  const std::unique_ptr<unsigned char, decltype([](unsigned char* p) { OPENSSL_free(p); })> free_der(der);
  if (length <= 0) return nullptr;
  const unsigned char* at = der;
  return tls::KeyPtr(d2i_PUBKEY(nullptr, &at, length));
}

std::vector<std::pair<std::string_view, std::string>> public_members(EVP_PKEY* key) {
  const tls::CleanErrorQueue errors;
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS: {
      const NumberPtr n = number(key, OSSL_PKEY_PARAM_RSA_N);
      const NumberPtr e = number(key, OSSL_PKEY_PARAM_RSA_E);
      if (!n || !e) return {};
      return {{"e", text_of(e.get())}, {"kty", "RSA"}, {"n", text_of(n.get())}};
    }
    case EVP_PKEY_EC: {
      const std::string group = group_of(key);
      const auto row = std::ranges::find_if(kRows, [&](const Row& r) { return !r.group.empty() && r.group == group; });
      const NumberPtr x = number(key, OSSL_PKEY_PARAM_EC_PUB_X);
      const NumberPtr y = number(key, OSSL_PKEY_PARAM_EC_PUB_Y);
      if (row == kRows.end() || !x || !y) return {};
      return {{"crv", std::string(row->curve)},
              {"kty", "EC"},
              {"x", text_of(x.get(), row->curve_bytes)},
              {"y", text_of(y.get(), row->curve_bytes)}};
    }
    case EVP_PKEY_ED25519: {
      std::string x(32, '\0');
      std::size_t size = x.size();
      if (EVP_PKEY_get_raw_public_key(key, bytes(x), &size) != 1 || size != x.size()) return {};
      return {{"crv", "Ed25519"}, {"kty", "OKP"}, {"x", to_base64url(x)}};
    }
    default: return {};
  }
}

const char* digest_name(Algorithm algorithm) noexcept { return row_of(algorithm).digest; }
std::string_view curve_of(Algorithm algorithm) noexcept { return row_of(algorithm).curve; }

Result<void> check_kid(std::string_view kid) {
  if (kid.empty() || is_key_id(kid)) return {};
  return unusable("a key identifier is at most " + std::to_string(kMaxKeyId) + " characters of visible ASCII");
}

}  // namespace postern::jose::internal

namespace postern::jose {

std::string_view name_of(Algorithm algorithm) noexcept { return internal::row_of(algorithm).name; }

std::optional<Algorithm> algorithm_by_name(std::string_view name) noexcept {
  for (const internal::Row& row : internal::kRows) {
    if (row.name == name) return row.algorithm;
  }
  return std::nullopt;
}

bool is_symmetric(Algorithm algorithm) noexcept { return internal::row_of(algorithm).family == internal::Family::hmac; }

}  // namespace postern::jose
