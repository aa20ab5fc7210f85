#include "observe/metrics.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "observe/json_text.h"

namespace postern::observe {
namespace {

constexpr std::uint32_t kHistogramCells = kLatencyBuckets + 1;  // and the sum, in nanoseconds
constexpr std::string_view kOverflowValue = "_other";

std::string_view kind_text(MetricKind kind) noexcept {
  switch (kind) {
    case MetricKind::counter: return "counter";
    case MetricKind::gauge: return "gauge";
    case MetricKind::histogram: return "histogram";
  }
  return "untyped";
}

// Label values: '\', '"' and line feed are escaped, as the format says. Other control characters and bytes that are not
// UTF-8 would break scrapers and become '_'.
void append_label_value(std::string& out, std::string_view value) {
  while (!value.empty()) {
    const auto c = static_cast<unsigned char>(value.front());
    const std::size_t length = utf8_length(value);
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '"') {
      out += "\\\"";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c < 0x20 || c == 0x7F || length == 0) {
      out += '_';
    } else {
      out += value.substr(0, length);
    }
    value.remove_prefix(length == 0 ? 1 : length);
  }
}

void append_label(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty()) out += ',';
  out += name;
  out += "=\"";
  append_label_value(out, value);
  out += '"';
}

std::string render_labels(std::span<const std::string_view> names, std::span<const std::string_view> values) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    append_label(out, names[i], i < values.size() ? values[i] : std::string_view());
  }
  return out;
}

void append_help(std::string& out, std::string_view help) {
  for (const char c : help) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

void append_decimal(std::string& out, std::uint64_t value) {
  char digits[20];
  out.append(digits, put_decimal(digits, value));
}

// "0.0025", "1", "30": exact, without trailing zeros.
void append_seconds(std::string& out, std::uint64_t nanoseconds) {
  append_decimal(out, nanoseconds / 1'000'000'000);
  std::uint64_t rest = nanoseconds % 1'000'000'000;
  if (rest == 0) return;
  std::string fraction = std::to_string(1'000'000'000 + rest).substr(1);
  while (fraction.back() == '0') fraction.pop_back();
  out += '.';
  out += fraction;
}

// One sample line up to and including the space before the value. `extra` is an already rendered label or "".
void append_sample(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
                   std::string_view extra) {
  out += name;
  out += suffix;
  if (!labels.empty() || !extra.empty()) {
    out += '{';
    out += labels;
    if (!labels.empty() && !extra.empty()) out += ',';
    out += extra;
    out += '}';
  }
  out += ' ';
}

void* map_cells(std::size_t bytes) noexcept {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  // A huge page would make the first counted request cost 2 MiB; without the advice it still works.
  static_cast<void>(madvise(memory, bytes, MADV_NOHUGEPAGE));
  return memory;
}

}  // namespace

LoopMetrics::~LoopMetrics() {
  if (cells_ != nullptr) munmap(cells_, bytes_);
}

// ---- SeriesSet ------------------------------------------------------------------------------------------------------

SeriesSet& SeriesSet::operator=(SeriesSet&& other) noexcept {
  if (this != &other) {
    release();
    registry_ = std::exchange(other.registry_, nullptr);
    series_ = std::exchange(other.series_, {});
  }
  return *this;
}

void SeriesSet::release() noexcept {
  if (registry_ != nullptr) registry_->release(series_);
  registry_ = nullptr;
  series_.clear();
}

SeriesSet::Acquired SeriesSet::acquire(FamilyId family, MetricKind kind, std::span<const std::string_view> values) {
  if (registry_ == nullptr) return {};
  const Acquired acquired = registry_->acquire(family, kind, values);
  series_.push_back(acquired.series);
  return acquired;
}

Counter SeriesSet::counter(FamilyId family, std::span<const std::string_view> values) {
  return {acquire(family, MetricKind::counter, values).cell};
}

CounterRow SeriesSet::counter_row(FamilyId family, std::span<const std::string_view> values) {
  const Acquired acquired = acquire(family, MetricKind::counter, values);
  return {acquired.cell, acquired.width};
}

Gauge SeriesSet::gauge(FamilyId family, std::span<const std::string_view> values) {
  return {acquire(family, MetricKind::gauge, values).cell};
}

Histogram SeriesSet::histogram(FamilyId family, std::span<const std::string_view> values) {
  return {acquire(family, MetricKind::histogram, values).cell};
}

// ---- MetricRegistry -------------------------------------------------------------------------------------------------

Result<std::unique_ptr<MetricRegistry>> MetricRegistry::create(const Options& options) {
  std::unique_ptr<MetricRegistry> registry(new MetricRegistry(options));
  const std::size_t bytes = std::max<std::size_t>(options.capacity, kSinkCells) * sizeof(std::uint64_t);
  for (std::size_t i = 0; i <= options.loops; ++i) {
    std::unique_ptr<LoopMetrics> cells(new LoopMetrics());
    cells->cells_ = static_cast<std::uint64_t*>(map_cells(bytes));
    cells->bytes_ = bytes;
    if (cells->cells_ == nullptr) return fail(Code::io_failed, Side::gateway, "no address space for metrics");
    if (i < options.loops) {
      registry->loops_.push_back(std::move(cells));
    } else {
      registry->shared_ = std::move(cells);
    }
  }
  registry->series_.push_back(Series{.labels = {}, .holders = 1});  // kSinkSeries
  return registry;
}

MetricRegistry::~MetricRegistry() = default;

FamilyId MetricRegistry::declare(MetricKind kind, FamilySpec spec) {
  const std::scoped_lock lock(mutex_);
  assert(std::ranges::none_of(families_, [&](const Family& other) { return other.spec.name == spec.name; }));
  const auto index = static_cast<std::uint32_t>(families_.size());
  Family& family = families_.emplace_back();
  family.kind = kind;
  if (kind == MetricKind::histogram) family.width = kHistogramCells;
  assert(spec.row_values.size() <= kSinkCells && (spec.row_values.empty() || kind == MetricKind::counter));
  if (!spec.row_values.empty()) family.width = static_cast<std::uint32_t>(spec.row_values.size());
  family.spec = std::move(spec);
  // Taken now, so that there is a place to count when nothing else is left. Never released.
  const std::vector<std::string_view> others(family.spec.labels.size(), kOverflowValue);
  if (!family.spec.labels.empty()) {
    family.overflow = add_series(index, render_labels(family.spec.labels, others));
    ++series_[family.overflow].holders;
  }
  return {index};
}

SeriesSet::Acquired MetricRegistry::acquire(FamilyId id, MetricKind kind, std::span<const std::string_view> values) {
  const std::scoped_lock lock(mutex_);
  Family& family = families_[id.index];
  assert(family.kind == kind && values.size() == family.spec.labels.size());
  static_cast<void>(kind);
  const std::uint32_t index = find_or_add(id.index, render_labels(family.spec.labels, values));
  Series& series = series_[index];
  ++series.holders;
  return {.series = index, .cell = series.cell, .width = family.width};
}

std::uint32_t MetricRegistry::find_or_add(std::uint32_t family_index, std::string labels) {
  Family& family = families_[family_index];
  const auto known = family.by_labels.find(labels);
  if (known != family.by_labels.end()) {
    if (series_[known->second].holders == 0) --retired_;
    return known->second;
  }
  // Names that left the configuration make room for those that came.
  if (family.by_labels.size() >= family.spec.max_series) drop_retired(0);
  if (family.by_labels.size() >= family.spec.max_series) return family.overflow;
  return add_series(family_index, std::move(labels));
}

std::uint32_t MetricRegistry::add_series(std::uint32_t family_index, std::string labels) {
  Family& family = families_[family_index];
  std::uint32_t cell = 0;
  if (!take_cells(family.width, cell)) {
    drop_retired(0);
    // Without room even for "_other", overflow is kSinkSeries: nothing is shown, nothing is overwritten.
    if (!take_cells(family.width, cell)) return family.overflow;
  }
  auto index = static_cast<std::uint32_t>(series_.size());
  if (free_series_.empty()) {
    series_.emplace_back();
  } else {
    index = free_series_.back();
    free_series_.pop_back();
  }
  series_[index] = Series{.labels = labels, .family = family_index, .cell = cell};
  family.by_labels.emplace(std::move(labels), index);
  family.order.push_back(index);
  return index;
}

bool MetricRegistry::take_cells(std::uint32_t width, std::uint32_t& cell) {
  std::vector<std::uint32_t>& reusable = free_cells_[width];
  if (!reusable.empty()) {
    cell = reusable.back();
    reusable.pop_back();
    return true;
  }
  if (next_cell_ + std::size_t{width} > options_.capacity) return false;
  cell = next_cell_;
  next_cell_ += width;
  return true;
}

void MetricRegistry::release(std::span<const std::uint32_t> series) noexcept {
  const std::scoped_lock lock(mutex_);
  for (const std::uint32_t index : series) {
    if (--series_[index].holders != 0) continue;
    series_[index].retired_at = ++retirements_;
    ++retired_;
  }
  drop_retired(options_.max_retired);
}

void MetricRegistry::drop_retired(std::size_t keep) {
  if (retired_ <= keep) return;
  std::vector<std::uint32_t> retired;
  for (const Family& family : families_) {
    std::ranges::copy_if(family.order, std::back_inserter(retired),
                         [&](std::uint32_t index) { return series_[index].holders == 0; });
  }
  std::ranges::sort(retired, {}, [&](std::uint32_t index) { return series_[index].retired_at; });
  for (std::size_t i = 0; i + keep < retired.size(); ++i) drop(retired[i]);
  // One pass over each list rather than one per series.
  for (Family& family : families_) {
    std::erase_if(family.order, [&](std::uint32_t index) { return series_[index].cell == 0; });
  }
  retired_ = std::min(retired_, keep);
}

void MetricRegistry::drop(std::uint32_t index) {
  Series& series = series_[index];
  Family& family = families_[series.family];
  // Nobody holds a handle to these cells any more, so nobody writes them: the last set that did was destroyed after
  // its loops had left it, and they are handed out again only through a new set.
  for (std::uint32_t i = 0; i < family.width; ++i) {
    for (const auto& loop : loops_) loop->clear(series.cell + i);
    shared_->clear(series.cell + i);
  }
  free_cells_[family.width].push_back(series.cell);
  family.by_labels.erase(series.labels);
  series = Series{};
  free_series_.push_back(index);
}

void MetricRegistry::set(Gauge gauge, std::int64_t value) noexcept {
  std::atomic_ref<std::uint64_t>(shared_->cells_[gauge.cell])
      .store(static_cast<std::uint64_t>(value), std::memory_order_relaxed);
}

void MetricRegistry::set(Counter counter, std::uint64_t value) noexcept {
  std::atomic_ref<std::uint64_t>(shared_->cells_[counter.cell]).store(value, std::memory_order_relaxed);
}

void MetricRegistry::add(Counter counter, std::uint64_t amount) noexcept {
  std::atomic_ref<std::uint64_t>(shared_->cells_[counter.cell]).fetch_add(amount, std::memory_order_relaxed);
}

std::uint64_t MetricRegistry::total(std::uint32_t cell) const noexcept {
  std::uint64_t sum = shared_->read(cell);
  for (const auto& loop : loops_) sum += loop->read(cell);
  return sum;
}

void MetricRegistry::render(std::string& out) const {
  const std::scoped_lock lock(mutex_);
  for (const Family& family : families_) {
    out += "# HELP ";
    out += family.spec.name;
    out += ' ';
    append_help(out, family.spec.help);
    out += "\n# TYPE ";
    out += family.spec.name;
    out += ' ';
    out += kind_text(family.kind);
    out += '\n';
    for (const std::uint32_t index : family.order) {
      const Series& series = series_[index];
      // A count that was reached stays true; the state of something that is gone does not.
      if (family.kind == MetricKind::gauge && series.holders == 0) continue;
      if (family.kind == MetricKind::histogram) {
        render_histogram(family, series, out);
      } else {
        render_series(family, series, out);
      }
    }
  }
}

void MetricRegistry::render_series(const Family& family, const Series& series, std::string& out) const {
  const bool hide_zero = family.spec.when_zero == WhenZero::hide || &series == &series_[family.overflow];
  for (std::uint32_t i = 0; i < family.width; ++i) {
    const std::uint64_t sum = total(series.cell + i);
    if (sum == 0 && hide_zero) continue;
    std::string row;
    if (!family.spec.row_values.empty()) append_label(row, family.spec.row_label, family.spec.row_values[i]);
    append_sample(out, family.spec.name, "", series.labels, row);
    if (family.kind == MetricKind::gauge) {
      out += std::to_string(static_cast<std::int64_t>(sum));
    } else {
      append_decimal(out, sum);
    }
    out += '\n';
  }
}

void MetricRegistry::render_histogram(const Family& family, const Series& series, std::string& out) const {
  std::array<std::uint64_t, kLatencyBuckets> buckets{};
  std::uint64_t count = 0;
  for (std::uint32_t i = 0; i < kLatencyBuckets; ++i) {
    buckets[i] = total(series.cell + i);
    count += buckets[i];
  }
  if (count == 0 && (family.spec.when_zero == WhenZero::hide || &series == &series_[family.overflow])) return;
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < kLatencyBuckets; ++i) {
    cumulative += buckets[i];
    std::string bound = "le=\"";
    if (i < kLatencyBounds.size()) {
      append_seconds(bound, detail::kBoundsWithEnd[i]);
    } else {
      bound += "+Inf";
    }
    bound += '"';
    append_sample(out, family.spec.name, "_bucket", series.labels, bound);
    append_decimal(out, cumulative);
    out += '\n';
  }
  append_sample(out, family.spec.name, "_sum", series.labels, "");
  append_seconds(out, total(series.cell + std::uint32_t{kLatencyBuckets}));
  out += '\n';
  append_sample(out, family.spec.name, "_count", series.labels, "");
  append_decimal(out, count);
  out += '\n';
}

}  // namespace postern::observe
