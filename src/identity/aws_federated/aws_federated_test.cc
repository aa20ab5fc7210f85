#include "identity/aws_federated/aws_federated.h"

#include "identity/token_test_support.h"

namespace postern::identity {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kAnswer =
    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
    "<AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>wJalrXUtnFEMI</SecretAccessKey>"
    "<SessionToken>the-session-token</SessionToken><Expiration>2023-11-14T23:13:20Z</Expiration></Credentials>"
    "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
const std::string kRole =
    "region: eu-central-1, service: execute-api, role_arn: \"arn:aws:iam::123456789012:role/postern\"";

class AwsFederatedTest : public TokenMethodTest {
 protected:
  AwsFederatedTest() : TokenMethodTest("aws_federated") {}
};

TEST_F(AwsFederatedTest, the_example_of_its_readme_loads) {
  give_issuer();
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "aws_federated");
  EXPECT_THAT(method->secrets(), ElementsAre());
  EXPECT_TRUE(method->filter()) << "a client's X-Amz-* would be signed";
  EXPECT_EQ(method->whole_body(), std::uint64_t{1} << 20);
}

TEST_F(AwsFederatedTest, signs_with_the_keys_of_the_role) {
  give_issuer();
  const auto method = make_with(kRole + ", duration: 15m");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kAnswer);
  EXPECT_THAT(send(*method),
              HasSubstr("Credential=ASIAIOSFODNN7EXAMPLE/20231114/eu-central-1/execute-api/aws4_request"));
  EXPECT_EQ(sent.find("X-Amz-Security-Token")->second, "the-session-token");
  EXPECT_THAT(sensitive, Contains("the-session-token"));
  EXPECT_EQ(fetcher.asked[0].url, "https://sts.eu-central-1.amazonaws.com/");
  EXPECT_TRUE(is_ours(form().at("WebIdentityToken"), "sts.amazonaws.com", "postern/origins/main"));
  EXPECT_EQ(form().at("RoleSessionName"), "postern-main");
  EXPECT_EQ(form().at("DurationSeconds"), "900");
}

TEST_F(AwsFederatedTest, audience_subject_and_endpoint_may_be_others) {
  give_issuer();
  const auto method = make_with(kRole + ", audience: mine, subject: gw, session_name: here, sts_region: us-east-1");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>");
  EXPECT_THAT(send(*method), AllOf(HasSubstr("origins.main.identity[0].aws_federated"), HasSubstr("AccessDenied")));
  EXPECT_TRUE(sent.empty());
  EXPECT_EQ(fetcher.asked[0].url, "https://sts.us-east-1.amazonaws.com/");
  EXPECT_TRUE(is_ours(form().at("WebIdentityToken"), "mine", "gw"));
}

TEST_F(AwsFederatedTest, says_what_is_wrong_with_its_options) {
  EXPECT_THAT(refusal(kRole), HasSubstr("has no issuer"));
  give_issuer();
  EXPECT_THAT(refusal("region: eu-central-1, service: s3, role_arn: \"arn:aws:s3:::bucket/postern\""),
              HasSubstr("role_arn is no role"));
  EXPECT_THAT(refusal(kRole + ", duration: 13h"), HasSubstr("duration is 15m to 12h"));
  EXPECT_THAT(refusal(kRole + ", sts_url: \"http://sts.example.com/\""), HasSubstr("endpoint is http://"));
}

}  // namespace
}  // namespace postern::identity
