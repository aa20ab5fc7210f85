#include "policies/redirect/redirect.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

class RedirectTest : public PolicyTest {
 protected:
  std::string location(const Policy& policy, std::string_view target) {
    http::Exchange exchange;
    fill(exchange, {.target = target}, clock);
    const std::string out = outcome(policy, exchange);
    if (out != "respond") return out;
    return std::to_string(exchange.local.status) + " " +
           std::string(exchange.local.headers.value(http::HeaderName::location));
  }
};

TEST_F(RedirectTest, the_readme_example) {
  const Made made = make_readme_example("redirect");
  ASSERT_EQ(made.problems, "");
  EXPECT_EQ(location(*made.policy, "/old/a%20b?x=1&y=//evil.example"),
            "308 https://www.example.com/new/a%20b?x=1&y=//evil.example");
  EXPECT_EQ(location(*made.policy, "/old"), "308 https://www.example.com/new");
  EXPECT_EQ(location(*made.policy, "/old/"), "308 https://www.example.com/new/");
  EXPECT_EQ(location(*made.policy, "/older"), "308 https://www.example.com/new/older");
}

TEST_F(RedirectTest, fixed_and_appended_parts) {
  const struct {
    const char* options;
    const char* target;
    const char* expected;
  } cases[] = {
      {"{to: \"https://a.example/x?y=1#z\"}", "/p?q", "307 https://a.example/x?y=1#z"},
      {"{to: /x, status: 303}", "/p?q", "303 /x"},
      {"{to: \"/x${query}\"}", "/p?q=1", "307 /x?q=1"},
      {"{to: \"/x${query}\"}", "/p", "307 /x"},
      {"{to: \"/x${path}\"}", "/p?q", "307 /x/p"},
      {"{to: \"/x/${path}\"}", "/p", "307 /x/p"},
      {"{to: \"https://a.example${path}\"}", "/@evil.example/", "307 https://a.example/@evil.example/"},
      {"{to: \"https://a.example${path}\"}", "/.evil.example/", "307 https://a.example/.evil.example/"},
      {"{to: /}", "/p", "307 /"},
  };
  for (const auto& c : cases) {
    const Made made = make("redirect", c.options);
    ASSERT_EQ(made.problems, "") << c.options;
    EXPECT_EQ(location(*made.policy, c.target), c.expected) << c.options;
  }
}

TEST_F(RedirectTest, the_asterisk_form_goes_nowhere) {
  const Made made = make("redirect", "{to: \"https://a.example${path}\"}");
  http::Exchange exchange;
  fill(exchange, {}, clock);
  exchange.target.path = "*";
  EXPECT_EQ(outcome(*made.policy, exchange), "PST-R004");
}

TEST_F(RedirectTest, a_place_that_a_client_could_choose_is_refused) {
  for (const char* const options : {
           "{to: \"${path}\"}",
           "{to: \"/${path}\"}",
           "{to: \"https://${path}\"}",
           "{to: \"https:/${path}\"}",
           "{to: \"https://a.example${query}${path}\"}",
           "{to: \"https://${host}/\"}",
           "{to: \"//a.example/\"}",
           "{to: \"/\\\\a.example/\"}",
           "{to: \"javascript:alert(1)\"}",
           "{to: a.example}",
           "{to: \"https://user@a.example/\"}",
           "{to: \"https://a.example:99999/\"}",
           "{to: \"https://a.example/\\r\\nX: y\"}",
           "{to: \"https://a.example/x?y=1${query}\"}",
           "{to: \"https://a.example/x#y${path}\"}",
           "{to: /x, status: 200}",
           "{to: /x, strip_prefix: /old}",
           "{to: \"/x${path}\", strip_prefix: /old/}",
           "{to: \"/x${path}\", strip_prefix: /a/../b}",
           "{}",
       }) {
    EXPECT_NE(make("redirect", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
