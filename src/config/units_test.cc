#include "config/units.h"

#include <gtest/gtest.h>

#include <string>

#include "config/formats.h"

namespace postern::config {
namespace {

using std::chrono::milliseconds;

TEST(Units, Durations) {
  const struct {
    std::string_view text;
    std::int64_t ms;  // -1: refused
  } cases[] = {
      {"100ms", 100},
      {"5s", 5'000},
      {"1m", 60'000},
      {"2h", 7'200'000},
      {"7d", 604'800'000},
      {"5", -1},
      {"", -1},
      {"s", -1},
      {"5 s", -1},
      {"5S", -1},
      {"5sec", -1},
      {"-5s", -1},
      {"+5s", -1},
      {"5.5s", -1},
      {"1m30s", -1},
      {"0s", -1},
      {"05s", -1},
      {"5s ", -1},
      {"3660d", 316'224'000'000},
      {"3661d", -1},
      {"18446744073709551616s", -1},
      {"18446744073709551615ms", -1},
  };
  for (const auto& c : cases) {
    const auto duration = parse_duration(c.text);
    EXPECT_EQ(duration ? std::chrono::duration_cast<milliseconds>(*duration).count() : -1, c.ms) << c.text;
  }
  EXPECT_EQ(format_duration(std::chrono::seconds(90)), "90s");
  EXPECT_EQ(format_duration(std::chrono::hours(48)), "2d");
  EXPECT_EQ(format_duration(milliseconds(1500)), "1500ms");
}

TEST(Units, Sizes) {
  const struct {
    std::string_view text;
    std::int64_t bytes;
  } cases[] = {
      {"0B", 0},
      {"512B", 512},
      {"1KiB", 1024},
      {"10MiB", 10'485'760},
      {"1GiB", 1'073'741'824},
      {"1", -1},
      {"1K", -1},
      {"1kb", -1},
      {"1KB", -1},
      {"1MB", -1},
      {"1kib", -1},
      {"0x1B", -1},
      {"B", -1},
      {"1.5MiB", -1},
      {"8589934591GiB", 9'223'372'035'781'033'984},
      {"8589934592GiB", -1},
  };
  for (const auto& c : cases) {
    const auto size = parse_size(c.text);
    EXPECT_EQ(size ? static_cast<std::int64_t>(*size) : -1, c.bytes) << c.text;
  }
  EXPECT_EQ(format_size(10'485'760), "10MiB");
  EXPECT_EQ(format_size(1025), "1025B");
}

TEST(Units, DatesAndTimes) {
  const struct {
    std::string_view text, expected;  // "" refused
  } cases[] = {
      {"2026-12-24T08:00:00Z", "2026-12-24T08:00:00Z"},
      {"2026-12-24T08:00:00.123Z", "2026-12-24T08:00:00Z"},
      {"2026-12-24T08:00:00+02:00", "2026-12-24T06:00:00Z"},
      {"2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00Z"},
      {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
      {"2026-02-29T00:00:00Z", ""},
      {"2026-13-01T00:00:00Z", ""},
      {"2026-12-24 08:00:00Z", ""},
      {"2026-12-24T08:00:00", ""},
      {"2026-12-24T08:00Z", ""},
      {"2026-12-24T24:00:00Z", ""},
      {"2026-12-24T08:00:60Z", ""},
      {"2026-12-24T08:00:00.Z", ""},
      {"2026-12-24T08:00:00+2:00", ""},
      {"1969-12-31T23:59:59Z", ""},
      {"2026-12-24T08:00:00Zx", ""},
  };
  for (const auto& c : cases) {
    const auto time = parse_timestamp(c.text);
    EXPECT_EQ(time ? format_timestamp(*time) : "", c.expected) << c.text;
  }
  EXPECT_EQ(format_timestamp(*parse_date("2026-12-24")), "2026-12-24T00:00:00Z");
  for (const std::string_view bad : {"2026-12-24T00:00:00Z", "2026-1-1", "2026-00-10", "24.12.2026", "20261224", ""}) {
    EXPECT_FALSE(parse_date(bad)) << bad;
  }
}

TEST(Formats, Table) {
  const struct {
    Format format;
    std::string_view good, bad;  // separated by blanks
  } cases[] = {
      {Format::ip, "127.0.0.1 ::1 fe80::1 255.255.255.255", "127.1 010.0.0.1 256.0.0.1 1.2.3.4.5 [::1] ::1%eth0 x"},
      {Format::cidr, "10.0.0.0/8 10.1.2.3/32 0.0.0.0/0 ::/0 fd00::/8 ::1/128",
       "10.0.0.1/8 10.0.0.0 10.0.0.0/33 10.0.0.0/08 10.0.0.0/ fd00::1/8 /8 10.0.0.0/-1 10.0.0.0/8/8"},
      {Format::host, "a a.b a-b.c_d example.com:8080 127.0.0.1 [::1]:80 xn--bcher-kva.example A.B",
       "-a a- a..b .a a. a:0 a:99999 a:080 a: ::1 1.2.3 0x7f.1 0x7f000001 127.0.0.01 a/b a@b [::1 *"},
      {Format::url,
       "http://a http://a:80 http://a/ http://[::1]:80 unix:///run/x.sock unix:/run/x.sock https://a service://a",
       "http:// http://a/b http://u:p@a http://a?x http://a#x ftp://a a:80 //a HTTP://a http://a:b unix://run/x "
       "unix:/// unix:/run/ http:/a http://1.2.3 unix:///run//../x?y\x01"},
      {Format::address, "0.0.0.0:80 [::]:80 localhost:8080 unix:/run/x.sock", ":80 80 0.0.0.0 ::1:80 unix:x unix: a:0"},
      {Format::header_name, "X-A x_a Authorization a.b", "a:b X( \xc3\xa4 a/b"},
      {Format::date, "2026-12-24", "2026-12-32"},
      {Format::regex, "^a+$ (a|b)*", "( a** (?=x) \\1"},
  };
  const auto each = [](std::string_view words, auto&& visit) {
    while (!words.empty()) {
      const std::size_t blank = words.find(' ');
      visit(words.substr(0, blank));
      words = blank == std::string_view::npos ? std::string_view() : words.substr(blank + 1);
    }
  };
  for (const auto& c : cases) {
    each(c.good, [&](std::string_view word) { EXPECT_TRUE(matches_format(c.format, word)) << word; });
    each(c.bad, [&](std::string_view word) { EXPECT_FALSE(matches_format(c.format, word)) << word; });
    EXPECT_FALSE(matches_format(c.format, "")) << format_description(c.format);
    EXPECT_FALSE(matches_format(c.format, std::string_view("a\0b", 3))) << format_description(c.format);
  }
  EXPECT_FALSE(matches_format(Format::address, "unix:/" + std::string(120, 'x')));
  EXPECT_FALSE(matches_format(Format::host, std::string(64, 'a') + ".com"));
  EXPECT_FALSE(matches_format(Format::regex, std::string(kMaxRegexBytes + 1, 'a')));
  EXPECT_FALSE(matches_format(Format::regex, "((a{1000}){1000}){1000}"));
}

}  // namespace
}  // namespace postern::config
