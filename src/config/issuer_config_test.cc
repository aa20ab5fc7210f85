// The `issuer` section: what it means, and everything that it cannot mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/config.h"
#include "config/test_support.h"

namespace postern::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string with(const std::string& issuer,
                 const std::string& route = "{match: {path: /}, respond: {status: 204}, public: true}") {
  return "version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\nissuer:\n  " + issuer + "\nroutes: [" + route + "]\n";
}

std::shared_ptr<const Config> load(const std::string& text, std::string& problems) {
  const World world;
  Diagnostics diagnostics("postern.yaml");
  auto config = world.load(text, diagnostics);
  problems = diagnostics.to_text();
  return config;
}

TEST(IssuerConfig, needs_no_more_than_its_url) {
  std::string problems;
  const auto config = load(with("url: https://id.example.com/postern"), problems);
  ASSERT_TRUE(config) << problems;
  EXPECT_THAT(problems, IsEmpty());
  const IssuerConfig& issuer = *config->issuer;
  EXPECT_EQ(issuer.options.url, "https://id.example.com/postern");
  EXPECT_THAT(issuer.options.algorithms, ElementsAre(jose::Algorithm::RS256)) << "every cloud takes it";
  EXPECT_EQ(issuer.options.lifetime, std::chrono::minutes(5));
  EXPECT_EQ(issuer.options.rotation.period, std::chrono::hours(24 * 30));
  EXPECT_EQ(issuer.directory, config->state_directory + "/issuer");
  EXPECT_THAT(issuer.keys, IsEmpty());
}

TEST(IssuerConfig, every_option_has_its_effect) {
  std::string problems;
  auto config =
      load(with("url: https://id.example.com\n  algorithms: [ES256, EdDSA]\n  lifetime: 10m\n  directory: /srv/issuer\n"
                "  rotation: {period: 10d, lead: 2h, overlap: 1h}"),
           problems);
  ASSERT_TRUE(config) << problems;
  const issuer::IssuerOptions& options = config->issuer->options;
  EXPECT_THAT(options.algorithms, ElementsAre(jose::Algorithm::ES256, jose::Algorithm::EdDSA));
  EXPECT_EQ(options.lifetime, std::chrono::minutes(10));
  EXPECT_EQ(config->issuer->directory, "/srv/issuer");
  EXPECT_EQ(options.rotation.period, std::chrono::hours(240));
  EXPECT_EQ(options.rotation.lead, std::chrono::hours(2));
  EXPECT_EQ(options.rotation.overlap, std::chrono::hours(1));
  config = load(with("url: https://id.example.com\n  keys: [/etc/postern/a.pem, /etc/postern/b.pem]"), problems);
  ASSERT_TRUE(config) << problems;
  EXPECT_THAT(config->issuer->keys, ElementsAre("/etc/postern/a.pem", "/etc/postern/b.pem"));
}

TEST(IssuerConfig, a_url_is_taken_as_others_compare_it_or_not_at_all) {
  for (const std::string& url : {
           std::string("https://id.example.com/"),
           std::string("https://id.example.com/a/"),
           std::string("https://id.example.com/a?b"),
           std::string("https://id.example.com/a#b"),
           std::string("https://id.example.com//a"),
           std::string("https://id.example.com/a/../b"),
           std::string("https://id.example.com/a%2fb"),
           std::string("https://ID.example.com"),
           std::string("https://user@id.example.com"),
           std::string("https://"),
           std::string("https:///postern"),
           std::string("http://id.example.com"),
           std::string("http://127.0.0.1.example.com"),
           std::string("ftp://id.example.com"),
           std::string("id.example.com"),
       }) {
    std::string problems;
    EXPECT_FALSE(load(with("url: \"" + url + "\""), problems)) << url;
    EXPECT_THAT(problems, HasSubstr("PST-C012")) << url;
  }
  for (const std::string& url : {std::string("http://127.0.0.1:8080/postern"), std::string("http://localhost:80"),
                                 std::string("http://[::1]:8080"), std::string("https://id.example.com/a/b-c_d~e.f")}) {
    std::string problems;
    EXPECT_TRUE(load(with("url: \"" + url + "\""), problems)) << url << problems;
    EXPECT_THAT(problems, IsEmpty());
  }
  std::string problems;
  EXPECT_TRUE(load(with("url: \"https://id.example.com:8443\""), problems));
  EXPECT_THAT(problems, HasSubstr("clouds take no issuer with a port"));
}

TEST(IssuerConfig, times_that_would_break_verifiers_are_refused) {
  for (const std::string& more : {
           std::string("lifetime: 59s"),
           std::string("lifetime: 61m"),
           std::string("rotation: {lead: 59m}"),
           std::string("rotation: {period: 24h}"),
           std::string("rotation: {overlap: 4m}"),
       }) {
    std::string problems;
    EXPECT_FALSE(load(with("url: https://id.example.com\n  " + more), problems)) << more;
  }
}

TEST(IssuerConfig, keys_of_others_are_not_rotated_here) {
  for (const std::string& more : {std::string("directory: /srv/issuer"), std::string("rotation: {period: 10d}")}) {
    std::string problems;
    EXPECT_FALSE(load(with("url: https://id.example.com\n  keys: [/etc/postern/a.pem]\n  " + more), problems)) << more;
    EXPECT_THAT(problems, HasSubstr("PST-C015"));
  }
}

TEST(IssuerConfig, no_route_takes_its_place) {
  const auto route = [](const std::string& match) {
    return "{match: " + match + ", respond: {status: 204}, public: true}";
  };
  const std::string url = "url: https://id.example.com/postern";
  for (const std::string& match : {
           std::string("{path: /postern/.well-known/jwks.json}"),
           std::string("{path: /postern/.well-known/openid-configuration}"),
           std::string("{host: id.example.com, path: /postern/.well-known/jwks.json}"),
           std::string("{host: \"*.example.com\", path: /postern/.well-known/jwks.json}"),
       }) {
    std::string problems;
    EXPECT_FALSE(load(with(url, route(match)), problems)) << match;
    EXPECT_THAT(problems, HasSubstr("is published under this path"));
  }
  for (const std::string& match : {
           std::string("{path: \"/*\"}"),
           std::string("{path: /.well-known/jwks.json}"),
           std::string("{host: api.example.com, path: /postern/.well-known/jwks.json}"),
       }) {
    std::string problems;
    EXPECT_TRUE(load(with(url, route(match)), problems)) << match << problems;
  }
}

}  // namespace
}  // namespace postern::config
