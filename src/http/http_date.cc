#include "http/http_date.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/strings.h"

namespace postern::http {
namespace {

constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

}  // namespace

void format_http_date(WallTime time, char (&out)[32]) noexcept {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<seconds>(time - day));
  std::snprintf(out, sizeof out, "%s, %02u %s %04d %02d:%02d:%02d GMT", kDays[weekday(day).c_encoding()],
                static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
                static_cast<int>(date.year()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()));
}

std::optional<WallTime> parse_http_date(std::string_view text) noexcept {
  using namespace std::chrono;
  constexpr std::string_view kForm = "aaa, 00 aaa 0000 00:00:00 GMT";
  if (text.size() != kForm.size()) return std::nullopt;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool good = kForm[i] == '0' ? is_digit(text[i]) : kForm[i] == 'a' ? is_alpha(text[i]) : text[i] == kForm[i];
    if (!good) return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (const char c : text.substr(at, digits)) value = value * 10 + (c - '0');
    return value;
  };
  const auto* const month_at = std::ranges::find(kMonths, text.substr(8, 3));
  const year_month_day date{year(number(12, 4)), month(static_cast<unsigned>(month_at - kMonths.begin()) + 1),
                            day(static_cast<unsigned>(number(5, 2)))};
  const int hour = number(17, 2), minute = number(20, 2), second = number(23, 2);
  if (month_at == kMonths.end() || !date.ok() || number(12, 4) < 1970 || number(12, 4) >= 2200) return std::nullopt;
  if (hour > 23 || minute > 59 || second > 60) return std::nullopt;  // 60: a leap second
  return WallTime(sys_days(date)) + hours(hour) + minutes(minute) + seconds(second);
}

}  // namespace postern::http
