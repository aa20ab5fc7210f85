#include "identity/shared_secret/shared_secret.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "config/test_support.h"
#include "identity/test_support.h"

namespace postern::identity {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kFirst = "0123456789abcdef-first";
constexpr std::string_view kSecond = "0123456789abcdef-second";
constexpr WallTime kSwitch{1'800'000'000s};

config::SharedSecretConfig config_of(config::SecretPrefix prefix, bool with_next) {
  config::SharedSecretConfig out;
  out.header = "X-Secret";
  out.prefix = prefix;
  out.value = config::Secret(kFirst);
  if (with_next) {
    out.next.emplace();
    out.next->value = config::Secret(kSecond);
    out.next->switch_at = kSwitch;
  }
  return out;
}

// "Name: value" of what an attempt at `now` adds.
std::string added(const SharedSecret& method, WallTime now) {
  TestAttempt attempt(now);
  EXPECT_TRUE(attempt.apply(method));
  const http::Headers& fields = attempt.added;
  EXPECT_EQ(fields.size(), 1u);
  return std::string(fields[0].name) + ": " + std::string(fields[0].value);
}

TEST(SharedSecret, sets_its_field_raw_or_as_bearer) {
  EXPECT_EQ(added(SharedSecret(config_of(config::SecretPrefix::raw, false)), kSwitch),
            "X-Secret: 0123456789abcdef-first");
  EXPECT_EQ(added(SharedSecret(config_of(config::SecretPrefix::bearer, false)), kSwitch),
            "X-Secret: Bearer 0123456789abcdef-first");
}

TEST(SharedSecret, changes_to_the_next_value_at_exactly_its_moment) {
  for (const config::SecretPrefix prefix : {config::SecretPrefix::raw, config::SecretPrefix::bearer}) {
    const SharedSecret method(config_of(prefix, true));
    EXPECT_TRUE(added(method, WallTime{}).ends_with(kFirst));
    EXPECT_TRUE(added(method, kSwitch - 1ns).ends_with(kFirst));
    EXPECT_TRUE(added(method, kSwitch).ends_with(kSecond));
    EXPECT_TRUE(added(method, kSwitch + 24h * 365).ends_with(kSecond));
    EXPECT_EQ(added(method, kSwitch).find("Bearer") != std::string::npos, prefix == config::SecretPrefix::bearer);
  }
}

TEST(SharedSecret, without_a_next_value_time_changes_nothing) {
  const SharedSecret method(config_of(config::SecretPrefix::raw, false));
  EXPECT_TRUE(added(method, WallTime::max()).ends_with(kFirst)) << "not even at the end of time an empty field";
}

TEST(SharedSecret, tells_the_reflection_guard_both_values_without_prefix) {
  using Secrets = std::vector<std::string_view>;
  EXPECT_EQ(SharedSecret(config_of(config::SecretPrefix::raw, false)).secrets(), Secrets{kFirst});
  const SharedSecret raw(config_of(config::SecretPrefix::raw, true));
  EXPECT_EQ(raw.secrets(), (Secrets{kFirst, kSecond}));
  const SharedSecret bearer(config_of(config::SecretPrefix::bearer, true));
  EXPECT_EQ(bearer.secrets(), (Secrets{kFirst, kSecond}));
}

TEST(SharedSecret, reserves_its_header) {
  const SharedSecret method(config_of(config::SecretPrefix::raw, true));
  EXPECT_EQ(method.headers(), std::vector<std::string_view>{"X-Secret"});
  EXPECT_EQ(method.name(), "shared_secret");
}

// ---- from the configuration ----------------------------------------------------------------------------------------

std::string readme_example() {
  const std::string path = std::string(POSTERN_SOURCE_DIR) + "/src/identity/shared_secret/README.md";
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  const std::string readme = text.str();
  const std::size_t begin = readme.find("```yaml\n");
  const std::size_t end = readme.find("\n```", begin);
  EXPECT_NE(end, std::string::npos) << path << " has no example";
  return readme.substr(begin + 8, end - begin - 7);
}

std::string document(const std::string& rest) {
  return "version: 1\nlisteners: [{address: \"127.0.0.1:8080\"}]\n" + rest +
         "routes: [{match: {path: /*}, origin: orders, public: true}]\n";
}

TEST(SharedSecret, the_example_of_its_readme_loads) {
  config::World world;
  world.files.values["/run/secrets/orders"] = kFirst;
  world.files.values["/run/secrets/orders-next"] = std::string(kSecond) + "\n";
  config::Diagnostics diagnostics("postern.yaml");
  const auto loaded = world.load(document(readme_example()), diagnostics);
  ASSERT_TRUE(loaded) << diagnostics.to_text();
  const auto& config = std::get<config::SharedSecretConfig>(loaded->origins[0].identity[0].config);
  const SharedSecret method(config);
  EXPECT_EQ(added(method, config.next->switch_at - 1ns), "X-Backend-Secret: 0123456789abcdef-first");
  EXPECT_EQ(added(method, config.next->switch_at), "X-Backend-Secret: 0123456789abcdef-second");
}

// Whatever is wrong with a secret, what is said about it does not contain it.
TEST(SharedSecret, no_message_shows_a_secret) {
  const auto with = [](const std::string& options) {
    return document("origins: {orders: {url: \"http://127.0.0.1:1\", identity: [{shared_secret: " + options + "}]}}\n");
  };
  for (const std::string& options : {
           std::string("{header: X-Secret, value: \"0123456789abcdef-first\"}"),
           std::string("{header: X-Secret, value: \"${file:/bad}\"}"),
           std::string("{header: X-Secret, value: \"${file:/short}\"}"),
           std::string("{header: Host, value: \"${file:/good}\"}"),
           std::string("{header: \"X Secret\", value: \"${file:/good}\"}"),
           std::string("{header: X-Secret, value: \"${file:/good}\", next: {value: \"${file:/bad}\", switch_at: "
                       "2027-01-01T00:00:00Z}}"),
           std::string(
               "{header: X-Secret, value: \"${file:/good}\", next: {value: \"${file:/good}\", switch_at: tomorrow}}"),
       }) {
    config::World world;
    world.files.values["/good"] = kFirst;
    world.files.values["/bad"] = std::string(kFirst) + "\nsecond line " + std::string(kSecond);
    world.files.values["/short"] = "0123456789abcde";
    config::Diagnostics diagnostics("postern.yaml");
    EXPECT_FALSE(world.load(with(options), diagnostics)) << options;
    EXPECT_NE(diagnostics.to_text(), "") << options;
    for (const std::string& text : {diagnostics.to_text(), diagnostics.to_json()}) {
      EXPECT_EQ(text.find("0123456789abcde"), std::string::npos) << text;
    }
  }
}

}  // namespace
}  // namespace postern::identity
