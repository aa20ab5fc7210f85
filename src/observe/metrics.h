// MetricRegistry: counters, gauges and latency histograms, counted per loop without a lock and merged when they are
// scraped (Prometheus text exposition format 0.0.4). Not a global: the gateway owns one and passes it on.
//
// A *family* is a name, a help text and label names; families are declared once, at start. A *series* is a family with
// label values, and label values are names from the configuration (route, origin, policy) or constants of ours, never
// bytes of a client; so their number is bounded by the configuration. A SeriesSet holds the series of one configuration
// snapshot: a reload makes a new set, finds the series that stay with their counts, and adds the others.
//
// Threads. LoopMetrics belongs to one loop: its cells are written by that loop only, with relaxed loads and stores, and
// lie on pages of their own, so no cache line is shared between loops. Everything else may be called from any thread;
// it locks against scrapes and reloads, never against a loop.
//
// Bounds. What a released set counted stays visible, up to `max_retired` series, oldest dropped first. A family over
// its `max_series`, or a registry over its `capacity`, counts what does not fit under the label value "_other".
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "platform/clock.h"

namespace postern::observe {

// Upper bounds of the latency buckets, "less than or equal"; the last bucket is +Inf.
inline constexpr std::array<Duration, 15> kLatencyBounds = {
    std::chrono::microseconds(500), std::chrono::milliseconds(1),   std::chrono::microseconds(2500),
    std::chrono::milliseconds(5),   std::chrono::milliseconds(10),  std::chrono::milliseconds(25),
    std::chrono::milliseconds(50),  std::chrono::milliseconds(100), std::chrono::milliseconds(250),
    std::chrono::milliseconds(500), std::chrono::seconds(1),        std::chrono::milliseconds(2500),
    std::chrono::seconds(5),        std::chrono::seconds(10),       std::chrono::seconds(30)};
inline constexpr std::size_t kLatencyBuckets = kLatencyBounds.size() + 1;

// The bucket of `value`; negative counts as 0.
[[nodiscard]] std::size_t latency_bucket(Duration value) noexcept;

// Handles: values, valid as long as the SeriesSet that gave them. A default one counts into a cell nobody sees, so an
// object without metrics needs no branch.
struct Counter {
  std::uint32_t cell = 0;
};
// Counters side by side that differ in one label, whose values the family fixes (status class, outcome).
struct CounterRow {
  std::uint32_t cell = 0;
  std::uint32_t width = 1;
  // An index beyond the row is the last one: a wrong label rather than a foreign counter.
  [[nodiscard]] constexpr Counter at(std::size_t index) const noexcept {
    return {index < width ? cell + static_cast<std::uint32_t>(index) : cell + width - 1};
  }
};
struct Gauge {
  std::uint32_t cell = 0;
};
struct Histogram {
  std::uint32_t cell = 0;
};

// Cells of one loop. Reading from other threads is the registry's business.
class LoopMetrics final {
 public:
  LoopMetrics(const LoopMetrics&) = delete;
  LoopMetrics& operator=(const LoopMetrics&) = delete;
  ~LoopMetrics();

  void add(Counter counter, std::uint64_t amount = 1) noexcept { bump(counter.cell, amount); }
  // The gauge shows the sum over all loops; one loop's part may be negative.
  void add(Gauge gauge, std::int64_t amount) noexcept { bump(gauge.cell, static_cast<std::uint64_t>(amount)); }
  void observe(Histogram histogram, Duration value) noexcept {
    bump(histogram.cell + static_cast<std::uint32_t>(latency_bucket(value)), 1);
    const std::int64_t nanoseconds = value.count() < 0 ? 0 : value.count();
    bump(histogram.cell + std::uint32_t{kLatencyBuckets}, static_cast<std::uint64_t>(nanoseconds));
  }

 private:
  friend class MetricRegistry;
  LoopMetrics() = default;
  // One writer per cell: a plain load and store cost what an ordinary ++ costs, and the scraper sees whole values.
  void bump(std::uint32_t cell, std::uint64_t amount) noexcept {
    const std::atomic_ref<std::uint64_t> value(cells_[cell]);
    value.store(value.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t read(std::size_t cell) const noexcept {
    return std::atomic_ref<std::uint64_t>(cells_[cell]).load(std::memory_order_relaxed);
  }
  // By the registry, when nobody else writes the cell. Leaves an untouched page untouched.
  void clear(std::size_t cell) noexcept {
    if (read(cell) != 0) std::atomic_ref<std::uint64_t>(cells_[cell]).store(0, std::memory_order_relaxed);
  }

  std::uint64_t* cells_ = nullptr;  // an anonymous mapping: zero, and without memory until written
  std::size_t bytes_ = 0;
};

enum class WhenZero : std::uint8_t {
  show,
  hide,  // for families with a series per route: an untouched route costs no line
};

enum class MetricKind : std::uint8_t { counter, gauge, histogram };

struct FamilySpec {
  std::string_view name;  // [a-zA-Z_:][a-zA-Z0-9_:]*, constants of ours, must outlive the registry
  std::string_view help;
  std::vector<std::string_view> labels = {};  // values given per series
  // The label of a row and its values; empty for all but counter rows.
  std::string_view row_label = {};
  std::vector<std::string> row_values = {};
  WhenZero when_zero = WhenZero::show;
  std::size_t max_series = 50'000;
};

struct FamilyId {
  std::uint32_t index = 0;
};

class MetricRegistry;

// Keeps its series alive. Move-only; hold it in the configuration snapshot that uses the handles, so that it dies after
// the last loop has left that snapshot. Must not outlive the registry. A set without a registry gives default handles.
class SeriesSet final {
 public:
  SeriesSet() = default;
  explicit SeriesSet(MetricRegistry& registry) noexcept : registry_(&registry) {}
  SeriesSet(const SeriesSet&) = delete;
  SeriesSet& operator=(const SeriesSet&) = delete;
  SeriesSet(SeriesSet&& other) noexcept
      : registry_(std::exchange(other.registry_, nullptr)), series_(std::move(other.series_)) {}
  SeriesSet& operator=(SeriesSet&& other) noexcept;
  ~SeriesSet() { release(); }

  // The series with these label values, new or known. The same handle for the same values.
  [[nodiscard]] Counter counter(FamilyId family, std::span<const std::string_view> values);
  [[nodiscard]] CounterRow counter_row(FamilyId family, std::span<const std::string_view> values);
  [[nodiscard]] Gauge gauge(FamilyId family, std::span<const std::string_view> values);
  [[nodiscard]] Histogram histogram(FamilyId family, std::span<const std::string_view> values);

 private:
  friend class MetricRegistry;
  struct Acquired {
    std::uint32_t series = 0;
    std::uint32_t cell = 0;
    std::uint32_t width = 1;
  };
  [[nodiscard]] Acquired acquire(FamilyId family, MetricKind kind, std::span<const std::string_view> values);
  void release() noexcept;
  MetricRegistry* registry_ = nullptr;
  std::vector<std::uint32_t> series_;
};

class MetricRegistry final {
 public:
  struct Options {
    std::size_t loops = 1;
    std::size_t capacity = 1 << 20;  // cells: 8 bytes of address space each per loop, memory only where counted
    std::size_t max_retired = 1024;  // series
  };
  // Fails with Code::io_failed if the address space cannot be had.
  [[nodiscard]] static Result<std::unique_ptr<MetricRegistry>> create(const Options& options);
  MetricRegistry(const MetricRegistry&) = delete;
  MetricRegistry& operator=(const MetricRegistry&) = delete;
  ~MetricRegistry();

  // Declares a family. A bug (not an error value) if the name is taken.
  [[nodiscard]] FamilyId declare(MetricKind kind, FamilySpec spec);

  // The cells of loop `index`, for that loop only. Lives as long as the registry.
  [[nodiscard]] LoopMetrics& loop(std::size_t index) noexcept { return *loops_[index]; }

  // For threads that are no loop, and for values that are set, not counted. A gauge is either set or added to.
  void set(Gauge gauge, std::int64_t value) noexcept;
  // A count that is kept elsewhere; the caller sees to it that it only grows.
  void set(Counter counter, std::uint64_t value) noexcept;
  void add(Counter counter, std::uint64_t amount = 1) noexcept;

  // Appends the whole exposition. Consistent per cell, not across cells; a histogram's count equals its buckets.
  void render(std::string& out) const;
  // The merged value of one cell, for the status page and tests.
  [[nodiscard]] std::uint64_t value(Counter counter) const noexcept { return total(counter.cell); }
  [[nodiscard]] std::int64_t value(Gauge gauge) const noexcept { return static_cast<std::int64_t>(total(gauge.cell)); }

  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  friend class SeriesSet;
  static constexpr std::uint32_t kSinkCells = 256;  // the first cells are those of default handles, never shown
  static constexpr std::uint32_t kSinkSeries = 0;

  struct Series {
    std::string labels;  // rendered: route="a",method="b"; key within the family
    std::uint32_t family = 0;
    std::uint32_t cell = 0;
    std::uint32_t holders = 0;
    std::uint64_t retired_at = 0;  // order of retirement; meaningful while holders == 0
  };
  struct Family {
    MetricKind kind{};
    FamilySpec spec;
    std::uint32_t width = 1;               // cells per series
    std::uint32_t overflow = kSinkSeries;  // the "_other" series, if the family has labels
    std::unordered_map<std::string, std::uint32_t> by_labels;
    std::vector<std::uint32_t> order;  // of exposition
  };

  explicit MetricRegistry(const Options& options) : options_(options) {}
  [[nodiscard]] SeriesSet::Acquired acquire(FamilyId id, MetricKind kind, std::span<const std::string_view> values);
  void release(std::span<const std::uint32_t> series) noexcept;
  // All private functions below: mutex_ held.
  [[nodiscard]] std::uint32_t find_or_add(std::uint32_t family_index, std::string labels);
  [[nodiscard]] std::uint32_t add_series(std::uint32_t family_index, std::string labels);
  [[nodiscard]] bool take_cells(std::uint32_t width, std::uint32_t& cell);
  void drop_retired(std::size_t keep);
  void drop(std::uint32_t series_index);
  void render_series(const Family& family, const Series& series, std::string& out) const;
  void render_histogram(const Family& family, const Series& series, std::string& out) const;
  [[nodiscard]] std::uint64_t total(std::uint32_t cell) const noexcept;

  const Options options_;
  std::vector<std::unique_ptr<LoopMetrics>> loops_;
  std::unique_ptr<LoopMetrics> shared_;  // written by any thread, with read-modify-write

  mutable std::mutex mutex_;
  // guarded by mutex_:
  std::vector<Family> families_;
  std::vector<Series> series_;
  std::vector<std::uint32_t> free_series_;
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> free_cells_;  // by width
  std::uint32_t next_cell_ = kSinkCells;
  std::size_t retired_ = 0;
  std::uint64_t retirements_ = 0;
};

// ---- inline: the hot path -------------------------------------------------------------------------------------------

namespace detail {

inline constexpr std::array<std::uint64_t, kLatencyBuckets> kBoundsWithEnd = [] {
  std::array<std::uint64_t, kLatencyBuckets> bounds{};
  for (std::size_t i = 0; i < kLatencyBounds.size(); ++i) {
    bounds[i] = static_cast<std::uint64_t>(kLatencyBounds[i].count());
  }
  bounds.back() = std::numeric_limits<std::uint64_t>::max();
  return bounds;
}();

// For each bit width of a value: the bucket of the smallest value of that width. The others are in it or in the next
// one, because neighbouring bounds are at least a factor of two apart.
inline constexpr std::array<std::uint8_t, 65> kFirstBucket = [] {
  std::array<std::uint8_t, 65> first{};
  for (std::size_t width = 0; width <= 64; ++width) {
    const std::uint64_t smallest = width == 0 ? 0 : std::uint64_t{1} << (width - 1);
    std::uint8_t bucket = 0;
    while (kBoundsWithEnd[bucket] < smallest) ++bucket;
    first[width] = bucket;
  }
  return first;
}();

static_assert([] {
  for (std::size_t i = 1; i < kLatencyBuckets; ++i) {
    if (kBoundsWithEnd[i] / 2 < kBoundsWithEnd[i - 1]) return false;
  }
  return true;
}());

}  // namespace detail

inline std::size_t latency_bucket(Duration value) noexcept {
  const std::uint64_t nanoseconds = value.count() < 0 ? 0 : static_cast<std::uint64_t>(value.count());
  const std::size_t bucket = detail::kFirstBucket[static_cast<std::size_t>(std::bit_width(nanoseconds))];
  return bucket + static_cast<std::size_t>(detail::kBoundsWithEnd[bucket] < nanoseconds);
}

}  // namespace postern::observe
