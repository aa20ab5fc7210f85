// RateTable: for every limited subject the theoretical arrival time (TAT) of the generic cell rate algorithm (ITU-T
// I.371), shared by all loops and exact across them.
//
// A subject is a 64-bit number that its caller computed with hash(): policy instance, kind and value. The hash is keyed
// with a random secret, so nobody outside can aim at one bucket or make two subjects meet.
//
// Bounded: kEntries subjects in kBuckets buckets of kWays; 16 MiB of address space, of which the kernel provides what
// was touched. An entry is given to another subject only once its TAT has passed: such a subject has its whole burst
// back, so forgetting it changes nothing, and no limited subject is ever set free. If all entries of a bucket are still
// in use, a new subject is refused until the first of them has passed (fail closed); that takes some 900,000 subjects
// with unfinished allowances at once.
//
// Thread-safe. Each bucket has its own lock, held for a few nanoseconds; two loops wait for each other only if they
// count the same subject, or one of 65,536 buckets, at the same moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "platform/clock.h"

namespace postern::store {

// How much a subject may do. REQUIRES: interval > 0, burst >= 1, interval * burst below 292 years.
struct Rate {
  Duration interval{};      // the time that one request costs
  std::uint32_t burst = 1;  // requests that may come at once
};

class RateTable {
 public:
  static constexpr std::size_t kBuckets = 65'536;
  static constexpr std::size_t kWays = 15;
  static constexpr std::size_t kEntries = kBuckets * kWays;

  RateTable();
  // For tests: fewer buckets (a power of two) and a known key for hash().
  RateTable(std::size_t buckets, std::uint64_t key0, std::uint64_t key1);
  RateTable(const RateTable&) = delete;
  RateTable& operator=(const RateTable&) = delete;
  ~RateTable();

  // Keyed hash (SipHash-2-4) of a prefix and a value, never 0.
  [[nodiscard]] std::uint64_t hash(std::uint64_t prefix, std::string_view value) const noexcept;

  enum class Outcome : std::uint8_t {
    allowed,
    limited,
    full,  // no entry for this subject: refused
  };
  struct Verdict {
    Outcome outcome = Outcome::limited;
    std::uint32_t remaining = 0;  // requests that would be allowed right now
    Duration reset{};             // until the whole burst is back
    Duration retry_after{};       // until one request is allowed; zero if this one was
  };
  // Counts one request at `now`. A refused request costs nothing.
  [[nodiscard]] Verdict take(std::uint64_t subject, const Rate& rate, MonoTime now) noexcept;

 private:
  struct Bucket;
  struct Unmap {
    std::size_t bytes;
    void operator()(Bucket* buckets) const noexcept;
  };

  std::size_t mask_;
  std::uint64_t key0_;
  std::uint64_t key1_;
  std::unique_ptr<Bucket[], Unmap> buckets_;
};

}  // namespace postern::store
