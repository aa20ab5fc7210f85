#include "issuer/issuer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "jose/json.h"
#include "jose/jwk_set.h"
#include "jose/jwt.h"

namespace postern::issuer {
namespace {

using namespace std::chrono_literals;
using jose::Algorithm;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));
constexpr std::string_view kUrl = "https://id.example.com/postern";

class IssuerTest : public ::testing::Test {
 protected:
  std::string add(Algorithm algorithm, WallTime now = kNow, KeyRing::When when = KeyRing::When::after_lead) {
    auto key = std::make_shared<const jose::PrivateKey>(std::move(*jose::PrivateKey::generate(algorithm)));
    EXPECT_TRUE(ring.add(key->kid(), algorithm, now, options.rotation, when));
    keys.push_back({{}, key});
    return key->kid();
  }
  std::shared_ptr<const Issuer> make() {
    options.url = kUrl;
    Result<std::shared_ptr<const Issuer>> made = Issuer::make(options, ring, keys);
    EXPECT_TRUE(made) << made.error().detail();
    return made ? *made : nullptr;
  }
  static std::string document(const Issuer& issuer, std::string_view path, WallTime now = kNow) {
    for (const Document& one : issuer.documents(now)) {
      if (one.path == path) return one.body;
    }
    return {};
  }
  static bool verifies(const SignedToken& token, const std::string& key_set, std::string_view issuer, WallTime now) {
    const Result<jose::KeySet> set = jose::KeySet::parse(key_set);
    if (!set) return false;
    static constexpr std::array<std::string_view, 1> kAudiences = {"orders"};
    return jose::verify_jwt(token.token, *set,
                            {.issuer = issuer, .audiences = kAudiences, .subject = "gateway", .now = now})
        .has_value();
  }

  IssuerOptions options;
  KeyRing ring;
  std::vector<IssuerKey> keys;
  SystemEntropy entropy;
  const TokenRequest request{.subject = "gateway", .audience = "orders"};
};

TEST_F(IssuerTest, what_it_signs_is_verified_by_what_it_publishes_and_by_nothing_else) {
  options.algorithms = {Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA};
  for (const Algorithm algorithm : options.algorithms) add(algorithm);
  const auto issuer = make();
  ASSERT_TRUE(issuer);
  const std::string main = document(*issuer, "/postern/.well-known/jwks.json");
  const std::string eddsa = document(*issuer, "/postern/eddsa/.well-known/jwks.json");
  for (const Algorithm algorithm : options.algorithms) {
    TokenRequest wanted = request;
    wanted.algorithm = algorithm;
    const Result<SignedToken> token = issuer->sign(wanted, kNow, entropy);
    ASSERT_TRUE(token) << token.error().detail();
    const bool own = algorithm == Algorithm::EdDSA;
    const std::string url = own ? std::string(kUrl) + "/eddsa" : std::string(kUrl);
    EXPECT_EQ(issuer->url(algorithm), url);
    EXPECT_TRUE(verifies(*token, own ? eddsa : main, url, kNow)) << jose::name_of(algorithm);
    EXPECT_FALSE(verifies(*token, own ? main : eddsa, url, kNow));
  }
  EXPECT_THAT(main, Not(HasSubstr("OKP"))) << "clouds never see a key that they do not take";
}

TEST_F(IssuerTest, claims_are_those_that_every_cloud_takes) {
  options.algorithms = {Algorithm::ES256};
  const std::string kid = add(Algorithm::ES256);
  const auto issuer = make();
  const Result<SignedToken> token = issuer->sign(request, kNow + 500ms, entropy);
  ASSERT_TRUE(token);
  const auto jws = jose::Jws::parse(token->token);
  ASSERT_TRUE(jws);
  EXPECT_EQ(jws->header().kid, kid);
  EXPECT_EQ(jws->header().type, "JWT");
  const Result<jose::KeySet> set = jose::KeySet::parse(document(*issuer, "/postern/.well-known/jwks.json"));
  ASSERT_TRUE(set);
  static constexpr std::array<std::string_view, 1> kAudiences = {"orders"};
  const auto claims = jose::verify_jwt(token->token, *set, {.issuer = kUrl, .audiences = kAudiences, .now = kNow});
  ASSERT_TRUE(claims);
  EXPECT_THAT(claims->audience(), ElementsAre("orders"));
  EXPECT_EQ(claims->issued_at(), kNow - 30s);
  EXPECT_EQ(claims->not_before(), kNow - 30s);
  EXPECT_EQ(claims->expires(), kNow + 5min);
  EXPECT_EQ(token->expires, kNow + 5min);
  EXPECT_EQ(claims->jwt_id().size(), 22u);
  const Result<SignedToken> again = issuer->sign(request, kNow, entropy);
  EXPECT_NE(again->token, token->token);
}

TEST_F(IssuerTest, discovery_says_where_the_keys_are) {
  options.algorithms = {Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA};
  for (const Algorithm algorithm : options.algorithms) add(algorithm);
  const auto issuer = make();
  std::vector<std::string> paths;
  for (const Document& one : issuer->documents(kNow)) paths.push_back(one.path);
  EXPECT_EQ(paths, document_paths(options));
  const std::string main = document(*issuer, "/postern/.well-known/openid-configuration");
  EXPECT_THAT(main, HasSubstr(R"("issuer":"https://id.example.com/postern")"));
  EXPECT_THAT(main, HasSubstr(R"("jwks_uri":"https://id.example.com/postern/.well-known/jwks.json")"));
  EXPECT_THAT(main, HasSubstr(R"("id_token_signing_alg_values_supported":["RS256","ES256"])"));
  const std::string eddsa = document(*issuer, "/postern/eddsa/.well-known/openid-configuration");
  EXPECT_THAT(eddsa, HasSubstr(R"("issuer":"https://id.example.com/postern/eddsa")"));
  EXPECT_THAT(eddsa, HasSubstr(R"(["EdDSA"])"));
}

TEST_F(IssuerTest, a_key_is_published_before_it_signs_and_after_it_has_signed) {
  options.algorithms = {Algorithm::ES256};
  const std::string first = add(Algorithm::ES256);
  const WallTime rotation = kNow + 24h * 29;
  const std::string second = add(Algorithm::ES256, rotation);
  const auto issuer = make();
  const auto signed_by = [&](WallTime now) {
    return jose::Jws::parse(issuer->sign(request, now, entropy)->token)->header().kid;
  };
  const auto published = [&](WallTime now) {
    std::vector<std::string> kids;
    const auto set = jose::KeySet::parse(document(*issuer, "/postern/.well-known/jwks.json", now));
    for (const jose::PublicKey& key : set->keys()) kids.push_back(key.kid());
    return kids;
  };
  EXPECT_EQ(signed_by(rotation), first);
  EXPECT_THAT(published(rotation), ElementsAre(first, second));
  EXPECT_EQ(signed_by(rotation + 24h), second);
  EXPECT_THAT(published(rotation + 24h), ElementsAre(first, second));
  EXPECT_THAT(published(rotation + 48h), ElementsAre(second));
  EXPECT_EQ(issuer->next_change(rotation), rotation + 24h);
}

TEST_F(IssuerTest, is_not_made_without_the_keys_that_it_needs) {
  options.url = kUrl;
  options.algorithms = {Algorithm::ES256, Algorithm::RS256};
  add(Algorithm::ES256);
  EXPECT_FALSE(Issuer::make(options, ring, keys)) << "none for RS256";
  options.algorithms = {Algorithm::ES256};
  EXPECT_TRUE(Issuer::make(options, ring, keys));
  EXPECT_FALSE(Issuer::make(options, ring, {})) << "the ring names one that is not there";
  const auto issuer = *Issuer::make(options, ring, keys);
  TokenRequest other = request;
  other.algorithm = Algorithm::RS256;
  EXPECT_FALSE(issuer->sign(other, kNow, entropy));
}

}  // namespace
}  // namespace postern::issuer
