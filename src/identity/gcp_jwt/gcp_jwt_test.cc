#include "identity/gcp_jwt/gcp_jwt.h"

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

class GcpJwtTest : public TokenMethodTest {
 protected:
  GcpJwtTest() : TokenMethodTest("gcp_jwt") {}
};

TEST_F(GcpJwtTest, the_example_of_its_readme_loads) {
  give_issuer();
  files["/run/secrets/entra"] = "Aq8Q~client-secret-of-the-gateway";
  const auto method = make_readme_example();
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "gcp_jwt");
  EXPECT_THAT(method->secrets(), ElementsAre());
}

TEST_F(GcpJwtTest, signs_for_its_audience_and_asks_nobody) {
  const auto method =
      make_with("audience: \"https://orders.example.com/\", service_account: \"${file:/etc/postern/service.json}\"");
  ASSERT_TRUE(method) << problems;
  const std::string sent = send(*method);
  ASSERT_THAT(sent, HasSubstr("Authorization: Bearer "));
  const std::string token = sent.substr(22);
  const std::string_view audiences[] = {"https://orders.example.com/"};
  const auto claims =
      jose::verify_jwt(token, tokens::test::account()->key().public_key(),
                       {.issuer = "gw@project.iam.gserviceaccount.com", .audiences = audiences, .now = clock.wall()});
  ASSERT_TRUE(claims) << jose::text_of(claims.error());
  EXPECT_THAT(sensitive, ElementsAre(token));
  EXPECT_TRUE(fetcher.asked.empty());
  clock.advance(std::chrono::minutes(59));
  EXPECT_NE(send(*method), sent) << "signed anew before it ends";
}

TEST_F(GcpJwtTest, has_either_audience_or_scopes) {
  const std::string file = "service_account: \"${file:/etc/postern/service.json}\"";
  EXPECT_THAT(refusal(file), HasSubstr("either audience or scope is needed"));
  EXPECT_THAT(refusal(file + ", audience: a, scopes: [b]"), HasSubstr("either audience or scope is needed"));
  EXPECT_TRUE(make_with(file + ", scopes: [b, c]")) << problems;
}

}  // namespace
}  // namespace postern::identity
