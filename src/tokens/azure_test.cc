#include "tokens/azure.h"

#include <gmock/gmock.h>

#include "jose/base64url.h"
#include "jose/jwt.h"
#include "signature/digest.h"
#include "tls/test_certificates.h"
#include "tokens/cloud_test_support.h"

namespace postern::tokens {
namespace {

using namespace test;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view kTokenUrl =
    "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token";
constexpr std::string_view kClient = "99999999-8888-7777-6666-000000000000";
constexpr std::string_view kSecret = "Aq8Q~client-secret-of-the-gateway";
constexpr std::string_view kToken = R"({"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,)"
                                    R"("refresh_in":1800,"access_token":"opaque.to.us"})";

AzureApp app() {
  AzureApp out;
  out.tenant = "11111111-2222-3333-4444-555555555555";
  out.client_id = kClient;
  out.resource = "api://orders";
  return out;
}

std::unique_ptr<Source> must(Result<std::unique_ptr<Source>> made) {
  EXPECT_TRUE(made) << made.error().to_string();
  return std::move(*made);
}
std::string detail_of(const Result<std::unique_ptr<Source>>& made) {
  return made ? std::string() : std::string(made.error().detail());
}

const std::shared_ptr<const tls::CertifiedKey>& certificate() {
  static const auto key = tls::make_test_certificate({.common_name = "gw", .key = tls::TestKey::rsa}).certified();
  return key;
}

// ---- an application

TEST(AzureSecret, AsksForTheResourceByDefault) {
  World world;
  world.fetcher.answer(200, kToken);
  const auto source = must(make_azure_secret(app(), config::Secret(kSecret)));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->token.reveal(), "opaque.to.us");
  EXPECT_EQ(obtained->expires - world.clock.now(), 3599s);
  ASSERT_TRUE(obtained->refresh_at);
  EXPECT_EQ(*obtained->refresh_at - world.clock.now(), 1800s);
  EXPECT_EQ(world.fetcher.asked.at(0).url, kTokenUrl);
  const std::map<std::string, std::string> expected = {{"grant_type", "client_credentials"},
                                                       {"client_id", std::string(kClient)},
                                                       {"scope", "api://orders/.default"},
                                                       {"client_secret", std::string(kSecret)}};
  EXPECT_EQ(form_fields(world.fetcher.asked[0].body), expected);
  EXPECT_THAT(source->key(), Not(HasSubstr("client-secret")));
  EXPECT_NE(source->key(), must(make_azure_secret(app(), config::Secret("another one")))->key());
}

TEST(AzureSecret, HintsAtWhatEntraMeans) {
  struct Case {
    int status;
    std::string_view error;
    int code;
    std::string_view hint;
    bool permanent;
  };
  const Case cases[] = {
      {401, "invalid_client", 7000215, "the client secret is wrong: its value is needed, not its id", true},
      {401, "invalid_client", 7000222, "the client secret has expired", true},
      {400, "unauthorized_client", 700016, "the tenant does not know this client_id", true},
      {400, "invalid_resource", 500011, "the tenant does not know this resource, or nobody has consented to it", true},
      {400, "temporarily_unavailable", 1, "", true},
      {503, "temporarily_unavailable", 1, "", false},
  };
  const auto source = must(make_azure_secret(app(), config::Secret(kSecret)));
  for (const Case& test : cases) {
    World world;
    world.fetcher.answer(test.status, "{\"error\":\"" + std::string(test.error) + "\",\"error_description\":\"AADSTS" +
                                          std::to_string(test.code) +
                                          ": no. Trace ID: t\\r\\nCorrelation ID: c\",\"error_codes\":[" +
                                          std::to_string(test.code) + "]}");
    const Obtained obtained = world.obtain(*source);
    ASSERT_FALSE(obtained);
    std::string expected = "Entra ID answered " + std::to_string(test.status) + " " + std::string(test.error) +
                           ": AADSTS" + std::to_string(test.code) + ": no. Trace ID: t  Correlation ID: c";
    if (!test.hint.empty()) expected += " (" + std::string(test.hint) + ")";
    EXPECT_EQ(obtained.error().error.detail(), expected);
    EXPECT_EQ(obtained.error().permanent, test.permanent) << expected;
  }
}

TEST(AzureSecret, DoesNotRepeatTheSecretThatAServerRepeats) {
  World world;
  world.fetcher.answer(
      401, "{\"error\":\"invalid_client\",\"error_description\":\"what is " + std::string(kSecret) + "?\"}");
  EXPECT_EQ(world.error_of(*must(make_azure_secret(app(), config::Secret(kSecret)))),
            "Entra ID answered 401 invalid_client: what is [removed]?");
}

TEST(AzureCertificate, SignsWithPs256AndNamesTheCertificate) {
  World world;
  world.clock.advance(1234ms);
  const auto source = must(make_azure_certificate(app(), certificate()));
  std::string before;
  for (int i = 0; i < 2; ++i) {
    world.fetcher.answer(i == 0 ? 500 : 200, kToken);
    EXPECT_EQ(world.obtain(*source).has_value(), i == 1);
    const auto form = form_fields(world.fetcher.asked.back().body);
    EXPECT_FALSE(form.contains("client_secret"));
    EXPECT_EQ(form.at("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    const std::string& token = form.at("client_assertion");

    const auto key = jose::PublicKey::from_evp(certificate()->key(), jose::Algorithm::PS256);
    const std::string_view audiences[] = {kTokenUrl};
    jose::Expectations expected;
    expected.issuer = kClient;
    expected.subject = kClient;
    expected.audiences = audiences;
    expected.now = world.clock.wall();
    expected.max_lifetime = 10min;
    expected.type = "JWT";
    const auto claims = jose::verify_jwt(token, *key, expected);
    ASSERT_TRUE(claims) << jose::text_of(claims.error());
    EXPECT_TRUE(claims->not_before());
    EXPECT_NE(claims->jwt_id(), before) << "a jti of its own for every attempt";
    before = claims->jwt_id();

    const auto header = jose::from_base64url(token.substr(0, token.find('.')));
    const std::string thumbprint =
        jose::to_base64url(signature::bytes_of(signature::sha256(certificate()->leaf().to_der())));
    EXPECT_EQ(thumbprint.size(), 43u);
    EXPECT_EQ(*header, "{\"alg\":\"PS256\",\"typ\":\"JWT\",\"x5t#S256\":\"" + thumbprint + "\"}");
  }
}

TEST(AzureCertificate, TakesRsaOnly) {
  const auto ec = tls::make_test_certificate({.common_name = "gw"}).certified();
  EXPECT_THAT(detail_of(make_azure_certificate(app(), ec)), HasSubstr("EC P-256; Entra takes RSA only"));
}

TEST(AzureFederated, SendsTheTokenOfOurIssuer) {
  World world;
  world.fetcher.answer(400,
                       R"({"error":"invalid_client","error_description":"AADSTS700213: no","error_codes":[700213]})");
  world.fetcher.answer(200, kToken);
  const auto source = must(make_azure_federated(
      app(), [](WallTime) -> Result<config::Secret> { return config::Secret("eyJhbGciOi.eyJpc3MiOi.c2ln"); }, "i"));
  EXPECT_THAT(world.error_of(*source), HasSubstr("compare sub, byte for byte"));
  EXPECT_TRUE(world.obtain(*source));
  EXPECT_EQ(form_fields(world.fetcher.asked[1].body).at("client_assertion"), "eyJhbGciOi.eyJpc3MiOi.c2ln");
  EXPECT_EQ(source->kind(), "azure_federated");
}

TEST(AzureApp, ChecksItsOptions) {
  const auto error_of = [](auto change) {
    AzureApp changed = app();
    change(changed);
    return detail_of(make_azure_secret(std::move(changed), config::Secret(kSecret)));
  };
  EXPECT_EQ(error_of([](AzureApp&) {}), "");
  EXPECT_THAT(error_of([](AzureApp& a) { a.tenant = "common"; }), StartsWith("tenant "));
  EXPECT_THAT(error_of([](AzureApp& a) { a.tenant = "a/b"; }), StartsWith("tenant "));
  EXPECT_THAT(error_of([](AzureApp& a) { a.client_id = ""; }), StartsWith("client_id "));
  EXPECT_THAT(error_of([](AzureApp& a) { a.resource = "/.default"; }), StartsWith("resource "));
  EXPECT_THAT(error_of([](AzureApp& a) { a.authority = "http://login.example.com"; }), StartsWith("authority "));
  EXPECT_THAT(error_of([](AzureApp& a) { a.authority = "https://x/?a=b"; }), StartsWith("authority "));
  World world;
  world.fetcher.answer(200, kToken);
  AzureApp sovereign = app();
  sovereign.authority = "https://login.partner.microsoftonline.cn/";
  sovereign.resource = "api://orders/.default";
  EXPECT_TRUE(world.obtain(*must(make_azure_secret(std::move(sovereign), config::Secret(kSecret)))));
  EXPECT_EQ(world.fetcher.asked[0].url,
            "https://login.partner.microsoftonline.cn/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token");
  EXPECT_EQ(form_fields(world.fetcher.asked[0].body).at("scope"), "api://orders/.default");
}

// ---- managed identity

TEST(AzureManaged, AsksTheInstance) {
  World world;
  world.fetcher.answer(200, R"({"access_token":"opaque","client_id":"c","expires_in":"86399",)"
                            R"("expires_on":"1700086399","ext_expires_in":"86399","not_before":"1699999999",)"
                            R"("resource":"api://orders","token_type":"Bearer"})");
  const auto source = must(make_azure_instance({.resource = "api://orders/.default", .client_id = "abc"}));
  const Obtained obtained = world.obtain(*source);
  ASSERT_TRUE(obtained) << obtained.error().error.to_string();
  EXPECT_EQ(obtained->expires - world.clock.now(), 86399s);
  const auto& asked = world.fetcher.asked.at(0);
  EXPECT_EQ(asked.method, "GET");
  EXPECT_EQ(asked.url,
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api%3A%2F%2Forders"
            "&client_id=abc");
  EXPECT_EQ(asked.fields.at("Metadata"), "true");
  EXPECT_EQ(asked.proxy, FetchRequest::Proxy::never);
}

TEST(AzureManaged, AsksAppServiceIfTheEnvironmentSaysSo) {
  World world;
  TestEnvironment environment;
  AzureManagedIdentity identity{.resource = "api://orders", .resource_id = "/subscriptions/1"};
  environment.values["IDENTITY_ENDPOINT"] = "http://127.0.0.1:41741/msi/token";
  EXPECT_THAT(detail_of(make_azure_managed(identity, environment)), StartsWith("IDENTITY_HEADER "));
  environment.values["IDENTITY_HEADER"] = "853b9a84-5bfa";
  world.fetcher.answer(200, R"({"access_token":"opaque","expires_in":"100","token_type":"Bearer"})");
  EXPECT_TRUE(world.obtain(*must(make_azure_managed(identity, environment))));
  EXPECT_EQ(world.fetcher.asked.at(0).url,
            "http://127.0.0.1:41741/msi/token?api-version=2019-08-01&resource=api%3A%2F%2Forders"
            "&mi_res_id=%2Fsubscriptions%2F1");
  EXPECT_EQ(world.fetcher.asked[0].fields.at("X-IDENTITY-HEADER"), "853b9a84-5bfa");
  EXPECT_FALSE(world.fetcher.asked[0].fields.contains("Metadata"));
  environment.values.clear();
  EXPECT_THAT(must(make_azure_managed(identity, environment))->key(), HasSubstr("169.254.169.254"));
  environment.values["IDENTITY_ENDPOINT"] = "http://10.1.2.3/msi/token";
  EXPECT_THAT(detail_of(make_azure_managed(identity, environment)), StartsWith("IDENTITY_ENDPOINT is http://"));
}

TEST(AzureManaged, KnowsWhatPasses) {
  const auto source = must(make_azure_instance({.resource = "api://orders"}));
  for (const auto& [status, permanent] :
       {std::pair<int, bool>{400, true}, {403, true}, {404, false}, {410, false}, {429, false}, {500, false}}) {
    World world;
    world.fetcher.answer(status, R"({"error":"invalid_resource","error_description":"no"})");
    const Obtained obtained = world.obtain(*source);
    ASSERT_FALSE(obtained);
    EXPECT_EQ(obtained.error().permanent, permanent) << status;
    EXPECT_EQ(obtained.error().retry_after.has_value(), status == 410);
    EXPECT_THAT(
        std::string(obtained.error().error.detail()),
        StartsWith("the managed identity endpoint answered " + std::to_string(status) + " invalid_resource: no"));
  }
}

TEST(AzureManaged, ChecksItsOptions) {
  EXPECT_FALSE(make_azure_instance({.resource = ""}));
  EXPECT_FALSE(make_azure_instance({.resource = "a", .client_id = "b", .object_id = "c"}));
  EXPECT_FALSE(make_azure_instance({.resource = "a"}, "http://metadata.example.com"));
  EXPECT_TRUE(make_azure_instance({.resource = "a"}, "http://127.0.0.1:99/"));
}

}  // namespace
}  // namespace postern::tokens
