#include "issuer/issuer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jose/json.h"
#include "jose/jwk_set.h"
#include "jose/jwt.h"

namespace postern::issuer {
namespace {

using jose::Algorithm;
using jose::Json;
using jose::PrivateKey;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr WallTime kNow{seconds(1'700'000'000)};
constexpr std::string_view kUrl = "https://id.example.com/tenant";
constexpr std::string_view kAudience = "https://orders.internal";

class Issuers : public ::testing::Test {
 protected:
  // Keys in the order of the calls; the rotation is the default one: 24 h, 30 d, 24 h.
  void add(Algorithm algorithm, WallTime when = kNow) {
    auto key = std::make_shared<const PrivateKey>(PrivateKey::generate(algorithm).value());
    ASSERT_TRUE(ring_.add(key->kid(), algorithm, when, {}));
    const auto entries = ring_.entries();
    keys_.push_back({*std::ranges::find(entries, key->kid(), &KeyRing::Entry::kid), key});
  }
  [[nodiscard]] Result<std::shared_ptr<const Issuer>> make(std::vector<Algorithm> algorithms,
                                                           std::string_view url = kUrl) const {
    return Issuer::make({.url = std::string(url), .algorithms = std::move(algorithms)}, ring_, keys_);
  }
  [[nodiscard]] const std::string& kid(std::size_t index) const { return keys_[index].entry.kid; }

  KeyRing ring_;
  std::vector<IssuerKey> keys_;
  SystemEntropy entropy_;
};

std::vector<std::string> paths(const Issuer& issuer, WallTime now) {
  std::vector<std::string> out;
  for (const Document& document : issuer.documents(now)) out.push_back(document.path);
  return out;
}

std::string body(const Issuer& issuer, std::string_view path, WallTime now) {
  for (const Document& document : issuer.documents(now)) {
    if (document.path == path) return document.body;
  }
  return "none";
}

jose::KeySet key_set(const Issuer& issuer, WallTime now, std::string_view path = "/tenant/.well-known/jwks.json") {
  return jose::KeySet::parse(body(issuer, path, now)).value();
}

std::vector<std::string> kids(const Issuer& issuer, WallTime now) {
  std::vector<std::string> out;
  for (const Document& document : issuer.documents(now)) {
    if (!document.path.ends_with("jwks.json")) continue;
    const jose::KeySet set = jose::KeySet::parse(document.body).value();
    for (const jose::PublicKey& key : set.keys()) out.push_back(key.kid());
  }
  return out;
}

// Strictly: no leeway, and a life that is back_date longer than the lifetime.
jose::TokenResult<jose::Claims> verify(std::string_view token, const jose::KeySet& keys, WallTime now,
                                       std::string_view url = kUrl) {
  const std::array<std::string_view, 1> audiences = {kAudience};
  return jose::verify_jwt(
      token, keys,
      {.issuer = url, .audiences = audiences, .now = now, .max_lifetime = minutes(5) + seconds(30), .type = "JWT"});
}

TEST_F(Issuers, SignsWhatItsOwnKeySetVerifies) {
  add(Algorithm::RS256);
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::RS256, Algorithm::ES256}).value();
  for (const std::optional<Algorithm> algorithm : {std::optional<Algorithm>(), std::optional(Algorithm::ES256)}) {
    const SignedToken made =
        issuer->sign({.subject = "gateway:a", .audience = kAudience, .algorithm = algorithm}, kNow, entropy_).value();
    const auto claims = verify(made.token, key_set(*issuer, kNow), kNow);
    ASSERT_TRUE(claims);
    EXPECT_EQ(claims->subject(), "gateway:a");
    ASSERT_TRUE(claims->json().find_string("aud")) << "a text, never a list";
    EXPECT_EQ(*claims->json().find_string("aud"), kAudience);
    EXPECT_EQ(claims->issued_at(), kNow - seconds(30));
    EXPECT_EQ(claims->not_before(), kNow - seconds(30));
    EXPECT_EQ(claims->expires(), kNow + minutes(5));
    EXPECT_EQ(made.expires, kNow + minutes(5));
    EXPECT_EQ(made.issued_at, kNow);
    EXPECT_EQ(claims->jwt_id().size(), 22u) << "128 bits";
    EXPECT_EQ(claims->json().if_object()->size(), 7u) << "and nothing else";
    const auto parsed = jose::Jws::parse(made.token).value();
    EXPECT_EQ(parsed.header().kid, kid(algorithm ? 1 : 0));
    EXPECT_EQ(parsed.header().algorithm, algorithm.value_or(Algorithm::RS256));
    EXPECT_FALSE(verify(made.token, key_set(*issuer, kNow), kNow + minutes(5))) << "it ends";
    EXPECT_FALSE(verify(made.token, key_set(*issuer, kNow), kNow - seconds(31))) << "it begins";
    EXPECT_FALSE(verify(made.token, key_set(*issuer, kNow), kNow, "https://id.example.com")) << "exactly this issuer";
  }
}

TEST_F(Issuers, NeverLivesLongerThanMeant) {
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::ES256}).value();
  const WallTime odd = kNow + std::chrono::milliseconds(999);
  const SignedToken made =
      issuer->sign({.subject = "s", .audience = kAudience, .lifetime = seconds(60)}, odd, entropy_).value();
  EXPECT_EQ(made.expires, kNow + seconds(60));
  EXPECT_EQ(verify(made.token, key_set(*issuer, odd), odd)->expires(), made.expires) << "what is said is in the token";
}

TEST_F(Issuers, NoTokenIsLikeAnother) {
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::ES256}).value();
  const TokenRequest request{.subject = "s", .audience = kAudience};
  const std::string a = issuer->sign(request, kNow, entropy_)->token;
  const std::string b = issuer->sign(request, kNow, entropy_)->token;
  const jose::KeySet keys = key_set(*issuer, kNow);
  EXPECT_NE(verify(a, keys, kNow)->jwt_id(), verify(b, keys, kNow)->jwt_id());
}

TEST_F(Issuers, WritesFurtherClaimsAndItsType) {
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::ES256}).value();
  using Claim = std::pair<std::string_view, std::string_view>;
  const std::array<Claim, 2> more = {Claim{"htm", "POST"}, Claim{"scope", "a \"b\""}};
  TokenRequest request{.subject = "s", .audience = kAudience, .type = "at+jwt", .more = more};
  const std::string token = issuer->sign(request, kNow, entropy_)->token;
  const std::array<std::string_view, 1> audiences = {kAudience};
  const auto claims = jose::verify_jwt(token, key_set(*issuer, kNow),
                                       {.issuer = kUrl, .audiences = audiences, .now = kNow, .type = "at+jwt"});
  ASSERT_TRUE(claims);
  EXPECT_EQ(*claims->json().find_string("htm"), "POST");
  EXPECT_EQ(*claims->json().find_string("scope"), "a \"b\"");
  const std::array<Claim, 1> ours = {Claim{"iss", "https://elsewhere.example"}};
  request.more = ours;
  EXPECT_EQ(issuer->sign(request, kNow, entropy_).error().code(), Code::internal) << "a claim twice";
}

TEST_F(Issuers, RefusesTokensForNobody) {
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::ES256}).value();
  const auto refused = [&](const TokenRequest& request) {
    const auto made = issuer->sign(request, kNow, entropy_);
    return !made && made.error().code() == Code::internal && made.error().side() == Side::gateway;
  };
  EXPECT_FALSE(refused({.subject = "s", .audience = kAudience}));
  EXPECT_TRUE(refused({.subject = "", .audience = kAudience}));
  EXPECT_TRUE(refused({.subject = "s", .audience = ""}));
  EXPECT_TRUE(refused({.subject = "s", .audience = kAudience, .algorithm = Algorithm::RS256})) << "not one of its own";
  EXPECT_TRUE(refused({.subject = "s", .audience = kAudience, .lifetime = seconds(0)}));
  EXPECT_TRUE(refused({.subject = "s", .audience = kAudience, .lifetime = seconds(-5)}));
  EXPECT_FALSE(refused({.subject = "s", .audience = kAudience, .lifetime = hours(1)}));
  EXPECT_TRUE(refused({.subject = "s", .audience = kAudience, .lifetime = hours(1) + seconds(1)}));
}

TEST_F(Issuers, PublishesDiscovery) {
  add(Algorithm::RS256);
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::RS256, Algorithm::ES256}).value();
  EXPECT_THAT(paths(*issuer, kNow),
              ElementsAre("/tenant/.well-known/openid-configuration", "/tenant/.well-known/jwks.json"));
  EXPECT_EQ(body(*issuer, "/tenant/.well-known/openid-configuration", kNow),
            R"({"issuer":"https://id.example.com/tenant",)"
            R"("jwks_uri":"https://id.example.com/tenant/.well-known/jwks.json",)"
            R"("response_types_supported":["id_token"],"subject_types_supported":["public"],)"
            R"("id_token_signing_alg_values_supported":["RS256","ES256"],)"
            R"("claims_supported":["iss","sub","aud","iat","nbf","exp","jti"]})");
  const auto bare = make({Algorithm::RS256}, "https://id.example.com").value();
  EXPECT_THAT(paths(*bare, kNow), ElementsAre("/.well-known/openid-configuration", "/.well-known/jwks.json"));
}

TEST_F(Issuers, PublishesNumbersAndNothingElse) {
  add(Algorithm::RS256);
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::RS256}).value();
  const auto json = Json::parse(body(*issuer, "/tenant/.well-known/jwks.json", kNow)).value();
  std::vector<std::string> names;
  for (const Json& key : *json.find("keys")->if_array()) {
    for (const Json::Member& member : *key.if_object()) names.push_back(member.name);
  }
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("kty", "use", "alg", "kid", "n", "e",  // the RSA key
                                                     "kty", "use", "alg", "kid", "crv", "x", "y"));
}

TEST_F(Issuers, EdDsaHasAnIssuerOfItsOwn) {
  add(Algorithm::RS256);
  add(Algorithm::EdDSA);
  const auto issuer = make({Algorithm::RS256, Algorithm::EdDSA}).value();
  EXPECT_THAT(paths(*issuer, kNow),
              ElementsAre("/tenant/.well-known/openid-configuration", "/tenant/.well-known/jwks.json",
                          "/tenant/eddsa/.well-known/openid-configuration", "/tenant/eddsa/.well-known/jwks.json"));
  EXPECT_THAT(body(*issuer, "/tenant/.well-known/openid-configuration", kNow), Not(HasSubstr("EdDSA")));
  EXPECT_FALSE(key_set(*issuer, kNow).has_kid(kid(1)));
  EXPECT_THAT(body(*issuer, "/tenant/eddsa/.well-known/openid-configuration", kNow),
              AllOf(HasSubstr(R"("issuer":"https://id.example.com/tenant/eddsa",)"), HasSubstr(R"(["EdDSA"])")));
  const std::string token =
      issuer->sign({.subject = "s", .audience = kAudience, .algorithm = Algorithm::EdDSA}, kNow, entropy_)->token;
  const jose::KeySet keys = key_set(*issuer, kNow, "/tenant/eddsa/.well-known/jwks.json");
  EXPECT_TRUE(verify(token, keys, kNow, "https://id.example.com/tenant/eddsa"));
  EXPECT_FALSE(verify(token, keys, kNow)) << "not the other issuer's";
  EXPECT_EQ(issuer->url(Algorithm::EdDSA), "https://id.example.com/tenant/eddsa");
  EXPECT_EQ(issuer->url(Algorithm::RS256), kUrl);
}

TEST_F(Issuers, EdDsaAloneLeavesTheOtherPathEmpty) {
  add(Algorithm::EdDSA);
  const auto issuer = make({Algorithm::EdDSA}).value();
  EXPECT_THAT(paths(*issuer, kNow),
              ElementsAre("/tenant/eddsa/.well-known/openid-configuration", "/tenant/eddsa/.well-known/jwks.json"));
}

TEST_F(Issuers, RotatesAsItsRingSays) {
  const auto day = [](int n) { return kNow + hours(24 * n); };
  add(Algorithm::ES256);
  add(Algorithm::ES256, day(29));
  const auto issuer = make({Algorithm::ES256}).value();
  const auto signer = [&](WallTime now) {
    const auto made = issuer->sign({.subject = "s", .audience = kAudience}, now, entropy_);
    return jose::Jws::parse(made->token)->header().kid;
  };
  std::vector<std::string> seen;
  std::optional<WallTime> next = day(29);
  for (; next && *next < day(40); next = issuer->next_change(*next)) {
    const std::vector<std::string> before = kids(*issuer, *next - seconds(1));
    const std::vector<std::string> after = kids(*issuer, *next);
    seen.push_back(std::to_string((*next - kNow) / hours(24)) + ":" + std::to_string(before.size()) + ">" +
                   std::to_string(after.size()) + (signer(*next) == kid(0) ? " first" : " second"));
    EXPECT_THAT(after, ::testing::Contains(signer(*next))) << "what signs is published";
  }
  EXPECT_THAT(seen, ElementsAre("29:2>2 first", "30:2>2 second", "31:2>1 second"));
  EXPECT_THAT(kids(*issuer, day(31)), ElementsAre(kid(1)));
  // A token that was signed in the last moment is good as long as it lives.
  const std::string last = issuer->sign({.subject = "s", .audience = kAudience}, day(30) - seconds(1), entropy_)->token;
  EXPECT_TRUE(verify(last, key_set(*issuer, day(30) + minutes(4)), day(30) + minutes(4)));
}

TEST_F(Issuers, PublishesWhatItDoesNotSignWithAnyMore) {
  add(Algorithm::RS256);
  add(Algorithm::ES256);
  const auto issuer = make({Algorithm::RS256}).value();
  EXPECT_THAT(kids(*issuer, kNow), ElementsAre(kid(0), kid(1)));
  EXPECT_FALSE(issuer->sign({.subject = "s", .audience = kAudience, .algorithm = Algorithm::ES256}, kNow, entropy_));
}

TEST_F(Issuers, NeedsAKeyForEverything) {
  add(Algorithm::RS256);
  add(Algorithm::ES256);
  const auto why = [&](const auto& made) { return made ? std::string() : std::string(made.error().detail()); };
  EXPECT_EQ(why(make({Algorithm::RS256, Algorithm::ES384})), "issuer: no key for ES384");
  EXPECT_EQ(why(make({})), "issuer: no algorithm");
  std::swap(keys_[0].key, keys_[1].key);
  EXPECT_EQ(why(make({Algorithm::RS256})), "issuer: " + kid(0) + " stands for another key");
  keys_.erase(keys_.begin());
  EXPECT_EQ(why(make({Algorithm::RS256})), "issuer: no private key for " + ring_.entries()[0].kid);
}

}  // namespace
}  // namespace postern::issuer
