#include "policies/ip_filter/ip_filter.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

class IpFilterTest : public PolicyTest {
 protected:
  std::string ask(const Policy& policy, std::string_view address) {
    http::Exchange exchange;
    fill(exchange, {.address = address}, clock);
    return outcome(policy, exchange);
  }
};

TEST_F(IpFilterTest, deny_wins_over_allow_and_allow_shuts_everybody_else_out) {
  const Made made = make_readme_example("ip_filter");
  ASSERT_EQ(made.problems, "");
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"10.1.2.3", "next"},
      {"10.66.0.1", "PST-P403"},
      {"192.0.2.1", "PST-P403"},
      {"2001:db8:ffff::1", "next"},
      {"2001:db9::1", "PST-P403"},
      {"::ffff:10.1.2.3", "next"},
      {"::ffff:10.66.0.1", "PST-P403"},
      {"::10.1.2.3", "PST-P403"},
      {"", "PST-P403"},
  };
  for (const auto& [address, expected] : cases) EXPECT_EQ(ask(*made.policy, address), expected) << address;
}

TEST_F(IpFilterTest, deny_alone_lets_the_others_in_but_nobody_without_an_address) {
  const Made made = make("ip_filter", "{deny: [192.0.2.0/24]}");
  EXPECT_EQ(ask(*made.policy, "192.0.2.255"), "PST-P403");
  EXPECT_EQ(ask(*made.policy, "192.0.3.0"), "next");
  EXPECT_EQ(ask(*made.policy, ""), "PST-P403");
}

TEST_F(IpFilterTest, options_that_make_no_sense_are_refused) {
  for (const char* const options :
       {"{}", "{allow: []}", "{allow: [10.0.0.1/8]}", "{allow: [10.0.0.0/33]}", "{allow: [any]}", "{allow: 10.0.0.0/8}",
        "{block: [10.0.0.0/8]}", "{deny: [\"fe80::1%eth0/128\"]}"}) {
    EXPECT_NE(make("ip_filter", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
