#include "origins/balancer.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "platform/test_support.h"

namespace postern::origins {
namespace {

EndpointSet endpoints(std::size_t count) {
  EndpointSet out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto port = static_cast<std::uint16_t>(9001 + i);
    out.push_back(std::make_shared<Endpoint>(SocketAddress{IpAddress::parse("127.0.0.1").value(), port, {}},
                                             "127.0.0.1:" + std::to_string(port)));
  }
  return out;
}

class BalancerTest : public ::testing::Test {
 protected:
  // Indexes of `count` picks, one digit each; '-' for none.
  std::string picks(Balancer& balancer, const EndpointSet& set, int count, const Endpoint* avoid = nullptr) {
    std::string out;
    for (int i = 0; i < count; ++i) {
      const auto* const chosen = balancer.pick(set, clock.now(), avoid);
      out += chosen ? static_cast<char>('0' + (chosen - set.data())) : '-';
    }
    return out;
  }
  void eject(Endpoint& endpoint, Duration time) {
    endpoint.ejected_until = (clock.now() + time).time_since_epoch().count();
  }
  ManualClock clock;
};

TEST_F(BalancerTest, round_robin_takes_turns) {
  Balancer balancer(config::Balance::round_robin);
  EXPECT_EQ(picks(balancer, endpoints(3), 7), "0120120");
  EXPECT_EQ(picks(balancer, endpoints(1), 3), "000");
  EXPECT_EQ(picks(balancer, {}, 2), "--");
}

TEST_F(BalancerTest, the_turn_of_an_endpoint_that_is_out_goes_to_all_others_alike) {
  Balancer balancer(config::Balance::round_robin);
  const EndpointSet set = endpoints(4);
  set[1]->healthy = false;
  eject(*set[2], 10s);
  EXPECT_EQ(picks(balancer, set, 6), "030303");
  clock.advance(10s);
  EXPECT_EQ(picks(balancer, set, 6), "023023") << "an ejection ends by itself";
}

TEST_F(BalancerTest, least_request_takes_the_least_busy_and_takes_turns_among_equals) {
  Balancer balancer(config::Balance::least_request);
  const EndpointSet set = endpoints(3);
  EXPECT_EQ(picks(balancer, set, 6), "012012");
  set[0]->in_flight = 5;
  set[1]->in_flight = 2;
  set[2]->in_flight = 3;
  EXPECT_EQ(picks(balancer, set, 3), "111");
  set[1]->healthy = false;
  EXPECT_EQ(picks(balancer, set, 3), "222");
  set[0]->in_flight = 3;
  const std::string both = picks(balancer, set, 4);
  EXPECT_TRUE(both == "0202" || both == "2020") << both;
}

TEST_F(BalancerTest, the_endpoint_that_just_failed_is_avoided_unless_it_is_the_only_one) {
  for (const config::Balance balance : {config::Balance::round_robin, config::Balance::least_request}) {
    Balancer balancer(balance);
    const EndpointSet set = endpoints(2);
    set[1]->in_flight = 9;
    EXPECT_EQ(picks(balancer, set, 3, set[0].get()), "111");
    EXPECT_EQ(picks(balancer, endpoints(1), 1, nullptr), "0");
    const EndpointSet one = endpoints(1);
    EXPECT_EQ(picks(balancer, one, 2, one[0].get()), "00");
    // Rather again the one that failed once than one that is out.
    eject(*set[1], 10s);
    EXPECT_EQ(picks(balancer, set, 2, set[0].get()), "00");
    set[1]->ejected_until = 0;
  }
}

TEST_F(BalancerTest, with_all_ejected_the_one_that_returns_first_is_tried_but_never_one_that_checks_found_dead) {
  Balancer balancer(config::Balance::round_robin);
  const EndpointSet set = endpoints(3);
  eject(*set[0], 30s);
  eject(*set[1], 20s);
  set[2]->healthy = false;
  EXPECT_EQ(picks(balancer, set, 3), "111");
  set[0]->healthy = set[1]->healthy = false;
  EXPECT_EQ(picks(balancer, set, 3), "---");
}

TEST_F(BalancerTest, survives_a_set_that_shrinks) {
  Balancer balancer(config::Balance::round_robin);
  EXPECT_EQ(picks(balancer, endpoints(5), 4), "0123");
  EXPECT_EQ(picks(balancer, endpoints(2), 3).find('-'), std::string::npos);
}

class Ejection : public BalancerTest {
 protected:
  // Failures in a row until it is ejected, at most `limit`; 0 if it is not.
  int failures_until_ejected(Endpoint& endpoint, const EndpointSet& set, int limit = 100) {
    for (int i = 1; i <= limit; ++i) {
      if (record_outcome(endpoint, set, config, Outcome::failure, clock.now())) return i;
    }
    return 0;
  }
  Duration out_for(const Endpoint& endpoint) {
    return Duration(endpoint.ejected_until) - clock.now().time_since_epoch();
  }

  config::EjectionConfig config{.consecutive_failures = 3, .base_time = 30s, .max_percent = 50};
};

TEST_F(Ejection, takes_so_many_failures_in_a_row) {
  const EndpointSet set = endpoints(2);
  EXPECT_FALSE(record_outcome(*set[0], set, config, Outcome::failure, clock.now()));
  EXPECT_FALSE(record_outcome(*set[0], set, config, Outcome::failure, clock.now()));
  EXPECT_FALSE(record_outcome(*set[0], set, config, Outcome::success, clock.now()));
  EXPECT_EQ(failures_until_ejected(*set[0], set), 3);
  EXPECT_EQ(out_for(*set[0]), 30s);
  EXPECT_FALSE(set[0]->available(clock.now()));
  clock.advance(30s - 1ns);
  EXPECT_FALSE(set[0]->available(clock.now()));
  clock.advance(1ns);
  EXPECT_TRUE(set[0]->available(clock.now()));
}

TEST_F(Ejection, doubles_each_time_in_a_row_up_to_64_and_starts_anew_after_a_success) {
  const EndpointSet set = endpoints(2);
  Duration expected = 30s;
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(failures_until_ejected(*set[0], set), 3) << i;
    EXPECT_EQ(out_for(*set[0]), expected) << i;
    clock.advance(expected);
    expected = std::min<Duration>(expected * 2, 30s * 64);
  }
  EXPECT_FALSE(record_outcome(*set[0], set, config, Outcome::success, clock.now()));
  EXPECT_EQ(failures_until_ejected(*set[0], set), 3);
  EXPECT_EQ(out_for(*set[0]), 30s);
}

TEST_F(Ejection, late_answers_while_it_is_out_change_nothing) {
  const EndpointSet set = endpoints(2);
  ASSERT_EQ(failures_until_ejected(*set[0], set), 3);
  const std::int64_t until = set[0]->ejected_until;
  EXPECT_EQ(failures_until_ejected(*set[0], set, 10), 0);
  EXPECT_EQ(set[0]->ejected_until, until);
  EXPECT_FALSE(record_outcome(*set[0], set, config, Outcome::success, clock.now()));
  EXPECT_EQ(set[0]->ejections, 1u) << "a success from before says nothing about now";
}

TEST_F(Ejection, leaves_the_share_in_that_max_percent_demands) {
  const EndpointSet set = endpoints(4);
  EXPECT_EQ(failures_until_ejected(*set[0], set), 3);
  EXPECT_EQ(failures_until_ejected(*set[1], set), 3);
  EXPECT_EQ(failures_until_ejected(*set[2], set), 0) << "two of four are out";
  clock.advance(30s);
  EXPECT_EQ(failures_until_ejected(*set[2], set), 1) << "its failures still count";
  const EndpointSet alone = endpoints(1);
  EXPECT_EQ(failures_until_ejected(*alone[0], alone), 0) << "one of one would be all";
  config.max_percent = 100;
  EXPECT_EQ(failures_until_ejected(*alone[0], alone), 1);
}

TEST_F(Ejection, can_be_off) {
  config.consecutive_failures = 0;
  const EndpointSet set = endpoints(2);
  EXPECT_EQ(failures_until_ejected(*set[0], set), 0);
}

TEST(RetryBudget, has_a_reserve_and_grows_with_requests_up_to_a_bound) {
  RetryBudget budget(20);
  int taken = 0;
  while (budget.take()) ++taken;
  EXPECT_EQ(taken, 10);
  for (int i = 0; i < 4; ++i) budget.on_request();
  EXPECT_FALSE(budget.take()) << "80 % of a retry";
  budget.on_request();
  EXPECT_TRUE(budget.take());
  EXPECT_FALSE(budget.take());
  for (int i = 0; i < 1'000'000; ++i) budget.on_request();
  taken = 0;
  while (budget.take()) ++taken;
  EXPECT_LE(taken, 13) << "a long good time does not buy a storm of retries";
  EXPECT_GE(taken, 10);
}

TEST(RetryBudget, can_be_nothing_but_the_reserve) {
  RetryBudget budget(0);
  for (int i = 0; i < 1000; ++i) budget.on_request();
  int taken = 0;
  while (budget.take()) ++taken;
  EXPECT_EQ(taken, 10);
}

TEST(RetryBudget, is_never_overdrawn_by_several_loops) {
  RetryBudget budget(10);
  constexpr int kThreads = 4;
  constexpr int kRequests = 5000;
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRequests; ++i) {
        budget.on_request();
        while (budget.take()) ++taken;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  // The bound on what is saved up may be missed by one addition per thread.
  EXPECT_LE(taken, 10 + kThreads * kRequests / 10);
  EXPECT_GE(taken, kThreads * kRequests / 10 / 2);
}

}  // namespace
}  // namespace postern::origins
