// Identity methods that `config` knows by their traits only: what it reads of them, and what a reload says of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config.h"
#include "config/test_support.h"

namespace postern::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kPem = "-----BEGIN PRIVATE KEY-----\nMAAA\n-----END PRIVATE KEY-----\n";

std::string with(const std::string& identity) {
  return "version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\norigins:\n  o:\n    url: http://127.0.0.1:1\n    "
         "identity: [" +
         identity + "]\nroutes: [{match: {path: /}, origin: o, public: true}]\n";
}

struct Loaded {
  World world;
  std::shared_ptr<const Config> config;
  std::string text;

  Loaded() { world.files.values["/s/key"] = kPem; }
  Loaded& load(const std::string& identity) {
    Diagnostics diagnostics("postern.yaml");
    config = world.load(with(identity), diagnostics);
    text = diagnostics.to_text();
    return *this;
  }
  [[nodiscard]] const MethodConfig& method(std::size_t i = 0) const {
    return std::get<MethodConfig>(config->origins[0].identity[i].config);
  }
};

TEST(MethodConfig, has_its_options_its_fields_and_its_secrets) {
  Loaded loaded;
  loaded.load("{test_token: {audience: a, client_secret: \"${file:/s/a}\", login: {key: \"${file:/s/key}\"}}}");
  ASSERT_TRUE(loaded.config) << loaded.text;
  const MethodConfig& method = loaded.method();
  EXPECT_EQ(method.options->find("audience")->text(), "a");
  EXPECT_THAT(method.headers, ElementsAre("Authorization", "X-Token-Date"));
  EXPECT_EQ(method.where, "origins.o.identity[0].test_token");
  ASSERT_TRUE(method.secret("client_secret"));
  EXPECT_EQ(method.secret("client_secret")->reveal(), kSecretA);
  EXPECT_FALSE(method.secret("audience"));
  EXPECT_FALSE(method.secret("key")) << "it stands deeper";
  EXPECT_EQ(std::string(method.secrets.at(method.options->find("login")->find("key")).reveal()) + "\n", kPem);
  EXPECT_THAT(reserved_headers(*loaded.config), ElementsAre("authorization", "x-token-date"));
  EXPECT_FALSE(loaded.config->origins[0].forward_authorization);
}

TEST(MethodConfig, a_field_of_its_own_leaves_authorization_to_the_client) {
  Loaded loaded;
  loaded.load("{test_token: {header: X-Serverless-Authorization}}");
  ASSERT_TRUE(loaded.config) << loaded.text;
  EXPECT_THAT(reserved_headers(*loaded.config), ElementsAre("x-serverless-authorization", "x-token-date"));
  loaded.load("{test_token: {header: X-Serverless-Authorization, client_authorization: forward}}");
  EXPECT_FALSE(loaded.config);
  EXPECT_THAT(loaded.text, HasSubstr("stays where it is"));
}

TEST(MethodConfig, what_is_forwarded_is_the_gateways_own_field) {
  Loaded loaded;
  loaded.load("{test_token: {client_authorization: forward}}");
  ASSERT_TRUE(loaded.config) << loaded.text;
  EXPECT_TRUE(loaded.config->origins[0].forward_authorization);
  EXPECT_THAT(reserved_headers(*loaded.config),
              ElementsAre("authorization", "x-forwarded-authorization", "x-token-date"));
}

TEST(MethodConfig, two_identities_do_not_share_a_field) {
  Loaded loaded;
  const std::string secret = "{shared_secret: {header: X-Token_Date, value: \"${file:/s/a}\"}}";
  EXPECT_FALSE(loaded.load("{test_token: {}}, " + secret).config);
  EXPECT_THAT(loaded.text, HasSubstr("uses the same header field"));
  EXPECT_FALSE(loaded.load(secret + ", {test_token: {}}").config);
  EXPECT_FALSE(loaded.load("{test_token: {header: Content-Length}}").config);
  EXPECT_THAT(loaded.text, HasSubstr("has another meaning in HTTP"));
}

TEST(MethodConfig, a_secret_that_is_missing_or_of_the_wrong_form_stops_the_load) {
  Loaded loaded;
  EXPECT_FALSE(loaded.load("{test_token: {client_secret: \"${file:/s/none}\"}}").config);
  EXPECT_FALSE(loaded.load("{test_token: {client_secret: \"${file:/s/key}\"}}").config) << "several lines in a field";
  loaded.world.files.values["/s/key"] = "short";
  EXPECT_FALSE(loaded.load("{test_token: {login: {key: \"${file:/s/key}\"}}}").config);
  loaded.world.files.values["/s/key"] = "";
  EXPECT_FALSE(loaded.load("{test_token: {login: {key: \"${file:/s/key}\"}}}").config);
  loaded.world.files.values["/s/key"] = std::string(kPem) + '\x01';
  EXPECT_FALSE(loaded.load("{test_token: {login: {key: \"${file:/s/key}\"}}}").config);
  EXPECT_EQ(loaded.text.find("PRIVATE"), std::string::npos) << "no secret in a message";
}

TEST(MethodConfig, is_another_one_if_an_option_or_what_a_reference_stands_for_differs) {
  const std::string identity = "{test_token: {audience: a, login: {key: \"${file:/s/key}\"}}}";
  Loaded before;
  before.load(identity);
  ASSERT_TRUE(before.config) << before.text;
  Loaded after;
  after.load(identity);
  EXPECT_TRUE(before.method().same_as(after.method()));
  EXPECT_THAT(describe_changes(*before.config, *after.config), IsEmpty());

  after.world.files.values["/s/key"] = "-----BEGIN PRIVATE KEY-----\nMBBB\n-----END PRIVATE KEY-----\n";
  after.load(identity);
  EXPECT_FALSE(before.method().same_as(after.method()));
  EXPECT_THAT(describe_changes(*before.config, *after.config),
              ElementsAre("~ origins.o.identity[0].test_token.login.key: changed"));

  EXPECT_FALSE(
      before.method().same_as(after.load("{test_token: {audience: b, login: {key: \"${file:/s/key}\"}}}").method()));
}

}  // namespace
}  // namespace postern::config
