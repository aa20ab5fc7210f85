#include "identity/gateway_jwt/gateway_jwt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "identity/signing_test_support.h"
#include "jose/jwt.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kUrl = "https://id.example.com/postern";
constexpr WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));

class GatewayJwtTest : public SigningTest {
 protected:
  GatewayJwtTest() : SigningTest("gateway_jwt") {
    issuer::IssuerOptions options;
    options.url = kUrl;
    options.algorithms = {jose::Algorithm::ES256};
    auto key = std::make_shared<const jose::PrivateKey>(std::move(*jose::PrivateKey::generate(jose::Algorithm::ES256)));
    issuer::KeyRing ring;
    EXPECT_TRUE(ring.add(key->kid(), jose::Algorithm::ES256, kNow, options.rotation));
    const Result<std::shared_ptr<const issuer::Issuer>> made =
        issuer::Issuer::make(options, ring, {{ring.entries()[0], key}});
    EXPECT_TRUE(made) << made.error().detail();
    mint = std::make_shared<issuer::TokenMint>(options, randomness);
    mint->replace(*made, kNow);
    public_key = key->public_key();
  }
  [[nodiscard]] bool verifies(std::string_view token, std::string_view audience, WallTime now) const {
    const std::array<std::string_view, 1> audiences = {audience};
    return jose::verify_jwt(token, *public_key,
                            {.issuer = kUrl, .audiences = audiences, .subject = "postern/origins/main", .now = now})
        .has_value();
  }
  // The value of `name` that the method adds at `now`.
  std::string sent(const IdentityMethod& method, std::string_view name, WallTime now = kNow) {
    request("GET", "orders.internal", "/", "");
    at(now);
    EXPECT_TRUE(apply(method)) << failure;
    return field(name);
  }

  std::optional<jose::PublicKey> public_key;
};

TEST_F(GatewayJwtTest, sends_a_token_for_its_audience_as_bearer) {
  const auto method = make_with("audience: orders");
  ASSERT_TRUE(method) << problems;
  const std::string value = sent(*method, "Authorization");
  ASSERT_TRUE(value.starts_with("Bearer "));
  const std::string token = value.substr(7);
  EXPECT_TRUE(verifies(token, "orders", kNow));
  EXPECT_FALSE(verifies(token, "reports", kNow));
  EXPECT_FALSE(verifies(token, "orders", kNow + std::chrono::minutes(6)));
  EXPECT_THAT(sensitive, ElementsAre(token)) << "the reflection guard looks for it";
  ASSERT_EQ(explanations.size(), 1u);
  EXPECT_THAT(explanations[0].text, HasSubstr("\"aud\":\"orders\""));
  EXPECT_EQ(explanations[0].text.find(token.substr(token.rfind('.'))), std::string::npos) << "claims, never the token";
}

TEST_F(GatewayJwtTest, a_field_of_its_own_holds_the_token_alone) {
  auto method = make_with("audience: orders, header: X-Postern-Token");
  ASSERT_TRUE(method) << problems;
  EXPECT_TRUE(verifies(sent(*method, "X-Postern-Token"), "orders", kNow));
  for (const std::string& name : {std::string("Proxy-Authorization"), std::string("X-Serverless-Authorization")}) {
    method = make_with("audience: orders, header: " + name);
    ASSERT_TRUE(method) << problems;
    EXPECT_TRUE(sent(*method, name).starts_with("Bearer ")) << name;
  }
}

TEST_F(GatewayJwtTest, never_sends_a_token_late) {
  const auto method = make_with("audience: orders");
  ASSERT_TRUE(method) << problems;
  const WallTime later = kNow + std::chrono::hours(3);
  EXPECT_TRUE(verifies(sent(*method, "Authorization", later).substr(7), "orders", later)) << "signed when needed";
}

TEST_F(GatewayJwtTest, without_keys_nothing_is_sent) {
  mint = std::make_shared<issuer::TokenMint>(mint->options(), randomness);
  const auto method = make_with("audience: orders");
  ASSERT_TRUE(method) << problems;
  request("GET", "orders.internal", "/", "");
  EXPECT_FALSE(apply(*method));
  EXPECT_THAT(failure, HasSubstr("no keys"));
  EXPECT_EQ(field("Authorization"), "(none)");
}

TEST_F(GatewayJwtTest, wants_an_issuer_with_a_key_of_that_kind) {
  EXPECT_FALSE(make_with("audience: orders, algorithm: RS256"));
  EXPECT_THAT(problems, HasSubstr("the issuer has no key for"));
  mint = nullptr;
  EXPECT_FALSE(make_with("audience: orders"));
  EXPECT_THAT(problems, HasSubstr("has no issuer"));
}

TEST_F(GatewayJwtTest, the_example_of_its_readme_loads) {
  const auto method = make(readme_example());
  ASSERT_TRUE(method) << problems;
  EXPECT_THAT(method->headers(), ElementsAre("Authorization"));
}

}  // namespace
}  // namespace postern::identity
