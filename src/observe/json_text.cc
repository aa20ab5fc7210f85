#include "observe/json_text.h"

#include <algorithm>
#include <array>
#include <chrono>

namespace postern::observe {
namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr std::uint32_t kReplacement = 0xFFFD;

constexpr bool is_plain(unsigned char c) noexcept { return c >= 0x20 && c < 0x7F && c != '"' && c != '\\'; }

constexpr std::array<bool, 256> make_plain_table() noexcept {
  std::array<bool, 256> table{};
  for (unsigned c = 0; c < 256; ++c) table[c] = is_plain(static_cast<unsigned char>(c));
  return table;
}
constexpr std::array<bool, 256> kPlain = make_plain_table();

// True if one of the eight bytes must be escaped. Exact per word: a borrow only crosses bytes after a real hit.
bool any_special(std::uint64_t word) noexcept {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kTops = 0x8080808080808080;
  const std::uint64_t control = word - kOnes * 0x20;
  const std::uint64_t quote = (word ^ (kOnes * '"')) - kOnes;
  const std::uint64_t backslash = (word ^ (kOnes * '\\')) - kOnes;
  const std::uint64_t del = (word ^ (kOnes * 0x7F)) - kOnes;
  return ((control | quote | backslash | del | word) & kTops) != 0;
}

char* put_unicode_escape(char* out, std::uint32_t unit) noexcept {
  *out++ = '\\';
  *out++ = 'u';
  for (int shift = 12; shift >= 0; shift -= 4) *out++ = kHex[(unit >> shift) & 0xF];
  return out;
}

// `text` begins with a valid sequence of `length` bytes, more than one.
std::uint32_t decode_utf8(std::string_view text, std::size_t length) noexcept {
  std::uint32_t value = static_cast<unsigned char>(text[0]) & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) value = value << 6 | (static_cast<unsigned char>(text[i]) & 0x3Fu);
  return value;
}

// Escapes the first unit of `text`; sets `used` to its bytes.
char* escape_unit(char* out, std::string_view text, std::size_t& used) noexcept {
  const auto c = static_cast<unsigned char>(text.front());
  used = 1;
  if (c == '"' || c == '\\') {
    *out++ = '\\';
    *out++ = static_cast<char>(c);
    return out;
  }
  if (c < 0x80) return put_unicode_escape(out, c);
  const std::size_t length = utf8_length(text);
  if (length == 0) return put_unicode_escape(out, kReplacement);
  used = length;
  const std::uint32_t code_point = decode_utf8(text, length);
  if (code_point < 0x10000) return put_unicode_escape(out, code_point);
  const std::uint32_t offset = code_point - 0x10000;
  out = put_unicode_escape(out, 0xD800 + (offset >> 10));
  return put_unicode_escape(out, 0xDC00 + (offset & 0x3FF));
}

void put_two(char* out, unsigned value) noexcept {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
}

}  // namespace

std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0u) != 0x80u) return 0;
  }
  const unsigned second = byte(1);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool too_large = lead == 0xF4 && second > 0x8F;
  return overlong || surrogate || too_large ? 0 : length;
}

char* escape_json(char* out, std::string_view text) noexcept {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    if (end - at >= 8) {
      std::uint64_t word;
      std::memcpy(&word, at, 8);
      if (!any_special(word)) {
        std::memcpy(out, &word, 8);
        at += 8;
        out += 8;
        continue;
      }
    }
    const char* const stop = at + std::min<std::ptrdiff_t>(8, end - at);
    while (at < stop) {
      if (kPlain[static_cast<unsigned char>(*at)]) {
        *out++ = *at++;
        continue;
      }
      std::size_t used = 0;
      out = escape_unit(out, {at, static_cast<std::size_t>(end - at)}, used);
      at += used;
    }
  }
  return out;
}

char* put_decimal(char* out, std::uint64_t value) noexcept {
  char digits[20];
  char* const end = digits + sizeof(digits);
  char* at = end;
  do {
    *--at = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  std::memcpy(out, at, static_cast<std::size_t>(end - at));
  return out + (end - at);
}

char* put_milliseconds(char* out, Duration value) noexcept {
  const std::int64_t nanoseconds = std::max<std::int64_t>(value.count(), 0);
  const auto microseconds = static_cast<std::uint64_t>(nanoseconds / 1000);
  out = put_decimal(out, microseconds / 1000);
  const auto rest = static_cast<unsigned>(microseconds % 1000);
  out[0] = '.';
  out[1] = static_cast<char>('0' + rest / 100);
  put_two(out + 2, rest % 100);
  return out + 4;
}

void TimestampText::update(std::int64_t milliseconds) noexcept {
  milliseconds_ = milliseconds;
  const std::chrono::sys_time<std::chrono::milliseconds> time{std::chrono::milliseconds(milliseconds)};
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  if (seconds.time_since_epoch().count() != second_) {
    second_ = seconds.time_since_epoch().count();
    const auto days = std::chrono::floor<std::chrono::days>(seconds);
    const std::chrono::year_month_day date(days);
    const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
    const auto of_day = static_cast<unsigned>((seconds - days).count());
    std::memcpy(text_, "0000-00-00T00:00:00.000Z", kTimestampBytes);
    put_two(text_, year / 100);
    put_two(text_ + 2, year % 100);
    put_two(text_ + 5, static_cast<unsigned>(date.month()));
    put_two(text_ + 8, static_cast<unsigned>(date.day()));
    put_two(text_ + 11, of_day / 3600);
    put_two(text_ + 14, of_day / 60 % 60);
    put_two(text_ + 17, of_day % 60);
  }
  const auto fraction = static_cast<unsigned>((time - seconds).count());
  text_[20] = static_cast<char>('0' + fraction / 100);
  put_two(text_ + 21, fraction % 100);
}

std::string timestamp_text(WallTime time) {
  TimestampText text;
  return std::string(text.format(time));
}

void JsonBuilder::separate() {
  if (!first_) out_ += ',';
  first_ = false;
}

void JsonBuilder::name(std::string_view key) {
  separate();
  out_ += '"';
  out_ += key;
  out_ += "\":";
  first_ = true;  // the value itself needs no comma
}

JsonBuilder& JsonBuilder::open(char bracket) {
  separate();
  out_ += bracket;
  first_ = true;
  return *this;
}

JsonBuilder& JsonBuilder::close(char bracket) {
  out_ += bracket;
  first_ = false;
  return *this;
}

JsonBuilder& JsonBuilder::text(std::string_view key, std::string_view value) {
  name(key);
  out_ += '"';
  const std::size_t before = out_.size();
  out_.resize(before + value.size() * kEscapeGrowth);
  const char* const end = escape_json(out_.data() + before, value);
  out_.resize(static_cast<std::size_t>(end - out_.data()));
  out_ += '"';
  first_ = false;
  return *this;
}

JsonBuilder& JsonBuilder::number(std::string_view key, std::uint64_t value) {
  name(key);
  char digits[20];
  out_.append(digits, put_decimal(digits, value));
  first_ = false;
  return *this;
}

JsonBuilder& JsonBuilder::signed_number(std::string_view key, std::int64_t value) {
  name(key);
  out_ += std::to_string(value);
  first_ = false;
  return *this;
}

JsonBuilder& JsonBuilder::milliseconds(std::string_view key, Duration value) {
  name(key);
  char digits[24];
  out_.append(digits, put_milliseconds(digits, value));
  first_ = false;
  return *this;
}

}  // namespace postern::observe
