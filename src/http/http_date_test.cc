#include "http/http_date.h"

#include <gtest/gtest.h>

#include <cstring>
#include <ctime>

namespace postern::http {
namespace {

std::string date(std::int64_t seconds, Duration more = {}) {
  char text[32];
  std::memset(text, '#', sizeof text);
  format_http_date(WallTime(std::chrono::seconds(seconds)) + more, text);
  EXPECT_EQ(text[kHttpDateSize], '\0');
  return text;
}

TEST(HttpDate, WritesTheDateOfTheStandard) {
  EXPECT_EQ(date(784'111'777), "Sun, 06 Nov 1994 08:49:37 GMT");  // RFC 9110 5.6.7
  EXPECT_EQ(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(date(951'782'400), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(date(2'147'483'648), "Tue, 19 Jan 2038 03:14:08 GMT");
  EXPECT_EQ(date(4'133'980'799), "Fri, 31 Dec 2100 23:59:59 GMT");
}

TEST(HttpDate, DropsFractionsOfASecond) {
  EXPECT_EQ(date(784'111'777, std::chrono::nanoseconds(999'999'999)), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(date(0, std::chrono::nanoseconds(-1)), "Wed, 31 Dec 1969 23:59:59 GMT");
}

TEST(HttpDate, AgreesWithTheSystemOnEveryDayOfSeventyYears) {
  for (std::int64_t day = 0; day < 70 * 366; ++day) {
    const std::time_t time = day * 86'400 + day % 86'400;
    std::tm fields{};
    ::gmtime_r(&time, &fields);
    char expected[64];
    std::strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", &fields);
    ASSERT_EQ(date(time), expected);
  }
}

TEST(HttpDate, reads_what_it_writes) {
  for (const std::int64_t seconds : {std::int64_t{0}, std::int64_t{784'111'777}, std::int64_t{951'782'400},
                                     std::int64_t{2'147'483'648}, std::int64_t{4'133'980'799}}) {
    EXPECT_EQ(parse_http_date(date(seconds)), WallTime(std::chrono::seconds(seconds)));
  }
}

TEST(HttpDate, reads_no_other_form) {
  for (const std::string_view text :
       {"", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nom 1994 08:49:37 GMT", "Sun, 06 Nov 9999 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov 1994 08:49:-7 GMT"}) {
    EXPECT_FALSE(parse_http_date(text)) << text;
  }
}

}  // namespace
}  // namespace postern::http
