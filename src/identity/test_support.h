// For tests: one attempt of a GET, and what an identity method makes of it.
#pragma once

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "config/test_support.h"
#include "identity/catalog.h"

namespace postern::identity {

// A world whose configurations may name every method of the catalog.
inline config::World world_with_methods() {
  config::World world;
  std::vector<config::SchemaPart> parts = config::test_policy_parts();
  for (const config::SchemaPart& part : schema_parts()) parts.push_back(part);
  Result<config::Schema> schema = config::compile_schema(config::root_schema_text(), parts);
  if (!schema) throw std::runtime_error(std::string(schema.error().detail()));
  world.schema = std::move(*schema);
  world.identity_methods = traits();
  return world;
}

class TestAttempt {
 public:
  explicit TestAttempt(WallTime now = WallTime(std::chrono::seconds(1'700'000'000)))
      : attempt{.request = request,
                .scheme = "https",
                .host = "orders.internal",
                .path_and_query = "/",
                .now = now,
                .loop = loop,
                .deadline = loop.now() + std::chrono::seconds(5),
                .added = added,
                .arena = arena,
                .sensitive = sensitive} {
    request.method = http::Method::get;
    request.method_text = "GET";
  }

  // For a method that has no reason to wait.
  Result<void> apply(const IdentityMethod& method) {
    auto task = method.apply(attempt);
    auto awaiter = std::move(task).operator co_await();
    EXPECT_TRUE(awaiter.await_ready()) << "it has no reason to wait";
    return awaiter.await_resume();
  }

  http::RequestHead request;
  ManualClock clock;
  Loop loop{clock};
  http::Headers added;
  Arena arena;
  std::vector<std::string_view> sensitive;
  Attempt attempt;
};

}  // namespace postern::identity
