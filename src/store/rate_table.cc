#include "store/rate_table.h"

#include <openssl/rand.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

namespace postern::store {
namespace {

// SipHash-2-4 (Aumasson, Bernstein 2012) over an 8-byte prefix and the value.
class SipHash {
 public:
  SipHash(std::uint64_t key0, std::uint64_t key1) noexcept
      : v0_(key0 ^ 0x736f6d6570736575u),
        v1_(key1 ^ 0x646f72616e646f6du),
        v2_(key0 ^ 0x6c7967656e657261u),
        v3_(key1 ^ 0x7465646279746573u) {}

  void word(std::uint64_t m) noexcept {
    v3_ ^= m;
    round();
    round();
    v0_ ^= m;
  }
  [[nodiscard]] std::uint64_t finish() noexcept {
    v2_ ^= 0xff;
    for (int i = 0; i < 4; ++i) round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

 private:
  void round() noexcept {
    v0_ += v1_, v1_ = std::rotl(v1_, 13), v1_ ^= v0_, v0_ = std::rotl(v0_, 32);
    v2_ += v3_, v3_ = std::rotl(v3_, 16), v3_ ^= v2_;
    v0_ += v3_, v3_ = std::rotl(v3_, 21), v3_ ^= v0_;
    v2_ += v1_, v1_ = std::rotl(v1_, 17), v1_ ^= v2_, v2_ = std::rotl(v2_, 32);
  }
  std::uint64_t v0_, v1_, v2_, v3_;
};

std::uint64_t random_word() {
  std::uint64_t word = 0;
  // Without randomness the table still counts; but then a flood could aim, so the process does not start.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&word), sizeof word) != 1) throw std::bad_alloc();
  return word;
}

std::int64_t ticks(MonoTime time) noexcept { return time.time_since_epoch().count(); }

}  // namespace

// All-zero bytes are an unlocked bucket of unused entries: fresh pages need no constructor.
struct alignas(64) RateTable::Bucket {
  std::atomic<std::uint32_t> locked;
  std::uint32_t unused;
  std::uint64_t subjects[kWays];  // 0: never used
  std::int64_t times[kWays];      // TAT, ns of MonoTime
  std::uint64_t padding;

  void lock() noexcept {
    for (int spins = 0; locked.exchange(1, std::memory_order_acquire) != 0;) {
      while (locked.load(std::memory_order_relaxed) != 0) {
        // The holder is between two instructions, unless the kernel took its core away.
        if (++spins < 200) {
          __builtin_ia32_pause();
        } else {
          ::usleep(0);
        }
      }
    }
  }
  void unlock() noexcept { locked.store(0, std::memory_order_release); }
};

void RateTable::Unmap::operator()(Bucket* buckets) const noexcept { ::munmap(buckets, bytes); }

RateTable::RateTable() : RateTable(kBuckets, random_word(), random_word()) {}

RateTable::RateTable(std::size_t buckets, std::uint64_t key0, std::uint64_t key1)
    : mask_(buckets - 1), key0_(key0), key1_(key1), buckets_(nullptr, Unmap{buckets * sizeof(Bucket)}) {
  static_assert(sizeof(Bucket) == 256);
  void* const pages = ::mmap(nullptr, buckets_.get_deleter().bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  buckets_.reset(static_cast<Bucket*>(pages));
}

RateTable::~RateTable() = default;

std::uint64_t RateTable::hash(std::uint64_t prefix, std::string_view value) const noexcept {
  SipHash hash(key0_, key1_);
  hash.word(prefix);
  const std::size_t length = value.size();
  for (; value.size() >= 8; value.remove_prefix(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, value.data(), 8);
    hash.word(word);
  }
  std::uint64_t last = static_cast<std::uint64_t>(length + 8) << 56;
  for (std::size_t i = 0; i < value.size(); ++i) {
    last |= static_cast<std::uint64_t>(static_cast<unsigned char>(value[i])) << (8 * i);
  }
  hash.word(last);
  return std::max<std::uint64_t>(hash.finish(), 1);
}

RateTable::Verdict RateTable::take(std::uint64_t subject, const Rate& rate, MonoTime now) noexcept {
  const std::int64_t at = ticks(now);
  const std::int64_t interval = rate.interval.count();
  const std::int64_t capacity = interval * rate.burst;
  // The low bits name the bucket; the whole number is compared inside.
  Bucket& bucket = buckets_[static_cast<std::size_t>(subject) & mask_];

  bucket.lock();
  std::size_t entry = kWays;
  std::size_t oldest = 0;
  for (std::size_t i = 0; i < kWays; ++i) {
    if (bucket.subjects[i] == subject) {
      entry = i;
      break;
    }
    if (bucket.times[i] < bucket.times[oldest]) oldest = i;
  }
  if (entry == kWays) {
    const std::int64_t free_at = bucket.subjects[oldest] == 0 ? at : bucket.times[oldest];
    if (free_at > at) {
      bucket.unlock();
      return {Outcome::full, 0, Duration(free_at - at), Duration(free_at - at)};
    }
    entry = oldest;
    bucket.subjects[entry] = subject;
    bucket.times[entry] = at;
  }
  const std::int64_t start = std::max(bucket.times[entry], at);
  const std::int64_t used = start - at + interval;  // of the capacity, with this request
  const bool allowed = used <= capacity;
  if (allowed) bucket.times[entry] = start + interval;
  bucket.unlock();

  if (!allowed) return {Outcome::limited, 0, Duration(start - at), Duration(used - capacity)};
  const std::int64_t remaining = (capacity - used) / interval;
  return {Outcome::allowed, static_cast<std::uint32_t>(remaining), Duration(used), Duration::zero()};
}

}  // namespace postern::store
