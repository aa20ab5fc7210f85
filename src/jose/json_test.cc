#include "jose/json.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace postern::jose {
namespace {

std::string fault_of(std::string_view text, const JsonLimits& limits = {}) {
  const auto json = Json::parse(text, limits);
  return json ? "" : json.error().to_string();
}

TEST(Json, ReadsEveryKindOfValue) {
  const auto json = Json::parse(R"( {"t":true,"f":false,"n":null,"s":"a\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00ä",)"
                                R"("a":[1,-2,3.5,[]],"o":{"x":{}},"":0} )");
  ASSERT_TRUE(json) << json.error().to_string();
  EXPECT_EQ(json->find("t")->if_bool(), true);
  EXPECT_EQ(json->find("f")->if_bool(), false);
  EXPECT_TRUE(json->find("n")->is_null());
  EXPECT_EQ(*json->find_string("s"), "a\"\\/\b\f\n\r\tA\xc3\xa9\xf0\x9f\x98\x80\xc3\xa4");
  ASSERT_EQ(json->find("a")->if_array()->size(), 4u);
  EXPECT_EQ((*json->find("a")->if_array())[1].if_int64(), -2);
  EXPECT_EQ((*json->find("a")->if_array())[2].if_double(), 3.5);
  EXPECT_TRUE(json->find("o")->find("x")->if_object()->empty());
  EXPECT_EQ(json->find("")->if_uint64(), 0u);
  EXPECT_EQ(json->find("missing"), nullptr);
  EXPECT_EQ(json->find_string("t"), nullptr);
  EXPECT_EQ(json->find("t")->find("x"), nullptr);
  EXPECT_EQ(json->if_object()->front().name, "t");
}

TEST(Json, ConvertsNothing) {
  const auto json = Json::parse(R"(["1", 1, 1.0, true, -1])");
  ASSERT_TRUE(json);
  const Json::Array& items = *json->if_array();
  EXPECT_FALSE(items[0].is_number());
  EXPECT_EQ(items[1].if_string(), nullptr);
  EXPECT_FALSE(items[1].if_bool());
  EXPECT_FALSE(items[2].if_int64());
  EXPECT_EQ(items[2].if_double(), 1.0);
  EXPECT_FALSE(items[3].if_int64());
  EXPECT_FALSE(items[4].if_uint64());
}

TEST(Json, KnowsTheEdgesOfNumbers) {
  const auto number = [](std::string_view text) { return Json::parse(text).value_or(Json()); };
  EXPECT_EQ(number("9223372036854775807").if_int64(), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(number("-9223372036854775808").if_int64(), std::numeric_limits<std::int64_t>::min());
  EXPECT_FALSE(number("9223372036854775808").if_int64());
  EXPECT_EQ(number("18446744073709551615").if_uint64(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_FALSE(number("18446744073709551616").if_uint64());
  EXPECT_EQ(number("18446744073709551616").if_double(), 18446744073709551616.0);
  EXPECT_EQ(number("-0").if_int64(), 0);
  EXPECT_EQ(number("1e3").if_double(), 1000.0);
  EXPECT_FALSE(number("1e3").if_int64());
  EXPECT_EQ(fault_of("1e400"), "a number out of range, at byte 0");
  EXPECT_EQ(fault_of("-1e400"), "a number out of range, at byte 0");
  EXPECT_EQ(fault_of(std::string(400, '9')), "a number out of range, at byte 0");
}

TEST(Json, SaysWhatIsWrongAndWhere) {
  const struct {
    std::string_view text, fault;
  } rows[] = {
      {"", "the text ends where a value belongs, at byte 0"},
      {"  ", "the text ends where a value belongs, at byte 2"},
      {"\xef\xbb\xbf{}", "no value, at byte 0"},
      {"{}{}", "something behind the value, at byte 2"},
      {"{} x", "something behind the value, at byte 3"},
      {R"({"a":1,"a":1})", "an object with the same name twice, at byte 0"},
      {R"({"a":1,"\u0061":2})", "an object with the same name twice, at byte 0"},
      {R"([{"b":{"a":1,"c":2,"a":3}}])", "an object with the same name twice, at byte 6"},
      {R"({"a" 1})", "no colon behind the name of a member, at byte 5"},
      {R"({a:1})", "no name where the name of a member belongs, at byte 1"},
      {R"({'a':1})", "no name where the name of a member belongs, at byte 1"},
      {R"({"a":1,})", "no name where the name of a member belongs, at byte 7"},
      {R"({"a":1)", "neither a comma nor the end of the object, at byte 6"},
      {"[1,]", "no value, at byte 3"},
      {"[1 2]", "neither a comma nor the end of the array, at byte 3"},
      {"[", "the text ends where a value belongs, at byte 1"},
      {"nul", "no value, at byte 0"},
      {"True", "no value, at byte 0"},
      {"NaN", "no value, at byte 0"},
      {"nan", "no value, at byte 0"},
      {"Infinity", "no value, at byte 0"},
      {"-Infinity", "no value, at byte 0"},
      {"+1", "no value, at byte 0"},
      {"-", "no value, at byte 0"},
      {".5", "no value, at byte 0"},
      {"01", "a number with a leading zero, at byte 1"},
      {"1.", "a number without digits behind its point, at byte 2"},
      {"1.e5", "a number without digits behind its point, at byte 2"},
      {"1e", "a number without digits in its exponent, at byte 2"},
      {"1e+", "a number without digits in its exponent, at byte 3"},
      {"0x10", "something behind the value, at byte 1"},
      {"1 // one", "something behind the value, at byte 2"},
      {"\"a", "a string without its end, at byte 1"},
      {"\"a\\\"", "a string without its end, at byte 1"},
      {"\"a\nb\"", "a control character in a string, at byte 2"},
      {R"("\x")", "an unknown escape in a string, at byte 1"},
      {R"("\u00g0")", "an escape \\u without four digits, at byte 1"},
      {R"("\u00")", "an escape \\u without four digits, at byte 1"},
      {R"("\ud800")", "half a surrogate pair, at byte 1"},
      {R"("\ud800\u0041")", "half a surrogate pair, at byte 1"},
      {R"("\ud800x")", "half a surrogate pair, at byte 1"},
      {R"("\udc00\ud800")", "half a surrogate pair, at byte 1"},
      {"\"\xff\"", "bytes that are not UTF-8, at byte 1"},
      {"\"\xc0\xaf\"", "bytes that are not UTF-8, at byte 1"},
      {"\"\xed\xa0\x80\"", "bytes that are not UTF-8, at byte 1"},
      {"\"\xf4\x90\x80\x80\"", "bytes that are not UTF-8, at byte 1"},
      {"\"\xe2\x82\"", "bytes that are not UTF-8, at byte 1"},
  };
  for (const auto& row : rows) EXPECT_EQ(fault_of(row.text), row.fault) << row.text;
}

TEST(Json, HasLimits) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_EQ(fault_of(nested(16)), "");
  EXPECT_EQ(fault_of(nested(17)), "nested too deep, at byte 16");
  EXPECT_EQ(fault_of(nested(kMaxJsonDepth + 1), {.depth = 1'000'000}), "nested too deep, at byte 64");
  EXPECT_EQ(fault_of(std::string(60'000, '[')), "nested too deep, at byte 16");
  EXPECT_EQ(fault_of("[1,2,3]", {.values = 4}), "");
  EXPECT_EQ(fault_of("[1,2,3]", {.values = 3}), "too many values, at byte 5");
  EXPECT_EQ(fault_of("[1,2,3]", {.bytes = 6}), "the text is too long, at byte 6");
}

TEST(Json, FindsADuplicateAmongMany) {
  std::string text = "{";
  for (int i = 0; i < 1000; ++i) text += "\"m" + std::to_string(i) + "\":0,";
  EXPECT_EQ(fault_of(text + "\"x\":0}"), "");
  EXPECT_EQ(fault_of(text + "\"m500\":0}"), "an object with the same name twice, at byte 0");
}

TEST(Json, IsWiped) {
  auto json = Json::parse(R"({"k":["secret that is longer than a small string"]})");
  ASSERT_TRUE(json);
  json->wipe();
  EXPECT_EQ(json->find("k")->if_array()->front().if_string()->find_first_not_of('\0'), std::string::npos);
}

}  // namespace
}  // namespace postern::jose
