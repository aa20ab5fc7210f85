#include "platform/timer_wheel.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

namespace postern {
namespace {

using std::chrono::milliseconds;

class Probe final : public Timer {
 public:
  explicit Probe(std::function<void()> on_fire) : on_fire_(std::move(on_fire)) {}

 private:
  void on_expired() override { on_fire_(); }
  std::function<void()> on_fire_;
};

TEST(TimerWheel, NeverEarlyAndAtMostOneTickLateAtEveryDistance) {
  ManualClock clock;
  TimerWheel wheel(clock.now());
  std::mt19937_64 random(7);
  struct Expectation {
    MonoTime when;
    std::unique_ptr<Probe> timer;
    bool fired = false;
  };
  std::vector<Expectation> all(2000);
  for (Expectation& e : all) {
    const auto distance = static_cast<std::int64_t>(random() % (std::uint64_t{1} << (random() % 36)));
    e.when = clock.now() + std::chrono::microseconds(distance);
    e.timer = std::make_unique<Probe>([&e, &clock] {
      EXPECT_FALSE(e.fired);
      e.fired = true;
      EXPECT_GE(clock.now(), e.when);
    });
    wheel.arm(*e.timer, e.when);
  }
  // Jump from expiry to expiry as a loop does; next_expiry() may be early but never late.
  while (const auto next = wheel.next_expiry()) {
    for (const Expectation& e : all) {
      if (!e.fired) {
        ASSERT_LE(*next, e.when + milliseconds(1));
      }
    }
    clock.advance(*next - clock.now());
    wheel.advance(clock.now());
  }
  for (const Expectation& e : all) EXPECT_TRUE(e.fired);
}

TEST(TimerWheel, ACallbackMayDestroyDisarmAndRearmOthersOfTheSameTick) {
  ManualClock clock;
  TimerWheel wheel(clock.now());
  int fired = 0;
  auto doomed = std::make_unique<Probe>([&] { FAIL() << "destroyed timer fired"; });
  Probe disarmed([&] { FAIL() << "disarmed timer fired"; });
  Probe again([&] { ++fired; });
  Probe first([&] {
    doomed.reset();
    disarmed.disarm();
    wheel.arm(again, clock.now() + milliseconds(100));
  });
  const MonoTime soon = clock.now() + milliseconds(5);
  wheel.arm(first, soon);
  wheel.arm(*doomed, soon);
  wheel.arm(disarmed, soon);
  wheel.arm(again, soon);
  clock.advance(milliseconds(5));
  wheel.advance(clock.now());
  EXPECT_EQ(fired, 0);
  clock.advance(milliseconds(99));
  wheel.advance(clock.now());
  EXPECT_EQ(fired, 0);
  clock.advance(milliseconds(1));
  wheel.advance(clock.now());
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheel, ALongSleepThatSkipsEverythingStillFiresAll) {
  ManualClock clock;
  TimerWheel wheel(clock.now());
  int fired = 0;
  Probe a([&] { ++fired; });
  Probe b([&] { ++fired; });
  wheel.arm(a, clock.now() + milliseconds(63));
  wheel.arm(b, clock.now() + std::chrono::hours(30));
  clock.advance(std::chrono::hours(31));
  wheel.advance(clock.now());
  EXPECT_EQ(fired, 2);
  EXPECT_EQ(wheel.next_expiry(), std::nullopt);
}

}  // namespace
}  // namespace postern
