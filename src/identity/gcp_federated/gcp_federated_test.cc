#include "identity/gcp_federated/gcp_federated.h"

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

class GcpFederatedTest : public TokenMethodTest {
 protected:
  GcpFederatedTest() : TokenMethodTest("gcp_federated") {}
};

TEST_F(GcpFederatedTest, the_example_of_its_readme_loads) {
  give_issuer();
  files["/run/secrets/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "gcp_federated");
  EXPECT_THAT(method->secrets(), ElementsAre());
}

const std::string kProvider =
    "provider: //iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/postern";

TEST_F(GcpFederatedTest, exchanges_a_token_of_the_issuer) {
  give_issuer();
  const auto method = make_with(kProvider + ", scopes: [a]");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  EXPECT_EQ(send(*method), "Authorization: Bearer the.access-token");
  EXPECT_EQ(fetcher.asked[0].url, "https://sts.googleapis.com/v1/token");
  EXPECT_TRUE(
      is_ours(form().at("subject_token"),
              "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/postern",
              "postern/origins/main"));
}

TEST_F(GcpFederatedTest, becomes_a_service_account) {
  give_issuer();
  const auto method = make_with(kProvider +
                                ", impersonate: gw@p.iam.gserviceaccount.com, lifetime: 30m, scopes: [a, b], "
                                "audience: mine, subject: gw, sts_url: \"http://127.0.0.1:1/v1/token\", "
                                "iamcredentials_url: \"http://127.0.0.1:2\"");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kToken);
  fetcher.answer(200, R"({"accessToken":"of.the-account","expireTime":"2023-11-14T22:43:20Z"})");
  EXPECT_EQ(send(*method), "Authorization: Bearer of.the-account");
  EXPECT_TRUE(is_ours(form().at("subject_token"), "mine", "gw"));
  EXPECT_EQ(fetcher.asked[1].url,
            "http://127.0.0.1:2/v1/projects/-/serviceAccounts/gw@p.iam.gserviceaccount.com:generateAccessToken");
  EXPECT_EQ(fetcher.asked[1].body, R"({"scope":["a","b"],"lifetime":"1800s"})");
}

TEST_F(GcpFederatedTest, says_what_is_wrong_with_its_options) {
  EXPECT_THAT(refusal(kProvider), HasSubstr("has no issuer"));
  give_issuer();
  EXPECT_THAT(refusal("provider: pool"), HasSubstr("provider is //iam.googleapis.com/"));
  EXPECT_THAT(refusal(kProvider + ", id_token_audience: x"), HasSubstr("an ID token needs service_account"));
  EXPECT_THAT(refusal(kProvider + ", id_token_audience: x, scopes: [a]"), HasSubstr("scopes are for access tokens"));
  EXPECT_THAT(refusal(kProvider + ", lifetime: 1h"), HasSubstr("`lifetime` does nothing here"));
  EXPECT_THAT(refusal(kProvider + ", impersonate: \"a@b\", id_token_audience: x, lifetime: 1h"),
              HasSubstr("`lifetime` does nothing here"));
  EXPECT_THAT(refusal(kProvider + ", impersonate: \"a@b\", lifetime: 13h"), HasSubstr("lifetime is 10m to 12h"));
}

}  // namespace
}  // namespace postern::identity
