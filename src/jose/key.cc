#include "jose/key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/json_writer.h"
#include "jose/key_material.h"
#include "tls/openssl.h"
#include "tls/pem.h"

namespace postern::jose {
namespace {

using internal::AsymmetricKey;
using internal::HmacKey;
using internal::Use;
using tls::unusable;

constexpr std::size_t kMaxSecret = 4096;
constexpr std::string_view kTrial = "postern: does this pair belong together?";

using Mac = std::unique_ptr<EVP_MAC, tls::Freed<EVP_MAC_free>>;

// Without it OpenSSL asks the terminal for the passphrase of a block that says it is encrypted.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*unused*/) { return -1; }

// nullptr if the text is no SubjectPublicKeyInfo.
tls::KeyPtr read_public(const tls::PemBlock& block) {
  const tls::BioPtr bio(BIO_new_mem_buf(block.text.data(), static_cast<int>(block.text.size())));
  return tls::KeyPtr(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, no_passphrase, nullptr) : nullptr);
}

// Signs for a trial. RSA is looked at, too: with a wrong prime OpenSSL signs right, but slowly.
bool belongs_together(const AsymmetricKey& key, const PublicKey& half) {
  const Result<std::string> signature = internal::sign(key, kTrial);
  return signature && half.verify(kTrial, *signature) && internal::factors_fit(key.key.get());
}

bool hmac(const HmacKey& key, std::string_view data, unsigned char* out, std::size_t capacity) {
  const internal::MacContextPtr context(EVP_MAC_CTX_dup(key.context.get()));
  std::size_t size = 0;
  return context &&
         EVP_MAC_update(context.get(), reinterpret_cast<const unsigned char*>(data.data()), data.size()) == 1 &&
         EVP_MAC_final(context.get(), out, &size, capacity) == 1 && size == key.size;
}

}  // namespace

bool is_key_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxKeyId &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

SecretText::SecretText(std::string&& text) noexcept {
  // A short text lies in the object itself: moving it leaves a copy behind.
  text_ = text;
  OPENSSL_cleanse(text.data(), text.size());
  text.clear();
}
SecretText::SecretText(SecretText&& other) noexcept : SecretText(std::move(other.text_)) {}
SecretText& SecretText::operator=(SecretText&& other) noexcept {
  if (this == &other) return *this;
  OPENSSL_cleanse(text_.data(), text_.size());
  text_ = other.text_;
  OPENSSL_cleanse(other.text_.data(), other.text_.size());
  other.text_.clear();
  return *this;
}
SecretText::~SecretText() { OPENSSL_cleanse(text_.data(), text_.size()); }

// ---- PublicKey ---------------------------------------------------------------------------------------------------

Result<PublicKey> PublicKey::from_pem(std::string_view pem, Algorithm algorithm, std::string_view kid, Owner owner) {
  const tls::CleanErrorQueue errors;
  if (pem.size() > kMaxKeyText) return unusable("the text is larger than a key can be");
  const Result<std::vector<tls::PemBlock>> blocks = tls::split_pem(pem);
  if (!blocks) return unusable(std::string(blocks.error().detail()));
  const tls::PemBlock& block = blocks->front();
  if (blocks->size() > 1 || block.label != "PUBLIC KEY") {
    const tls::PemBlock& wrong = blocks->size() > 1 ? (*blocks)[1] : block;
    return unusable("line " + std::to_string(wrong.line) + ": this is \"" + std::string(wrong.label) +
                    "\", where one \"PUBLIC KEY\" belongs");
  }
  const tls::KeyPtr key = read_public(block);
  if (!key) return unusable("the public key is damaged or incomplete, or of an unknown kind");
  return from_evp(key.get(), algorithm, kid, owner);
}

Result<PublicKey> PublicKey::from_evp(EVP_PKEY* key, Algorithm algorithm, std::string_view kid, Owner owner) {
  auto prepared = internal::prepare(internal::public_half(key), algorithm, kid, owner, Use::verify);
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  return PublicKey(std::shared_ptr<const AsymmetricKey>(std::move(*prepared)));
}

Algorithm PublicKey::algorithm() const noexcept { return key_->algorithm; }
const std::string& PublicKey::kid() const noexcept { return key_->kid; }
const std::string& PublicKey::thumbprint() const noexcept { return key_->thumbprint; }
EVP_PKEY* PublicKey::native() const noexcept { return key_->key.get(); }

bool PublicKey::verify(std::string_view data, std::string_view signature) const {
  return internal::verify(*key_, data, signature);
}

std::string PublicKey::to_jwk() const {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  for (const auto& [name, value] : internal::public_members(key_->key.get())) writer.field(name, value);
  writer.field("use", "sig");
  writer.field("alg", name_of(key_->algorithm));
  writer.field("kid", key_->kid);
  writer.end_object();
  return out;
}

std::string PublicKey::to_pem() const {
  const tls::CleanErrorQueue errors;
  const tls::BioPtr out(BIO_new(BIO_s_mem()));
  if (!out || PEM_write_bio_PUBKEY(out.get(), key_->key.get()) != 1) return {};
  return tls::content_of(out.get());
}

// ---- PrivateKey --------------------------------------------------------------------------------------------------

PrivateKey::PrivateKey(std::unique_ptr<const AsymmetricKey> key, PublicKey half) noexcept
    : key_(std::move(key)), public_(std::move(half)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem, Algorithm algorithm, std::string_view kid) {
  if (pem.size() > kMaxKeyText) return unusable("the text is larger than a key can be");
  Result<tls::KeyPtr> key = tls::parse_key(pem);
  if (!key) return std::unexpected(std::move(key.error()));
  return from_evp(std::move(*key), algorithm, kid);
}

Result<PrivateKey> PrivateKey::from_evp(tls::KeyPtr key, Algorithm algorithm, std::string_view kid) {
  auto prepared = internal::prepare(std::move(key), algorithm, kid, Owner::us, Use::sign);
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  Result<PublicKey> half = PublicKey::from_evp((*prepared)->key.get(), algorithm, kid);
  if (!half) return std::unexpected(std::move(half.error()));
  if (!belongs_together(**prepared, *half)) {
    return unusable("the private and the public half of the key do not belong together: it is damaged");
  }
  return PrivateKey(std::move(*prepared), std::move(*half));
}

Result<PrivateKey> PrivateKey::generate(Algorithm algorithm, std::string_view kid, int rsa_bits) {
  const tls::CleanErrorQueue errors;
  switch (algorithm) {
    case Algorithm::ES256: return from_evp(tls::KeyPtr(EVP_EC_gen("P-256")), algorithm, kid);
    case Algorithm::ES384: return from_evp(tls::KeyPtr(EVP_EC_gen("P-384")), algorithm, kid);
    case Algorithm::EdDSA: return from_evp(tls::KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")), algorithm, kid);
    default: break;
  }
  if (is_symmetric(algorithm)) {
    return unusable(std::string(name_of(algorithm)) + " takes a shared secret; there is no key pair for it");
  }
  if (rsa_bits < kMinRsaBits || rsa_bits > kMaxOwnRsaBits) {
    return unusable("RSA keys are of " + std::to_string(kMinRsaBits) + " to " + std::to_string(kMaxOwnRsaBits) +
                    " bits");
  }
  return from_evp(tls::KeyPtr(EVP_RSA_gen(static_cast<unsigned int>(rsa_bits))), algorithm, kid);
}

Result<std::string> PrivateKey::sign(std::string_view data) const { return internal::sign(*key_, data); }

Result<SecretText> PrivateKey::to_pem() const {
  const tls::CleanErrorQueue errors;
  const tls::BioPtr out(BIO_new(BIO_s_secmem()));
  if (!out || PEM_write_bio_PrivateKey(out.get(), key_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return fail(Code::internal, Side::gateway, "OpenSSL wrote no key");
  }
  return SecretText(tls::content_of(out.get()));
}

// ---- SymmetricKey ------------------------------------------------------------------------------------------------

SymmetricKey::SymmetricKey(std::unique_ptr<const HmacKey> key) noexcept : key_(std::move(key)) {}
SymmetricKey::SymmetricKey(SymmetricKey&&) noexcept = default;
SymmetricKey& SymmetricKey::operator=(SymmetricKey&&) noexcept = default;
SymmetricKey::~SymmetricKey() = default;

Result<SymmetricKey> SymmetricKey::from_bytes(std::string_view secret, Algorithm algorithm, std::string_view kid) {
  const tls::CleanErrorQueue errors;
  if (!is_symmetric(algorithm)) {
    return unusable(std::string(name_of(algorithm)) + " takes a key pair; this is a shared secret");
  }
  if (Result<void> good = internal::check_kid(kid); !good) return std::unexpected(std::move(good.error()));
  const std::size_t size = algorithm == Algorithm::HS256 ? 32 : algorithm == Algorithm::HS384 ? 48 : 64;
  if (secret.size() < size || secret.size() > kMaxSecret) {
    return unusable("the secret of " + std::string(name_of(algorithm)) + " has at least " + std::to_string(size) +
                    " bytes, and at most " + std::to_string(kMaxSecret));
  }
  if (secret.find("-----BEGIN ") != std::string_view::npos) {
    return unusable("this is PEM: a key or a certificate is no shared secret");
  }
  auto out = std::make_unique<HmacKey>();
  out->algorithm = algorithm;
  out->kid = std::string(kid);
  out->size = size;
  const Mac mac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
  out->context.reset(mac ? EVP_MAC_CTX_new(mac.get()) : nullptr);
  std::string digest = internal::digest_name(algorithm);
  const std::array parameters = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), digest.size()),
                                 OSSL_PARAM_construct_end()};
  if (!out->context || EVP_MAC_init(out->context.get(), reinterpret_cast<const unsigned char*>(secret.data()),
                                    secret.size(), parameters.data()) != 1) {
    return fail(Code::internal, Side::gateway, "OpenSSL made no HMAC");
  }
  return SymmetricKey(std::move(out));
}

Algorithm SymmetricKey::algorithm() const noexcept { return key_->algorithm; }
const std::string& SymmetricKey::kid() const noexcept { return key_->kid; }

Result<std::string> SymmetricKey::sign(std::string_view data) const {
  const tls::CleanErrorQueue errors;
  std::string out(key_->size, '\0');
  if (!hmac(*key_, data, reinterpret_cast<unsigned char*>(out.data()), out.size())) {
    return fail(Code::internal, Side::gateway, "OpenSSL made no HMAC");
  }
  return out;
}

bool SymmetricKey::verify(std::string_view data, std::string_view signature) const {
  const tls::CleanErrorQueue errors;
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  if (signature.size() != key_->size || !hmac(*key_, data, mac.data(), mac.size())) return false;
  const bool same = CRYPTO_memcmp(mac.data(), signature.data(), key_->size) == 0;
  OPENSSL_cleanse(mac.data(), mac.size());
  return same;
}

}  // namespace postern::jose
