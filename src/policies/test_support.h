// For the tests of this room: policies from YAML text, checked by the real schema, and exchanges from a few words.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <initializer_list>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "config/diagnostics.h"
#include "config/schema.h"
#include "config/yaml.h"
#include "http/exchange.h"
#include "policies/catalog.h"
#include "store/rate_table.h"

namespace postern::policies {

inline const config::Schema& whole_schema() {
  static const config::Schema schema = [] {
    const auto parts = schema_parts();
    auto compiled = config::compile_schema(config::root_schema_text(), parts);
    EXPECT_TRUE(compiled.has_value()) << compiled.error().to_string();
    return std::move(*compiled);
  }();
  return schema;
}

// A policy and the document that its options live in.
struct Made {
  std::shared_ptr<config::Document> document;
  std::unique_ptr<const Policy> policy;
  std::string problems;  // "" if there are none
};

class PolicyTest : public ::testing::Test {
 protected:
  Made make(std::string_view name, std::string_view options) {
    return make_from("policies:\n  - " + std::string(name) + ": " + std::string(options) + "\n");
  }

  // The first policy of the document's `policies`, after the schema has agreed with the whole.
  Made make_from(const std::string& text) {
    Made made;
    config::Diagnostics diagnostics("postern.yaml");
    const std::string rest =
        text.find("routes:") != std::string::npos ? "" : "routes: [{match: {path: /}, respond: {status: 204}}]\n";
    made.document = config::read_document(
        "postern.yaml", "version: 1\nlisteners: [{address: \"127.0.0.1:8080\"}]\n" + rest + text, diagnostics);
    if (made.document) whole_schema().validate(made.document->root(), diagnostics);
    if (!diagnostics.has_errors()) made.policy = first_policy(*made.document, diagnostics);
    if (diagnostics.has_errors()) made.problems = diagnostics.to_text();
    EXPECT_EQ(made.policy == nullptr, diagnostics.has_errors()) << made.problems;
    return made;
  }

  // The ```yaml block of the policy's README.md, so that what it promises is true.
  Made make_readme_example(const std::string& name) {
    const std::string path = std::string(POSTERN_SOURCE_DIR) + "/src/policies/" + name + "/README.md";
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    const std::string readme = text.str();
    const std::size_t begin = readme.find("```yaml\n");
    const std::size_t end = readme.find("\n```", begin);
    EXPECT_NE(end, std::string::npos) << path << " has no example";
    if (end == std::string::npos) return {};
    return make_from(readme.substr(begin + 8, end - begin - 7));
  }

  std::unique_ptr<const Policy> first_policy(const config::Document& document, config::Diagnostics& diagnostics) {
    if (const config::Node* const list = document.root().find("policies")) {
      const config::Entry& use = list->items()[0].entries()[0];
      return find_policy(use.key)->make(use.value, diagnostics, services);
    }
    const config::Node& route = document.root().find("routes")->items()[0];
    for (const char* const name : {"respond", "redirect"}) {
      if (const config::Node* const options = route.find(name)) {
        return find_policy(name)->make(*options, diagnostics, services);
      }
    }
    return nullptr;
  }

  ManualClock clock;
  store::RateTable rates;
  Services services{clock, nullptr, &rates, "test/0"};
};

struct Request {
  http::Method method = http::Method::get;
  std::string_view target = "/";
  std::initializer_list<std::pair<std::string_view, std::string_view>> headers = {};
  std::string_view address = "192.0.2.1";
};

inline void fill(http::Exchange& exchange, const Request& request, const Clock& clock) {
  exchange.started = clock.now();
  exchange.started_wall = clock.wall();
  exchange.request_id = "0123456789abcdef0123456789abcdef";
  exchange.client_address = IpAddress::parse(request.address).value_or(IpAddress());
  exchange.request.method = request.method;
  exchange.request.target = request.target;
  for (const auto& [name, value] : request.headers) exchange.request.headers.append(name, value);
  const auto canonical = http::canonicalize("GET", request.target, "api.example", exchange.arena, exchange.target);
  EXPECT_TRUE(canonical.has_value()) << request.target;
}

inline Result<Flow> run(const Policy& policy, http::Exchange& exchange) {
  auto task = policy.on_request(exchange);
  auto awaiter = std::move(task).operator co_await();
  EXPECT_TRUE(awaiter.await_ready());
  return awaiter.await_resume();
}

// "next", "respond" or the name of the error code's title.
inline std::string outcome(const Policy& policy, http::Exchange& exchange) {
  const Result<Flow> flow = run(policy, exchange);
  if (!flow) return std::string(info(flow.error().code()).id);
  return *flow == Flow::next ? "next" : "respond";
}

// "Name: value|Name: value", in order.
inline std::string text_of(const http::Headers& headers) {
  std::string out;
  for (const http::Field& field : headers) {
    if (!out.empty()) out += '|';
    out.append(field.name).append(": ").append(field.value);
  }
  return out;
}

}  // namespace postern::policies
