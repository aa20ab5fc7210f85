#include "identity/gcp_access_token/gcp_access_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/token_test_support.h"
#include "jose/jwt.h"

namespace postern::identity {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kToken = R"({"access_token":"the.access-token","expires_in":3600,"token_type":"Bearer"})";

class GcpAccessTokenTest : public TokenMethodTest {
 protected:
  GcpAccessTokenTest() : TokenMethodTest("gcp_access_token") {}
};

TEST_F(GcpAccessTokenTest, the_example_of_its_readme_loads) {
  give_issuer();
  files["/run/secrets/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "gcp_access_token");
  EXPECT_THAT(method->secrets(), ElementsAre());
}

TEST_F(GcpAccessTokenTest, asks_with_the_key_of_the_account) {
  const auto method =
      make_with("service_account: \"${file:/etc/postern/service.json}\", scopes: [a, b], subject: u@example.com");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "Authorization: Bearer the.access-token");
  EXPECT_EQ(fetcher.asked[0].url, "https://oauth2.googleapis.com/token");
  const auto claims = jose::unverified_claims(*jose::Jws::parse(form().at("assertion")));
  ASSERT_TRUE(claims);
  EXPECT_THAT(claims->text, HasSubstr("\"scope\":\"a b\""));
  EXPECT_THAT(claims->text, HasSubstr("\"sub\":\"u@example.com\""));
}

TEST_F(GcpAccessTokenTest, asks_the_metadata_server) {
  const auto method = make_with("metadata: {endpoint: \"http://127.0.0.1:8\"}");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken, {{"metadata-flavor", "Google"}});
  EXPECT_EQ(send(*method), "Authorization: Bearer the.access-token");
  EXPECT_EQ(fetcher.asked[0].url,
            "http://127.0.0.1:8/computeMetadata/v1/instance/service-accounts/default/token?scopes="
            "https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform");
}

TEST_F(GcpAccessTokenTest, says_what_is_wrong_with_its_options_and_shows_no_key) {
  const std::string file = "service_account: \"${file:/etc/postern/service.json}\"";
  EXPECT_THAT(refusal(""), HasSubstr("neither `service_account` nor `metadata`"));
  EXPECT_THAT(refusal(file + ", metadata: {}"), HasSubstr("both a key file and the metadata server"));
  EXPECT_THAT(refusal(file + ", token_url: \"http://example.com/\""), HasSubstr("token_url is http://"));
  EXPECT_THAT(refusal("metadata: {}, subject: a@b"), HasSubstr("`subject` does nothing here"));
  EXPECT_THAT(refusal("metadata: {}, token_url: \"https://example.com/\""), HasSubstr("`token_url` does nothing here"));
  EXPECT_THAT(refusal("metadata: {endpoint: \"http://example.com/\"}"), HasSubstr("endpoint is http://"));
  for (const auto& [member, value] :
       std::map<std::string, std::optional<std::string>>{{"type", "authorized_user"},
                                                         {"private_key", "-----BEGIN PRIVATE KEY-----\nAAAA"},
                                                         {"token_uri", std::nullopt}}) {
    files["/etc/postern/service.json"] = tokens::test::service_json({{member, value}});
    EXPECT_THAT(refusal(file), AllOf(HasSubstr("no key file of a service account: " + member), Not(HasSubstr("AAAA")),
                                     Not(HasSubstr(tokens::test::rsa_pem().substr(100, 20)))));
  }
}

}  // namespace
}  // namespace postern::identity
