// For tests of the methods that sign: a configuration with one of them, and an attempt whose request the test writes.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "identity/test_support.h"

namespace postern::identity {

// 00...01, 00...02 and so on: values of a run that a test can know, and no two alike.
class CountingEntropy final : public Entropy {
 public:
  void fill(std::span<unsigned char> out) const noexcept override {
    for (unsigned char& byte : out) byte = 0;
    if (!out.empty()) out.back() = ++count_;
  }

 private:
  mutable unsigned char count_ = 0;
};

class SigningTest : public ::testing::Test {
 protected:
  explicit SigningTest(std::string method) : method_(std::move(method)) {}

  // The method of the origin in `origins` (YAML), or nullptr and what was said in `problems`.
  std::unique_ptr<const IdentityMethod> make(const std::string& origins) {
    for (const auto& [path, content] : files) world_.files.values[path] = content;
    for (const auto& [name, value] : environment) world_.environment.values[name] = value;
    config::Diagnostics diagnostics("postern.yaml");
    const std::string name =
        origins.substr(origins.find("\n  ") + 3, origins.find(":\n    ") - origins.find("\n  ") - 3);
    config_ = world_.load("version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\n" + origins +
                              "\nroutes: [{match: {path: /*}, origin: " + name + ", public: true}]\n",
                          diagnostics);
    std::unique_ptr<const IdentityMethod> made;
    if (config_) made = make_method(config_->origins[0].identity[0], diagnostics, {clock_, entropy_, mint});
    problems = diagnostics.to_text();
    return made;
  }
  // The same for `{options}` of an origin that is otherwise as it should be.
  std::unique_ptr<const IdentityMethod> make_with(std::string_view options) {
    const std::string text = options == "{}" ? "" : std::string(options);
    return make("origins:\n  main:\n    url: https://127.0.0.1:1\n    identity: [{" + method_ + ": {" + text + "}}]\n");
  }
  std::string readme_text() const {
    std::ifstream in(std::string(POSTERN_SOURCE_DIR) + "/src/identity/" + method_ + "/README.md");
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  std::string readme_example() const {
    const std::string readme = readme_text();
    const std::size_t begin = readme.find("```yaml\n") + 8;
    return readme.substr(begin, readme.find("\n```", begin) + 1 - begin);
  }

  // A new request; views outlive the test.
  void request(std::string_view method, std::string_view host, std::string_view target, std::string_view body) {
    attempt_ = std::make_unique<TestAttempt>();
    attempt_->request.method = http::method_of(method);
    attempt_->request.method_text = method;
    attempt_->attempt.host = host;
    attempt_->attempt.path_and_query = target;
    attempt_->attempt.body = body;
    attempt_->attempt.explanations = &explanations;
  }
  void client_field(std::string_view name, std::string_view value) { attempt_->request.headers.append(name, value); }
  void added_before(std::string_view name, std::string_view value) { attempt_->added.append(name, value); }
  void sent_as(std::string_view method) { attempt_->attempt.method = method; }
  void at(WallTime now) { attempt_->attempt.now = now; }
  bool apply(const IdentityMethod& method) {
    explanations.clear();
    attempt_->sensitive.clear();
    for (const std::string_view name : method.headers()) attempt_->added.remove(name);
    const Result<void> applied = attempt_->apply(method);
    failure = applied ? "" : applied.error().to_string();
    sensitive.assign(attempt_->sensitive.begin(), attempt_->sensitive.end());
    return applied.has_value();
  }
  // Of what the attempt adds.
  std::string field(std::string_view name) const {
    const http::Field* const found = attempt_->added.find(name);
    return found ? std::string(found->value) : "(none)";
  }

  SystemEntropy randomness;                 // for keys
  std::shared_ptr<issuer::TokenMint> mint;  // nullptr: no issuer is configured
  std::map<std::string, std::string> files;
  std::map<std::string, std::string> environment;
  std::string problems;
  std::string failure;
  std::vector<std::string> sensitive;
  std::vector<Explanation> explanations;

 private:
  const std::string method_;
  config::World world_ = world_with_methods();
  SystemClock clock_;
  CountingEntropy entropy_;
  std::shared_ptr<const config::Config> config_;
  std::unique_ptr<TestAttempt> attempt_;
};

}  // namespace postern::identity
