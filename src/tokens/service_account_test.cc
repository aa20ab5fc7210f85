#include "tokens/service_account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokens/gcp_test_support.h"

namespace postern::tokens {
namespace {

using namespace test;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ServiceAccount, ReadsWhatGoogleWrites) {
  const auto account = ServiceAccount::parse(service_json());
  ASSERT_TRUE(account) << account.error().to_string();
  EXPECT_EQ((*account)->email(), "gw@project.iam.gserviceaccount.com");
  EXPECT_EQ((*account)->token_uri(), "https://oauth2.googleapis.com/token");
  EXPECT_EQ((*account)->key().kid(), "0123456789abcdef0123456789abcdef01234567");
  EXPECT_EQ((*account)->key().algorithm(), jose::Algorithm::RS256);
}

TEST(ServiceAccount, SaysWhatIsWrongAndShowsNothing) {
  const std::string ec(jose::PrivateKey::generate(jose::Algorithm::ES256)->to_pem()->reveal());
  struct Case {
    std::string text;
    std::string_view error;
  };
  const std::string good = service_json();
  const Case cases[] = {
      {"", "the file is no JSON"},
      {"[]", "the file is no JSON object"},
      {good.substr(0, good.size() / 2), "the file is no JSON"},
      {good + "x", "the file is no JSON"},
      {"{\"type\":1,\"type\":2}", "an object with the same name twice"},
      {good + std::string(40'000, ' '), "the text is too long"},
      {service_json({{"type", std::nullopt}}), "type is missing"},
      {service_json({{"type", "external_account"}}), "that is federation"},
      {service_json({{"type", "authorized_user"}}), "a person's login"},
      {service_json({{"type", "SERVICE_ACCOUNT"}}), "type is not service_account"},
      {service_json({{"client_email", std::nullopt}}), "client_email is missing"},
      {service_json({{"client_email", "no address"}}), "client_email is no address"},
      {service_json({{"client_email", "@x"}}), "client_email is no address"},
      {service_json({{"private_key_id", ""}}), "private_key_id is empty"},
      {service_json({{"private_key_id", "a b"}}), "private_key_id is not visible ASCII"},
      {service_json({{"private_key", std::nullopt}}), "private_key is missing"},
      {service_json({{"private_key", "topsecret"}}), "private_key cannot be used"},
      {service_json({{"private_key", rsa_pem().substr(0, 700)}}), "private_key cannot be used"},
      {service_json({{"private_key", ec}}), "private_key cannot be used"},
      {service_json({{"token_uri", "http://oauth2.example.com/token"}}),
       "token_uri is http://, which is for loopback addresses only"},
      {service_json({{"token_uri", "https://user@oauth2.example.com/token"}}), "token_uri has a user name in it"},
      {service_json({{"token_uri", "file:///etc/passwd"}}), "token_uri is no URL"},
      {"{\"type\":\"service_account\",\"client_email\":7}", "client_email is no text"},
  };
  for (const Case& test : cases) {
    const auto account = ServiceAccount::parse(test.text);
    ASSERT_FALSE(account) << test.error;
    const std::string detail(account.error().detail());
    EXPECT_THAT(detail, HasSubstr(std::string(test.error)));
    EXPECT_THAT(detail, Not(HasSubstr("topsecret")));
    EXPECT_THAT(detail, Not(HasSubstr("PRIVATE"))) << "not even a part of a key";
    EXPECT_THAT(detail, Not(HasSubstr(rsa_pem().substr(100, 16))));
    EXPECT_LT(detail.size(), 300u);
  }
}

TEST(ServiceAccount, LoopbackMayBePlain) {
  for (const std::string_view uri : {"http://127.0.0.1:4000/token", "http://[::1]/token", "http://localhost:1/t"}) {
    EXPECT_TRUE(ServiceAccount::parse(service_json({{"token_uri", std::string(uri)}}))) << uri;
  }
  EXPECT_FALSE(ServiceAccount::parse(service_json({{"token_uri", "http://127.0.0.1.example.com/t"}})));
}

}  // namespace
}  // namespace postern::tokens
