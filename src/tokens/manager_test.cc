#include "tokens/manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "platform/test_support.h"
#include "tokens/schedule.h"
#include "tokens/test_support.h"

namespace postern::tokens {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Given = std::shared_ptr<const Credential>;

// ---- schedule
// --------------------------------------------------------------------------------------------------------

constexpr MonoTime kStart{1h};

Schedule plan(Duration life, std::optional<Duration> refresh = {}, double random = 0.5) {
  return schedule(kStart, kStart + life, refresh ? std::optional(kStart + *refresh) : std::nullopt, random);
}

TEST(TokenSchedule, refreshes_early_and_stops_sending_before_the_end) {
  EXPECT_EQ(plan(1h).soft - kStart, 48min) << "80 %";
  EXPECT_EQ(plan(20min).soft - kStart, 15min) << "5 min before the end";
  EXPECT_EQ(plan(6min).soft - kStart, 3min) << "but not in the first half";
  EXPECT_EQ(plan(1s).soft - kStart, 500ms);
  EXPECT_EQ(plan(1h).hard - kStart, 1h - 30s);
  EXPECT_EQ(plan(1s).hard - kStart, 900ms);
}

TEST(TokenSchedule, hears_the_server_unless_it_wants_too_much) {
  EXPECT_EQ(plan(1h, 10min).soft - kStart, 10min);
  EXPECT_EQ(plan(1h, 0s).soft - kStart, 6min);
  EXPECT_EQ(plan(1h, 59min).soft - kStart, 48min);
}

TEST(TokenSchedule, jitter_is_a_tenth_and_never_reaches_the_end) {
  for (const Duration life : {Duration(1s), Duration(30s), Duration(10min), Duration(1h), Duration(24h)}) {
    const Duration middle = plan(life).soft - kStart;
    EXPECT_NEAR(static_cast<double>((plan(life, {}, 0).soft - kStart).count()), 0.9 * double(middle.count()), 10);
    const Schedule latest = plan(life, {}, 0.999999);
    EXPECT_NEAR(static_cast<double>((latest.soft - kStart).count()), 1.1 * double(middle.count()),
                1e-6 * double(life.count()));
    EXPECT_LT(latest.soft, latest.hard);
  }
}

TEST(TokenSchedule, what_never_expires_is_not_fetched_again) {
  const Schedule times = schedule(kStart, MonoTime::max(), std::nullopt, 0.5);
  EXPECT_EQ(times.soft, MonoTime::max());
  EXPECT_EQ(times.hard, MonoTime::max());
}

TEST(TokenSchedule, backs_off_with_full_jitter_and_as_the_server_asks) {
  EXPECT_EQ(back_off(1, false, {}, 0.5), 500ms);
  EXPECT_EQ(back_off(2, false, {}, 0.5), 1s);
  EXPECT_EQ(back_off(5, false, {}, 0.5), 8s);
  EXPECT_EQ(back_off(7, false, {}, 0.5), 30s);
  EXPECT_EQ(back_off(4'000'000'000U, false, {}, 0.5), 30s);
  EXPECT_EQ(back_off(9, false, {}, 0), 0s);
  EXPECT_EQ(back_off(1, false, 20s, 0.5), 20s);
  EXPECT_EQ(back_off(1, false, 1000h, 0.5), 1h);
  EXPECT_EQ(back_off(1, false, -5s, 0.5), 500ms);
  EXPECT_EQ(back_off(1, true, {}, 0), 30s);
  EXPECT_EQ(back_off(1, true, {}, 0.999), 59'970ms);
}

// ---- manager
// ---------------------------------------------------------------------------------------------------------

// What a source does when it is asked: the test sets it, and lets an answer out when it likes.
struct Script {
  explicit Script(Loop& on) : loop(on) {}
  Loop& loop;
  std::function<std::expected<Credential, SourceError>(unsigned call)> answer;
  Duration takes = 100ms;
  unsigned calls = 0;
  unsigned at_once = 0;
  unsigned most_at_once = 0;
};

class ScriptedSource final : public Source {
 public:
  ScriptedSource(std::string key, Script& script) : key_(std::move(key)), script_(script) {}
  [[nodiscard]] std::string key() const override { return key_; }
  [[nodiscard]] std::string_view kind() const noexcept override { return "scripted"; }
  [[nodiscard]] Task<std::expected<Credential, SourceError>> obtain(Context) const override {
    struct Count {
      Script& script;
      explicit Count(Script& s) : script(s) { script.most_at_once = std::max(script.most_at_once, ++script.at_once); }
      ~Count() { --script.at_once; }
    } const count(script_);
    const unsigned call = ++script_.calls;
    co_await script_.loop.sleep_for(script_.takes);
    co_return script_.answer(call);
  }

 private:
  std::string key_;
  Script& script_;
};

class TokenManagerTest : public ::testing::Test {
 protected:
  std::expected<Credential, SourceError> credential(unsigned call, Duration life) const {
    Credential out;
    out.token = config::Secret("token-" + std::to_string(call));
    out.expires = clock.now() + life;
    return out;
  }
  static std::expected<Credential, SourceError> failure(bool permanent = false,
                                                        std::optional<Duration> retry_after = {}) {
    return std::unexpected(
        SourceError{Error(Code::token_unavailable, Side::gateway, "the server answered 500"), retry_after, permanent});
  }
  std::shared_ptr<Token> token(std::string name = "origins.o", std::string key = "k",
                               ColdStart cold = ColdStart::wait) {
    return manager->token(std::move(name), std::make_unique<ScriptedSource>(std::move(key), script), cold);
  }
  [[nodiscard]] std::string current(const Token& from) const {
    const Given given = from.current(clock.now());
    return given ? std::string(given->token.reveal()) : "";
  }
  void pass(Duration by) { advance(loop, clock, by); }

  // A request that waits; it writes down what it got.
  struct Waiter {
    std::string got;
  };
  static Task<void> ask(std::shared_ptr<Token> from, Loop& loop, Duration limit, std::shared_ptr<Waiter> into) {
    Result<Given> given = co_await from->get(loop, loop.now() + limit);
    into->got = given ? std::string((*given)->token.reveal()) : given.error().to_string();
  }
  std::shared_ptr<Waiter> wait_for(const std::shared_ptr<Token>& from, TaskSet& set, Duration limit = 5s) {
    auto waiter = std::make_shared<Waiter>();
    set.spawn(ask(from, loop, limit, waiter));
    return waiter;
  }

  static Task<void> ask_for_another(std::shared_ptr<Token> from, Given refused, Loop& on, Duration limit,
                                    std::shared_ptr<Waiter> into) {
    const Result<Given> given = co_await from->another(*refused, on, on.now() + limit);
    into->got = given ? std::string((*given)->token.reveal()) : given.error().to_string();
  }
  std::shared_ptr<Waiter> wait_for_another(const std::shared_ptr<Token>& from, const Given& refused, TaskSet& set,
                                           Duration limit = 5s) {
    auto waiter = std::make_shared<Waiter>();
    set.spawn(ask_for_another(from, refused, loop, limit, waiter));
    return waiter;
  }

  ManualClock clock;
  Loop loop{clock};
  CountExceptions exceptions;
  ConstantEntropy entropy{0x80};  // the middle: no jitter
  ScriptedFetcher fetcher;
  Script script{loop};
  std::unique_ptr<TokenManager> manager =
      std::make_unique<TokenManager>(TokenManager::Services{loop, clock, entropy, nullptr, exceptions});
  TaskSet requests{exceptions};
};

TEST_F(TokenManagerTest, nothing_is_fetched_before_warm_up_and_one_at_a_time_then) {
  script.answer = [&](unsigned call) { return credential(call, 1h); };
  const auto first = token("origins.a");
  const auto second = token("origins.b");
  pass(1min);
  EXPECT_EQ(script.calls, 0u);
  manager->warm_up(fetcher);
  EXPECT_FALSE(manager->settled());
  std::vector<std::shared_ptr<Waiter>> waiters;
  for (int i = 0; i < 50; ++i) waiters.push_back(wait_for(i % 2 ? first : second, requests));
  pass(200ms);
  EXPECT_TRUE(manager->settled());
  for (const auto& waiter : waiters) EXPECT_EQ(waiter->got, "token-1");
  EXPECT_EQ(script.calls, 1u);
  EXPECT_EQ(script.most_at_once, 1u);
}

TEST_F(TokenManagerTest, refreshes_ahead_so_that_no_request_ever_waits) {
  script.answer = [&](unsigned call) { return credential(call, 1s); };
  script.takes = 20ms;
  const auto held = token();
  manager->warm_up(fetcher);
  pass(50ms);
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_NE(current(*held), "") << i;
    const Given given = held->current(clock.now());
    ASSERT_GT(given->expires, clock.now());
    pass(1ms);
  }
  EXPECT_GE(script.calls, 20u);
  EXPECT_LE(script.calls, 50u);
  EXPECT_EQ(script.most_at_once, 1u);
}

TEST_F(TokenManagerTest, what_is_good_serves_while_the_refresh_fails_and_what_has_expired_never) {
  script.answer = [&](unsigned call) { return call == 1 ? credential(call, 10min) : failure(); };
  const auto held = token();
  manager->warm_up(fetcher);
  pass(5min + 10s);
  EXPECT_GT(script.calls, 1u);
  EXPECT_EQ(current(*held), "token-1");
  EXPECT_EQ(manager->status()[0].problem, "the server answered 500");
  EXPECT_TRUE(manager->status()[0].usable);
  pass(4min + 19s);
  EXPECT_EQ(current(*held), "token-1") << "30 s before its end";
  pass(2s);
  EXPECT_EQ(current(*held), "");
  const auto waiter = wait_for(held, requests, 1ms);
  pass(2ms);
  EXPECT_THAT(waiter->got, AllOf(HasSubstr("PST-U013"), HasSubstr("origins.o: ")));

  script.answer = [&](unsigned call) { return credential(call, 10min); };
  pass(61s);
  EXPECT_NE(current(*held), "") << "it comes back by itself";
  EXPECT_EQ(manager->status()[0].failures_in_row, 0u);
  EXPECT_EQ(manager->status()[0].problem, "");
}

TEST_F(TokenManagerTest, backs_off_and_hears_retry_after) {
  std::vector<MonoTime> asked;
  script.takes = 0ms;
  script.answer = [&](unsigned call) {
    asked.push_back(clock.now());
    return call == 3 ? failure(false, 100s) : call == 4 ? failure(true) : failure();
  };
  const auto held = token();
  manager->warm_up(fetcher);
  pass(200s);
  ASSERT_GE(asked.size(), 5u);
  EXPECT_NEAR(std::chrono::duration<double>(asked[1] - asked[0]).count(), 0.5, 0.01);
  EXPECT_NEAR(std::chrono::duration<double>(asked[2] - asked[1]).count(), 1, 0.01);
  EXPECT_NEAR(std::chrono::duration<double>(asked[3] - asked[2]).count(), 100, 0.01);
  EXPECT_NEAR(std::chrono::duration<double>(asked[4] - asked[3]).count(), 45, 0.2) << "a permanent error";
}

TEST_F(TokenManagerTest, who_asks_during_a_back_off_hears_at_once_why) {
  script.answer = [&](unsigned) { return failure(true); };
  const auto held = token();
  manager->warm_up(fetcher);
  pass(1s);
  const auto waiter = wait_for(held, requests);
  settle(loop);
  EXPECT_THAT(waiter->got, HasSubstr("origins.o: the server answered 500"));
}

TEST_F(TokenManagerTest, a_cold_start_that_refuses_does_not_wait) {
  script.answer = [&](unsigned call) { return credential(call, 1h); };
  const auto refusing = token("origins.o", "k", ColdStart::refuse);
  manager->warm_up(fetcher);
  const auto waiter = wait_for(refusing, requests);
  settle(loop);
  EXPECT_THAT(waiter->got, HasSubstr("PST-U013"));
  pass(200ms);
  const auto later = wait_for(refusing, requests);
  EXPECT_EQ(later->got, "token-1");
}

TEST_F(TokenManagerTest, waits_end_at_their_deadline) {
  script.takes = 1h;
  script.answer = [&](unsigned call) { return credential(call, 1h); };
  const auto held = token();
  manager->warm_up(fetcher);
  const auto waiter = wait_for(held, requests, 2s);
  pass(1999ms);
  EXPECT_EQ(waiter->got, "");
  pass(2ms);
  EXPECT_THAT(waiter->got, HasSubstr("not there in time"));
}

TEST_F(TokenManagerTest, only_so_many_wait) {
  script.answer = [&](unsigned call) { return credential(call, 1h); };
  const auto held = token();
  manager->warm_up(fetcher);
  for (std::size_t i = 0; i < TokenManager::kMaxWaiters; ++i) static_cast<void>(wait_for(held, requests));
  const auto too_many = wait_for(held, requests);
  EXPECT_THAT(too_many->got, HasSubstr("too many"));
  {
    TaskSet gone(exceptions);
    requests.cancel_all();
    const auto again = wait_for(held, gone);
    EXPECT_EQ(again->got, "") << "those who left make room";
  }
  pass(200ms);
  EXPECT_EQ(current(*held), "token-1");
}

TEST_F(TokenManagerTest, a_request_may_be_given_up_at_any_moment) {
  // Among these moments: the answer is posted to it, and set but not resumed.
  unsigned given_up = 0;
  for (int moment = 0; moment < 12; ++moment) {
    script.answer = [&](unsigned call) { return credential(call, 1h); };
    const auto held = token("origins.o", "k" + std::to_string(moment));
    auto leaving = std::make_unique<TaskSet>(exceptions);
    const auto first = wait_for(held, *leaving);
    const auto second = wait_for(held, requests);
    manager->warm_up(fetcher);
    for (int turn = 0; turn < 12; ++turn) {
      if (turn == moment) leaving.reset();
      loop.run_once();
    }
    given_up += first->got.empty() ? 1 : 0;
    pass(1s);
    EXPECT_NE(second->got, "") << moment;
  }
  EXPECT_GE(given_up, 2u);
}

TEST_F(TokenManagerTest, what_an_origin_refuses_is_renewed_and_serves_until_then) {
  script.answer = [&](unsigned call) { return credential(call, 1h); };
  const auto held = token();
  manager->warm_up(fetcher);
  pass(1s);
  const Given refused = held->current(clock.now());
  EXPECT_TRUE(held->renew(*refused));
  EXPECT_EQ(current(*held), "token-1") << "a client's 401 takes nothing from the others";
  EXPECT_TRUE(held->renew(*refused)) << "another request with the same one may try again too";
  const auto waiter = wait_for_another(held, refused, requests);
  EXPECT_EQ(waiter->got, "");
  pass(200ms);
  EXPECT_EQ(waiter->got, "token-2");
  EXPECT_EQ(script.calls, 2u);
  EXPECT_TRUE(held->renew(*refused));
  EXPECT_EQ(current(*held), "token-2") << "which is not the one that was refused";
  const Given second = held->current(clock.now());
  EXPECT_FALSE(held->renew(*second)) << "not twice in 30 s";
  pass(30s);
  EXPECT_EQ(script.calls, 2u);
  EXPECT_TRUE(held->renew(*second));
  pass(200ms);
  EXPECT_EQ(current(*held), "token-3");
  // It is not about tokens: the origin is believed less and less.
  const Given third = held->current(clock.now());
  pass(59s);
  EXPECT_FALSE(held->renew(*third));
  pass(1s);
  EXPECT_TRUE(held->renew(*third));
}

TEST_F(TokenManagerTest, a_good_token_survives_a_refusal_while_the_server_fails) {
  script.answer = [&](unsigned call) { return call == 1 ? credential(call, 1h) : failure(false); };
  const auto held = token();
  manager->warm_up(fetcher);
  pass(1s);
  const Given refused = held->current(clock.now());
  ASSERT_TRUE(refused);
  EXPECT_TRUE(held->renew(*refused));
  const auto waiter = wait_for_another(held, refused, requests);
  pass(1s);
  EXPECT_GE(script.calls, 2u);
  EXPECT_EQ(waiter->got, "token-1") << "there is no other, and it has not expired";
  EXPECT_EQ(current(*held), "token-1");
}

TEST_F(TokenManagerTest, a_refusal_while_the_server_fails_lets_nobody_wait) {
  script.answer = [&](unsigned call) { return call == 1 ? credential(call, 1h) : failure(true); };
  const auto held = token();
  manager->warm_up(fetcher);
  pass(48min + 20s);
  EXPECT_GE(script.calls, 2u);
  const unsigned calls = script.calls;
  const Given refused = held->current(clock.now());
  ASSERT_TRUE(refused);
  EXPECT_TRUE(held->renew(*refused));
  const auto waiter = wait_for_another(held, refused, requests, 1h);
  settle(loop);
  EXPECT_EQ(waiter->got, "token-1");
  EXPECT_EQ(script.calls, calls) << "a failing server is left alone";
}

TEST_F(TokenManagerTest, an_answer_that_has_expired_already_is_none) {
  script.answer = [&](unsigned call) { return credential(call, 0s); };
  const auto held = token();
  manager->warm_up(fetcher);
  const auto waiter = wait_for(held, requests);
  pass(1s);
  EXPECT_THAT(waiter->got, HasSubstr("expired already"));
  EXPECT_EQ(current(*held), "");
}

TEST_F(TokenManagerTest, a_reload_keeps_starts_and_ends) {
  script.answer = [&](unsigned call) { return credential(call, 1h); };
  auto stays = token("origins.a", "a");
  auto goes = token("origins.b", "b");
  manager->warm_up(fetcher);
  pass(1s);
  EXPECT_EQ(script.calls, 2u);
  // The next configuration: a again, c new; b is gone.
  const auto again = token("origins.a", "a");
  const auto fresh = token("origins.c", "c");
  EXPECT_EQ(current(*again), current(*stays));
  stays.reset();
  goes.reset();
  manager->warm_up(fetcher);
  pass(1s);
  EXPECT_EQ(script.calls, 3u);
  ASSERT_EQ(manager->status().size(), 2u);
  EXPECT_EQ(manager->status()[0].name, "origins.a");
  EXPECT_EQ(manager->status()[1].name, "origins.c");
  pass(50min);
  EXPECT_EQ(script.calls, 5u) << "b is not refreshed";
  // A configuration that was rejected: its source is never asked.
  {
    const auto rejected = token("origins.d", "d");
  }
  manager->warm_up(fetcher);
  pass(1s);
  EXPECT_EQ(script.calls, 5u);
}

TEST_F(TokenManagerTest, the_date_of_an_answer_shows_how_far_the_clocks_are_apart) {
  class Asking final : public Source {
   public:
    [[nodiscard]] std::string key() const override { return "k"; }
    [[nodiscard]] std::string_view kind() const noexcept override { return "asking"; }
    [[nodiscard]] Task<std::expected<Credential, SourceError>> obtain(Context context) const override {
      const Result<FetchResponse> response = co_await context.fetcher.fetch({});
      Credential out;
      out.token = config::Secret(response ? response->body.reveal() : "");
      out.expires = context.clock.now() + 1h;
      co_return out;
    }
  };
  // The clock of the test stands at 1'700'000'000: 22:13:20.
  fetcher.answers.push_back({200, "t", {{"date", "Tue, 14 Nov 2023 22:03:20 GMT"}}});
  const auto held = manager->token("origins.o", std::make_unique<Asking>(), ColdStart::wait);
  manager->warm_up(fetcher);
  settle(loop);
  EXPECT_EQ(manager->status()[0].skew, Duration(-10min));
}

// Requests on another loop, in another thread, with the control loop going on meanwhile.
TEST(TokenManagerThreads, hands_what_it_has_to_all_loops) {
  SystemClock clock;
  Loop control(clock);
  CountExceptions exceptions;
  SystemEntropy entropy;
  ScriptedFetcher fetcher;
  Script script(control);
  script.takes = 1ms;
  script.answer = [&](unsigned call) {
    Credential out;
    out.token = config::Secret("token-" + std::to_string(call));
    out.expires = clock.now() + 500ms;
    return out;
  };
  TokenManager manager({control, clock, entropy, nullptr, exceptions});
  const std::shared_ptr<Token> held =
      manager.token("origins.o", std::make_unique<ScriptedSource>("k", script), ColdStart::wait);
  manager.warm_up(fetcher);
  std::atomic<bool> done{false};
  std::atomic<unsigned> good{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      Loop loop(clock);
      CountExceptions mine;
      struct Ask {
        static Task<void> run(std::shared_ptr<Token> from, Loop& on, std::atomic<unsigned>& count, bool drops) {
          for (int i = 0;; ++i) {
            Result<Given> given = co_await from->get(on, on.now() + 100ms);
            if (given) count.fetch_add(1);
            if (given && drops && i % 50 == 10) from->renew(**given);
            co_await on.sleep_for(1ms);
          }
        }
      };
      while (!done.load()) {
        TaskSet set(mine);  // given up again and again, wherever they stand
        for (int i = 0; i < 5; ++i) set.spawn(Ask::run(held, loop, good, t == 0));
        const MonoTime until = clock.now() + 20ms;
        while (clock.now() < until) {
          loop.post([] {});
          loop.run_once();
        }
      }
    });
  }
  const MonoTime until = clock.now() + 1500ms;
  while (clock.now() < until) {
    control.post([] {});
    control.run_once();
  }
  done.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(good.load(), 100u);
  EXPECT_GE(script.calls, 3u);
  EXPECT_EQ(script.most_at_once, 1u);
}

}  // namespace
}  // namespace postern::tokens
