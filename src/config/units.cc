#include "config/units.h"

#include <fmt/format.h>

#include <array>
#include <chrono>

#include "base/strings.h"

namespace postern::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 5> kDurationUnits = {
    {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::array<Unit, 4> kSizeUnits = {{{"B", 1}, {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30}}};

constexpr std::uint64_t kMaxMilliseconds = 3660ULL * 86'400'000;
constexpr std::uint64_t kMaxBytes = (1ULL << 63) - 1;

template <std::size_t N>
std::optional<std::uint64_t> parse_quantity(std::string_view text, const std::array<Unit, N>& units,
                                            std::uint64_t limit) noexcept {
  std::size_t digits = 0;
  while (digits < text.size() && is_digit(text[digits])) ++digits;
  const std::optional<std::uint64_t> count = parse_decimal(text.substr(0, digits));
  if (!count) return std::nullopt;
  if (digits > 1 && text[0] == '0') return std::nullopt;  // 010s: octal to some
  for (const Unit& unit : units) {
    if (text.substr(digits) != unit.name) continue;
    if (*count > limit / unit.factor) return std::nullopt;
    return *count * unit.factor;
  }
  return std::nullopt;
}

template <std::size_t N>
std::string format_quantity(std::uint64_t value, const std::array<Unit, N>& units) {
  const Unit* best = &units[0];
  for (const Unit& unit : units) {
    if (value != 0 && value % unit.factor == 0) best = &unit;
  }
  return fmt::format("{}{}", value / best->factor, best->name);
}

// Exactly `digits` decimal digits at the front of `text`, removed from it; -1 otherwise.
int take_number(std::string_view& text, std::size_t digits) noexcept {
  if (text.size() < digits) return -1;
  int value = 0;
  for (const char c : text.substr(0, digits)) {
    if (!is_digit(c)) return -1;
    value = value * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, char c) noexcept {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::chrono::sys_days> take_date(std::string_view& text) noexcept {
  const int year = take_number(text, 4);
  if (year < 1970 || year > 2199 || !take(text, '-')) return std::nullopt;
  const int month = take_number(text, 2);
  if (month < 1 || !take(text, '-')) return std::nullopt;
  const int day = take_number(text, 2);
  if (day < 1) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date);
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) noexcept {
  const auto milliseconds = parse_quantity(text, kDurationUnits, kMaxMilliseconds);
  if (!milliseconds || *milliseconds == 0) return std::nullopt;
  return std::chrono::milliseconds(*milliseconds);
}

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
  return parse_quantity(text, kSizeUnits, kMaxBytes);
}

std::optional<WallTime> parse_date(std::string_view text) noexcept {
  const auto day = take_date(text);
  if (!day || !text.empty()) return std::nullopt;
  return WallTime(*day);
}

std::optional<WallTime> parse_timestamp(std::string_view text) noexcept {
  const auto day = take_date(text);
  if (!day || !take(text, 'T')) return std::nullopt;
  const int hour = take_number(text, 2);
  if (hour < 0 || hour > 23 || !take(text, ':')) return std::nullopt;
  const int minute = take_number(text, 2);
  if (minute < 0 || minute > 59 || !take(text, ':')) return std::nullopt;
  const int second = take_number(text, 2);
  if (second < 0 || second > 59) return std::nullopt;
  if (take(text, '.')) {
    // A fraction is legal; switching a secret on a fraction of a second is not a thing, so it is read and dropped.
    if (take_number(text, 1) < 0) return std::nullopt;
    while (!text.empty() && is_digit(text.front())) text.remove_prefix(1);
  }
  WallTime time =
      WallTime(*day) + std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
  if (text == "Z") return time;
  if (text.empty() || (text.front() != '+' && text.front() != '-')) return std::nullopt;
  const bool east = text.front() == '+';
  text.remove_prefix(1);
  const int offset_hour = take_number(text, 2);
  if (offset_hour < 0 || offset_hour > 23 || !take(text, ':')) return std::nullopt;
  const int offset_minute = take_number(text, 2);
  if (offset_minute < 0 || offset_minute > 59 || !text.empty()) return std::nullopt;
  const auto offset = std::chrono::hours(offset_hour) + std::chrono::minutes(offset_minute);
  return east ? time - offset : time + offset;
}

std::string format_duration(Duration duration) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return format_quantity(static_cast<std::uint64_t>(milliseconds), kDurationUnits);
}

std::string format_size(std::uint64_t bytes) { return format_quantity(bytes, kSizeUnits); }

std::string format_timestamp(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), seconds / 3600,
                     seconds / 60 % 60, seconds % 60);
}

}  // namespace postern::config
