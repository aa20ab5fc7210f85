#include "issuer/key_ring.h"

#include <gtest/gtest.h>

namespace postern::issuer {
namespace {

using jose::Algorithm;
using std::chrono::hours;
using Role = KeyRing::Role;

constexpr WallTime kStart{std::chrono::seconds(1'700'000'000)};
constexpr RotationTimes kTimes;  // 24 h, 30 d, 24 h
WallTime day(int n) { return kStart + hours(24 * n); }

std::string signer(const KeyRing& ring, WallTime now, Algorithm algorithm = Algorithm::RS256) {
  const KeyRing::Entry* const entry = ring.signing(algorithm, now);
  return entry ? entry->kid : "none";
}
// "a:signing b:next"
std::string roles(const KeyRing& ring, WallTime now) {
  std::string out;
  for (const KeyRing::Entry& entry : ring.entries()) {
    constexpr std::string_view kNames[] = {"next", "signing", "old", "gone"};
    if (!out.empty()) out += ' ';
    out += entry.kid + ":" + std::string(kNames[static_cast<std::size_t>(ring.role(entry, now, kTimes))]);
  }
  return out;
}

TEST(KeyRing, TheFirstKeySignsAtOnce) {
  KeyRing ring;
  EXPECT_TRUE(ring.wants_key(Algorithm::RS256, kStart, kTimes));
  EXPECT_EQ(signer(ring, kStart), "none");
  EXPECT_FALSE(ring.next_change(kStart, kTimes));
  ASSERT_TRUE(ring.add("a", Algorithm::RS256, kStart, kTimes));
  EXPECT_EQ(roles(ring, kStart), "a:signing");
  EXPECT_FALSE(ring.wants_key(Algorithm::RS256, kStart, kTimes));
  EXPECT_TRUE(ring.wants_key(Algorithm::ES256, kStart, kTimes)) << "each algorithm has keys of its own";
  EXPECT_EQ(signer(ring, kStart, Algorithm::ES256), "none");
}

TEST(KeyRing, PublishesBeforeItSignsAndKeepsWhatHasSigned) {
  KeyRing ring;
  ASSERT_TRUE(ring.add("a", Algorithm::RS256, kStart, kTimes));
  EXPECT_EQ(ring.next_change(kStart, kTimes), day(29));
  EXPECT_FALSE(ring.wants_key(Algorithm::RS256, day(29) - hours(1), kTimes));
  EXPECT_TRUE(ring.wants_key(Algorithm::RS256, day(29), kTimes));
  ASSERT_TRUE(ring.add("b", Algorithm::RS256, day(29), kTimes));
  EXPECT_FALSE(ring.wants_key(Algorithm::RS256, day(29), kTimes));
  EXPECT_EQ(roles(ring, day(29)), "a:signing b:next");
  EXPECT_EQ(ring.next_change(day(29), kTimes), day(30));
  EXPECT_EQ(roles(ring, day(30) - std::chrono::seconds(1)), "a:signing b:next");
  EXPECT_EQ(roles(ring, day(30)), "a:old b:signing");
  EXPECT_EQ(ring.next_change(day(30), kTimes), day(31));
  EXPECT_EQ(roles(ring, day(31) - std::chrono::seconds(1)), "a:old b:signing");
  EXPECT_EQ(roles(ring, day(31)), "a:gone b:signing");
  EXPECT_EQ(ring.remove_gone(day(31), kTimes), std::vector<std::string>{"a"});
  EXPECT_EQ(roles(ring, day(31)), "b:signing");
  EXPECT_EQ(ring.next_change(day(31), kTimes), day(59)) << "as regular as the first time";
}

// Years of it, looked at every hour: there is always one key that signs, it was published long enough before, and what
// it signed can be verified until it has ended.
TEST(KeyRing, NeverSignsWithWhatNobodyKnows) {
  KeyRing ring;
  int made = 0;
  std::size_t most = 0;
  std::string before;
  WallTime changed{};
  for (int hour = 0; hour < 24 * 365 * 2; ++hour) {
    const WallTime now = kStart + hours(hour);
    if (ring.wants_key(Algorithm::ES256, now, kTimes)) {
      ASSERT_TRUE(ring.add("k" + std::to_string(made++), Algorithm::ES256, now, kTimes));
    }
    ring.remove_gone(now, kTimes);
    most = std::max(most, ring.entries().size());
    const KeyRing::Entry* const entry = ring.signing(Algorithm::ES256, now);
    ASSERT_TRUE(entry);
    if (entry->kid != before) {
      if (!before.empty()) {
        EXPECT_GE(now - entry->published, kTimes.lead);
        EXPECT_GE(now - changed, kTimes.period);
      }
      before = entry->kid;
      changed = now;
    }
    // Who signed an hour before the last change is still published.
    if (now - changed < kTimes.overlap && made > 2) EXPECT_GE(ring.entries().size(), 2u) << hour;
  }
  EXPECT_EQ(made, 25);
  EXPECT_EQ(most, 2u);
}

TEST(KeyRing, AProcessThatSleptCatchesUp) {
  KeyRing ring;
  ASSERT_TRUE(ring.add("a", Algorithm::RS256, kStart, kTimes));
  const WallTime late = day(200);
  EXPECT_EQ(roles(ring, late), "a:signing") << "an old key is better than none";
  EXPECT_TRUE(ring.wants_key(Algorithm::RS256, late, kTimes));
  ASSERT_TRUE(ring.add("b", Algorithm::RS256, late, kTimes));
  EXPECT_EQ(roles(ring, late), "a:signing b:next");
  EXPECT_EQ(roles(ring, late + hours(24)), "a:old b:signing");
}

TEST(KeyRing, AClockThatGoesBackLeavesSomebodyWhoSigns) {
  KeyRing ring;
  ASSERT_TRUE(ring.add("a", Algorithm::RS256, kStart, kTimes));
  ASSERT_TRUE(ring.add("b", Algorithm::RS256, day(29), kTimes));
  EXPECT_EQ(signer(ring, day(-5)), "a");
  EXPECT_EQ(roles(ring, day(-5)), "a:signing b:next");
}

TEST(KeyRing, AStolenKeyIsReplacedAtOnce) {
  KeyRing ring;
  ASSERT_TRUE(ring.add("a", Algorithm::RS256, kStart, kTimes));
  ASSERT_TRUE(ring.add("b", Algorithm::RS256, day(3), kTimes, KeyRing::When::at_once));
  EXPECT_EQ(roles(ring, day(3)), "a:old b:signing");
  EXPECT_TRUE(ring.remove("a"));
  EXPECT_FALSE(ring.remove("a"));
  EXPECT_EQ(roles(ring, day(3)), "b:signing");
  // One that begins in the same moment as another counts if it came later.
  ASSERT_TRUE(ring.add("c", Algorithm::RS256, day(3), kTimes, KeyRing::When::at_once));
  EXPECT_EQ(signer(ring, day(3)), "c");
}

TEST(KeyRing, HasLimits) {
  KeyRing ring;
  for (const char* const kid : {"a", "b", "c"}) ASSERT_TRUE(ring.add(kid, Algorithm::RS256, kStart, kTimes));
  const KeyRing before = ring;
  EXPECT_EQ(ring.add("d", Algorithm::RS256, kStart, kTimes).error().detail(),
            "keys of the issuer: more than 3 for RS256; one has to be gone before the next is made");
  EXPECT_EQ(ring, before) << "what is refused changes nothing";
  EXPECT_EQ(ring.add("a", Algorithm::ES256, kStart, kTimes).error().detail(), "keys of the issuer: a is there twice");
  EXPECT_EQ(ring.add("", Algorithm::ES256, kStart, kTimes).error().detail(), "keys of the issuer: a kid that is none");
  EXPECT_EQ(ring.add("h", Algorithm::HS256, kStart, kTimes).error().detail(), "keys of the issuer: h is for HS256");
  for (const char* const kid : {"d", "e", "f"}) ASSERT_TRUE(ring.add(kid, Algorithm::ES256, kStart, kTimes));
  for (const char* const kid : {"g", "h", "i"}) ASSERT_TRUE(ring.add(kid, Algorithm::EdDSA, kStart, kTimes));
  EXPECT_EQ(ring.add("j", Algorithm::PS256, kStart, kTimes).error().detail(), "keys of the issuer: more than 9");
}

TEST(KeyRing, TakesWhatWasKept) {
  KeyRing ring;
  ASSERT_TRUE(ring.add("a", Algorithm::RS256, kStart, kTimes));
  ASSERT_TRUE(ring.add("b", Algorithm::RS256, day(29), kTimes));
  const std::vector<KeyRing::Entry> kept(ring.entries().rbegin(), ring.entries().rend());
  EXPECT_EQ(KeyRing::of(kept).value(), ring);
  EXPECT_EQ(KeyRing::of({{"a", Algorithm::RS256, day(1), day(0)}}).error().detail(),
            "keys of the issuer: a signs before it is published");
}

}  // namespace
}  // namespace postern::issuer
