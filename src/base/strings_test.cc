#include "base/strings.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace postern {
namespace {

TEST(Strings, ParseDecimalTakesDigitsOnly) {
  EXPECT_EQ(parse_decimal("18446744073709551615"), 18446744073709551615ull);
  EXPECT_EQ(parse_decimal("007"), 7u);
  for (const char* bad : {"", "+5", "-1", " 5", "5 ", "0x5", "5,", "18446744073709551616", "99999999999999999999"}) {
    EXPECT_EQ(parse_decimal(bad), std::nullopt) << bad;
  }
}

TEST(Strings, ListElementsAreTrimmedAndEmptyOnesSkipped) {
  std::vector<std::string_view> seen;
  for_each_list_element(" a ,,b\t, ,c", [&](std::string_view e) { seen.push_back(e); });
  EXPECT_EQ(seen, (std::vector<std::string_view>{"a", "b", "c"}));
}

TEST(Strings, ControlCharactersBecomeVisible) {
  EXPECT_EQ(visible("/etc/caf\xc3\xa9 a.yaml"), "/etc/caf\xc3\xa9 a.yaml");
  EXPECT_EQ(visible("a\x1b[2J\nb\x7f"), "a\\x1b[2J\\x0ab\\x7f");
  EXPECT_EQ(visible("\xc2\x9b"
                    "2J\xc2\xa0\xc2"),
            "\\xc2\\x9b"
            "2J\xc2\xa0\xc2");
}

TEST(Error, SaysCodeTitleAndDetail) {
  const Error error(Code::origin_connect_timeout, Side::origin, "after 5s", Retry::yes);
  EXPECT_EQ(error.to_string(), "PST-U002 Origin did not accept the connection in time: after 5s");
  EXPECT_EQ(info(Code::origin_connect_timeout).status, 504);
  EXPECT_EQ(info(Code::io_failed).code, Code::io_failed);
}

}  // namespace
}  // namespace postern
