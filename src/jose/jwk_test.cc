#include "jose/jwk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "jose/base64url.h"
#include "jose/jwk_set.h"
#include "jose/test_vectors.h"

namespace postern::jose {
namespace {

using namespace test;
using ::testing::HasSubstr;

std::string error_of(const auto& result) { return result ? "no error" : std::string(result.error().detail()); }
std::string error_of(const std::expected<KeySet, std::string>& set) { return set ? "no error" : set.error(); }

// "fault number: detail", or "".
std::string refusal(std::string_view jwk, Owner owner = Owner::stranger) {
  const auto json = Json::parse(jwk);
  EXPECT_TRUE(json) << jwk;
  const auto key = public_key_from_jwk(*json, owner);
  EXPECT_EQ(ERR_peek_error(), 0u);
  return key ? "" : std::to_string(static_cast<int>(key.error().fault)) + ": " + key.error().detail;
}
std::string with(std::string_view jwk, std::string_view members) {
  return std::string(jwk.substr(0, jwk.size() - 1)) + "," + std::string(members) + "}";
}
std::string replaced(std::string_view jwk, std::string_view what, std::string_view by) {
  std::string out(jwk);
  const std::size_t at = out.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return out.replace(at, what.size(), by);
}

TEST(Jwk, ThumbprintsAreThoseOfTheRfcs) {
  const PublicKey rsa = public_key_from_jwk(*Json::parse(kThumbprintKey)).value();
  EXPECT_EQ(rsa.thumbprint(), kThumbprint);
  EXPECT_EQ(rsa.kid(), "2011-04-29");
  const PublicKey ed = public_key_from_jwk(*Json::parse(kEd25519PublicKey)).value();
  EXPECT_EQ(ed.thumbprint(), kEd25519Thumbprint);
  EXPECT_EQ(ed.kid(), kEd25519Thumbprint);
  EXPECT_EQ(private_key_from_jwk(kEd25519Key)->public_key().thumbprint(), kEd25519Thumbprint);
}

// Anybody can make a signature that a key of small order verifies for every text; no signature fits a point that is off
// the curve. OpenSSL takes both.
TEST(Jwk, OfEd25519IsAPointThatSigns) {
  const std::string zeros(31, '\0');
  const std::string ones(30, '\xff');
  const std::string eighth =
      "\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0"
      "\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05";
  const std::string minus_eighth =  // its y and this one add up to 2^255 - 19
      "\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f"
      "\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a";
  const std::string_view small = "for which anybody can sign", off = "not on its curve";
  const std::vector<std::pair<std::string, std::string_view>> bad = {
      {zeros + '\0', small},
      {zeros + '\x80', small},
      {'\1' + zeros, small},
      {'\1' + std::string(30, '\0') + '\x80', small},
      {'\xec' + ones + '\x7f', small},
      {'\xec' + ones + '\xff', small},
      {eighth, small},
      {minus_eighth, small},
      {eighth.substr(0, 31) + '\x85', small},
      {'\2' + zeros, off},
      {'\7' + zeros, off},
      // 2^255 - 19 and what follows: other spellings of 0, 1 and 3 (RFC 8032 5.1.3).
      {'\xed' + ones + '\x7f', off},
      {'\xee' + ones + '\x7f', off},
      {'\xee' + ones + '\xff', off},
      {'\xf0' + ones + '\x7f', off},
      {'\xff' + ones + '\xff', off}};
  const auto jwk = [](std::string_view point) {
    return R"({"kty":"OKP","crv":"Ed25519","x":")" + to_base64url(point) + "\"}";
  };
  for (const auto& [point, why] : bad) {
    EXPECT_THAT(refusal(jwk(point)), HasSubstr(why)) << to_base64url(point);
  }
  for (const std::string& good : {'\3' + zeros, '\4' + std::string(30, '\0') + '\x80', '\xe9' + ones + '\x7f'}) {
    EXPECT_EQ(refusal(jwk(good)), "") << to_base64url(good);
  }
}

TEST(Jwk, IsWrittenWithWhatCloudsTake) {
  const PublicKey ec =
      public_key_from_jwk(*Json::parse(with(kEs256PublicKey, R"("kid":"k1","x5t":"x","x5c":["y"])"))).value();
  EXPECT_EQ(ec.to_jwk(), R"({"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                         R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"sig","alg":"ES256","kid":"k1"})");
  for (const std::string_view jwk : {kEs256PublicKey, kEd25519PublicKey, kThumbprintKey, kRs256PublicKey}) {
    const PublicKey key = public_key_from_jwk(*Json::parse(jwk)).value();
    const PublicKey again = public_key_from_jwk(*Json::parse(key.to_jwk())).value();
    EXPECT_EQ(again.to_jwk(), key.to_jwk());
    EXPECT_EQ(again.algorithm(), key.algorithm());
  }
}

TEST(Jwk, CoordinatesKeepTheirWidth) {
  // Until one begins with a zero: once in 128 keys.
  for (int i = 0; i < 5000; ++i) {
    const PublicKey key = PrivateKey::generate(Algorithm::ES256)->public_key();
    const Json jwk = Json::parse(key.to_jwk()).value();
    const std::string x = from_base64url(*jwk.find_string("x")).value();
    const std::string y = from_base64url(*jwk.find_string("y")).value();
    ASSERT_EQ(x.size(), 32u);
    ASSERT_EQ(y.size(), 32u);
    if (x[0] != '\0' && y[0] != '\0') continue;
    EXPECT_EQ(public_key_from_jwk(jwk)->thumbprint(), key.thumbprint());
    return;
  }
  FAIL() << "no coordinate with a leading zero";
}

TEST(Jwk, SaysWhyAKeyIsNotTaken) {
  const std::string x31 = to_base64url(std::string(31, 'x'));
  const std::string x33 = std::string("\"x\":\"") + to_base64url(std::string(33, 'x')) + "\"";
  const struct {
    std::string jwk, refusal;
  } rows[] = {
      {"[]", "4: the key is no JSON object"},
      {"{}", "4: \"kty\" is missing, or no text"},
      {R"({"kty":1})", "4: \"kty\" is missing, or no text"},
      {R"({"kty":"rsa"})", "0: a type of key that is not known here"},
      {R"({"kty":"AKP","alg":"ML-DSA-44"})", "0: a type of key that is not known here"},
      {R"({"kty":"EC"})", "4: \"crv\" is missing, or no text"},
      {R"({"kty":"EC","crv":"P-521"})", "0: a curve that is not known here"},
      {R"({"kty":"EC","crv":"secp256k1"})", "0: a curve that is not known here"},
      {R"({"kty":"EC","crv":"Ed25519"})", "0: a curve that is not known here"},
      {R"({"kty":"OKP","crv":"X25519"})", "0: a curve that is not known here"},
      {with(kEs256PublicKey, R"("use":"enc")"), "1: its use is not signatures"},
      {with(kEs256PublicKey, R"("use":1)"), "4: \"use\" is no text"},
      {with(kEs256PublicKey, R"("use":"sig","key_ops":["verify"])"), ""},
      {with(kEs256PublicKey, R"("key_ops":["deriveKey"])"), "1: its key_ops are not those of signatures"},
      {with(kEs256PublicKey, R"("key_ops":[])"), "1: its key_ops are not those of signatures"},
      {with(kEs256PublicKey, R"("key_ops":"verify")"), "4: \"key_ops\" is no list"},
      {with(kEs256PublicKey, R"("alg":"ES256K")"), "2: an algorithm that is not known here"},
      {with(kEs256PublicKey, R"("alg":"none")"), "2: an algorithm that is not known here"},
      {with(kEs256PublicKey, R"("alg":"ES384")"), "4: the key is EC on prime256v1; ES384 takes EC on P-384"},
      {with(kEs256PublicKey, R"("alg":"RS256")"), "4: the key is EC on prime256v1; RS256 takes RSA"},
      {with(kRs256PublicKey, R"("alg":"HS256")"), "4: HS256 takes a shared secret; this is a key pair"},
      {with(kEs256PublicKey, R"("kid":7)"), "4: \"kid\" is no text of 1 to 256 visible ASCII characters"},
      {with(kEs256PublicKey, R"("kid":"")"), "4: \"kid\" is no text of 1 to 256 visible ASCII characters"},
      {with(kEs256PublicKey, R"("kid":"a\u0000")"), "4: \"kid\" is no text of 1 to 256 visible ASCII characters"},
      {std::string(kEs256Key), "3: the key was published with its private half"},
      {std::string(kRs256Key), "3: the key was published with its private half"},
      {std::string(kHs256Key), "3: the key was published with its private half"},
      {R"({"kty":"oct"})", "3: a shared secret, where public keys belong"},
      {R"({"kty":"EC","crv":"P-521","d":"x"})", "3: the key was published with its private half"},
      {R"({"kty":"EC","crv":"P-256","x":"AA"})", "4: \"x\" has not the width of the curve"},
      {R"({"kty":"EC","crv":"P-256","x":"=="})", "4: \"x\" is no base64url"},
      {R"({"kty":"EC","crv":"P-256","x":""})", "4: \"x\" is no base64url"},
      {R"({"kty":"EC","crv":"P-256","x":")" + x31 + R"(","y":"AA"})", "4: \"x\" has not the width of the curve"},
      {replaced(kEs256PublicKey, "5a0\"", "5a1\""), "4: \"y\" is no base64url"},
      {replaced(kEs256PublicKey, "5a0\"", "5a4\""), "4: its numbers make no key"},  // not on the curve
      {R"({"kty":"OKP","crv":"Ed25519",)" + x33 + "}", "4: \"x\" has not the width of the curve"},
      {R"({"kty":"RSA","e":"AQAB"})", "4: \"n\" is missing, or no text"},
      {R"({"kty":"RSA","n":"","e":"AQAB"})", "4: \"n\" is no base64url"},
      {R"({"kty":"RSA","n":"AAAA","e":"AQAB"})", "4: \"n\" begins with a zero"},
      {R"({"kty":"RSA","n":")" + std::string(1367, 'x') + R"(","e":"AQAB"})", "4: \"n\" is too long"},
      {replaced(kRs256PublicKey, "\"AQAB\"", "\"AAEAAQ\""), "4: \"e\" begins with a zero"},
      {replaced(kRs256PublicKey, "\"AQAB\"", "\"AQ\""),
       "4: the public exponent of the RSA key is even, or outside of 3 to 2^64"},
      {replaced(kRs256PublicKey, "\"AQAB\"", "\"AQAA\""),
       "4: the public exponent of the RSA key is even, or outside of 3 to 2^64"},
      {replaced(kRs256PublicKey, "\"AQAB\"", "\"AQAAAAAAAAAAAQ\""),
       "4: the public exponent of the RSA key is even, or outside of 3 to 2^64"},
      {replaced(kRs256PublicKey, "\"AQAB\"", "\"Aw\""), ""},
      {replaced(kRs256PublicKey, "yuXpoQ\"", "yuXpoA\""), "4: the modulus of the RSA key is even: it is damaged"},
      {with(kRs256PublicKey, R"("oth":[])"), "3: the key was published with its private half"},
  };
  for (const auto& row : rows) EXPECT_EQ(refusal(row.jwk), row.refusal) << row.jwk;
  const std::string n1024 = to_base64url("\xc1" + std::string(126, '\x55') + "\x01");
  EXPECT_EQ(refusal(R"({"kty":"RSA","e":"AQAB","n":")" + n1024 + "\"}"),
            "4: the key is RSA of 1024 bits; RS256 takes 2048 to 4096 bits");
  const std::string n8192 = to_base64url("\xc1" + std::string(1022, '\x55') + "\x01");
  EXPECT_EQ(refusal(R"({"kty":"RSA","e":"AQAB","n":")" + n8192 + "\"}"),
            "4: the key is RSA of 8192 bits; RS256 takes 2048 to 4096 bits");
  EXPECT_EQ(refusal(R"({"kty":"RSA","e":"AQAB","n":")" + n8192 + "\"}", Owner::us), "");
}

TEST(Jwk, PrivateKeysAreReadWhole) {
  EXPECT_EQ(private_key_from_jwk(kEs256Key)->algorithm(), Algorithm::ES256);
  EXPECT_EQ(private_key_from_jwk(with(kEs256Key, R"("alg":"ES256","kid":"k1")"))->kid(), "k1");
  EXPECT_EQ(private_key_from_jwk(with(kRs256Key, R"("alg":"PS512")"))->algorithm(), Algorithm::PS512);
  EXPECT_EQ(private_key_from_jwk(kRs256Key, Algorithm::PS256)->algorithm(), Algorithm::PS256);
  EXPECT_THAT(error_of(private_key_from_jwk(kRs256Key)), HasSubstr("\"alg\" is missing"));
  EXPECT_THAT(error_of(private_key_from_jwk(with(kRs256Key, R"("alg":"RS256")"), Algorithm::PS256)),
              HasSubstr("the key is for RS256, not for PS256"));
  EXPECT_THAT(error_of(private_key_from_jwk(kEs256PublicKey)), HasSubstr("\"d\" is missing"));
  EXPECT_THAT(error_of(private_key_from_jwk(kEs256PublicKey, Algorithm::RS256)), HasSubstr("\"d\" is missing"));
  EXPECT_THAT(error_of(private_key_from_jwk(kEs256Key, Algorithm::RS256)), HasSubstr("RS256 takes RSA"));
  EXPECT_THAT(error_of(private_key_from_jwk(with(kRs256Key, R"("oth":[])"), Algorithm::RS256)), HasSubstr("\"oth\""));
  EXPECT_THAT(error_of(private_key_from_jwk(kHs256Key, Algorithm::HS256)), HasSubstr("shared secret"));
  EXPECT_THAT(error_of(private_key_from_jwk(with(kEs256Key, R"("use":"enc")"))), HasSubstr("use"));
  EXPECT_THAT(error_of(private_key_from_jwk("{")), HasSubstr("no JSON"));
  EXPECT_THAT(error_of(private_key_from_jwk(with(kEs256Key, R"("d":"x")"))), HasSubstr("the same name twice"));
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(Jwk, HalvesThatDoNotBelongTogetherAreRefused) {
  EXPECT_THAT(error_of(private_key_from_jwk(replaced(kEs256Key, "jpsQ", "jpsR"))), HasSubstr("belong together"));
  EXPECT_THAT(error_of(private_key_from_jwk(replaced(kEd25519Key, "nWGx", "nWGy"))), HasSubstr("belong together"));
  EXPECT_FALSE(private_key_from_jwk(replaced(kRs256Key, "\"dp\":\"BwKf", "\"dp\":\"BwKg"), Algorithm::RS256));
  EXPECT_FALSE(private_key_from_jwk(replaced(kRs256Key, "\"p\":\"4BzE", "\"p\":\"4BzF"), Algorithm::RS256));
  const std::string zero = to_base64url(std::string(32, '\0'));
  EXPECT_FALSE(private_key_from_jwk(replaced(kEs256Key, "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI", zero)));
}

TEST(Jwk, AnErrorHoldsNothingOfTheKey) {
  for (const std::string& jwk : {replaced(kEs256Key, "jpsQ", "jpsR"), with(kEs256Key, R"("alg":"RS256")"),
                                 with(kRs256Key, R"("alg":"ES256")"), replaced(kEs256Key, "9LI\"", "9LI=\"")}) {
    const std::string error = error_of(private_key_from_jwk(jwk));
    EXPECT_EQ(error.find("nnGQmL"), std::string::npos) << error;
    EXPECT_EQ(error.find("Eq5xpG"), std::string::npos) << error;
    EXPECT_NE(error, "no error");
  }
}

TEST(Jwk, SharedSecrets) {
  EXPECT_EQ(symmetric_key_from_jwk(kCookbookSecret)->kid(), "018c0ae5-4d9b-471b-bfd6-eef314bc7037");
  EXPECT_THAT(error_of(symmetric_key_from_jwk(kHs256Key)), HasSubstr("\"alg\" is missing"));
  EXPECT_THAT(error_of(symmetric_key_from_jwk(kHs256Key, Algorithm::ES256)), HasSubstr("takes a key pair"));
  EXPECT_THAT(error_of(symmetric_key_from_jwk(kCookbookSecret, Algorithm::HS512)), HasSubstr("not for HS512"));
  EXPECT_THAT(error_of(symmetric_key_from_jwk(kEs256Key, Algorithm::HS256)), HasSubstr("a key pair"));
  EXPECT_THAT(error_of(symmetric_key_from_jwk(R"({"kty":"oct","k":""})", Algorithm::HS256)), HasSubstr("\"k\""));
  EXPECT_THAT(error_of(symmetric_key_from_jwk(R"({"kty":"oct","k":"c2hvcnQ"})", Algorithm::HS256)),
              HasSubstr("at least 32 bytes"));
}

// ---- sets --------------------------------------------------------------------------------------------------------

std::string set_of(std::initializer_list<std::string> keys) {
  std::string out = "{\"keys\":[";
  for (const std::string& key : keys) out += (out.back() == '[' ? "" : ",") + key;
  return out + "]}";
}

TEST(KeySet, TakesWhatItKnowsAndCountsTheRest) {
  const std::string ec = with(kEs256PublicKey, R"("kid":"ec")");
  const auto set = KeySet::parse(set_of({ec, std::string(kThumbprintKey), ec, std::string(kEd25519PublicKey),
                                         R"({"kty":"AKP"})", with(kEs256PublicKey, R"("alg":"ECDH-ES")"),
                                         with(kEs256PublicKey, R"("use":"enc")"), R"({"kty":"RSA","n":"AA"})", "7"}));
  ASSERT_TRUE(set) << error_of(set);
  ASSERT_EQ(set->keys().size(), 3u);
  EXPECT_EQ(set->skipped().repeated, 1u);
  EXPECT_EQ(set->skipped().unknown, 2u);
  EXPECT_EQ(set->skipped().not_for_signing, 1u);
  EXPECT_EQ(set->skipped().unusable, 2u);
  EXPECT_EQ(set->skipped().first_unusable, "key 8: \"n\" begins with a zero");
  EXPECT_EQ(set->find("ec", Algorithm::ES256), &set->keys()[0]);
  EXPECT_EQ(set->find("ec", Algorithm::ES384), nullptr);
  EXPECT_EQ(set->find("EC", Algorithm::ES256), nullptr);
  EXPECT_EQ(set->find("", Algorithm::ES256), nullptr);
  EXPECT_TRUE(set->has_kid("2011-04-29"));
  EXPECT_FALSE(set->has_kid(""));
  EXPECT_EQ(set->only(Algorithm::RS256), &set->keys()[1]);
  EXPECT_EQ(set->only(Algorithm::PS256), nullptr);

  const auto again = KeySet::parse(set->to_json());
  ASSERT_TRUE(again) << error_of(again);
  EXPECT_EQ(again->to_json(), set->to_json());
  EXPECT_EQ(again->skipped().all(), 0u);
}

TEST(KeySet, KeysOfRsaWithoutAlgAreWhatTheVerifierSays) {
  const std::string text = set_of({std::string(kCookbookRsa)});
  EXPECT_EQ(KeySet::parse(text)->keys()[0].algorithm(), Algorithm::RS256);
  EXPECT_EQ(KeySet::parse(text, {.rsa_algorithm = Algorithm::PS256})->keys()[0].algorithm(), Algorithm::PS256);
  // A key that says what it is for is not bent.
  EXPECT_EQ(
      KeySet::parse(set_of({std::string(kThumbprintKey)}), {.rsa_algorithm = Algorithm::PS256})->keys()[0].algorithm(),
      Algorithm::RS256);
}

TEST(KeySet, IsRefusedAsAWhole) {
  const std::string one = with(kEs256PublicKey, R"("kid":"k")");
  std::string other = PrivateKey::generate(Algorithm::ES256, "k")->public_key().to_jwk();
  const std::string rsa = with(kRs256PublicKey, R"("kid":"k")");
  EXPECT_TRUE(KeySet::parse(set_of({one, rsa})));  // kid and alg together are clear
  const struct {
    std::string text, error;
  } rows[] = {
      {"", "no JSON"},
      {"<html>", "no JSON"},
      {"[]", "no list \"keys\""},
      {"{}", "no list \"keys\""},
      {R"({"keys":{}})", "no list \"keys\""},
      {R"({"keys":[],"keys":[]})", "the same name twice"},
      {R"({"keys":[]})", "no key that can be used"},
      {set_of({R"({"kty":"AKP"})"}), "no key that can be used: 1 of unknown type"},
      {set_of({R"({"kty":"RSA"})"}), "(key 1: \"n\" is missing, or no text)"},
      {set_of({one, other}), "key 2 has the kid and the algorithm of another key"},
      {set_of({one, std::string(kEd25519Key)}), "key 2: the key was published with its private half"},
      {set_of({one, std::string(kHs256Key)}), "key 2: the key was published with its private half"},
      {set_of({one}) + "x", "something behind the value"},
      {set_of({one}).substr(0, 100), "no JSON"},
  };
  for (const auto& row : rows) EXPECT_THAT(error_of(KeySet::parse(row.text)), HasSubstr(row.error)) << row.text;
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(KeySet, HasLimits) {
  std::string many = R"({"keys":[)" + std::string(kEs256PublicKey);
  for (std::size_t i = 1; i < kMaxKeys; ++i) many += ",{}";
  EXPECT_TRUE(KeySet::parse(many + "]}"));
  EXPECT_THAT(error_of(KeySet::parse(many + ",{}]}")), HasSubstr("more than 100 keys"));
  const std::string padding(kMaxKeySetText, ' ');
  EXPECT_THAT(error_of(KeySet::parse(set_of({std::string(kEs256PublicKey)}) + padding)), HasSubstr("too long"));
  EXPECT_THAT(error_of(KeySet::parse(R"({"keys":)" + std::string(100'000, '['))), HasSubstr("nested too deep"));
}

TEST(KeySet, OursMayBeEmptyButNotUnclear) {
  EXPECT_EQ(KeySet::of({})->to_json(), "{\"keys\":[]}");
  const PublicKey key = PrivateKey::generate(Algorithm::ES256, "k")->public_key();
  EXPECT_THAT(error_of(KeySet::of({key, key})), HasSubstr("same kid"));
}

}  // namespace
}  // namespace postern::jose
