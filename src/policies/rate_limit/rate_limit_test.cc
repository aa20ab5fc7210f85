#include "policies/rate_limit/rate_limit.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

using http::Exchange;
using http::HeaderName;

class RateLimitTest : public PolicyTest {
 protected:
  std::string ask(const Policy& policy, std::string_view address, std::string_view consumer = {},
                  std::initializer_list<std::pair<std::string_view, std::string_view>> headers = {}) {
    Exchange exchange;
    fill(exchange, {.headers = headers, .address = address}, clock);
    exchange.consumer.id = consumer;
    const std::string out = outcome(policy, exchange);
    fields = text_of(exchange.response_additions);
    return out;
  }
  std::string fields;
};

TEST_F(RateLimitTest, says_what_is_left_and_when_to_come_back) {
  const Made made = make("rate_limit", "{requests: 2, per: 10s, name: a}");
  ASSERT_EQ(made.problems, "");
  EXPECT_EQ(ask(*made.policy, "192.0.2.1"), "next");
  EXPECT_EQ(fields, "RateLimit-Policy: \"a\";q=2;w=10|RateLimit: \"a\";r=1;t=5");
  EXPECT_EQ(ask(*made.policy, "192.0.2.1"), "next");
  EXPECT_EQ(fields, "RateLimit-Policy: \"a\";q=2;w=10|RateLimit: \"a\";r=0;t=10");
  EXPECT_EQ(ask(*made.policy, "192.0.2.1"), "PST-P429");
  EXPECT_EQ(fields, "RateLimit-Policy: \"a\";q=2;w=10|RateLimit: \"a\";r=0;t=10|retry-after: 5");

  clock.advance(std::chrono::milliseconds(4500));
  EXPECT_EQ(ask(*made.policy, "192.0.2.1"), "PST-P429");
  EXPECT_EQ(fields, "RateLimit-Policy: \"a\";q=2;w=10|RateLimit: \"a\";r=0;t=6|retry-after: 1");
  clock.advance(std::chrono::milliseconds(500));
  EXPECT_EQ(ask(*made.policy, "192.0.2.1"), "next");
}

TEST_F(RateLimitTest, the_readme_example_counts_consumers_with_its_burst) {
  const Made made = make_readme_example("rate_limit");
  ASSERT_EQ(made.problems, "");
  int passed = 0;
  for (int i = 0; i < 50; ++i) passed += ask(*made.policy, "192.0.2.1", "acme") == "next";
  EXPECT_EQ(passed, 20);
  EXPECT_EQ(ask(*made.policy, "192.0.2.1", "globex"), "next");
  EXPECT_EQ(fields, "RateLimit-Policy: \"per-consumer\";q=20;w=12|RateLimit: \"per-consumer\";r=19;t=1");
}

TEST_F(RateLimitTest, who_counts_as_the_same) {
  const struct {
    const char* name;
    const char* by;
    std::string_view first_address, first_consumer, first_tenant;
    std::string_view second_address, second_consumer, second_tenant;
    const char* expected;
  } cases[] = {
      {"same address", "address", "192.0.2.1", "", "", "192.0.2.1", "x", "y", "PST-P429"},
      {"other address", "address", "192.0.2.1", "", "", "192.0.2.2", "", "", "next"},
      {"same IPv6 /64", "address", "2001:db8::1", "", "", "2001:db8::ffff:0:0:1", "", "", "PST-P429"},
      {"other IPv6 /64", "address", "2001:db8::1", "", "", "2001:db8:0:1::1", "", "", "next"},
      {"mapped IPv4 is IPv4", "address", "::ffff:192.0.2.1", "", "", "192.0.2.1", "", "", "PST-P429"},
      {"unknown addresses together", "address", "", "", "", "", "", "", "PST-P429"},
      {"same consumer", "consumer", "192.0.2.1", "acme", "", "192.0.2.2", "acme", "", "PST-P429"},
      {"other consumer", "consumer", "192.0.2.1", "acme", "", "192.0.2.1", "globex", "", "next"},
      {"nobody is counted by address", "consumer", "192.0.2.1", "", "", "192.0.2.1", "", "", "PST-P429"},
      {"nobody is not the consumer named like it", "consumer", "192.0.2.1", "", "", "192.0.2.9", "192.0.2.1", "",
       "next"},
      {"same header", "{header: X-Tenant}", "192.0.2.1", "", "a", "192.0.2.2", "", "a", "PST-P429"},
      {"other header", "{header: X-Tenant}", "192.0.2.1", "", "a", "192.0.2.1", "", "b", "next"},
      {"no header is counted by address", "{header: X-Tenant}", "192.0.2.1", "", "", "192.0.2.1", "", "", "PST-P429"},
  };
  int n = 0;
  for (const auto& c : cases) {
    const std::string scope = "test/" + std::to_string(n++);
    services.scope = scope;
    const Made made = make("rate_limit", "{requests: 1, per: 1h, by: " + std::string(c.by) + "}");
    ASSERT_EQ(made.problems, "") << c.name;
    const auto send = [&](std::string_view address, std::string_view consumer, std::string_view tenant) {
      return tenant.empty() ? ask(*made.policy, address, consumer)
                            : ask(*made.policy, address, consumer, {{"x-tenant", tenant}});
    };
    EXPECT_EQ(send(c.first_address, c.first_consumer, c.first_tenant), "next") << c.name;
    EXPECT_EQ(send(c.second_address, c.second_consumer, c.second_tenant), c.expected) << c.name;
  }
}

TEST_F(RateLimitTest, a_repeated_header_is_refused) {
  const Made made = make("rate_limit", "{requests: 5, per: 1h, by: {header: X-Tenant}}");
  EXPECT_EQ(ask(*made.policy, "192.0.2.1", "", {{"X-Tenant", "a"}, {"x_tenant", "b"}}), "PST-R015");
}

TEST_F(RateLimitTest, counters_survive_a_reload_and_belong_to_their_place) {
  const Made before = make("rate_limit", "{requests: 1, per: 1h}");
  EXPECT_EQ(ask(*before.policy, "192.0.2.1"), "next");
  const Made after = make("rate_limit", "{requests: 1, per: 1h}");
  EXPECT_EQ(ask(*after.policy, "192.0.2.1"), "PST-P429");
  const Made looser = make("rate_limit", "{requests: 2, per: 1h}");
  EXPECT_EQ(ask(*looser.policy, "192.0.2.1"), "next");
  services.scope = "routes.other/0";
  const Made elsewhere = make("rate_limit", "{requests: 1, per: 1h}");
  EXPECT_EQ(ask(*elsewhere.policy, "192.0.2.1"), "next");
}

TEST_F(RateLimitTest, never_more_than_configured_when_the_interval_is_no_whole_number) {
  const Made made = make("rate_limit", "{requests: 7, per: 1s, burst: 1}");
  int passed = 0;
  for (int ms = 0; ms < 100'000; ++ms) {
    passed += ask(*made.policy, "192.0.2.1") == "next";
    clock.advance(std::chrono::milliseconds(1));
  }
  EXPECT_LE(passed, 700);
  EXPECT_GE(passed, 680);
}

TEST_F(RateLimitTest, addresses_come_before_authentication) {
  EXPECT_LT(find_policy("rate_limit")->rank(make("rate_limit", "{requests: 1, per: 1s}").document->root()),
            Rank::authenticate);
  const Made by_consumer = make("rate_limit", "{requests: 1, per: 1s, by: consumer}");
  const config::Node& options = by_consumer.document->root().find("policies")->items()[0].entries()[0].value;
  EXPECT_GT(find_policy("rate_limit")->rank(options), Rank::authenticate);
}

TEST_F(RateLimitTest, options_that_make_no_sense_are_refused) {
  for (const char* const options : {
           "{requests: 1}",
           "{per: 1s}",
           "{requests: 0, per: 1s}",
           "{requests: -1, per: 1s}",
           "{requests: 1.5, per: 1s}",
           "{requests: 10, per: 10}",
           "{requests: 10, per: 100ms}",
           "{requests: 10, per: 60d}",
           "{requests: 1, per: 31d, burst: 100}",
           "{requests: 1, per: 1s, burst: 0}",
           "{requests: 1, per: 1s, by: ip}",
           "{requests: 1, per: 1s, by: {header: \"a b\"}}",
           "{requests: 1, per: 1s, by: {cookie: a}}",
           "{requests: 1, per: 1s, name: \"a\\\"b\"}",
           "{requests: 1, per: 1s, limit: 3}",
       }) {
    EXPECT_NE(make("rate_limit", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
