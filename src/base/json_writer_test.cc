#include "base/json_writer.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace postern {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonWriter, puts_commas_where_they_belong) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.field("a", 1);
  json.key("b");
  json.begin_array();
  json.value("x");
  json.begin_object();
  json.end_object();
  json.begin_array();
  json.end_array();
  json.value_null();
  json.value_bool(true);
  json.value_bool(false);
  json.end_array();
  json.field("c", std::int64_t{-5});
  json.field("d", std::uint64_t{18446744073709551615u});
  json.key("e");
  json.begin_object();
  json.field("f", "g");
  json.end_object();
  json.field("h", std::string_view("i"));
  json.end_object();
  EXPECT_EQ(out, R"({"a":1,"b":["x",{},[],null,true,false],"c":-5,"d":18446744073709551615,"e":{"f":"g"},"h":"i"})");
}

TEST(JsonWriter, escapes_to_ascii) {
  EXPECT_EQ(quoted("plain"), "\"plain\"");
  EXPECT_EQ(quoted("a\"b\\c/d"), R"("a\"b\\c/d")");
  EXPECT_EQ(quoted("\n\r\t\x01\x7f"), "\"\\n\\u000d\\u0009\\u0001\\u007f\"");
  EXPECT_EQ(quoted(std::string_view("\0", 1)), "\"\\u0000\"");
  EXPECT_EQ(quoted("\xc3\xa9"), "\"\\u00e9\"");
  EXPECT_EQ(quoted("\xe2\x82\xac"), "\"\\u20ac\"");
  EXPECT_EQ(quoted("\xf0\x9f\x98\x80"), "\"\\ud83d\\ude00\"");
  EXPECT_EQ(quoted("\xf4\x8f\xbf\xbf"), "\"\\udbff\\udfff\"");
}

TEST(JsonWriter, what_is_not_utf8_becomes_replacement_characters) {
  for (const std::string_view bad : {"\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98"}) {
    EXPECT_TRUE(quoted(bad).starts_with("\"\\ufffd")) << quoted(bad);
  }
  EXPECT_EQ(quoted("\xc0\xaf"), "\"\\ufffd\\ufffd\"") << "overlong";
  EXPECT_EQ(quoted("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"") << "a surrogate";
  EXPECT_EQ(quoted("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"") << "beyond Unicode";
  EXPECT_EQ(quoted("a\xc3(b"), "\"a\\ufffd(b\"") << "and what follows is kept";
}

}  // namespace
}  // namespace postern
