#include "identity/hmac/hmac.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/signing_test_support.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kText = "a secret of thirty-two bytes, or more";
constexpr std::string_view kOther = "another secret of thirty-two bytes, or more";
constexpr std::string_view kWhsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

class HmacTest : public SigningTest {
 protected:
  HmacTest() : SigningTest("hmac") {
    files["/s/text"] = kText;
    files["/s/other"] = kOther;
    files["/s/whsec"] = kWhsec;
    files["/s/short"] = kText.substr(0, 31);
    files["/run/secrets/hooks"] = kText;
    files["/run/secrets/hooks-before"] = kOther;
  }
};

TEST_F(HmacTest, the_example_of_its_readme_loads) {
  const auto method = make(readme_example());
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "hmac");
  EXPECT_EQ(method->whole_body(), std::uint64_t{1} << 20);
  EXPECT_THAT(method->headers(), ElementsAre("X-Gateway-Signature", "Webhook-Id", "Webhook-Timestamp"));
  EXPECT_THAT(method->secrets(), ElementsAre(kText, kOther));
  request("POST", "hooks.internal", "/", "{}");
  ASSERT_TRUE(apply(*method));
  const std::string value = field("X-Gateway-Signature");
  EXPECT_EQ(value.find("v1=", value.find("v1=") + 1), value.rfind("v1=")) << value << ": of both secrets";
}

// The numbers are OpenSSL's: printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac SECRET
TEST_F(HmacTest, has_the_form_of_stripe) {
  const auto method = make_with("form: stripe, header: Stripe-Signature, secret: \"${file:/s/text}\"");
  ASSERT_TRUE(method) << problems;
  request("POST", "hooks.internal", "/", "{\"a\":1}");
  ASSERT_TRUE(apply(*method)) << failure;
  EXPECT_EQ(field("Stripe-Signature"),
            "t=1700000000,v1=e4069c0c73adf9b33b50050a244ded24131dbc7ab128a75c4986c7b331ec72cd");
  EXPECT_EQ(field("Webhook-Id"), "(none)");
  EXPECT_THAT(sensitive, ElementsAre(field("Stripe-Signature")));
  EXPECT_EQ(explanations.at(0).text, "1700000000.<body of 7 bytes>");
}

TEST_F(HmacTest, has_the_form_of_standard_webhooks) {
  const auto method = make_with("secret: \"${file:/s/whsec}\"");
  ASSERT_TRUE(method) << problems;
  request("POST", "hooks.internal", "/", "{\"a\":1}");
  ASSERT_TRUE(apply(*method)) << failure;
  EXPECT_EQ(field("Webhook-Id"), "msg_00000000000000000000000000000001");
  EXPECT_EQ(field("Webhook-Timestamp"), "1700000000");
  EXPECT_EQ(field("Webhook-Signature"), "v1,+27RgeP6UQi7y5/oWD187mEEF8PSqH/7P7f5SLM9E/M=");
  ASSERT_TRUE(apply(*method));
  EXPECT_EQ(field("Webhook-Id"), "msg_00000000000000000000000000000002") << "each attempt is a message of its own";
}

TEST_F(HmacTest, binds_body_and_time) {
  const auto method = make_with("form: stripe, secret: \"${file:/s/text}\"");
  ASSERT_TRUE(method) << problems;
  request("POST", "hooks.internal", "/", "a");
  ASSERT_TRUE(apply(*method));
  const std::string before = field("Webhook-Signature");
  at(WallTime(std::chrono::seconds(1'700'000'001)));
  ASSERT_TRUE(apply(*method));
  EXPECT_NE(field("Webhook-Signature").substr(13), before.substr(13));
  request("POST", "hooks.internal", "/", "b");
  ASSERT_TRUE(apply(*method));
  EXPECT_NE(field("Webhook-Signature"), before);
}

TEST_F(HmacTest, what_cannot_work_is_an_error_of_the_configuration) {
  const struct {
    std::string options;
    const char* says;
  } cases[] = {
      {"{}", "secret"},
      {"secret: literal", "reference"},
      {"form: stripe, secret: \"${file:/s/short}\"", "32 bytes or more"},
      {"secret: \"${file:/s/text}\"", "Standard Webhooks"},
      {"form: other, secret: \"${file:/s/text}\"", "form"},
      {"secret: \"${file:/s/whsec}\", also: [\"${file:/s/text}\"]", "Standard Webhooks"},
      {"secret: \"${file:/s/whsec}\", max_body: 1GiB", "64MiB"},
      {"secret: \"${file:/s/whsec}\", header: Webhook-Id", "same"},
      {"secret: \"${file:/s/whsec}\", header: Content-Length", "another meaning"},
      {"secret: \"${file:/s/whsec}\", unsigned_body: {reason: \"because of it\"}", "unsigned_body"},
  };
  for (const auto& each : cases) {
    EXPECT_FALSE(make_with(each.options)) << each.options;
    EXPECT_THAT(problems, HasSubstr(each.says)) << each.options;
    EXPECT_THAT(problems, Not(HasSubstr("thirty-two"))) << each.options;
    EXPECT_THAT(problems, Not(HasSubstr("MfKQ9r8"))) << each.options;
  }
}

}  // namespace
}  // namespace postern::identity
