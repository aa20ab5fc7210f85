#include "observe/json_text.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <string>
#include <string_view>

namespace postern::observe {
namespace {

using namespace std::string_view_literals;

std::string escaped(std::string_view text) {
  std::string out(text.size() * kEscapeGrowth, '\0');
  const char* const end = escape_json(out.data(), text);
  out.resize(static_cast<std::size_t>(end - out.data()));
  return out;
}

TEST(EscapeJson, WritesAsciiThatCannotEndTheString) {
  struct Case {
    std::string_view name;
    std::string_view bytes;
    std::string_view expected;
  };
  const Case cases[] = {
      {"empty", ""sv, ""sv},
      {"plain", "GET /orders/1"sv, "GET /orders/1"sv},
      {"quote", "a\"b"sv, "a\\\"b"sv},
      {"backslash at the end", "abcdefgh\\"sv, "abcdefgh\\\\"sv},
      {"line end", "a\r\nb"sv, "a\\u000d\\u000ab"sv},
      {"NUL", "a\0b"sv, "a\\u0000b"sv},
      {"escape sequence", "\x1B[31m"sv, "\\u001b[31m"sv},
      {"DEL", "\x7F"sv, "\\u007f"sv},
      {"two bytes", "\xC3\xA9"sv, "\\u00e9"sv},
      {"C1 control in UTF-8", "\xC2\x9B"sv, "\\u009b"sv},
      {"three bytes", "\xE2\x82\xAC"sv, "\\u20ac"sv},
      {"right-to-left override", "\xE2\x80\xAE"sv, "\\u202e"sv},
      {"four bytes as surrogates", "\xF0\x9F\x98\x80"sv, "\\ud83d\\ude00"sv},
      {"highest code point", "\xF4\x8F\xBF\xBF"sv, "\\udbff\\udfff"sv},
      {"over the highest", "\xF4\x90\x80\x80"sv, "\\ufffd\\ufffd\\ufffd\\ufffd"sv},
      {"lone continuation", "a\x80z"sv, "a\\ufffdz"sv},
      {"truncated at the end", "ab\xE2\x82"sv, "ab\\ufffd\\ufffd"sv},
      {"truncated before a quote", "\xE2\x82\"x"sv, "\\ufffd\\ufffd\\\"x"sv},
      {"overlong slash", "\xC0\xAF"sv, "\\ufffd\\ufffd"sv},
      {"overlong, three bytes", "\xE0\x80\xAF"sv, "\\ufffd\\ufffd\\ufffd"sv},
      {"surrogate in UTF-8", "\xED\xA0\x80"sv, "\\ufffd\\ufffd\\ufffd"sv},
      {"across the word border", "abcdefg\xC3\xA9"sv, "abcdefg\\u00e9"sv},
      {"special in the second word", "abcdefghijk\"lmnop"sv, "abcdefghijk\\\"lmnop"sv},
  };
  for (const Case& c : cases) EXPECT_EQ(escaped(c.bytes), c.expected) << c.name;
}

TEST(EscapeJson, EveryByteAtEveryPlaceOfAWordIsValidJson) {
  for (int byte = 0; byte < 256; ++byte) {
    for (std::size_t place = 0; place < 17; ++place) {
      std::string text(17, 'x');
      text[place] = static_cast<char>(byte);
      boost::system::error_code error;
      const boost::json::value value = boost::json::parse("\"" + escaped(text) + "\"", error);
      ASSERT_FALSE(error) << byte << " at " << place;
      if (byte < 0x80) ASSERT_EQ(value.as_string(), text);
      if (byte >= 0x80) ASSERT_EQ(value.as_string().size(), 17u + 2u);  // U+FFFD
    }
  }
}

TEST(Numbers, AreExact) {
  const auto decimal = [](std::uint64_t value) {
    char out[20];
    return std::string(out, put_decimal(out, value));
  };
  EXPECT_EQ(decimal(0), "0");
  EXPECT_EQ(decimal(9), "9");
  EXPECT_EQ(decimal(10), "10");
  EXPECT_EQ(decimal(12345), "12345");
  EXPECT_EQ(decimal(UINT64_MAX), "18446744073709551615");
  const auto milliseconds = [](Duration value) {
    char out[24];
    return std::string(out, put_milliseconds(out, value));
  };
  EXPECT_EQ(milliseconds(Duration(0)), "0.000");
  EXPECT_EQ(milliseconds(Duration(-5)), "0.000");
  EXPECT_EQ(milliseconds(std::chrono::microseconds(12'345)), "12.345");
  EXPECT_EQ(milliseconds(std::chrono::microseconds(7)), "0.007");
  EXPECT_EQ(milliseconds(Duration(INT64_MAX)), "9223372036854.775");
}

TEST(TimestampText, FollowsTheClockBothWays) {
  using std::chrono::milliseconds;
  TimestampText text;
  const WallTime base{std::chrono::seconds(1'700'000'000)};
  EXPECT_EQ(text.format(base), "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(text.format(base + milliseconds(7)), "2023-11-14T22:13:20.007Z");
  EXPECT_EQ(text.format(base + milliseconds(999)), "2023-11-14T22:13:20.999Z");
  EXPECT_EQ(text.format(base + milliseconds(1000)), "2023-11-14T22:13:21.000Z");
  EXPECT_EQ(text.format(base - milliseconds(1)), "2023-11-14T22:13:19.999Z");
  EXPECT_EQ(text.format(WallTime{}), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(text.format(WallTime{} - milliseconds(1)), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(text.format(WallTime{std::chrono::seconds(1'709'164'800)}), "2024-02-29T00:00:00.000Z");
}

TEST(JsonBuilder, PutsCommasWhereTheyBelong) {
  std::string out;
  JsonBuilder json(out);
  json.begin_object().begin_array("a").end_array().begin_array("b");
  json.begin_object().number("x", 1).end_object().begin_object().signed_number("y", -1).text("z", "\n").end_object();
  json.end_array().milliseconds("m", std::chrono::microseconds(1500)).begin_object("o").end_object().end_object();
  EXPECT_EQ(out, R"({"a":[],"b":[{"x":1},{"y":-1,"z":"\u000a"}],"m":1.500,"o":{}})");
}

}  // namespace
}  // namespace postern::observe
