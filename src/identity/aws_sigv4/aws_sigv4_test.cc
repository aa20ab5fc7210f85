#include "identity/aws_sigv4/aws_sigv4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/signing_test_support.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// The key of AWS's own examples.
constexpr std::string_view kKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
constexpr std::string_view kToken = "FwoGZXIvYXdzEXAMPLETOKEN==";
const std::string kCredentials =
    "credentials: {access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: \"${file:/s/aws}\"}";

class AwsSigV4Test : public SigningTest {
 protected:
  AwsSigV4Test() : SigningTest("aws_sigv4") {
    files["/s/aws"] = kKey;
    files["/s/token"] = kToken;
    files["/run/secrets/aws"] = kKey;
    environment["AWS_ACCESS_KEY_ID"] = "AKIAIOSFODNN7EXAMPLE";
    environment["AWS_SECRET_ACCESS_KEY"] = kKey;
    environment["AWS_SESSION_TOKEN"] = kToken;
  }
  std::unique_ptr<const IdentityMethod> make_for(const std::string& service, const std::string& more = "") {
    return make_with("region: us-east-1, service: " + service + ", " + kCredentials + more);
  }
};

TEST_F(AwsSigV4Test, the_example_of_its_readme_loads) {
  const auto method = make(readme_example());
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "aws_sigv4");
  EXPECT_EQ(method->whole_body(), std::uint64_t{10} << 20);
  EXPECT_THAT(method->headers(),
              ElementsAre("Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"));
  EXPECT_THAT(method->secrets(), ElementsAre(kKey));
}

// AWS's documentation of S3 ("Signature Calculations for the Authorization Header", GET Bucket Lifecycle).
TEST_F(AwsSigV4Test, signs_the_example_of_the_vendor) {
  const auto method = make_for("s3");
  ASSERT_TRUE(method) << problems;
  request("GET", "examplebucket.s3.amazonaws.com", "/?lifecycle", "");
  at(WallTime(std::chrono::seconds(1'369'353'600)));  // 20130524T000000Z
  ASSERT_TRUE(apply(*method)) << failure;
  EXPECT_EQ(field("Authorization"),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
            "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(field("X-Amz-Date"), "20130524T000000Z");
  EXPECT_EQ(field("X-Amz-Content-Sha256"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(field("X-Amz-Security-Token"), "(none)");
  EXPECT_THAT(sensitive, ElementsAre("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
}

TEST_F(AwsSigV4Test, the_day_of_the_key_is_the_day_of_the_request) {
  const auto method = make_for("s3");
  ASSERT_TRUE(method) << problems;
  request("GET", "examplebucket.s3.amazonaws.com", "/?lifecycle", "");
  for (const auto second : {1'369'353'599, 1'369'353'600, 1'369'353'599}) {
    at(WallTime(std::chrono::seconds(second)));
    ASSERT_TRUE(apply(*method)) << failure;
    EXPECT_THAT(field("Authorization"), HasSubstr(second == 1'369'353'600 ? "/20130524/" : "/20130523/"));
    const bool right =
        field("Authorization").ends_with("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    EXPECT_EQ(right, second == 1'369'353'600);
  }
}

TEST_F(AwsSigV4Test, signs_the_body_or_says_that_it_does_not) {
  const auto with = make_for("execute-api");
  ASSERT_TRUE(with) << problems;
  request("POST", "a.execute-api.us-east-1.amazonaws.com", "/", "hello");
  ASSERT_TRUE(apply(*with));
  EXPECT_EQ(field("X-Amz-Content-Sha256"), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  const auto without = make_for("vpc-lattice-svcs", ", payload: unsigned");
  ASSERT_TRUE(without) << problems;
  EXPECT_FALSE(without->whole_body());
  ASSERT_TRUE(apply(*without));
  EXPECT_EQ(field("X-Amz-Content-Sha256"), "UNSIGNED-PAYLOAD");
}

TEST_F(AwsSigV4Test, temporary_credentials_come_from_the_environment_and_their_token_is_signed_and_not_shown) {
  const auto method = make_with(
      "region: us-east-1, service: lambda, credentials: {access_key_id: \"${env:AWS_ACCESS_KEY_ID}\", "
      "secret_access_key: \"${env:AWS_SECRET_ACCESS_KEY}\", session_token: \"${env:AWS_SESSION_TOKEN}\"}");
  ASSERT_TRUE(method) << problems;
  EXPECT_THAT(method->secrets(), ElementsAre(kKey, kToken));
  request("GET", "a.lambda-url.us-east-1.on.aws", "/x?y=%20", "");
  ASSERT_TRUE(apply(*method)) << failure;
  EXPECT_EQ(field("X-Amz-Security-Token"), kToken);
  EXPECT_THAT(field("Authorization"), HasSubstr("Credential=AKIAIOSFODNN7EXAMPLE/"));
  EXPECT_THAT(field("Authorization"), HasSubstr("x-amz-security-token,"));
  ASSERT_EQ(explanations.size(), 2u);
  EXPECT_THAT(explanations[0].text, HasSubstr("GET\n/x\ny=%20\n"));
  EXPECT_THAT(explanations[0].text, HasSubstr("x-amz-security-token:[redacted]\n"));
  EXPECT_THAT(explanations[1].text, HasSubstr("AWS4-HMAC-SHA256\n20231114T221320Z\n"));
}

// The fields that a client may not send to this origin, beside those that are reserved everywhere.
TEST_F(AwsSigV4Test, orders_to_the_service_are_not_the_clients) {
  const auto method = make_for("s3", ", pass: [X-Amz-Meta-Owner]");
  ASSERT_TRUE(method) << problems;
  const FieldFilter* const filter = method->filter();
  ASSERT_TRUE(filter);
  for (const std::string_view name :
       {"X-Amz-Acl", "x-amz-", "X_AMZ_ACL", "x.amz.acl", "X-Amz-Meta-Owner2", "x_amz-meta-owner"}) {
    EXPECT_TRUE(filter->forbids(name)) << name;
  }
  for (const std::string_view name :
       {"X-Amz-Meta-Owner", "x-amz-meta-owner", "X-Amzn-Trace-Id", "X-Am", "Content-Type", ""}) {
    EXPECT_FALSE(filter->forbids(name)) << name;
  }
  request("PUT", "b.s3.us-east-1.amazonaws.com", "/key", "");
  client_field("X-Amz-Meta-Owner", "me");
  client_field("Content-Type", "text/plain");
  client_field("User-Agent", "curl");
  ASSERT_TRUE(apply(*method));
  EXPECT_THAT(field("Authorization"),
              HasSubstr("SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-owner,"));
}

TEST_F(AwsSigV4Test, what_cannot_work_is_an_error_of_the_configuration) {
  const std::string rest = "region: us-east-1, service: s3, ";
  const struct {
    std::string options;
    const char* says;
  } cases[] = {
      {"{}", "region"},
      {rest + "credentials: {access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: literal-0123456789}", "reference"},
      {rest + "credentials: {access_key_id: short, secret_access_key: \"${file:/s/aws}\"}", "no access key id"},
      {rest + "credentials: {access_key_id: \"AKIAIOSFODNN7EXAM LE\", secret_access_key: \"${file:/s/aws}\"}",
       "no access key id"},
      {rest + "credentials: {access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: \"${file:/s/none}\"}", "/s/none"},
      {rest + kCredentials + ", pass: [X-Amz-Date]", "part of the signature"},
      {rest + kCredentials + ", pass: [X-Other]", "X-Amz"},
      {rest + kCredentials + ", payload: unsigned, max_body: 1MiB", "not signed"},
      {rest + kCredentials + ", header: X-Own", "header"},
      {"region: us-east-1, service: lambda, payload: unsigned, " + kCredentials, "refuse unsigned"},
      {"region: us-east-1, service: vpc-lattice-svcs, " + kCredentials, "unsigned payloads only"},
      {"region: US East, service: s3, " + kCredentials, "region"},
  };
  for (const auto& each : cases) {
    EXPECT_FALSE(make_with(each.options)) << each.options;
    EXPECT_THAT(problems, HasSubstr(each.says)) << each.options;
    EXPECT_THAT(problems, Not(HasSubstr("K7MDENG"))) << each.options;
    EXPECT_THAT(problems, Not(HasSubstr("literal-0123456789"))) << each.options;
  }
}

}  // namespace
}  // namespace postern::identity
