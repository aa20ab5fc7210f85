#include "identity/gcp_id_token/gcp_id_token.h"

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

class GcpIdTokenTest : public TokenMethodTest {
 protected:
  GcpIdTokenTest() : TokenMethodTest("gcp_id_token") {}
};

TEST_F(GcpIdTokenTest, the_example_of_its_readme_loads) {
  give_issuer();
  files["/run/secrets/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "gcp_id_token");
  EXPECT_THAT(method->secrets(), ElementsAre());
}

// As Google would sign it.
std::string id_token(WallTime now) {
  const auto key = jose::PrivateKey::from_pem(tokens::test::rsa_pem(), jose::Algorithm::RS256, "google");
  const auto payload = jose::ClaimsWriter()
                           .issuer("https://accounts.google.com")
                           .audience("https://svc")
                           .issued_at(now)
                           .expires(now + std::chrono::hours(1))
                           .finish();
  return *jose::sign_jws(*key, *payload);
}

TEST_F(GcpIdTokenTest, asks_for_the_audience_and_sends_it_where_cloud_run_looks) {
  const auto method = make_with(
      "audience: \"https://svc\", service_account: \"${file:/etc/postern/service.json}\", "
      "header: X-Serverless-Authorization");
  ASSERT_TRUE(method) << problems;
  const std::string token = id_token(clock.wall());
  fetcher.answer(200, "{\"id_token\":\"" + token + "\"}");
  EXPECT_EQ(send(*method), "X-Serverless-Authorization: Bearer " + token);
  EXPECT_THAT(sensitive, ElementsAre(token));
  const auto claims = jose::unverified_claims(*jose::Jws::parse(form().at("assertion")));
  ASSERT_TRUE(claims);
  EXPECT_THAT(claims->text, HasSubstr("\"target_audience\":\"https://svc\""));
}

TEST_F(GcpIdTokenTest, asks_the_metadata_server) {
  const auto method = make_with("audience: \"https://svc\", metadata: {account: gw@p.iam.gserviceaccount.com}");
  ASSERT_TRUE(method) << problems;
  const std::string token = id_token(clock.wall());
  fetcher.answer(200, token, {{"metadata-flavor", "Google"}});
  EXPECT_EQ(send(*method), "Authorization: Bearer " + token);
  EXPECT_EQ(fetcher.asked[0].url,
            "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/gw@p.iam.gserviceaccount.com/"
            "identity?audience=https%3A%2F%2Fsvc&format=full");
}

TEST_F(GcpIdTokenTest, says_what_is_wrong_with_its_options) {
  EXPECT_THAT(refusal("audience: \"https://svc\""), HasSubstr("neither `service_account` nor `metadata`"));
  EXPECT_THAT(refusal("metadata: {}"), HasSubstr("audience"));
  EXPECT_THAT(refusal("audience: \"https://svc\", metadata: {account: \"a/b\"}"), HasSubstr("account is"));
}

}  // namespace
}  // namespace postern::identity
