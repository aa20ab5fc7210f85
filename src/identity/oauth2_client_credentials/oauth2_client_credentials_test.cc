#include "identity/oauth2_client_credentials/oauth2_client_credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/token_test_support.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kSecret = "client-secret-0123456789abcdef";
constexpr std::string_view kToken = R"({"access_token":"an.access-token","expires_in":3600,"token_type":"Bearer"})";

class Oauth2Test : public TokenMethodTest {
 protected:
  Oauth2Test() : TokenMethodTest("oauth2_client_credentials") {
    files["/run/secrets/oauth2"] = kSecret;
    files["/k/ec"] = std::string(jose::PrivateKey::generate(jose::Algorithm::ES256)->to_pem()->reveal());
    files["/k/none"] = "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n";
  }
  static std::string with(std::string_view more) {
    return "token_url: \"https://login.example.com/token\", client_id: gateway, " + std::string(more);
  }
};

TEST_F(Oauth2Test, the_example_of_its_readme_loads_and_its_token_is_sent) {
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "oauth2_client_credentials");
  EXPECT_THAT(method->headers(), ElementsAre("Authorization"));
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "Authorization: Bearer an.access-token");
  EXPECT_THAT(sensitive, ElementsAre("an.access-token"));
  EXPECT_EQ(form().at("scope"), "orders.read");
}

TEST_F(Oauth2Test, has_a_field_of_its_own_if_it_is_told) {
  const auto method = make_with(with("client_secret: \"${file:/run/secrets/oauth2}\", header: X-Gateway-Token"));
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "X-Gateway-Token: an.access-token");
}

TEST_F(Oauth2Test, sends_every_parameter) {
  const auto method = make_with(
      with("client_secret: \"${file:/run/secrets/oauth2}\", client_authentication: client_secret_post, scope: \"a b\", "
           "audience: aud, resource: \"https://r\", params: {tenant: t1}"));
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  static_cast<void>(send(*method));
  const auto sent = form();
  EXPECT_EQ(sent.at("scope"), "a b");
  EXPECT_EQ(sent.at("audience"), "aud");
  EXPECT_EQ(sent.at("resource"), "https://r");
  EXPECT_EQ(sent.at("tenant"), "t1");
  EXPECT_EQ(sent.at("client_secret"), kSecret);
}

TEST_F(Oauth2Test, finds_the_algorithm_of_its_key) {
  const auto method = make_with(with("client_authentication: private_key_jwt, key: \"${file:/k/ec}\", key_id: k1"));
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  static_cast<void>(send(*method));
  const auto assertion = jose::Jws::parse(form().at("client_assertion"));
  ASSERT_TRUE(assertion);
  EXPECT_EQ(assertion->header().algorithm, jose::Algorithm::ES256);
  EXPECT_EQ(assertion->header().kid, "k1");
}

TEST_F(Oauth2Test, says_what_is_wrong_with_its_options_and_shows_no_secret) {
  const std::string secret = "client_secret: \"${file:/run/secrets/oauth2}\"";
  const std::pair<std::string, std::string> rows[] = {
      {with("scope: x"), "client_secret is missing"},
      {with("client_authentication: private_key_jwt, " + secret), "client_secret is not used"},
      {with("client_authentication: private_key_jwt, key: \"${file:/k/none}\""), "cannot sign assertions"},
      {with("client_authentication: private_key_jwt, algorithm: RS256, key: \"${file:/k/ec}\""),
       "cannot sign assertions"},
      {with(secret + ", algorithm: RS256"), "is for private_key_jwt only"},
      {with(secret + ", ca: \"${file:/k/none}\""), "authorities"},
      {with("client_authentication: tls_client_auth"), "certificate and certificate_key are missing"},
      {with("client_authentication: tls_client_auth, certificate: \"${file:/k/ec}\""), "belong together"},
      {with(secret + ", params: {client_secret: x}"), "not a free one"},
      {with(secret + ", scope: x, params: {scope: y}"), "given twice"},
      {"token_url: \"http://login.example.com/token\", client_id: gateway, " + secret, "loopback"},
      {with(secret + ", cold_start: later"), "cold_start"}};
  for (const auto& [options, expected] : rows) {
    const std::string said = refusal(options);
    EXPECT_THAT(said, HasSubstr(expected)) << options;
    EXPECT_THAT(said, Not(HasSubstr(std::string(kSecret))));
    EXPECT_THAT(said, Not(HasSubstr("MAAA")));
  }
}

TEST_F(Oauth2Test, without_a_manager_nothing_is_sent) {
  with_manager = false;
  const auto method = make_with(with("client_secret: \"${file:/run/secrets/oauth2}\""));
  ASSERT_TRUE(method) << problems;
  TestAttempt attempt;
  const Result<void> applied = attempt.apply(*method);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code(), Code::token_unavailable);
}

}  // namespace
}  // namespace postern::identity
