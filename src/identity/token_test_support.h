// For tests of the methods that show somebody else's token: a configuration with one of them, a token manager, and a
// cloud that answers as the test says.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "identity/test_support.h"
#include "issuer/token_mint.h"
#include "jose/jwt.h"
#include "platform/test_support.h"
#include "tokens/cloud_test_support.h"
#include "tokens/gcp_test_support.h"
#include "tokens/manager.h"

namespace postern::identity {

inline constexpr std::string_view kIssuerUrl = "https://id.example.com/postern";

class TokenMethodTest : public ::testing::Test {
 protected:
  explicit TokenMethodTest(std::string method) : method_(std::move(method)) {
    files["/etc/postern/service.json"] = tokens::test::service_json();
  }

  // An issuer with one RS256 key, which public_key verifies.
  void give_issuer() {
    issuer::IssuerOptions options;
    options.url = kIssuerUrl;
    auto key = std::make_shared<const jose::PrivateKey>(
        std::move(*jose::PrivateKey::from_pem(tokens::test::rsa_pem(), jose::Algorithm::RS256)));
    issuer::KeyRing ring;
    EXPECT_TRUE(ring.add(key->kid(), jose::Algorithm::RS256, clock.wall(), options.rotation));
    mint = std::make_shared<issuer::TokenMint>(options, entropy);
    mint->replace(issuer::Issuer::make(options, ring, {{ring.entries()[0], key}}).value(), clock.wall());
    public_key = key->public_key();
  }

  // The method of the first origin in `origins` (YAML), or nullptr and what was said in `problems`.
  std::unique_ptr<const IdentityMethod> make(const std::string& origins) {
    for (const auto& [path, content] : files) world_.files.values[path] = content;
    config::Diagnostics diagnostics("postern.yaml");
    const std::size_t name = origins.find("origins:\n  ") + 11;
    config_ = world_.load("version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\n" + origins +
                              "\nroutes: [{match: {path: /*}, origin: " +
                              origins.substr(name, origins.find(':', name) - name) + ", public: true}]\n",
                          diagnostics);
    std::unique_ptr<const IdentityMethod> made;
    if (config_) {
      Services services{clock, entropy};
      services.mint = mint;
      services.tokens = with_manager ? &manager_ : nullptr;
      services.environment = &environment;
      made = make_method(config_->origins[0].identity[0], diagnostics, services);
    }
    problems = diagnostics.to_text();
    return made;
  }
  std::unique_ptr<const IdentityMethod> make_with(std::string_view options) {
    return make("origins:\n  main:\n    url: https://127.0.0.1:1\n    identity: [{" + method_ + ": {" +
                std::string(options) + "}}]\n");
  }
  std::unique_ptr<const IdentityMethod> make_readme_example() {
    std::ifstream in(std::string(POSTERN_SOURCE_DIR) + "/src/identity/" + method_ + "/README.md");
    std::stringstream text;
    text << in.rdbuf();
    const std::string readme = text.str();
    const std::size_t begin = readme.find("```yaml\n") + 8;
    return make(readme.substr(begin, readme.find("\n```", begin) + 1 - begin));
  }

  // "Name: value" of the first field that an attempt adds after the first fetch, all of which are in `sent`; or why
  // there is none.
  std::string send(const IdentityMethod& method) {
    manager_.warm_up(fetcher);
    settle(loop_);
    TestAttempt attempt(clock.wall());
    attempt.clock.advance(clock.now() - attempt.clock.now());
    const Result<void> applied = attempt.apply(method);
    sensitive.assign(attempt.sensitive.begin(), attempt.sensitive.end());
    sent.clear();
    for (std::size_t i = 0; i < attempt.added.size(); ++i) {
      sent.emplace(std::string(attempt.added[i].name), std::string(attempt.added[i].value));
    }
    if (!applied) return std::string(applied.error().detail());
    EXPECT_EQ(sent.size(), method.headers().size() == 1 ? 1u : 4u);
    return std::string(attempt.added[0].name) + ": " + std::string(attempt.added[0].value);
  }
  // The form of the request number `index`.
  std::map<std::string, std::string> form(std::size_t index = 0) {
    return tokens::test::form_fields(fetcher.asked.at(index).body);
  }
  // Whether `token` is one of our issuer for that audience and this origin.
  bool is_ours(std::string_view token, std::string_view audience, std::string_view subject) {
    const std::string_view audiences[] = {audience};
    return jose::verify_jwt(token, *public_key,
                            {.issuer = kIssuerUrl, .audiences = audiences, .subject = subject, .now = clock.wall()})
        .has_value();
  }
  // What is said about options that are refused.
  std::string refusal(std::string_view options) {
    EXPECT_FALSE(make_with(options)) << options;
    return problems;
  }

  ManualClock clock;
  SystemEntropy entropy;
  tokens::test::ScriptedFetcher fetcher;
  std::shared_ptr<issuer::TokenMint> mint;  // nullptr: no issuer is configured
  std::optional<jose::PublicKey> public_key;
  std::map<std::string, std::string> files;
  tokens::test::TestEnvironment environment;
  bool with_manager = true;
  std::string problems;
  std::vector<std::string> sensitive;
  std::multimap<std::string, std::string> sent;

 private:
  const std::string method_;
  Loop loop_{clock};
  CountExceptions exceptions_;
  config::World world_ = world_with_methods();
  std::shared_ptr<const config::Config> config_;
  tokens::TokenManager manager_{{loop_, clock, entropy, nullptr, exceptions_}};
};

}  // namespace postern::identity
