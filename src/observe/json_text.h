// JSON text (RFC 8259) for log lines and the status page. Bytes of others come out as pure ASCII: controls, '"', '\',
// DEL and everything above ASCII as \u escapes, what is not UTF-8 as U+FFFD. So no client can end a string or a line,
// drive a terminal or turn text around in a log viewer.
//
// Two forms: raw pointers for the access log, whose lines have a known bound, and JsonBuilder for everything else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "platform/clock.h"

namespace postern::observe {

// Bytes written for one byte of input, at most.
inline constexpr std::size_t kEscapeGrowth = 6;

// Bytes of the UTF-8 sequence that non-empty `text` begins with; 0 if it is none (RFC 3629 3: overlong forms,
// surrogates and what lies over U+10FFFF are none).
[[nodiscard]] std::size_t utf8_length(std::string_view text) noexcept;

// Writes `text` escaped, without quotes, and returns the end. `out` has room for kEscapeGrowth * text.size() bytes.
[[nodiscard]] char* escape_json(char* out, std::string_view text) noexcept;

// Decimal digits without leading zeros; at most 20 bytes.
[[nodiscard]] char* put_decimal(char* out, std::uint64_t value) noexcept;
// Milliseconds with three decimals, "12.345"; negative counts as 0. At most 24 bytes.
[[nodiscard]] char* put_milliseconds(char* out, Duration value) noexcept;

inline constexpr std::size_t kTimestampBytes = 24;  // 2026-01-02T03:04:05.678Z

// RFC 3339 in UTC with milliseconds. Keeps the last text, because neighbouring records share most of it. WallTime
// spans the years 1677 to 2262, so four digits do. Not thread-safe.
class TimestampText {
 public:
  // Valid until the next call.
  [[nodiscard]] std::string_view format(WallTime time) noexcept {
    const std::int64_t milliseconds = std::chrono::floor<std::chrono::milliseconds>(time).time_since_epoch().count();
    if (milliseconds != milliseconds_) update(milliseconds);
    return {text_, kTimestampBytes};
  }

 private:
  void update(std::int64_t milliseconds) noexcept;
  std::int64_t milliseconds_ = INT64_MIN;
  std::int64_t second_ = INT64_MIN;
  char text_[kTimestampBytes] = {};
};

[[nodiscard]] std::string timestamp_text(WallTime time);

// The first `limit` bytes at most.
[[nodiscard]] constexpr std::string_view clip(std::string_view text, std::size_t limit) noexcept {
  return text.substr(0, limit);
}

// Appends a JSON document to a string; commas are its business, balance is the caller's. Keys are constants of ours.
class JsonBuilder {
 public:
  explicit JsonBuilder(std::string& out) noexcept : out_(out) {}

  JsonBuilder& begin_object() { return open('{'); }
  JsonBuilder& begin_object(std::string_view key) { return name(key), open('{'); }
  JsonBuilder& end_object() { return close('}'); }
  JsonBuilder& begin_array(std::string_view key) { return name(key), open('['); }
  JsonBuilder& end_array() { return close(']'); }

  JsonBuilder& text(std::string_view key, std::string_view value);
  JsonBuilder& number(std::string_view key, std::uint64_t value);
  JsonBuilder& signed_number(std::string_view key, std::int64_t value);
  JsonBuilder& milliseconds(std::string_view key, Duration value);
  JsonBuilder& time(std::string_view key, WallTime value) { return text(key, timestamp_text(value)); }

 private:
  void separate();
  void name(std::string_view key);
  JsonBuilder& open(char bracket);
  JsonBuilder& close(char bracket);
  std::string& out_;
  bool first_ = true;
};

}  // namespace postern::observe
