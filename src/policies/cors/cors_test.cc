#include "policies/cors/cors.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

using http::Exchange;
using http::Method;

class CorsTest : public PolicyTest {
 protected:
  std::string ask(const Policy& policy, const Request& request) {
    Exchange exchange;
    fill(exchange, request, clock);
    const std::string out = outcome(policy, exchange);
    fields = text_of(exchange.response_additions);
    status = exchange.local.status;
    return out;
  }
  std::string fields;
  int status = 0;
};

constexpr std::string_view kApp = "https://app.example.com";

TEST_F(CorsTest, a_preflight_is_answered_here) {
  const Made made = make_readme_example("cors");
  ASSERT_EQ(made.problems, "");
  EXPECT_EQ(ask(*made.policy, {.method = Method::options,
                               .headers = {{"Origin", kApp}, {"Access-Control-Request-Method", "DELETE"}}}),
            "respond");
  EXPECT_EQ(status, 204);
  EXPECT_EQ(fields,
            "vary: Origin|Access-Control-Allow-Origin: https://app.example.com|"
            "Access-Control-Allow-Methods: GET, POST, DELETE|Access-Control-Allow-Headers: X-API-Key, Content-Type|"
            "Access-Control-Max-Age: 600");
}

TEST_F(CorsTest, which_requests_are_marked) {
  const Made made = make_readme_example("cors");
  const std::string marked =
      "vary: Origin|Access-Control-Allow-Origin: https://app.example.com|Access-Control-Expose-Headers: RateLimit";
  const struct {
    const char* name;
    Request request;
    const char* expected;
    std::string fields;
  } cases[] = {
      {"no origin", {}, "next", "vary: Origin"},
      {"allowed", {.headers = {{"Origin", kApp}}}, "next", marked},
      {"other origin goes on unmarked", {.headers = {{"Origin", "https://evil.example"}}}, "next", "vary: Origin"},
      {"null", {.headers = {{"Origin", "null"}}}, "next", "vary: Origin"},
      {"two origins", {.headers = {{"Origin", kApp}, {"Origin", "https://evil.example"}}}, "PST-R015", "vary: Origin"},
      {"two in one field",
       {.headers = {{"Origin", "https://app.example.com, https://evil.example"}}},
       "next",
       "vary: Origin"},
      {"OPTIONS that is no preflight", {.method = Method::options, .headers = {{"Origin", kApp}}}, "next", marked},
      {"preflight of others",
       {.method = Method::options,
        .headers = {{"Origin", "https://evil.example"}, {"Access-Control-Request-Method", "GET"}}},
       "PST-P403",
       "vary: Origin"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(ask(*made.policy, c.request), c.expected) << c.name;
    EXPECT_EQ(fields, c.fields) << c.name;
  }
}

TEST_F(CorsTest, wildcards_mean_subdomains_and_nothing_else) {
  const Made made = make("cors", "{origins: [\"https://*.example.com\", \"http://*.dev.example:8080\"]}");
  ASSERT_EQ(made.problems, "");
  const std::pair<std::string_view, bool> cases[] = {
      {"https://a.example.com", true},
      {"https://a.b.example.com", true},
      {"http://a.dev.example:8080", true},
      {"https://example.com", false},
      {"https://.example.com", false},
      {"https://a..example.com", false},
      {"https://aexample.com", false},
      {"http://a.example.com", false},
      {"https://a.example.com:8443", false},
      {"https://a.example.com.evil.example", false},
      {"https://evil.example/.example.com", false},
      {"https://evil.example?.example.com", false},
      {"https://evil.example#.example.com", false},
      {"https://user@a.example.com", false},
      {"https://evil.example:1.example.com", false},
      {"https://A.example.com", false},
      {"https://a.example.com ", false},
      {"http://a.dev.example", false},
  };
  for (const auto& [origin, allowed] : cases) {
    EXPECT_EQ(ask(*made.policy, {.headers = {{"Origin", origin}}}), "next");
    EXPECT_EQ(fields.find("Allow-Origin") != std::string::npos, allowed) << origin;
  }
}

TEST_F(CorsTest, all_origins_without_credentials) {
  const Made made = make("cors", "{origins: [\"*\"], headers: [\"*\"]}");
  ASSERT_EQ(made.problems, "");
  EXPECT_EQ(ask(*made.policy, {.headers = {{"Origin", "https://any.example"}}}), "next");
  EXPECT_EQ(fields, "Access-Control-Allow-Origin: *");
}

TEST_F(CorsTest, credentials_are_said_with_the_exact_origin) {
  const Made made = make("cors", "{origins: [\"https://a.example\"], credentials: true}");
  EXPECT_EQ(ask(*made.policy, {.headers = {{"Origin", "https://a.example"}}}), "next");
  EXPECT_EQ(fields,
            "vary: Origin|Access-Control-Allow-Origin: https://a.example|Access-Control-Allow-Credentials: true");
}

TEST_F(CorsTest, fields_of_the_backend_are_replaced) {
  const Made made = make_readme_example("cors");
  Exchange exchange;
  http::ResponseHead response;
  response.headers.append("access-control-allow-origin", "*");
  response.headers.append("Access-Control-Allow-Credentials", "true");
  response.headers.append("Vary", "Accept");
  exchange.response = &response;
  made.policy->on_response(exchange);
  EXPECT_EQ(text_of(response.headers), "Vary: Accept");
}

TEST_F(CorsTest, options_that_make_no_sense_are_refused) {
  for (const char* const options : {
           "{}",
           "{origins: []}",
           "{origins: [\"null\"]}",
           "{origins: [\"https://a.example/\"]}",
           "{origins: [\"https://a.example/path\"]}",
           "{origins: [\"https://A.example\"]}",
           "{origins: [\"https://a.example:443\"]}",
           "{origins: [\"http://a.example:80\"]}",
           "{origins: [a.example]}",
           "{origins: [\"ftp://a.example\"]}",
           "{origins: [\"https://a.*.example\"]}",
           "{origins: [\"https://*a.example\"]}",
           "{origins: [\"https://*\"]}",
           "{origins: [\"*\", \"https://a.example\"]}",
           "{origins: [\"*\"], credentials: true}",
           "{origins: [\"https://a.example\"], credentials: true, headers: [\"*\"]}",
           "{origins: [\"https://a.example\"], methods: [\"GET, POST\"]}",
           "{origins: [\"https://a.example\"], headers: [\"X-A\\r\\nX\"]}",
       }) {
    EXPECT_NE(make("cors", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
