#include "policies/rewrite/rewrite.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

class RewriteTest : public PolicyTest {
 protected:
  std::string rewritten(const Policy& policy, std::string_view target) {
    http::Exchange exchange;
    fill(exchange, {.target = target}, clock);
    const std::string host(exchange.target.host);
    const std::string out = outcome(policy, exchange);
    EXPECT_EQ(exchange.target.host, host);
    return out == "next" ? std::string(exchange.target.path_and_query(exchange.arena)) : out;
  }
};

TEST_F(RewriteTest, prefixes_end_at_segments) {
  const Made made = make_readme_example("rewrite");
  ASSERT_EQ(made.problems, "");
  const std::pair<const char*, const char*> cases[] = {
      {"/v1/a?x=%2F", "/api/a?x=%2F"}, {"/v1", "/api"},   {"/v1/", "/api/"},
      {"/v10/a", "/api/v10/a"},        {"/", "/api/"},    {"/v1/v1/a", "/api/v1/a"},
      {"/v1/%41%20b", "/api/A%20b"},   {"/v1?", "/api?"},
  };
  for (const auto& [target, expected] : cases) EXPECT_EQ(rewritten(*made.policy, target), expected) << target;
}

TEST_F(RewriteTest, strip_add_and_replace_alone) {
  EXPECT_EQ(rewritten(*make("rewrite", "{strip_prefix: /v1}").policy, "/v1"), "/");
  EXPECT_EQ(rewritten(*make("rewrite", "{strip_prefix: /v1}").policy, "/v2"), "/v2");
  EXPECT_EQ(rewritten(*make("rewrite", "{add_prefix: /a/b}").policy, "/c?d"), "/a/b/c?d");
  EXPECT_EQ(rewritten(*make("rewrite", "{path: /fixed/}").policy, "/c?d=1"), "/fixed/?d=1");
}

TEST_F(RewriteTest, the_asterisk_form_stays) {
  const Made made = make("rewrite", "{add_prefix: /a}");
  http::Exchange exchange;
  fill(exchange, {}, clock);
  exchange.target.path = "*";
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  EXPECT_EQ(exchange.target.path, "*");
}

TEST_F(RewriteTest, parts_that_are_not_canonical_are_refused) {
  for (const char* const options : {
           "{}",
           "{add_prefix: /}",
           "{add_prefix: /a/}",
           "{add_prefix: //evil.example}",
           "{add_prefix: a}",
           "{add_prefix: \"/a?b\"}",
           "{add_prefix: \"/a#b\"}",
           "{add_prefix: /a/..}",
           "{add_prefix: /a%2fb}",
           "{add_prefix: /%41}",
           "{strip_prefix: /a/./b}",
           "{path: \"/a b\"}",
           "{path: \"http://evil.example/\"}",
           "{path: /a, add_prefix: /b}",
           "{host: evil.example}",
       }) {
    EXPECT_NE(make("rewrite", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
