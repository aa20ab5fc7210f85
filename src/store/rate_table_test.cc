#include "store/rate_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

namespace postern::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = RateTable::Outcome;

constexpr MonoTime kStart = MonoTime(std::chrono::hours(1));
constexpr Rate kTenPerSecond{milliseconds(100), 10};

TEST(RateTable, allows_the_burst_then_one_per_interval) {
  RateTable table(16, 1, 2);
  for (std::uint32_t i = 0; i < 10; ++i) {
    const auto verdict = table.take(7, kTenPerSecond, kStart);
    EXPECT_EQ(verdict.outcome, Outcome::allowed);
    EXPECT_EQ(verdict.remaining, 9 - i);
    EXPECT_EQ(verdict.reset, milliseconds(100) * (i + 1));
  }
  const auto refused = table.take(7, kTenPerSecond, kStart);
  EXPECT_EQ(refused.outcome, Outcome::limited);
  EXPECT_EQ(refused.retry_after, milliseconds(100));
  EXPECT_EQ(refused.reset, seconds(1));

  // A refused request costs nothing: at the promised time, and not before, exactly one passes.
  EXPECT_EQ(table.take(7, kTenPerSecond, kStart + milliseconds(100) - Duration(1)).outcome, Outcome::limited);
  EXPECT_EQ(table.take(7, kTenPerSecond, kStart + milliseconds(100)).outcome, Outcome::allowed);
  EXPECT_EQ(table.take(7, kTenPerSecond, kStart + milliseconds(100)).outcome, Outcome::limited);
}

TEST(RateTable, the_whole_burst_is_back_after_the_reset) {
  RateTable table(16, 1, 2);
  for (int i = 0; i < 10; ++i) static_cast<void>(table.take(7, kTenPerSecond, kStart));
  const auto verdict = table.take(7, kTenPerSecond, kStart + seconds(1));
  EXPECT_EQ(verdict.outcome, Outcome::allowed);
  EXPECT_EQ(verdict.remaining, 9u);
}

TEST(RateTable, a_long_pause_does_not_save_up_more_than_the_burst) {
  RateTable table(16, 1, 2);
  static_cast<void>(table.take(7, kTenPerSecond, kStart));
  int allowed = 0;
  for (int i = 0; i < 50; ++i)
    allowed += table.take(7, kTenPerSecond, kStart + std::chrono::hours(24)).retry_after == Duration{};
  EXPECT_EQ(allowed, 10);
}

TEST(RateTable, subjects_do_not_share) {
  RateTable table(16, 1, 2);
  constexpr Rate once{seconds(1), 1};
  EXPECT_EQ(table.take(7, once, kStart).outcome, Outcome::allowed);
  EXPECT_EQ(table.take(7 + 16, once, kStart).outcome, Outcome::allowed);  // same bucket
  EXPECT_EQ(table.take(8, once, kStart).outcome, Outcome::allowed);
  EXPECT_EQ(table.take(7, once, kStart).outcome, Outcome::limited);
}

TEST(RateTable, a_full_bucket_refuses_newcomers_and_frees_no_limited_subject) {
  RateTable table(1, 1, 2);
  constexpr Rate once{seconds(10), 1};
  for (std::uint64_t subject = 1; subject <= RateTable::kWays; ++subject) {
    EXPECT_EQ(table.take(subject, once, kStart + seconds(subject)).outcome, Outcome::allowed);
  }
  const MonoTime later = kStart + seconds(RateTable::kWays);
  for (std::uint64_t newcomer = 100; newcomer < 5'000; ++newcomer) {
    const auto verdict = table.take(newcomer, once, kStart + seconds(10));
    EXPECT_EQ(verdict.outcome, Outcome::full);
    EXPECT_EQ(verdict.retry_after, seconds(1));  // subject 1 is free at kStart + 11 s
  }
  // Subject 1 to 5 have passed at `later`; everybody else is as limited as before the flood.
  for (std::uint64_t subject = 6; subject <= RateTable::kWays; ++subject) {
    EXPECT_EQ(table.take(subject, once, later).outcome, Outcome::limited) << subject;
  }
  for (std::uint64_t newcomer = 100; newcomer < 105; ++newcomer) {
    EXPECT_EQ(table.take(newcomer, once, later).outcome, Outcome::allowed) << newcomer;
  }
  EXPECT_EQ(table.take(105, once, later).outcome, Outcome::full);
}

TEST(RateTable, many_threads_on_one_subject_get_exactly_the_burst) {
  RateTable table;
  const std::uint64_t subject = table.hash(1, "consumer");
  constexpr Rate rate{seconds(1), 5'000};
  std::atomic<int> allowed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      int mine = 0;
      for (int i = 0; i < 4'000; ++i) mine += table.take(subject, rate, kStart).outcome == Outcome::allowed;
      allowed += mine;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(allowed, 5'000);
}

TEST(RateTable, many_threads_on_a_crowded_bucket_allow_no_subject_twice) {
  // Every subject may do one request; threads race to insert the same subjects into two buckets, which just hold them.
  RateTable table(2, 3, 4);
  constexpr Rate once{std::chrono::hours(1), 1};
  constexpr std::uint64_t kSubjects = RateTable::kWays * 2;
  std::vector<std::atomic<int>> allowed(kSubjects + 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::uint64_t subject = 1; subject <= kSubjects; ++subject) {
        if (table.take(subject, once, kStart).outcome == Outcome::allowed) ++allowed[subject];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::uint64_t subject = 1; subject <= kSubjects; ++subject) EXPECT_EQ(allowed[subject], 1) << subject;
}

TEST(RateTable, hash_is_siphash_and_depends_on_all_input) {
  // Reference vector of SipHash-2-4: key 00..0f, input 00..0e (15 bytes). hash() takes the first eight as the prefix.
  const RateTable table(1, 0x0706050403020100u, 0x0f0e0d0c0b0a0908u);
  EXPECT_EQ(table.hash(0x0706050403020100u, std::string_view("\x08\x09\x0a\x0b\x0c\x0d\x0e", 7)), 0xa129ca6149be45e5u);
  std::set<std::uint64_t> seen;
  for (const std::uint64_t prefix : {1u, 2u}) {
    for (const std::string_view value : {"", "a", "b", "ab", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaab"}) {
      seen.insert(table.hash(prefix, value));
    }
  }
  EXPECT_EQ(seen.size(), 14u);
  const RateTable first;
  const RateTable second;
  EXPECT_NE(first.hash(1, "a"), second.hash(1, "a"));
}

}  // namespace
}  // namespace postern::store
