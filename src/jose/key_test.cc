#include "jose/key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <thread>
#include <utility>

#include "jose/base64url.h"
#include "jose/key_material.h"
#include "tls/openssl.h"
#include "tls/pem.h"

namespace postern::jose {
namespace {

using ::testing::HasSubstr;

constexpr std::array kKeyPairs = {Algorithm::RS256, Algorithm::RS384, Algorithm::RS512,
                                  Algorithm::PS256, Algorithm::PS384, Algorithm::PS512,
                                  Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA};

// RSA keys are slow to make: one for all tests.
const std::string& rsa_pem() {
  static const std::string pem(PrivateKey::generate(Algorithm::RS256)->to_pem()->reveal());
  return pem;
}

PrivateKey make(Algorithm algorithm, std::string_view kid = {}) {
  const bool rsa = name_of(algorithm).starts_with("RS") || name_of(algorithm).starts_with("PS");
  Result<PrivateKey> key = rsa ? PrivateKey::from_pem(rsa_pem(), algorithm, kid) : PrivateKey::generate(algorithm, kid);
  EXPECT_TRUE(key) << name_of(algorithm) << ": " << key.error().to_string();
  return std::move(*key);
}

std::string pem_of(EVP_PKEY* key, bool traditional = false) {
  const tls::BioPtr out(BIO_new(BIO_s_mem()));
  const int written = traditional
                          ? PEM_write_bio_PrivateKey_traditional(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr)
                          : PEM_write_bio_PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  EXPECT_EQ(written, 1);
  return tls::content_of(out.get());
}

std::string error_of(const auto& result) { return result ? "no error" : std::string(result.error().detail()); }

TEST(Base64url, HasOneSpellingPerValue) {
  EXPECT_EQ(to_base64url(""), "");
  EXPECT_EQ(to_base64url("\x03\xec\xff\xe0\xc1"), "A-z_4ME");  // RFC 7515 Appendix C
  for (std::string bytes; bytes.size() < 70; bytes += static_cast<char>(bytes.size() * 37 + 11)) {
    EXPECT_EQ(from_base64url(to_base64url(bytes)), bytes);
  }
  for (const std::string_view text :
       {"A", "AAAAA", "AA==", "AAA=", "AB", "AAB", "A-z/4ME", "A+z_4ME", "AAA\n", " AAA", "A.AA", "\xc3\xa4xx"}) {
    EXPECT_FALSE(from_base64url(text)) << text;
  }
  EXPECT_FALSE(from_base64url(std::string_view("AA\0A", 4)));
}

TEST(Key, EveryAlgorithmSignsAndVerifies) {
  for (const Algorithm algorithm : kKeyPairs) {
    const PrivateKey key = make(algorithm);
    const PublicKey& half = key.public_key();
    const Result<std::string> signature = key.sign("what is signed");
    ASSERT_TRUE(signature) << name_of(algorithm);
    EXPECT_TRUE(half.verify("what is signed", *signature)) << name_of(algorithm);
    EXPECT_FALSE(half.verify("what is signeD", *signature)) << name_of(algorithm);
    EXPECT_FALSE(half.verify("", *signature)) << name_of(algorithm);
    EXPECT_FALSE(half.verify("what is signed", "")) << name_of(algorithm);
    EXPECT_FALSE(half.verify("what is signed", *signature + '\0')) << name_of(algorithm);
    EXPECT_FALSE(half.verify("what is signed", signature->substr(1))) << name_of(algorithm);
    EXPECT_FALSE(half.verify("what is signed", std::string(signature->size(), '\0'))) << name_of(algorithm);
    EXPECT_FALSE(half.verify("what is signed", std::string(signature->size(), '\xff'))) << name_of(algorithm);
    for (std::size_t i = 0; i < signature->size(); i += 5) {
      std::string changed = *signature;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      EXPECT_FALSE(half.verify("what is signed", changed)) << name_of(algorithm) << " byte " << i;
    }
    EXPECT_EQ(half.algorithm(), algorithm);
    EXPECT_EQ(algorithm_by_name(name_of(algorithm)), algorithm);
    EXPECT_EQ(half.kid(), half.thumbprint());
    EXPECT_EQ(half.thumbprint().size(), 43u);
    EXPECT_EQ(ERR_peek_error(), 0u);
  }
  EXPECT_FALSE(algorithm_by_name("none"));
  EXPECT_FALSE(algorithm_by_name("rs256"));
  EXPECT_FALSE(algorithm_by_name(""));
  EXPECT_FALSE(algorithm_by_name("ES512"));
}

TEST(Key, AnAlgorithmIsNotAnotherOne) {
  for (const Algorithm signs : kKeyPairs) {
    const PrivateKey key = make(signs);
    const std::string signature = key.sign("x").value();
    for (const Algorithm verifies : kKeyPairs) {
      const Result<PublicKey> other = PublicKey::from_pem(key.public_key().to_pem(), verifies);
      EXPECT_EQ(other && other->verify("x", signature), signs == verifies) << name_of(signs) << name_of(verifies);
    }
  }
}

TEST(Key, SurvivesItsPem) {
  for (const Algorithm algorithm : kKeyPairs) {
    const PrivateKey key = make(algorithm, "a/kid:1");
    const Result<PrivateKey> again = PrivateKey::from_pem(key.to_pem()->reveal(), algorithm, key.kid());
    ASSERT_TRUE(again) << error_of(again);
    const Result<PublicKey> half = PublicKey::from_pem(key.public_key().to_pem(), algorithm, key.kid());
    ASSERT_TRUE(half) << error_of(half);
    EXPECT_TRUE(half->verify("x", again->sign("x").value()));
    EXPECT_EQ(half->thumbprint(), key.public_key().thumbprint());
    EXPECT_EQ(half->to_jwk(), again->public_key().to_jwk());
  }
}

TEST(Key, TheOlderFormsOfPemAreRead) {
  const tls::KeyPtr ec(EVP_EC_gen("P-256"));
  EXPECT_THAT(pem_of(ec.get(), true), HasSubstr("EC PRIVATE KEY"));
  EXPECT_TRUE(PrivateKey::from_pem(pem_of(ec.get(), true), Algorithm::ES256));
  const PrivateKey rsa = make(Algorithm::PS256);
  EXPECT_TRUE(PrivateKey::from_pem(pem_of(tls::parse_key(rsa_pem())->get(), true), Algorithm::PS256));
}

TEST(Key, AKeyThatDoesNotFitIsRefused) {
  const std::string ec = pem_of(tls::KeyPtr(EVP_EC_gen("P-256")).get());
  const std::string ed = pem_of(tls::KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")).get());
  const std::string ed448 = pem_of(tls::KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED448")).get());
  const std::string weak = pem_of(tls::KeyPtr(EVP_RSA_gen(1024)).get());
  EXPECT_THAT(error_of(PrivateKey::from_pem(ec, Algorithm::RS256)), HasSubstr("EC on prime256v1; RS256 takes RSA"));
  EXPECT_THAT(error_of(PrivateKey::from_pem(ec, Algorithm::ES384)), HasSubstr("ES384 takes EC on P-384"));
  EXPECT_THAT(error_of(PrivateKey::from_pem(ec, Algorithm::EdDSA)), HasSubstr("EdDSA takes Ed25519"));
  EXPECT_THAT(error_of(PrivateKey::from_pem(ed448, Algorithm::EdDSA)), HasSubstr("the key is Ed448"));
  EXPECT_THAT(error_of(PrivateKey::from_pem(ed, Algorithm::ES256)), HasSubstr("the key is Ed25519"));
  EXPECT_THAT(error_of(PrivateKey::from_pem(ed, Algorithm::HS256)), HasSubstr("HS256 takes a shared secret"));
  EXPECT_THAT(error_of(PrivateKey::from_pem(weak, Algorithm::RS256)), HasSubstr("RSA of 1024 bits"));
  EXPECT_THAT(error_of(PrivateKey::generate(Algorithm::HS256)), HasSubstr("no key pair"));
  EXPECT_THAT(error_of(PrivateKey::generate(Algorithm::RS256, {}, 1024)), HasSubstr("2048 to 8192"));
  EXPECT_THAT(error_of(PrivateKey::generate(Algorithm::ES256, "a b")), HasSubstr("key identifier"));
  EXPECT_THAT(error_of(PrivateKey::from_pem(std::string(kMaxKeyText + 1, 'x'), Algorithm::ES256)), HasSubstr("larger"));
  EXPECT_THAT(error_of(PublicKey::from_pem(ec, Algorithm::ES256)), HasSubstr("where one \"PUBLIC KEY\" belongs"));
  EXPECT_EQ(ERR_peek_error(), 0u);
}

tls::KeyPtr rsa_with_exponent(unsigned long e, unsigned int bits = 2048) {
  const internal::NumberPtr number(BN_new());
  BN_set_word(number.get(), e);
  const internal::KeyContextPtr context(EVP_PKEY_CTX_new_id(EVP_PKEY_RSA, nullptr));
  EVP_PKEY* key = nullptr;
  EVP_PKEY_keygen_init(context.get());
  EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), static_cast<int>(bits));
  EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context.get(), number.get());
  EXPECT_EQ(EVP_PKEY_keygen(context.get(), &key), 1);
  return tls::KeyPtr(key);
}

// Where standard input comes from a pipe that holds `line`, as long as it lives.
class TypedIn {
 public:
  explicit TypedIn(std::string_view line) : saved_(dup(STDIN_FILENO)) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe(ends.data()), 0);
    EXPECT_EQ(write(ends[1], line.data(), line.size()), static_cast<ssize_t>(line.size()));
    EXPECT_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
  }
  TypedIn(const TypedIn&) = delete;
  TypedIn& operator=(const TypedIn&) = delete;
  ~TypedIn() {
    if (saved_ < 0) {  // there was none
      close(STDIN_FILENO);
    } else {
      dup2(saved_, STDIN_FILENO);
      close(saved_);
    }
    std::clearerr(stdin);
  }

 private:
  int saved_;
};

// Nobody is asked for a passphrase, and a public key has none. Without a terminal OpenSSL would read it from standard
// input; there it would find the right one.
TEST(Key, APublicKeyIsNotDecrypted) {
  const PrivateKey key = make(Algorithm::ES256);
  const std::string_view passphrase = "open sesame";
  const tls::BioPtr bio(BIO_new(BIO_s_mem()));
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the type that OpenSSL's own macros cast to
  const auto encode = reinterpret_cast<i2d_of_void*>(&i2d_PUBKEY);
  ASSERT_EQ(PEM_ASN1_write_bio(encode, "PUBLIC KEY", bio.get(), key.public_key().native(), EVP_aes_128_cbc(),
                               reinterpret_cast<const unsigned char*>(passphrase.data()),
                               static_cast<int>(passphrase.size()), nullptr, nullptr),
            1);
  const std::string pem = tls::content_of(bio.get());
  ASSERT_THAT(pem, HasSubstr("ENCRYPTED"));
  const TypedIn typed(std::string(passphrase) + "\n");
  EXPECT_THAT(error_of(PublicKey::from_pem(pem, Algorithm::ES256)), HasSubstr("damaged or incomplete"));
}

TEST(Key, ASmallExponentIsForStrangersOnly) {
  const tls::KeyPtr key = rsa_with_exponent(3);
  EXPECT_THAT(error_of(PublicKey::from_evp(key.get(), Algorithm::RS256)), HasSubstr("exponent"));
  EXPECT_TRUE(PublicKey::from_evp(key.get(), Algorithm::RS256, {}, Owner::stranger));
}

TEST(Key, HalvesThatDoNotBelongTogetherAreRefused) {
  // SEC 1 with the private number of one key and the point of another.
  const tls::KeyPtr one(EVP_EC_gen("P-256"));
  const tls::KeyPtr two(EVP_EC_gen("P-256"));
  unsigned char* at = nullptr;
  std::string der_one(static_cast<std::size_t>(i2d_PrivateKey(one.get(), nullptr)), '\0');
  std::string der_two(static_cast<std::size_t>(i2d_PrivateKey(two.get(), nullptr)), '\0');
  i2d_PrivateKey(one.get(), &(at = reinterpret_cast<unsigned char*>(der_one.data())));
  i2d_PrivateKey(two.get(), &(at = reinterpret_cast<unsigned char*>(der_two.data())));
  ASSERT_EQ(der_one.size(), der_two.size());
  der_one.replace(der_one.size() - 64, 64, der_two, der_two.size() - 64, 64);
  const auto* cursor = reinterpret_cast<const unsigned char*>(der_one.data());
  tls::KeyPtr mixed(d2i_AutoPrivateKey(nullptr, &cursor, static_cast<long>(der_one.size())));
  ASSERT_TRUE(mixed);
  EXPECT_THAT(error_of(PrivateKey::from_evp(std::move(mixed), Algorithm::ES256)), HasSubstr("do not belong together"));
}

TEST(Key, ACurveWrittenOutIsRefused) {
  const tls::KeyPtr key(EVP_EC_gen("P-256"));
  EVP_PKEY_set_utf8_string_param(key.get(), "encoding", "explicit");
  const std::string pem = pem_of(key.get());
  EXPECT_GT(pem.size(), 300u);
  EXPECT_THAT(error_of(PrivateKey::from_pem(pem, Algorithm::ES256)), HasSubstr("written out"));
}

TEST(Key, EcdsaTakesOneFormOnly) {
  const PrivateKey key = make(Algorithm::ES256);
  const PublicKey& half = key.public_key();
  const std::string signature = key.sign("x").value();
  ASSERT_EQ(signature.size(), 64u);
  const std::string r = signature.substr(0, 32);
  const std::string s = signature.substr(32);
  const std::string zero(32, '\0');
  // n of P-256 (FIPS 186-4 D.1.2.3).
  const std::string n = from_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").value();
  ASSERT_EQ(n.size(), 32u);
  EXPECT_FALSE(half.verify("x", zero + zero));  // CVE-2022-21449
  EXPECT_FALSE(half.verify("x", zero + s));
  EXPECT_FALSE(half.verify("x", r + zero));
  EXPECT_FALSE(half.verify("x", n + s));
  EXPECT_FALSE(half.verify("x", r + n));
  EXPECT_FALSE(half.verify("x", n + n));
  EXPECT_FALSE(half.verify("x", signature.substr(0, 63)));
  EXPECT_FALSE(half.verify("x", signature + "x"));
  EXPECT_FALSE(half.verify("x", s + r));
  // The same numbers in DER.
  const auto number = [](const std::string& text) {
    return BN_bin2bn(reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()), nullptr);
  };
  ECDSA_SIG* const numbers = ECDSA_SIG_new();
  ECDSA_SIG_set0(numbers, number(r), number(s));
  std::string der(80, '\0');
  auto* at = reinterpret_cast<unsigned char*>(der.data());
  der.resize(static_cast<std::size_t>(i2d_ECDSA_SIG(numbers, &at)));
  ECDSA_SIG_free(numbers);
  EXPECT_FALSE(half.verify("x", der));
  der.resize(64);
  EXPECT_FALSE(half.verify("x", der));
  EXPECT_TRUE(half.verify("x", signature));
}

// Numbers with leading zeros are as wide as the others: about one signature in 128 has one.
TEST(Key, ShortNumbersOfEcdsaKeepTheirWidth) {
  const PrivateKey key = make(Algorithm::ES256);
  int narrow = 0;
  for (int i = 0; i < 2000 && narrow < 3; ++i) {
    const std::string signature = key.sign("x").value();
    ASSERT_EQ(signature.size(), 64u);
    ASSERT_TRUE(key.public_key().verify("x", signature));
    narrow += signature[0] == '\0' || signature[32] == '\0' ? 1 : 0;
  }
  EXPECT_EQ(narrow, 3);
}

TEST(Key, OpenSslAgrees) {
  for (const Algorithm algorithm : kKeyPairs) {
    if (!internal::curve_of(algorithm).empty()) continue;  // DER; EcdsaTakesOneFormOnly has that
    const PrivateKey key = make(algorithm);
    const std::string signature = key.sign("x").value();
    const tls::DigestContextPtr context(EVP_MD_CTX_new());
    EVP_PKEY_CTX* options = nullptr;
    const char* digest = algorithm == Algorithm::EdDSA ? nullptr : internal::digest_name(algorithm);
    ASSERT_EQ(
        EVP_DigestVerifyInit_ex(context.get(), &options, digest, nullptr, nullptr, key.public_key().native(), nullptr),
        1);
    if (name_of(algorithm).starts_with("PS")) {
      ASSERT_EQ(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING), 1);
      ASSERT_EQ(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    EXPECT_EQ(EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                               signature.size(), reinterpret_cast<const unsigned char*>("x"), 1),
              1)
        << name_of(algorithm);
  }
}

TEST(Key, IsSharedByThreads) {
  for (const Algorithm algorithm : {Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA}) {
    const PrivateKey key = make(algorithm);
    const Result<SymmetricKey> secret = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256);
    std::array<std::thread, 4> threads;
    std::array<bool, 4> good{};
    for (std::size_t t = 0; t < threads.size(); ++t) {
      threads[t] = std::thread([&, t] {
        bool all = true;
        for (int i = 0; i < 20; ++i) {
          const std::string text = std::to_string(t * 1000) + std::to_string(i);
          all = all && key.public_key().verify(text, key.sign(text).value()) &&
                secret->verify(text, secret->sign(text).value());
        }
        good[t] = all;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_THAT(good, ::testing::Each(true)) << name_of(algorithm);
  }
}

TEST(SymmetricKey, IsAsLongAsItsHash) {
  for (const auto& [algorithm, size] :
       {std::pair(Algorithm::HS256, 32u), std::pair(Algorithm::HS384, 48u), std::pair(Algorithm::HS512, 64u)}) {
    const Result<SymmetricKey> key = SymmetricKey::from_bytes(std::string(size, 'k'), algorithm, "kid");
    ASSERT_TRUE(key);
    const std::string mac = key->sign("x").value();
    EXPECT_EQ(mac.size(), size);
    EXPECT_TRUE(key->verify("x", mac));
    EXPECT_FALSE(key->verify("y", mac));
    EXPECT_FALSE(key->verify("x", mac.substr(0, size / 2)));
    EXPECT_FALSE(key->verify("x", ""));
    EXPECT_FALSE(key->verify("x", mac + '\0'));
    EXPECT_FALSE(SymmetricKey::from_bytes(std::string(size - 1, 'k'), algorithm));
    EXPECT_FALSE(SymmetricKey::from_bytes("", algorithm));
  }
  EXPECT_FALSE(SymmetricKey::from_bytes(std::string(64, 'k'), Algorithm::RS256));
  EXPECT_FALSE(SymmetricKey::from_bytes(std::string(5000, 'k'), Algorithm::HS256));
  EXPECT_THAT(error_of(SymmetricKey::from_bytes(make(Algorithm::ES256).public_key().to_pem(), Algorithm::HS256)),
              HasSubstr("PEM"));
}

TEST(SecretText, IsWipedWhereItWas) {
  std::string text = "short";
  SecretText secret(std::move(text));
  EXPECT_EQ(text, "");  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(std::string_view(text.data(), 5), std::string_view("\0\0\0\0\0", 5));
  SecretText other(std::move(secret));
  EXPECT_EQ(other.reveal(), "short");
  EXPECT_EQ(secret.reveal(), "");  // NOLINT(bugprone-use-after-move)
}

}  // namespace
}  // namespace postern::jose
