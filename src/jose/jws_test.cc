#include "jose/jws.h"

#include <gtest/gtest.h>
#include <openssl/err.h>

#include <string>
#include <utility>

#include "jose/base64url.h"
#include "jose/jwk.h"
#include "jose/test_vectors.h"

namespace postern::jose {
namespace {

using namespace test;

PublicKey public_key(std::string_view jwk, Algorithm rsa_algorithm = Algorithm::RS256) {
  auto key = public_key_from_jwk(Json::parse(jwk).value(), Owner::stranger, rsa_algorithm);
  EXPECT_TRUE(key) << key.error().detail;
  return std::move(*key);
}

// What verifying gives: the payload, or the fault as text.
template <typename Keys>
std::string outcome(std::string_view token, const Keys& keys) {
  const auto jws = Jws::parse(token);
  if (!jws) return std::string(text_of(jws.error()));
  auto payload = jws->verify(keys);
  EXPECT_EQ(ERR_peek_error(), 0u);
  return payload ? payload->text() : std::string(text_of(payload.error()));
}
template <typename Keys>
TokenFault fault(std::string_view token, const Keys& keys) {
  const auto jws = Jws::parse(token);
  if (!jws) return jws.error();
  const auto payload = jws->verify(keys);
  EXPECT_FALSE(payload) << token;
  return payload ? TokenFault::not_compact : payload.error();
}
TokenFault fault_of_form(std::string_view token) {
  const auto jws = Jws::parse(token);
  EXPECT_FALSE(jws) << token;
  return jws ? TokenFault::bad_signature : jws.error();
}

std::string token_of(std::string_view header, std::string_view payload = "{}", std::string_view signature = "x") {
  return to_base64url(header) + "." + to_base64url(payload) + "." + to_base64url(signature);
}
// Signed for real, with any header.
template <typename Key>
std::string sign_with_header(const Key& key, std::string_view header, std::string_view payload = "{}") {
  const std::string input = to_base64url(header) + "." + to_base64url(payload);
  return input + "." + to_base64url(key.sign(input).value());
}

TEST(Jws, TheExamplesOfTheRfcsVerify) {
  EXPECT_EQ(outcome(kHs256Token, symmetric_key_from_jwk(kHs256Key, Algorithm::HS256).value()), kJoe);
  EXPECT_EQ(outcome(kRs256Token, public_key(kRs256PublicKey)), kJoe);
  EXPECT_EQ(outcome(kEs256Token, public_key(kEs256PublicKey)), kJoe);
  EXPECT_EQ(outcome(kEd25519Token, public_key(kEd25519PublicKey)), "Example of Ed25519 signing");
  const std::string frodo = from_base64url(kCookbookPayload).value();
  EXPECT_EQ(outcome(kCookbookRs256, public_key(kCookbookRsa)), frodo);
  EXPECT_EQ(outcome(kCookbookPs384, public_key(kCookbookRsa, Algorithm::PS384)), frodo);
  EXPECT_EQ(outcome(kCookbookHs256, symmetric_key_from_jwk(kCookbookSecret).value()), frodo);
  EXPECT_EQ(fault_of_form(kCookbookEs512), TokenFault::algorithm_refused);
}

// RS256, HS256 and EdDSA are deterministic: the same bytes come out.
TEST(Jws, TheExamplesOfTheRfcsAreSigned) {
  const std::string_view input = kRs256Token.substr(0, kRs256Token.rfind('.'));
  const PrivateKey rsa = private_key_from_jwk(kRs256Key, Algorithm::RS256).value();
  EXPECT_EQ(std::string(input) + "." + to_base64url(rsa.sign(input).value()), kRs256Token);
  const std::string_view hs_input = kHs256Token.substr(0, kHs256Token.rfind('.'));
  const SymmetricKey secret = symmetric_key_from_jwk(kHs256Key, Algorithm::HS256).value();
  EXPECT_EQ(std::string(hs_input) + "." + to_base64url(secret.sign(hs_input).value()), kHs256Token);

  const PrivateKey ed = private_key_from_jwk(kEd25519Key).value();
  EXPECT_EQ(sign_jws(ed, "Example of Ed25519 signing", {.type = "", .key_id = JwsOptions::KeyId::omitted}).value(),
            kEd25519Token);
  const PrivateKey ec = private_key_from_jwk(kEs256Key).value();
  EXPECT_EQ(outcome(sign_jws(ec, kJoe).value(), public_key(kEs256PublicKey)), kJoe);
}

TEST(Jws, WritesItsHeader) {
  const PrivateKey key = PrivateKey::generate(Algorithm::ES256, "k1").value();
  const std::pair<std::string_view, std::string_view> more[] = {{"x5t#S256", "abc"}, {"cty", "x"}};
  const auto header_of = [](const Result<std::string>& token) {
    return from_base64url(token->substr(0, token->find('.'))).value();
  };
  EXPECT_EQ(header_of(sign_jws(key, "{}")), R"({"alg":"ES256","typ":"JWT","kid":"k1"})");
  EXPECT_EQ(header_of(sign_jws(key, "{}", {.type = "at+jwt", .more = more})),
            R"({"alg":"ES256","typ":"at+jwt","kid":"k1","x5t#S256":"abc","cty":"x"})");
  EXPECT_EQ(header_of(sign_jws(key, "{}", {.type = "", .key_id = JwsOptions::KeyId::omitted})), R"({"alg":"ES256"})");
  for (const std::string_view name : {"alg", "typ", "kid", "crit", "b64"}) {
    const std::pair<std::string_view, std::string_view> reserved[] = {{name, "x"}};
    EXPECT_FALSE(sign_jws(key, "{}", {.more = reserved})) << name;
  }
  const std::pair<std::string_view, std::string_view> twice[] = {{"cty", "x"}, {"cty", "x"}};
  EXPECT_FALSE(sign_jws(key, "{}", {.more = twice}));
  EXPECT_TRUE(sign_jws(key, std::string(12'000, 'x')));
  EXPECT_FALSE(sign_jws(key, std::string(12'500, 'x')));
}

TEST(Jws, IsThreePartsOfBase64url) {
  const std::string good(kEd25519Token);
  const std::size_t first = good.find('.');
  const std::size_t second = good.rfind('.');
  EXPECT_EQ(fault_of_form(""), TokenFault::not_compact);
  EXPECT_EQ(fault_of_form("."), TokenFault::not_compact);
  EXPECT_EQ(fault_of_form(good.substr(0, second)), TokenFault::not_compact);
  EXPECT_EQ(fault_of_form(good + "."), TokenFault::not_compact);
  EXPECT_EQ(fault_of_form(good + ".x.y"), TokenFault::not_compact);  // as JWE has
  EXPECT_EQ(fault_of_form(".."), TokenFault::bad_header);
  EXPECT_EQ(fault_of_form(" " + good), TokenFault::bad_encoding);
  EXPECT_EQ(fault_of_form(good + "="), TokenFault::bad_encoding);
  EXPECT_EQ(fault_of_form(good + "\n"), TokenFault::bad_encoding);
  EXPECT_EQ(fault_of_form(std::string(good).insert(first, "=")), TokenFault::bad_encoding);
  EXPECT_EQ(fault_of_form(std::string(good).insert(second, "+")), TokenFault::bad_encoding);
  // The last digit of 86 holds four bits that say nothing.
  std::string other = good;
  other.back() = 'h';
  EXPECT_EQ(fault_of_form(other), TokenFault::bad_encoding);
  EXPECT_EQ(fault_of_form(std::string(kMaxToken, 'A')), TokenFault::not_compact);
  EXPECT_EQ(fault_of_form(std::string(kMaxToken + 1, 'A')), TokenFault::too_large);
  EXPECT_EQ(fault_of_form(token_of(R"({"alg":"ES256","x":")" + std::string(kMaxTokenHeader, 'x') + "\"}")),
            TokenFault::bad_header);
}

TEST(Jws, AsLargeAsItMayBe) {
  const SymmetricKey key = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value();
  std::size_t most = 12'300;
  while (!sign_jws(key, std::string(most, 'x'))) --most;
  const std::string token = sign_jws(key, std::string(most, 'x')).value();
  EXPECT_GT(token.size(), kMaxToken - 4);
  EXPECT_LE(token.size(), kMaxToken);
  EXPECT_EQ(outcome(token, key), std::string(most, 'x'));
}

TEST(Jws, AHeaderIsReadOneWay) {
  const struct {
    std::string_view header;
    TokenFault fault;
  } rows[] = {
      {"", TokenFault::bad_header},
      {"null", TokenFault::bad_header},
      {"[]", TokenFault::bad_header},
      {R"("ES256")", TokenFault::bad_header},
      {R"({"alg":"ES256")", TokenFault::bad_header},
      {R"({"alg":"ES256"} {})", TokenFault::bad_header},
      {R"({"alg":"none","alg":"ES256"})", TokenFault::bad_header},
      {R"({"alg":"ES256","\u0061lg":"none"})", TokenFault::bad_header},
      {R"({"alg":"ES256","x":{"y":1,"y":1}})", TokenFault::bad_header},
      {R"({"alg":"ES256","x":[[[[[[[[[1]]]]]]]]]})", TokenFault::bad_header},
      {R"({"alg":["ES256"]})", TokenFault::bad_header},
      {R"({"alg":null})", TokenFault::bad_header},
      {R"({"alg":256})", TokenFault::bad_header},
      {R"({"alg":"ES256","kid":1})", TokenFault::bad_header},
      {R"({"alg":"ES256","kid":null})", TokenFault::bad_header},
      {R"({"alg":"ES256","typ":{}})", TokenFault::bad_header},
      {"{\"alg\":\"ES256\",\"typ\":\"\xff\"}", TokenFault::bad_header},
      {R"({})", TokenFault::algorithm_missing},
      {R"({"typ":"JWT"})", TokenFault::algorithm_missing},
      {R"({"alg":""})", TokenFault::algorithm_refused},
      {R"({"alg":"none"})", TokenFault::algorithm_refused},
      {R"({"alg":"NoNe"})", TokenFault::algorithm_refused},
      {R"({"alg":"None"})", TokenFault::algorithm_refused},
      {R"({"alg":"es256"})", TokenFault::algorithm_refused},
      {R"({"alg":"ES256 "})", TokenFault::algorithm_refused},
      {R"({"alg":"ES256\u0000"})", TokenFault::algorithm_refused},
      {R"({"alg":"ES256K"})", TokenFault::algorithm_refused},
      {R"({"alg":"RSA-OAEP","enc":"A128GCM"})", TokenFault::algorithm_refused},
      {R"({"alg":"ES256","crit":["exp"]})", TokenFault::critical_header},
      {R"({"alg":"ES256","crit":[]})", TokenFault::critical_header},
      {R"({"alg":"ES256","crit":"exp"})", TokenFault::critical_header},
      {R"({"alg":"ES256","crit":null})", TokenFault::critical_header},
      {R"({"alg":"ES256","b64":false})", TokenFault::critical_header},
      {R"({"alg":"ES256","b64":false,"crit":["b64"]})", TokenFault::critical_header},
      {R"({"alg":"none","crit":["exp"]})", TokenFault::critical_header},
      {R"({"alg":"ES256","kid":""})", TokenFault::bad_header},
      {R"({"alg":"ES256","kid":"k1\u0000"})", TokenFault::bad_header},
      {R"({"alg":"ES256","kid":"k1\n"})", TokenFault::bad_header},
      {R"({"alg":"ES256","kid":"k 1"})", TokenFault::bad_header},
  };
  for (const auto& row : rows) EXPECT_EQ(fault_of_form(token_of(row.header)), row.fault) << row.header;
  EXPECT_EQ(fault_of_form(kUnsecuredToken), TokenFault::algorithm_refused);
}

class JwsKeys : public ::testing::Test {
 protected:
  static KeySet set_of(std::vector<PublicKey> keys) { return KeySet::of(std::move(keys)).value(); }
  const PrivateKey one_ = PrivateKey::generate(Algorithm::ES256, "one").value();
  const PrivateKey two_ = PrivateKey::generate(Algorithm::ES256, "two").value();
  const PrivateKey ed_ = PrivateKey::generate(Algorithm::EdDSA, "ed").value();
  const KeySet set_ = set_of({one_.public_key(), two_.public_key(), ed_.public_key()});
};

TEST_F(JwsKeys, KidAndAlgChooseAmongTheKeysOfTheSet) {
  EXPECT_EQ(outcome(sign_jws(one_, "{}").value(), set_), "{}");
  EXPECT_EQ(outcome(sign_jws(two_, "{}").value(), set_), "{}");
  EXPECT_EQ(outcome(sign_jws(ed_, "{}").value(), set_), "{}");
  EXPECT_EQ(fault(sign_with_header(one_, R"({"alg":"ES256","kid":"two"})"), set_), TokenFault::bad_signature);
  EXPECT_EQ(fault(sign_with_header(one_, R"({"alg":"ES256","kid":"ed"})"), set_), TokenFault::algorithm_mismatch);
  EXPECT_EQ(fault(sign_with_header(one_, R"({"alg":"EdDSA","kid":"one"})"), set_), TokenFault::algorithm_mismatch);
  // Without kid only an algorithm with one key is clear.
  EXPECT_EQ(outcome(sign_with_header(ed_, R"({"alg":"EdDSA"})"), set_), "{}");
  EXPECT_EQ(fault(sign_with_header(one_, R"({"alg":"ES256"})"), set_), TokenFault::ambiguous_key);
  EXPECT_EQ(fault(sign_with_header(one_, R"({"alg":"RS256"})"), set_), TokenFault::unknown_key);
}

TEST_F(JwsKeys, KidIsAnIndexAndNothingElse) {
  for (const std::string_view kid : {"three", "ONE", "one.", "../../../../dev/null", "/etc/passwd",
                                     "https://attacker.example/jwks", "one'OR'1'='1", "*", "0"}) {
    const std::string header = R"({"alg":"ES256","kid":")" + std::string(kid) + "\"}";
    EXPECT_EQ(fault(sign_with_header(one_, header), set_), TokenFault::unknown_key) << kid;
  }
  EXPECT_EQ(fault_of_form(token_of(R"({"alg":"ES256","kid":")" + std::string(kMaxKeyId + 1, 'x') + "\"}")),
            TokenFault::bad_header);
}

TEST_F(JwsKeys, KeysInTheHeaderAreNoKeys) {
  const PrivateKey attacker = PrivateKey::generate(Algorithm::ES256, "one").value();
  const std::string jwk = attacker.public_key().to_jwk();
  for (const std::string& header :
       {R"({"alg":"ES256","kid":"one","jwk":)" + jwk + "}", R"({"alg":"ES256","jwk":)" + jwk + "}",
        std::string(R"({"alg":"ES256","kid":"one","jku":"https://attacker.example/jwks"})"),
        std::string(R"({"alg":"ES256","kid":"one","x5u":"https://attacker.example/x5u"})"),
        std::string(R"({"alg":"ES256","kid":"one","x5c":["MIIB"]})")}) {
    EXPECT_NE(outcome(sign_with_header(attacker, header), set_), "{}") << header;
    EXPECT_EQ(fault(sign_with_header(attacker, header), one_.public_key()), TokenFault::bad_signature) << header;
    // Nor do they harm: the set's own key still counts.
    EXPECT_EQ(outcome(sign_with_header(one_, header), one_.public_key()), "{}") << header;
  }
}

TEST_F(JwsKeys, APublicKeyIsNoSecret) {
  const PrivateKey rsa = private_key_from_jwk(kRs256Key, Algorithm::RS256).value();
  const KeySet set = set_of({rsa.public_key()});
  const std::string input = to_base64url(R"({"alg":"HS256","kid":")" + rsa.kid() + "\"}") + "." + to_base64url("{}");
  for (const std::string& secret : {rsa.public_key().to_pem(), rsa.public_key().to_jwk(), rsa.kid()}) {
    unsigned char mac[32];
    ASSERT_NE(EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, secret.data(), secret.size(),
                        reinterpret_cast<const unsigned char*>(input.data()), input.size(), mac, sizeof mac, nullptr),
              nullptr);
    const std::string token = input + "." + to_base64url({reinterpret_cast<const char*>(mac), sizeof mac});
    EXPECT_EQ(fault(token, set), TokenFault::algorithm_mismatch);
    EXPECT_EQ(fault(token, rsa.public_key()), TokenFault::algorithm_mismatch);
  }
  // The other way round, and between algorithms of one family.
  const SymmetricKey secret = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value();
  EXPECT_EQ(fault(sign_jws(rsa, "{}").value(), secret), TokenFault::algorithm_mismatch);
  EXPECT_EQ(fault(sign_with_header(rsa, R"({"alg":"RS512"})"), rsa.public_key()), TokenFault::algorithm_mismatch);
  EXPECT_EQ(fault(sign_with_header(rsa, R"({"alg":"PS256"})"), rsa.public_key()), TokenFault::algorithm_mismatch);
  EXPECT_EQ(fault(sign_with_header(secret, R"({"alg":"HS512"})"), secret), TokenFault::algorithm_mismatch);
}

TEST_F(JwsKeys, EveryByteOfATokenCounts) {
  const std::string token = sign_jws(one_, R"({"sub":"a"})").value();
  for (std::size_t i = 0; i < token.size(); ++i) {
    for (const char c : {'A', 'b', '0', '_', '.'}) {
      if (token[i] == c) continue;
      std::string changed = token;
      changed[i] = c;
      EXPECT_NE(outcome(changed, set_), R"({"sub":"a"})") << i << c;
    }
  }
  const std::size_t last = token.rfind('.');
  EXPECT_EQ(fault(token.substr(0, last + 1), set_), TokenFault::bad_signature);
  EXPECT_EQ(fault(token + "AAAA", set_), TokenFault::bad_signature);
  EXPECT_EQ(outcome(token, set_), R"({"sub":"a"})");
}

TEST(Jws, ComparesMediaTypes) {
  const auto of_type = [](std::string_view type) {
    return Jws::parse(token_of(R"({"alg":"ES256","typ":")" + std::string(type) + "\"}")).value();
  };
  EXPECT_TRUE(of_type("JWT").has_type("jwt"));
  EXPECT_TRUE(of_type("application/JWT").has_type("JWT"));
  EXPECT_TRUE(of_type("at+jwt").has_type("application/at+jwt"));
  EXPECT_FALSE(of_type("JWT").has_type("at+jwt"));
  EXPECT_FALSE(of_type("").has_type("JWT"));
  EXPECT_FALSE(of_type("text/JWT").has_type("JWT"));
  EXPECT_FALSE(of_type("application/x/JWT").has_type("x/JWT"));
}

}  // namespace
}  // namespace postern::jose
