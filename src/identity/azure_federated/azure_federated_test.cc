#include "identity/azure_federated/azure_federated.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/token_test_support.h"

namespace postern::identity {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kToken = R"({"access_token":"the.access-token","expires_in":3600,"token_type":"Bearer"})";

class AzureFederatedTest : public TokenMethodTest {
 protected:
  AzureFederatedTest() : TokenMethodTest("azure_federated") {}
};

TEST_F(AzureFederatedTest, the_example_of_its_readme_loads) {
  give_issuer();
  files["/run/secrets/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "azure_federated");
  EXPECT_THAT(method->secrets(), ElementsAre());
}

const std::string kApp =
    "tenant: contoso.onmicrosoft.com, client_id: 99999999-8888-7777-6666-000000000000, resource: \"api://orders\"";

TEST_F(AzureFederatedTest, logs_in_with_a_token_of_the_issuer) {
  give_issuer();
  const auto method = make_with(kApp);
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "Authorization: Bearer the.access-token");
  EXPECT_TRUE(is_ours(form().at("client_assertion"), "api://AzureADTokenExchange", "postern/origins/main"));
  EXPECT_FALSE(form().contains("client_secret"));
}

TEST_F(AzureFederatedTest, audience_and_subject_are_those_of_the_federated_credential) {
  give_issuer();
  const auto method = make_with(kApp + ", audience: \"api://AzureADTokenExchangeUSGov\", subject: gw");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "Authorization: Bearer the.access-token");
  EXPECT_TRUE(is_ours(form().at("client_assertion"), "api://AzureADTokenExchangeUSGov", "gw"));
}

TEST_F(AzureFederatedTest, wants_an_issuer_that_signs_what_clouds_take) {
  EXPECT_THAT(refusal(kApp), HasSubstr("has no issuer"));
  issuer::IssuerOptions options;
  options.url = kIssuerUrl;
  options.algorithms = {jose::Algorithm::ES256};
  mint = std::make_shared<issuer::TokenMint>(options, entropy);
  EXPECT_THAT(refusal(kApp), HasSubstr("no key for RS256"));
}

}  // namespace
}  // namespace postern::identity
