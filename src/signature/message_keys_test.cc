#include "signature/message_keys.h"

#include <gtest/gtest.h>

#include "signature/base64.h"
#include "signature/http_message_verifier.h"
#include "signature/test_keys.h"

namespace postern::signature {
namespace {

using jose::Algorithm;

constexpr std::string_view kRsaPssPublicPem = R"(-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----
)";
constexpr std::string_view kB26Base =
    "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n"
    "\"@method\": POST\n"
    "\"@path\": /foo\n"
    "\"@authority\": example.com\n"
    "\"content-type\": application/json\n"
    "\"content-length\": 18\n"
    "\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");"
    "created=1618884473;keyid=\"test-key-ed25519\"";

std::shared_ptr<const PrivateMessageKey> signer(jose::PrivateKey key) {
  auto made = PrivateMessageKey::make(std::make_shared<const jose::PrivateKey>(std::move(key)));
  EXPECT_TRUE(made);
  return made ? *made : nullptr;
}

TEST(MessageKeys, NamesOfTheRegistry) {
  EXPECT_EQ(message_algorithm(Algorithm::EdDSA), "ed25519");
  EXPECT_EQ(message_algorithm(Algorithm::ES256), "ecdsa-p256-sha256");
  EXPECT_EQ(message_algorithm(Algorithm::ES384), "ecdsa-p384-sha384");
  EXPECT_EQ(message_algorithm(Algorithm::PS512), "rsa-pss-sha512");
  EXPECT_EQ(message_algorithm(Algorithm::RS256), "rsa-v1_5-sha256");
  EXPECT_EQ(message_algorithm(Algorithm::HS256), "hmac-sha256");
  for (const Algorithm other :
       {Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::HS384, Algorithm::HS512}) {
    EXPECT_FALSE(message_algorithm(other)) << jose::name_of(other);
  }
}

// RFC 9421 B.2.6 is deterministic: the same bytes.
TEST(MessageKeys, Ed25519SignsAsTheRfc) {
  auto key = jose::PrivateKey::from_pem(test::kEd25519Pem, Algorithm::EdDSA);
  ASSERT_TRUE(key);
  const auto it = signer(std::move(*key));
  ASSERT_TRUE(it);
  EXPECT_EQ(it->algorithm(), kEd25519);
  EXPECT_EQ(it->sign(kB26Base).value(), decode_base64(test::kB26));
}

TEST(MessageKeys, VerifyWhatTheRfcSigned) {
  const auto rsa = jose::PublicKey::from_pem(kRsaPssPublicPem, Algorithm::PS512);
  ASSERT_TRUE(rsa);
  const auto verifier = PublicMessageKey::make(*rsa);
  ASSERT_TRUE(verifier);
  EXPECT_EQ((*verifier)->algorithm(), kRsaPssSha512);
  constexpr std::string_view kB21Base =
      "\"@signature-params\": ();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\"";
  EXPECT_TRUE((*verifier)->verify(kB21Base, *decode_base64(test::kB21)));
  EXPECT_FALSE((*verifier)->verify(kB26Base, *decode_base64(test::kB21)));
}

TEST(MessageKeys, WhatTheySignOpensslVerifies) {
  const test::KeyPair p256(kEcdsaP256Sha256, test::kP256Pem);
  auto key = jose::PrivateKey::from_pem(test::kP256Pem, Algorithm::ES256);
  ASSERT_TRUE(key);
  const auto theirs = PublicMessageKey::make(key->public_key());
  ASSERT_TRUE(theirs);
  const auto it = signer(std::move(*key));
  ASSERT_TRUE(it);
  const auto signature = it->sign(kB26Base);
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->size(), 64u) << "r||s";
  EXPECT_TRUE(p256.verify(kB26Base, *signature));
  EXPECT_TRUE((*theirs)->verify(kB26Base, p256.sign(kB26Base).value()));
  EXPECT_FALSE((*theirs)->verify("another base", p256.sign(kB26Base).value()));
}

TEST(MessageKeys, AnAlgorithmWithoutANameIsRefused) {
  auto key = jose::PrivateKey::generate(Algorithm::PS256);
  ASSERT_TRUE(key);
  const auto verifier = PublicMessageKey::make(key->public_key());
  ASSERT_FALSE(verifier);
  EXPECT_EQ(verifier.error().detail(), "HTTP message signatures have no algorithm like PS256");
  const auto refused = PrivateMessageKey::make(std::make_shared<const jose::PrivateKey>(std::move(*key)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().side(), Side::gateway);
  EXPECT_FALSE(PrivateMessageKey::make(nullptr));
}

}  // namespace
}  // namespace postern::signature
