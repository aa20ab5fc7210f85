#include "policies/body_limit/body_limit.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

using http::Exchange;
using http::Framing;

class BodyLimitTest : public PolicyTest {};

TEST_F(BodyLimitTest, refuses_an_announced_body_and_limits_a_streamed_one) {
  const Made made = make_readme_example("body_limit");
  ASSERT_EQ(made.problems, "");
  constexpr std::uint64_t kMax = 1024 * 1024;
  const struct {
    const char* name;
    Framing framing;
    std::uint64_t length;
    const char* expected;
  } cases[] = {
      {"none", Framing::none, 0, "next"},
      {"at the limit", Framing::length, kMax, "next"},
      {"one over", Framing::length, kMax + 1, "PST-P413"},
      {"largest", Framing::length, ~std::uint64_t{0}, "PST-P413"},
      {"chunked", Framing::chunked, 0, "next"},
  };
  for (const auto& c : cases) {
    Exchange exchange;
    fill(exchange, {}, clock);
    exchange.request.framing = c.framing;
    exchange.request.content_length = c.length;
    EXPECT_EQ(outcome(*made.policy, exchange), c.expected) << c.name;
    EXPECT_EQ(exchange.body_limit, kMax) << c.name;
  }
}

TEST_F(BodyLimitTest, the_smallest_limit_counts) {
  const Made small = make("body_limit", "{max: 1KiB}");
  const Made large = make("body_limit", "{max: 1GiB}");
  Exchange exchange;
  fill(exchange, {}, clock);
  EXPECT_EQ(outcome(*small.policy, exchange), "next");
  EXPECT_EQ(outcome(*large.policy, exchange), "next");
  EXPECT_EQ(exchange.body_limit, 1024u);
}

TEST_F(BodyLimitTest, options_that_make_no_sense_are_refused) {
  for (const char* const options : {"{}", "{max: 10}", "{max: 10MB}", "{max: -1B}", "{maximum: 1MiB}"}) {
    EXPECT_NE(make("body_limit", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
