#include "tokens/gcp.h"

#include <gmock/gmock.h>

#include "jose/jwt.h"
#include "tokens/cloud_test_support.h"
#include "tokens/gcp_test_support.h"

namespace postern::tokens {
namespace {

using namespace test;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view kScope = "https://www.googleapis.com/auth/cloud-platform";
constexpr std::string_view kDate = "Tue, 14 Nov 2023 22:13:20 GMT";  // when ManualClock begins
constexpr std::string_view kEmail = "gw@project.iam.gserviceaccount.com";
const std::vector<std::pair<std::string, std::string>> kFlavor = {{"metadata-flavor", "Google"},
                                                                  {"date", std::string(kDate)}};

std::unique_ptr<Source> must(Result<std::unique_ptr<Source>> made) {
  EXPECT_TRUE(made) << made.error().to_string();
  return std::move(*made);
}
std::string detail_of(const Result<std::unique_ptr<Source>>& made) {
  return made ? std::string() : std::string(made.error().detail());
}

// An ID token as Google would sign it, that ends after `life` from when ManualClock began.
std::string id_token(Duration life = 1h) {
  const auto key = jose::PrivateKey::from_pem(rsa_pem(), jose::Algorithm::RS256, "google");
  const WallTime now = ManualClock().wall();
  const auto payload = jose::ClaimsWriter()
                           .issuer("https://accounts.google.com")
                           .subject("1")
                           .audience("https://svc.a.run.app")
                           .issued_at(now)
                           .expires(now + life)
                           .finish();
  return *jose::sign_jws(*key, *payload);
}

// The claims of an assertion that the account signed for `audience`.
jose::Claims verified(std::string_view token, std::string_view audience, WallTime now) {
  const std::string_view audiences[] = {audience};
  jose::Expectations expected;
  expected.issuer = kEmail;
  expected.audiences = audiences;
  expected.now = now;
  expected.max_lifetime = 1h;
  expected.type = "JWT";
  auto claims = jose::verify_jwt(token, account()->key().public_key(), expected);
  EXPECT_TRUE(claims) << jose::text_of(claims.error());
  return std::move(*claims);
}

// ---- JWT bearer

TEST(GcpServiceAccount, SignsAnAssertionForItsScope) {
  World world;
  world.fetcher.answer(200, R"({"access_token":"ya29.c.abc","expires_in":3599,"token_type":"Bearer"})");
  const auto source = must(make_gcp_service_account({account(), GcpWanted::access(std::string(kScope)), "", ""}));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->token.reveal(), "ya29.c.abc");
  EXPECT_EQ(obtained->expires - world.clock.now(), 3599s);
  EXPECT_EQ(source->kind(), "gcp_access_token");

  const auto& asked = world.fetcher.asked.at(0);
  EXPECT_EQ(asked.url, "https://oauth2.googleapis.com/token");
  EXPECT_EQ(asked.content_type, "application/x-www-form-urlencoded");
  const auto form = form_fields(asked.body);
  EXPECT_EQ(form.size(), 2u);
  EXPECT_EQ(form.at("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
  const jose::Claims claims = verified(form.at("assertion"), asked.url, world.clock.wall());
  EXPECT_EQ(*claims.json().find_string("scope"), kScope);
  EXPECT_FALSE(claims.json().find("sub"));
  EXPECT_FALSE(claims.json().find("target_audience"));
  EXPECT_EQ(*claims.expires() - *claims.issued_at(), 1h);
  EXPECT_EQ(jose::Jws::parse(form.at("assertion"))->header().kid, account()->key().kid());
}

TEST(GcpServiceAccount, AsksForAnIdTokenAndReadsItsEnd) {
  World world;
  world.fetcher.answer(200, "{\"id_token\":\"" + id_token(50min) + "\"}", {{"date", std::string(kDate)}});
  const auto source = must(make_gcp_service_account({account(), GcpWanted::identity("https://svc.a.run.app"), "", ""}));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->token.reveal(), id_token(50min));
  EXPECT_EQ(obtained->expires - world.clock.now(), 50min);
  EXPECT_THAT(obtained->description, HasSubstr("https://svc.a.run.app"));
  EXPECT_THAT(std::string(obtained->token.reveal()), Not(HasSubstr(obtained->description)));
  EXPECT_EQ(source->kind(), "gcp_id_token");
  const auto form = form_fields(world.fetcher.asked.at(0).body);
  const jose::Claims claims = verified(form.at("assertion"), "https://oauth2.googleapis.com/token", world.clock.wall());
  EXPECT_EQ(*claims.json().find_string("target_audience"), "https://svc.a.run.app");
  EXPECT_FALSE(claims.json().find("scope"));
}

TEST(GcpServiceAccount, EveryAttemptHasAnAssertionOfItsOwn) {
  World world;
  const auto source = must(make_gcp_service_account({account(), GcpWanted::access("a b"), "user@example.com", ""}));
  std::string before;
  for (int i = 0; i < 3; ++i) {
    world.fetcher.answer(500, "");
    EXPECT_FALSE(world.obtain(*source));
    const auto form = form_fields(world.fetcher.asked.back().body);
    const jose::Claims claims =
        verified(form.at("assertion"), "https://oauth2.googleapis.com/token", world.clock.wall());
    EXPECT_NE(claims.jwt_id(), before);
    EXPECT_EQ(claims.jwt_id().size(), 36u);
    EXPECT_EQ(claims.subject(), "user@example.com");
    before = claims.jwt_id();
  }
}

TEST(GcpServiceAccount, AnswersThatAreNoTokenAreExplained) {
  struct Case {
    int status;
    std::string body;
    std::string_view error;
    bool permanent;
  };
  const Case cases[] = {
      {400, R"({"error":"invalid_grant","error_description":"Invalid JWT Signature."})",
       "Google's token endpoint answered 400 invalid_grant: Invalid JWT Signature. (the key was deleted, or the file "
       "is "
       "another account's)",
       true},
      {500, "<html>secret</html>", "Google's token endpoint answered 500", false},
      {429, "", "Google's token endpoint answered 429", false},
      {301, "", "Google's token endpoint answered 301 (redirects are not followed)", true},
      {200, "<html>", "Google's token endpoint answered 200 with a body that is not JSON: ", false},
      {200, "{\"access_token\":\"ya29", "Google's token endpoint answered 200 with a body that is not JSON: ", false},
      {200, R"({"error":"server_error"})", "Google's token endpoint answered 200 server_error", false},
      {200, "[1]", "Google's token endpoint answered 200 with JSON that is no object", false},
      {200, R"({"token":"x"})", "Google's token endpoint answered 200 without access_token", false},
      {200, R"({"access_token":"a","token_type":"Bearer"})", "Google's token endpoint answered 200 without expires_in",
       false},
      {200, R"({"access_token":"a","expires_in":10})", "Google's token endpoint answered 200 without token_type",
       false},
      {200, R"({"access_token":"a","expires_in":10,"token_type":"mac"})",
       "Google's token endpoint answered 200 with a token of another type than Bearer", false},
      {200, R"({"access_token":"a\r\nX: y","expires_in":10,"token_type":"Bearer"})",
       "Google's token endpoint answered 200 with a token that cannot stand in a header field", false},
      {200, R"({"access_token":"","expires_in":10,"token_type":"Bearer"})",
       "Google's token endpoint answered 200 with a token that cannot stand in a header field", false},
      {200, R"({"access_token":"a","access_token":"b","expires_in":10,"token_type":"Bearer"})",
       "Google's token endpoint answered 200 with a body that is not JSON: ", false},
      {200, R"({"access_token":["a"],"expires_in":10,"token_type":"Bearer"})",
       "Google's token endpoint answered 200 without access_token", false},
  };
  const auto source = must(make_gcp_service_account({account(), GcpWanted::access("a"), "", ""}));
  for (const Case& test : cases) {
    World world;
    world.fetcher.answer(test.status, test.body);
    const Obtained obtained = world.obtain(*source);
    ASSERT_FALSE(obtained) << test.body;
    EXPECT_THAT(std::string(obtained.error().error.detail()), StartsWith(std::string(test.error)));
    EXPECT_EQ(obtained.error().permanent, test.permanent) << test.body;
  }
}

TEST(GcpServiceAccount, OnlyPlausibleLifetimesCount) {
  const auto source = must(make_gcp_service_account({account(), GcpWanted::access("a"), "", ""}));
  for (const std::string_view lifetime :
       {"0", "-1", "1e300", "99999999999", "\"\"", "\"-5\"", "\"soon\"", "null", "[]"}) {
    World world;
    world.fetcher.answer(
        200, "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"expires_in\":" + std::string(lifetime) + "}");
    EXPECT_THAT(world.error_of(*source), HasSubstr("expires_in that is no time between 1 s and 48 h")) << lifetime;
  }
  for (const std::string_view lifetime : {"60", "\"60\"", "6e1"}) {
    World world;
    world.fetcher.answer(
        200, "{\"access_token\":\"a\",\"token_type\":\"bearer\",\"expires_in\":" + std::string(lifetime) + "}");
    const Obtained obtained = world.obtain(*source);
    ASSERT_TRUE(obtained) << lifetime;
    EXPECT_EQ(obtained->expires - world.clock.now(), 60s);
  }
}

TEST(GcpServiceAccount, AnErrorShowsNeitherAssertionNorToken) {
  World world;
  world.fetcher.answer(200, "{}");
  const auto source = must(make_gcp_service_account({account(), GcpWanted::access("a"), "", ""}));
  EXPECT_FALSE(world.obtain(*source));
  const std::string sent = form_fields(world.fetcher.asked[0].body).at("assertion");
  World second;
  second.fetcher.answer(400, "{\"error\":\"invalid_grant\",\"error_description\":\"what is " + sent + " ?\"}");
  EXPECT_EQ(second.error_of(*source), "Google's token endpoint answered 400 invalid_grant: what is [removed] ?");
}

TEST(GcpServiceAccount, AnIdTokenHasToBeOneAndAlive) {
  const auto source = must(make_gcp_service_account({account(), GcpWanted::identity("https://x"), "", ""}));
  for (const std::string& token : {std::string("opaque"), id_token(0s), id_token(-1h), id_token(72h)}) {
    World world;
    world.fetcher.answer(200, "{\"id_token\":\"" + token + "\"}", {{"date", std::string(kDate)}});
    EXPECT_THAT(world.error_of(*source), StartsWith("Google's token endpoint gave an ID token "));
  }
}

TEST(GcpServiceAccount, ChecksItsOptions) {
  EXPECT_THAT(detail_of(make_gcp_service_account({account(), GcpWanted::access(""), "", ""})), StartsWith("scope "));
  EXPECT_THAT(detail_of(make_gcp_service_account({account(), GcpWanted::access("a  b"), "", ""})),
              StartsWith("scope "));
  EXPECT_THAT(detail_of(make_gcp_service_account({account(), GcpWanted::identity("a b"), "", ""})),
              StartsWith("audience "));
  EXPECT_THAT(detail_of(make_gcp_service_account({account(), GcpWanted::identity("a"), "u@x", ""})),
              StartsWith("subject "));
  EXPECT_THAT(detail_of(make_gcp_service_account({account(), GcpWanted::access("a"), "", "http://example.com/"})),
              StartsWith("token_url "));
}

// ---- self-signed

TEST(GcpSelfSigned, IsGoodForAnHourAndAsksNobody) {
  World world;
  const auto source = must(make_gcp_self_signed({account(), "https://orders.example/", ""}));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained);
  EXPECT_TRUE(world.fetcher.asked.empty());
  const jose::Claims claims = verified(obtained->token.reveal(), "https://orders.example/", world.clock.wall());
  EXPECT_EQ(claims.subject(), kEmail);
  EXPECT_EQ(*claims.expires() - *claims.issued_at(), 3600s);
  EXPECT_FALSE(claims.json().find("scope"));
  EXPECT_EQ(obtained->expires - world.clock.now(), *claims.expires() - world.clock.wall());
  EXPECT_THAT(obtained->description, HasSubstr("\"aud\":\"https://orders.example/\""));
}

TEST(GcpSelfSigned, HasAScopeInsteadOfAnAudience) {
  World world;
  const auto source = must(make_gcp_self_signed({account(), "", std::string(kScope)}));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained);
  const auto payload = jose::Jws::parse(obtained->token.reveal())->verify(account()->key().public_key());
  ASSERT_TRUE(payload);
  EXPECT_THAT(payload->text(), HasSubstr("\"scope\":\"" + std::string(kScope) + "\""));
  EXPECT_THAT(payload->text(), Not(HasSubstr("\"aud\"")));
  EXPECT_FALSE(make_gcp_self_signed({account(), "https://x", "scope"}));
  EXPECT_FALSE(make_gcp_self_signed({account(), "", ""}));
}

// ---- metadata

TEST(GcpMetadata, AsksForAnAccessToken) {
  World world;
  world.fetcher.answer(200, R"({"access_token":"ya29.m","expires_in":120,"token_type":"Bearer"})", kFlavor);
  GcpMetadataOptions options;
  options.wanted = GcpWanted::access("a b");
  const auto source = must(make_gcp_metadata(options));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->expires - world.clock.now(), 120s);
  const auto& asked = world.fetcher.asked.at(0);
  EXPECT_EQ(asked.url,
            "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token?scopes=a%2Cb");
  EXPECT_EQ(asked.fields.at("Metadata-Flavor"), "Google");
  EXPECT_EQ(asked.proxy, FetchRequest::Proxy::never);
}

TEST(GcpMetadata, AsksForAnIdTokenWithEverythingInIt) {
  World world;
  world.fetcher.answer(200, id_token() + "\n", kFlavor);
  GcpMetadataOptions options;
  options.wanted = GcpWanted::identity("https://svc.a.run.app/?x=1&y");
  const Obtained obtained = world.obtain(*must(make_gcp_metadata(options)));
  EXPECT_FALSE(obtained) << "a line break cannot stand in a header field";
  world.fetcher.answer(200, id_token(), kFlavor);
  const Obtained good = world.obtain(*must(make_gcp_metadata(options)));
  ASSERT_TRUE(good);
  EXPECT_EQ(good->expires - world.clock.now(), 1h);
  EXPECT_THAT(world.fetcher.asked.back().url,
              HasSubstr("/default/identity?audience=https%3A%2F%2Fsvc.a.run.app%2F%3Fx%3D1%26y&format=full"));
}

TEST(GcpMetadata, BelievesNobodyWhoDoesNotSayGoogle) {
  World world;
  world.fetcher.answer(200, R"({"access_token":"ya29.m","expires_in":120,"token_type":"Bearer"})");
  world.fetcher.answer(404, "", kFlavor);
  GcpMetadataOptions options;
  options.wanted = GcpWanted::access("a");
  const auto source = must(make_gcp_metadata(options));
  EXPECT_THAT(world.error_of(*source), HasSubstr("does not say Metadata-Flavor: Google"));
  EXPECT_EQ(world.error_of(*source), "Google's metadata server answered 404 (no such service account is attached)");
  for (const std::string_view endpoint : {"http://metadata.example.com", "http://169.254.169.253"}) {
    options.endpoint = endpoint;
    EXPECT_FALSE(make_gcp_metadata(options)) << endpoint;
  }
  options.endpoint = "http://169.254.169.254";
  EXPECT_TRUE(make_gcp_metadata(options));
  options.account = "../x";
  EXPECT_FALSE(make_gcp_metadata(options));
}

// ---- federation

constexpr std::string_view kProvider =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/postern";

Result<config::Secret> mint(WallTime) { return config::Secret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJndyJ9.c2ln"); }

GcpFederationOptions federation(GcpWanted wanted, std::string account = "") {
  GcpFederationOptions out;
  out.provider = kProvider;
  out.wanted = std::move(wanted);
  out.service_account = std::move(account);
  return out;
}

TEST(GcpFederation, ExchangesOurTokenForTheirs) {
  World world;
  world.fetcher.answer(200, R"({"access_token":"ya29.d.f","expires_in":3600,"token_type":"Bearer",)"
                            R"("issued_token_type":"urn:ietf:params:oauth:token-type:access_token"})");
  const auto source = must(make_gcp_federation(federation(GcpWanted::access("a")), mint, "issuer"));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->token.reveal(), "ya29.d.f");
  const auto& asked = world.fetcher.asked.at(0);
  EXPECT_EQ(asked.url, "https://sts.googleapis.com/v1/token");
  const std::map<std::string, std::string> expected = {
      {"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"},
      {"audience", std::string(kProvider)},
      {"scope", "a"},
      {"requested_token_type", "urn:ietf:params:oauth:token-type:access_token"},
      {"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"},
      {"subject_token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJndyJ9.c2ln"}};
  EXPECT_EQ(form_fields(asked.body), expected);
}

TEST(GcpFederation, ImpersonatesForAnAccessToken) {
  World world;
  world.fetcher.answer(200, R"({"access_token":"federated-token","expires_in":3600,"token_type":"Bearer"})");
  world.fetcher.answer(200, R"({"accessToken":"ya29.impersonated","expireTime":"2023-11-14T22:43:20.5Z"})",
                       {{"date", std::string(kDate)}});
  const auto source =
      must(make_gcp_federation(federation(GcpWanted::access("a b"), std::string(kEmail)), mint, "issuer"));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->token.reveal(), "ya29.impersonated");
  EXPECT_EQ(obtained->expires - world.clock.now(), 30min);
  EXPECT_EQ(form_fields(world.fetcher.asked.at(0).body).at("scope"), kGcpPlatformScope);
  const auto& asked = world.fetcher.asked.at(1);
  EXPECT_EQ(asked.url, "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + std::string(kEmail) +
                           ":generateAccessToken");
  EXPECT_EQ(asked.fields.at("Authorization"), "Bearer federated-token");
  EXPECT_EQ(asked.body, R"({"scope":["a","b"],"lifetime":"3600s"})");
}

TEST(GcpFederation, ImpersonatesForAnIdToken) {
  World world;
  world.fetcher.answer(200, R"({"access_token":"federated-token","expires_in":3600,"token_type":"Bearer"})");
  world.fetcher.answer(200, "{\"token\":\"" + id_token() + "\"}", {{"date", std::string(kDate)}});
  const auto source =
      must(make_gcp_federation(federation(GcpWanted::identity("https://svc"), std::string(kEmail)), mint, "issuer"));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->token.reveal(), id_token());
  EXPECT_THAT(world.fetcher.asked.at(1).url, HasSubstr(":generateIdToken"));
  EXPECT_EQ(world.fetcher.asked.at(1).body, R"({"audience":"https://svc","includeEmail":true})");
}

TEST(GcpFederation, SaysWhoRefused) {
  World world;
  world.fetcher.answer(400, R"({"error":"invalid_grant","error_description":"The audience is wrong"})");
  world.fetcher.answer(200, R"({"access_token":"federated-token","expires_in":3600,"token_type":"Bearer"})");
  world.fetcher.answer(403,
                       R"({"error":{"code":403,"message":"federated-token may not","status":"PERMISSION_DENIED"}})");
  const auto source =
      must(make_gcp_federation(federation(GcpWanted::access("a"), std::string(kEmail)), mint, "issuer"));
  EXPECT_EQ(world.error_of(*source), "Google STS answered 400 invalid_grant: The audience is wrong");
  const Obtained second = world.obtain(*source);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().error.detail(),
            "Google's iamcredentials answered 403 PERMISSION_DENIED: [removed] may not (does the federated identity "
            "have roles/iam.workloadIdentityUser on the account?)");
  EXPECT_TRUE(second.error().permanent);
}

TEST(GcpFederation, ChecksItsOptions) {
  EXPECT_THAT(detail_of(make_gcp_federation(federation(GcpWanted::identity("x")), mint, "i")),
              StartsWith("an ID token needs service_account"));
  GcpFederationOptions options = federation(GcpWanted::access("a"));
  options.provider = "pool";
  EXPECT_THAT(detail_of(make_gcp_federation(options, mint, "i")), StartsWith("provider "));
  options = federation(GcpWanted::access("a"), "not an address");
  EXPECT_THAT(detail_of(make_gcp_federation(options, mint, "i")), StartsWith("service_account "));
  options = federation(GcpWanted::access("a"), "a@b");
  options.lifetime = 599s;
  EXPECT_THAT(detail_of(make_gcp_federation(options, mint, "i")), StartsWith("lifetime "));
  options = federation(GcpWanted::access("a"));
  options.sts_url = "http://sts.example.com/";
  EXPECT_THAT(detail_of(make_gcp_federation(options, mint, "i")), StartsWith("sts_url "));
}

}  // namespace
}  // namespace postern::tokens
