#include "tokens/oauth2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "jose/jwt.h"
#include "tokens/cloud_test_support.h"

namespace postern::tokens {
namespace {

using test::Obtained;
using test::World;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kUrl = "https://login.example.com/token";
constexpr std::string_view kSecret = "a secret: +%&= of the gateway";
constexpr std::string_view kToken = R"({"access_token":"opaque","token_type":"bearer","expires_in":3600})";

ClientCredentialsOptions with_secret(ClientAuthentication how = ClientAuthentication::client_secret_post) {
  ClientCredentialsOptions out;
  out.token_url = kUrl;
  out.client_id = "the gateway";
  out.authentication = how;
  out.client_secret = config::Secret(kSecret);
  return out;
}

std::shared_ptr<const jose::PrivateKey> new_key(std::string_view kid = {}) {
  return std::make_shared<const jose::PrivateKey>(std::move(*jose::PrivateKey::generate(jose::Algorithm::ES256, kid)));
}

// One attempt with this answer.
Obtained obtain(World& world, ClientCredentialsOptions options, int status, std::string_view body,
                std::vector<std::pair<std::string, std::string>> fields = {}) {
  auto source = make_client_credentials(std::move(options));
  EXPECT_TRUE(source) << source.error().detail();
  world.fetcher.answer(status, body, std::move(fields));
  return world.obtain(**source);
}

TEST(ClientCredentials, sends_the_secret_in_the_body) {
  World world;
  ClientCredentialsOptions options = with_secret();
  options.params = {{"scope", "a b"}, {"resource", "https://r?x=1"}};
  const Obtained got = obtain(world, std::move(options), 200, kToken);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->token.reveal(), "opaque");
  EXPECT_EQ(got->expires, world.clock.now() + std::chrono::hours(1));
  const auto& asked = world.fetcher.asked.at(0);
  EXPECT_EQ(asked.url, kUrl);
  EXPECT_EQ(asked.body,
            "grant_type=client_credentials&client_id=the+gateway&client_secret=a+secret%3A+%2B%25%26%3D+of+the+gateway&"
            "scope=a+b&resource=https%3A%2F%2Fr%3Fx%3D1");
  EXPECT_EQ(asked.fields.count("Authorization"), 0u);
}

// RFC 6749 2.3.1: form-encoded before they are put together.
TEST(ClientCredentials, sends_the_secret_in_authorization) {
  World world;
  ASSERT_TRUE(obtain(world, with_secret(ClientAuthentication::client_secret_basic), 200, kToken));
  const auto& asked = world.fetcher.asked.at(0);
  // printf 'the+gateway:a+secret%%3A+%%2B%%25%%26%%3D+of+the+gateway' | base64
  EXPECT_EQ(asked.fields.at("Authorization"),
            "Basic dGhlK2dhdGV3YXk6YStzZWNyZXQlM0ErJTJCJTI1JTI2JTNEK29mK3RoZStnYXRld2F5");
  EXPECT_EQ(asked.body, "grant_type=client_credentials");
}

TEST(ClientCredentials, signs_an_assertion_of_its_own_for_every_attempt) {
  World world;
  ClientCredentialsOptions options;
  options.token_url = kUrl;
  options.client_id = "gw";
  options.authentication = ClientAuthentication::private_key_jwt;
  const auto key = new_key("key-1");
  options.key = key;
  options.key_id = "key-1";
  auto source = make_client_credentials(std::move(options));
  ASSERT_TRUE(source);
  std::set<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    world.fetcher.answer(i == 0 ? 500 : 200, i == 0 ? "" : kToken);
    static_cast<void>(world.obtain(**source));
    const auto form = test::form_fields(world.fetcher.asked.at(static_cast<std::size_t>(i)).body);
    EXPECT_EQ(form.at("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    const std::string_view audiences[] = {kUrl};
    const auto claims =
        jose::verify_jwt(form.at("client_assertion"), key->public_key(),
                         {.issuer = "gw", .audiences = audiences, .subject = "gw", .now = world.clock.wall()});
    ASSERT_TRUE(claims);
    EXPECT_LE(*claims->expires() - world.clock.wall(), std::chrono::minutes(1));
    ids.insert(claims->jwt_id());
    EXPECT_EQ(jose::Jws::parse(form.at("client_assertion"))->header().kid, "key-1");
  }
  EXPECT_EQ(ids.size(), 3u);
}

TEST(ClientCredentials, shows_claims_and_never_the_token) {
  World world;
  const auto claims = jose::ClaimsWriter().issuer("https://as").subject("gw").finish();
  const std::string token = *jose::sign_jws(*new_key(), *claims);
  const Obtained got =
      obtain(world, with_secret(), 200, R"({"token_type":"Bearer","expires_in":"60","access_token":")" + token + "\"}");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->description, R"({"iss":"https://as","sub":"gw"})");
  EXPECT_EQ(got->expires, world.clock.now() + std::chrono::minutes(1));
}

TEST(ClientCredentials, an_answer_that_is_no_token_says_why_and_leaks_nothing) {
  struct Row {
    int status;
    std::string body, expected;
    bool permanent;
  };
  const std::string echoed(kSecret);
  for (const Row& row : std::initializer_list<Row>{
           {401, R"({"error":"invalid_client","error_description":"not )" + echoed + "\"}",
            "401 invalid_client: not [removed]", true},
           {400, R"({"error":"invalid_scope"})", "400 invalid_scope", true},
           {200, R"({"error":"server_error","error_description":")" + echoed + "\"}", "server_error: [removed]", false},
           {500, "<h1>" + echoed, "answered 500", false},
           {429, "", "answered 429", false},
           {302, "", "redirects are not followed", true},
           {200, "<!doctype html>" + echoed, "not JSON", false},
           {200, R"({"access_token":"t","token_type":"Bearer")", "not JSON", false},
           {200, "[]", "no object", false},
           {200, R"({"access_token":"t","token_type":"Bearer"})", "without expires_in", false},
           {200, R"({"access_token":"t","token_type":"Bearer","expires_in":-1})", "no time between", false},
           {200, R"({"access_token":"t","token_type":"Bearer","expires_in":0})", "no time between", false},
           {200, R"({"access_token":"t","token_type":"Bearer","expires_in":1e300})", "no time between", false},
           {200, R"({"access_token":"t","token_type":"Bearer","expires_in":"soon"})", "no time between", false},
           {200, R"({"access_token":"t","token_type":"mac","expires_in":60})", "another type", false},
           {200, R"({"access_token":"t","expires_in":60})", "without token_type", false},
           {200, R"({"access_token":"t\r\nX: y","token_type":"Bearer","expires_in":60})", "header field", false},
           {200, R"({"access_token":"","token_type":"Bearer","expires_in":60})", "header field", false},
           {200, R"({"access_token":["t"],"token_type":"Bearer","expires_in":60})", "without access_token", false},
           {200, R"({"access_token":"t","access_token":"u","token_type":"Bearer","expires_in":60})", "not JSON",
            false}}) {
    World world;
    const Obtained got = obtain(world, with_secret(), row.status, row.body, {{"retry-after", "7"}});
    ASSERT_FALSE(got) << row.body;
    const std::string detail(got.error().error.detail());
    EXPECT_THAT(detail, HasSubstr(row.expected));
    EXPECT_THAT(detail, Not(HasSubstr(echoed)));
    EXPECT_EQ(got.error().permanent, row.permanent) << detail;
    EXPECT_EQ(got.error().retry_after, std::chrono::seconds(7));
    EXPECT_EQ(got.error().error.code(), Code::token_unavailable);
  }
}

TEST(ClientCredentials, another_secret_or_parameter_is_another_key_that_shows_nothing) {
  const auto key_of = [](ClientCredentialsOptions options) {
    return (*make_client_credentials(std::move(options)))->key();
  };
  const std::string first = key_of(with_secret());
  EXPECT_EQ(first, key_of(with_secret()));
  EXPECT_THAT(first, Not(HasSubstr("a secret")));
  ClientCredentialsOptions other = with_secret();
  other.client_secret = config::Secret("another secret of the gateway");
  EXPECT_NE(first, key_of(std::move(other)));
  other = with_secret();
  other.params = {{"scope", "x"}};
  EXPECT_NE(first, key_of(std::move(other)));
  EXPECT_NE(first, key_of(with_secret(ClientAuthentication::client_secret_basic)));
}

TEST(ClientCredentials, options_that_contradict_each_other_are_refused) {
  const auto refusal = [](ClientCredentialsOptions options) {
    const auto made = make_client_credentials(std::move(options));
    return made ? std::string("none") : std::string(made.error().detail());
  };
  ClientCredentialsOptions options = with_secret();
  options.token_url = "http://login.example.com/token";
  EXPECT_THAT(refusal(std::move(options)), HasSubstr("token_url"));
  options = with_secret();
  options.client_secret = {};
  EXPECT_THAT(refusal(std::move(options)), HasSubstr("client_secret is missing"));
  EXPECT_THAT(refusal(with_secret(ClientAuthentication::private_key_jwt)), HasSubstr("client_secret is not used"));
  options = with_secret();
  options.key = new_key();
  EXPECT_THAT(refusal(std::move(options)), HasSubstr("key is not used"));
  for (const char* const name : {"client_secret", "grant_type", "client_assertion", ""}) {
    options = with_secret();
    options.params = {{name, "x"}};
    EXPECT_THAT(refusal(std::move(options)), HasSubstr("not a free one")) << name;
  }
  options = with_secret();
  options.params = {{"audience", "x"}, {"audience", "y"}};
  EXPECT_THAT(refusal(std::move(options)), HasSubstr("given twice"));
}

}  // namespace
}  // namespace postern::tokens
