#include "identity/azure_ad/azure_ad.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/token_test_support.h"
#include "tls/test_certificates.h"

namespace postern::identity {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kToken = R"({"access_token":"the.access-token","expires_in":3600,"token_type":"Bearer"})";

class AzureAdTest : public TokenMethodTest {
 protected:
  AzureAdTest() : TokenMethodTest("azure_ad") {}
};

TEST_F(AzureAdTest, the_example_of_its_readme_loads) {
  give_issuer();
  files["/run/secrets/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "azure_ad");
  EXPECT_THAT(method->secrets(), ElementsAre());
}

const std::string kApp =
    "tenant: contoso.onmicrosoft.com, client_id: 99999999-8888-7777-6666-000000000000, resource: \"api://orders\"";

TEST_F(AzureAdTest, logs_in_with_its_secret_and_sends_what_it_got) {
  files["/s/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_with(kApp + ", client_secret: \"${file:/s/entra}\"");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "Authorization: Bearer the.access-token");
  EXPECT_THAT(sensitive, ElementsAre("the.access-token"));
  EXPECT_EQ(fetcher.asked[0].url, "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token");
  EXPECT_EQ(form().at("client_secret"), "Aq8Q~client-secret-of-the-gateway");
  EXPECT_EQ(form().at("scope"), "api://orders/.default");
  EXPECT_EQ(send(*method), "Authorization: Bearer the.access-token") << "kept";
  EXPECT_EQ(fetcher.asked.size(), 1u);
}

TEST_F(AzureAdTest, logs_in_with_its_certificate) {
  const auto certificate = tls::make_test_certificate({.common_name = "gw", .key = tls::TestKey::rsa}).certified();
  files["/s/gw.crt"] = certificate->leaf().to_pem();
  files["/s/gw.key"] = tls::to_pem(certificate->key());
  const auto method = make_with(kApp +
                                ", certificate: \"${file:/s/gw.crt}\", key: \"${file:/s/gw.key}\", authority: "
                                "\"https://login.microsoftonline.us\", header: X-Token");
  ASSERT_TRUE(method) << problems;
  EXPECT_THAT(method->headers(), ElementsAre("X-Token"));
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "X-Token: the.access-token");
  EXPECT_EQ(fetcher.asked[0].url, "https://login.microsoftonline.us/contoso.onmicrosoft.com/oauth2/v2.0/token");
  EXPECT_TRUE(form().contains("client_assertion"));

  files["/s/gw.key"] = tls::to_pem(tls::make_test_key(tls::TestKey::other_rsa).get());
  EXPECT_THAT(refusal(kApp + ", certificate: \"${file:/s/gw.crt}\", key: \"${file:/s/gw.key}\""),
              AllOf(HasSubstr("key"), Not(HasSubstr("BEGIN"))));
}

TEST_F(AzureAdTest, is_the_identity_of_the_machine) {
  const auto machine = make_with("resource: \"api://orders\", managed_identity: {client_id: abc}");
  ASSERT_TRUE(machine) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*machine), "Authorization: Bearer the.access-token");
  EXPECT_THAT(fetcher.asked[0].url, HasSubstr("http://169.254.169.254/metadata/identity/oauth2/token?"));
  environment.values["IDENTITY_ENDPOINT"] = "http://127.0.0.1:42/msi/token";
  environment.values["IDENTITY_HEADER"] = "header-of-the-app";
  const auto service = make_with("resource: \"api://orders\", managed_identity: {}");
  ASSERT_TRUE(service) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*service), "Authorization: Bearer the.access-token");
  EXPECT_THAT(fetcher.asked[1].url, HasSubstr("http://127.0.0.1:42/msi/token?"));
}

TEST_F(AzureAdTest, wants_exactly_one_way_to_log_in) {
  files["/s/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const std::string secret = ", client_secret: \"${file:/s/entra}\"";
  EXPECT_THAT(refusal(kApp), HasSubstr("no way to log in"));
  EXPECT_THAT(refusal(kApp + secret + ", managed_identity: {}"), HasSubstr("more than one way"));
  EXPECT_THAT(refusal("resource: \"api://orders\"" + secret), HasSubstr("`tenant` is missing"));
  EXPECT_THAT(refusal(kApp + ", managed_identity: {}"), HasSubstr("belongs to the machine"));
  EXPECT_THAT(refusal(kApp + secret + ", key: \"${file:/s/entra}\""), HasSubstr("a key without its certificate"));
  EXPECT_THAT(refusal("tenant: common, client_id: x, resource: r" + secret), HasSubstr("tenant has to be"));
  EXPECT_THAT(refusal(kApp + secret + ", authority: \"http://login.example.com\""), HasSubstr("authority is http://"));
  EXPECT_THAT(refusal("resource: r, managed_identity: {}, authority: \"https://login.example.com\""),
              HasSubstr("`authority` does nothing here"));
  EXPECT_THAT(refusal(kApp + ", client_secret: literal-secret-0123456789"), Not(HasSubstr("0123456789")));
}

TEST_F(AzureAdTest, without_a_token_nothing_is_sent_and_it_is_said_why) {
  files["/s/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_with(kApp + ", client_secret: \"${file:/s/entra}\", cold_start: refuse");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(401,
                 R"({"error":"invalid_client","error_description":"AADSTS7000222: expired","error_codes":[7000222]})");
  EXPECT_THAT(send(*method),
              AllOf(HasSubstr("origins.main.identity[0].azure_ad: "), HasSubstr("the client secret has expired")));
  fetcher.silent = true;
  const auto waiting = make_with(kApp + ", client_secret: \"${file:/s/entra}\", authority: \"https://login.example\"");
  ASSERT_TRUE(waiting) << problems;
  EXPECT_EQ(send(*waiting), "it waits");
  with_manager = false;
  const auto looked_at = make_with(kApp + ", client_secret: \"${file:/s/entra}\"");
  ASSERT_TRUE(looked_at) << problems;
  EXPECT_EQ(send(*looked_at), "tokens are not fetched here");
}

}  // namespace
}  // namespace postern::identity
