#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/test_support.h"

namespace postern::config {
namespace {

using testing::ElementsAre;

constexpr std::string_view kBefore = R"(version: 1
listeners: [{address: "127.0.0.1:1"}]
policies: [{rate_limit: {requests: 5, per: 1s}}, api_key]
origins:
  o:
    url: http://127.0.0.1:2
    timeouts: {connect: 5s}
    identity: [{shared_secret: {header: X-S, value: "${file:/s/a}"}}]
  gone: {url: "http://127.0.0.1:3"}
routes:
  - match: {path: /a}
    origin: o
  - match: {path: /b}
    origin: gone
)";

constexpr std::string_view kAfter = R"(version: 1
listeners: [{address: "127.0.0.1:1"}]
policies: [api_key, {rate_limit: {requests: 6, per: 1s}}]
drain: 5s
origins:
  o:
    url: http://127.0.0.1:2
    timeouts: {connect: 2s, idle: 9s}
    identity: [{shared_secret: {header: X-S, value: "${file:/s/a}"}}]
routes:
  - match: {path: /new}
    origin: o
  - match: {path: /a}
    origin: o
    name: first
)";

TEST(Changes, AreListedByPath) {
  World world;
  Diagnostics diagnostics("postern.yaml");
  const auto before = world.load(kBefore, diagnostics);
  world.files.values["/s/a"] = kSecretB;
  const auto after = world.load(kAfter, diagnostics);
  ASSERT_TRUE(before && after) << diagnostics.to_text();
  EXPECT_THAT(
      describe_changes(*before, *after),
      ElementsAre("~ policies[1].rate_limit.requests: 5 -> 6",  //
                  "~ policies: order changed",                  //
                  "+ drain: 5s",                                //
                  "- origins.gone: {url: http://127.0.0.1:3}",  //
                  "~ origins.o.timeouts.connect: 5s -> 2s",     //
                  "+ origins.o.timeouts.idle: 9s",              //
                  "+ routes[1].name: first",                    //
                  "- routes[1] {match: {path: /b}, origin: gone}", "+ routes[0] {match: {path: /new}, origin: o}",
                  "~ origins.o.identity[0].shared_secret.value: changed"));
  EXPECT_TRUE(describe_changes(*after, *after).empty());
}

TEST(Changes, DoNotShowWhatLooksLikeACredential) {
  World world;
  Diagnostics diagnostics("postern.yaml");
  const auto with = [&](std::string_view fields) {
    return world.load(std::string(kBefore) + "    policies: [{request_headers: {" + std::string(fields) + "}}]\n",
                      diagnostics);
  };
  const auto first = with("set: {Authorization: Basic aHVudGVyMg, X-Plan: a}");
  const auto second = with("set: {Authorization: Basic aHVudGVyMw, X-Plan: b}, add: {x_api_key: hunter2}");
  ASSERT_TRUE(first && second) << diagnostics.to_text();
  const std::string path = "routes[1].policies[0].request_headers";
  EXPECT_THAT(describe_changes(*first, *second),
              ElementsAre("~ " + path + ".set.Authorization: changed", "~ " + path + ".set.X-Plan: a -> b",
                          "+ " + path + ".add: {x_api_key: [redacted]}"));
  const auto without = with("remove: [X-Other]");
  ASSERT_TRUE(without);
  for (const std::string& line : describe_changes(*second, *without)) {
    EXPECT_EQ(line.find("hunter"), std::string::npos) << line;
    EXPECT_EQ(line.find("aHVudGVy"), std::string::npos) << line;
  }
}

TEST(Changes, SecretsFromTheEnvironmentAreNamed) {
  World world;
  world.environment.values["S"] = kSecretA;
  std::string text(kBefore);
  text.replace(text.find("${file:/s/a}"), 12, "${env:S}");
  Diagnostics diagnostics("postern.yaml");
  const auto config = world.load(text, diagnostics);
  ASSERT_TRUE(config) << diagnostics.to_text();
  EXPECT_THAT(secrets_fixed_at_start(*config), ElementsAre("origins.o.identity[0].shared_secret.value"));
}

}  // namespace
}  // namespace postern::config
