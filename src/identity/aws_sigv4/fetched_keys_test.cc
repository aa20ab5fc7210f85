// aws_sigv4 with keys that are not in the configuration: from the environment, from metadata servers, of a role.
#include "identity/aws_sigv4/aws_sigv4.h"
#include "identity/token_test_support.h"

namespace postern::identity {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kMetadata =
    R"({"Code":"Success","AccessKeyId":"ASIAINSTANCEEXAMPLE1","SecretAccessKey":"wJalrXUtnFEMI","Token":"metadata-token",)"
    R"("Expiration":"2023-11-14T23:13:20Z"})";
constexpr std::string_view kAssumed =
    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLEEXAMPLE12345</AccessKeyId>"
    "<SecretAccessKey>other</SecretAccessKey><SessionToken>role-token</SessionToken>"
    "<Expiration>2023-11-14T23:13:20Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
const std::string kScope = "region: eu-central-1, service: execute-api, ";

class FetchedKeysTest : public TokenMethodTest {
 protected:
  FetchedKeysTest() : TokenMethodTest("aws_sigv4") { files["/s/aws"] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"; }
};

TEST_F(FetchedKeysTest, of_the_instance) {
  const auto method = make_with(kScope + "credentials: {from: instance, endpoint: \"http://127.0.0.1:9\"}");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, "session");
  fetcher.answer(200, "role");
  fetcher.answer(200, kMetadata);
  EXPECT_THAT(send(*method), HasSubstr("Credential=ASIAINSTANCEEXAMPLE1/20231114/"));
  EXPECT_EQ(sent.find("X-Amz-Security-Token")->second, "metadata-token");
  EXPECT_THAT(sensitive, Contains("metadata-token"));
  EXPECT_THAT(method->secrets(), ElementsAre());
  EXPECT_EQ(fetcher.asked[0].url, "http://127.0.0.1:9/latest/api/token");
}

TEST_F(FetchedKeysTest, of_the_environment_or_the_container) {
  environment.values["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1:9/creds";
  const auto container = make_with(kScope + "credentials: {from: container}");
  ASSERT_TRUE(container) << problems;
  fetcher.answer(200, kMetadata);
  EXPECT_THAT(send(*container), HasSubstr("Credential=ASIAINSTANCEEXAMPLE1/"));
  EXPECT_EQ(fetcher.asked[0].url, "http://127.0.0.1:9/creds");
  environment.values["AWS_ACCESS_KEY_ID"] = "AKIAENVIRONMENT12345";
  environment.values["AWS_SECRET_ACCESS_KEY"] = "secret-of-the-environment";
  environment.values["AWS_SESSION_TOKEN"] = "token-of-the-environment";
  for (const std::string from : {"environment", "ambient"}) {
    const auto method = make_with(kScope + "credentials: {from: " + from + "}");
    ASSERT_TRUE(method) << problems;
    EXPECT_THAT(send(*method), HasSubstr("Credential=AKIAENVIRONMENT12345/"));
  }
}

TEST_F(FetchedKeysTest, of_a_role_that_given_keys_may_assume) {
  const auto method =
      make_with(kScope +
                "credentials: {access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: \"${file:/s/aws}\"}, "
                "role: {role_arn: \"arn:aws:iam::123456789012:role/postern\", external_id: ext}");
  ASSERT_TRUE(method) << problems;
  fetcher.answer(200, kAssumed);
  EXPECT_THAT(send(*method), HasSubstr("Credential=ASIAROLEEXAMPLE12345/"));
  EXPECT_EQ(form().at("ExternalId"), "ext");
  EXPECT_THAT(fetcher.asked[0].fields.at("Authorization"), HasSubstr("Credential=AKIAIOSFODNN7EXAMPLE/"));
  EXPECT_THAT(fetcher.asked[0].fields.at("Authorization"), HasSubstr("/eu-central-1/sts/aws4_request"));
}

TEST_F(FetchedKeysTest, other_keys_sign_as_soon_as_they_are_there) {
  const auto method = make_with(kScope + "credentials: {from: instance}");
  ASSERT_TRUE(method) << problems;
  for (const std::string_view id : {"ASIAINSTANCEEXAMPLE1", "ASIAINSTANCEEXAMPLE2"}) {
    fetcher.answer(200, "session");
    fetcher.answer(200, "role");
    std::string answer(kMetadata);
    answer.replace(answer.find("ASIAINSTANCEEXAMPLE1"), 20, id);
    fetcher.answer(200, answer, {{"date", "Tue, 14 Nov 2023 22:13:20 GMT"}});
    EXPECT_THAT(send(*method), HasSubstr("Credential=" + std::string(id) + "/"));
    clock.advance(std::chrono::minutes(59));
  }
}

TEST_F(FetchedKeysTest, says_what_is_wrong_with_its_options) {
  EXPECT_THAT(refusal(kScope + "credentials: {}"), HasSubstr("`access_key_id` is missing"));
  EXPECT_THAT(refusal(kScope + "credentials: {from: instance, access_key_id: AKIAIOSFODNN7EXAMPLE}"),
              HasSubstr("both keys and a place that has them"));
  EXPECT_THAT(refusal(kScope + "credentials: {from: environment}"), HasSubstr("AWS_ACCESS_KEY_ID is not set"));
  EXPECT_THAT(refusal(kScope + "credentials: {from: container}"), HasSubstr("this is no container of AWS"));
  EXPECT_THAT(refusal(kScope + "credentials: {from: ambient, endpoint: \"http://127.0.0.1\"}"),
              HasSubstr("`endpoint` is that of `from: instance`"));
  EXPECT_THAT(refusal(kScope + "credentials: {from: instance}, role: {role_arn: \"arn:aws:iam::1:user/postern\"}"),
              HasSubstr("role_arn is no role"));
}

}  // namespace
}  // namespace postern::identity
