#include "signature/structured_field.h"

#include <gtest/gtest.h>

#include "signature/base64.h"

namespace postern::signature::sf {
namespace {

std::string canonical(std::string_view text) {
  const Parsed<Dictionary> dictionary = parse_dictionary(text);
  if (!dictionary) return "refused";
  std::string out;
  EXPECT_TRUE(append(out, *dictionary));
  const Parsed<Dictionary> again = parse_dictionary(out);
  EXPECT_TRUE(again && *again == *dictionary) << "what is written is read: " << out;
  return out;
}

TEST(StructuredField, DictionariesOfTheRfcs) {
  const struct {
    const char* text;
    const char* expected;
  } rows[] = {
      {"", ""},
      {"   ", ""},
      {"en=\"Applepie\", da=:w4ZibGV0w6ZydGU=:", "en=\"Applepie\", da=:w4ZibGV0w6ZydGU=:"},
      {"a=?0, b, c; foo=bar", "a=?0, b, c;foo=bar"},
      {"rating=1.5, feelings=(joy sadness)", "rating=1.5, feelings=(joy sadness)"},
      {"a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid", "a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid"},
      {"a=( 1   2 ) ;x", "refused"},  // a parameter stands right behind its value
      {"a=( 1   2 );x", "a=(1 2);x"},
      {"a=1 ,\tb=2", "a=1, b=2"},
      {"a=1;  b ;c", "refused"},
      {"a=?1;x=?1;y=?0", "a;x;y=?0"},
      {"a=()", "a=()"},
      {"*=*a/b:c", "*=*a/b:c"},
      {"a=\"\\\\ \\\"\"", "a=\"\\\\ \\\"\""},
      {"a=::", "a=::"},
      {"a=@1659578233", "a=@1659578233"},  // RFC 9651 3.3.7
      {"a=-0", "a=0"},
      {"a=007", "a=7"},
      {"a=-999999999999999", "a=-999999999999999"},
      {"a=1.0", "a=1.0"},
      {"a=-0.10", "a=-0.1"},
      {"a=123456789012.345", "a=123456789012.345"},
      {"sig1=(\"@method\" \"@query-param\";name=\"a b\");created=1;keyid=\"k\"",
       "sig1=(\"@method\" \"@query-param\";name=\"a b\");created=1;keyid=\"k\""},
  };
  for (const auto& row : rows) EXPECT_EQ(canonical(row.text), row.expected) << row.text;
}

TEST(StructuredField, RefusesWhatIsNone) {
  for (const char* text : {
           "a=1,",
           "a=1,,b=2",
           ",a=1",
           "a=1 b=2",
           "A=1",
           "1=1",
           "a=",
           "a= 1",
           "a=1;",
           "a=1;B",
           "a=(1",
           "a=(1,2)",
           "a=((1))",
           "a=(1)(2)",
           "a=(1\t2)",
           "a=\"",
           "a=\"\\a\"",
           "a=\"\x7f\"",
           "a=\"\xc3\xa9\"",
           "a=\"\n\"",
           "a=:",
           "a=:YQ",
           "a=:YQ==",
           "a=:YQ:",
           "a=:YR==:",
           "a=:YQ=:",
           "a=:YQ===:",
           "a=:Y Q=:",
           "a=:YQ==YQ==:",
           "a=:-_==:",
           "a=?2",
           "a=?",
           "a=?11",
           "a=-",
           "a=--1",
           "a=+1",
           "a=1.",
           "a=.1",
           "a=1.2345",
           "a=1.2.3",
           "a=1e3",
           "a=1000000000000000",
           "a=1234567890123.1",
           "a=@1.5",
           "a=@",
           "a=%\"x\"",
           "a=\"x\"y",
           "a=b\x01",
           "a\t=1",
           "\ta=1",
           "a=1\n",
           "a=1;b=(1)",
           "a=1;;b",
           "a=@a",
       }) {
    EXPECT_EQ(canonical(text), "refused") << text;
  }
  EXPECT_FALSE(parse_dictionary(std::string_view("a\0=1", 4)));
  EXPECT_FALSE(parse_dictionary(std::string_view("a=\"\0\"", 5)));
}

// Two readers could believe different ones.
TEST(StructuredField, AKeyThatOccursTwiceIsRefused) {
  EXPECT_EQ(canonical("a=1, b=2, a=3"), "refused");
  EXPECT_EQ(canonical("a=1;x=1;x=2"), "refused");
  EXPECT_EQ(canonical("a=(1;x;x)"), "refused");
  EXPECT_EQ(canonical("a=1;x, b=1;x"), "a=1;x, b=1;x");
}

TEST(StructuredField, IsBounded) {
  std::string members = "a0";
  for (std::size_t i = 1; i < kMaxMembers; ++i) members += ", a" + std::to_string(i);
  EXPECT_TRUE(parse_dictionary(members));
  EXPECT_FALSE(parse_dictionary(members + ", b"));
  std::string items = "a=(1";
  for (std::size_t i = 1; i < kMaxItems; ++i) items += " 1";
  EXPECT_TRUE(parse_dictionary(items + ")"));
  EXPECT_FALSE(parse_dictionary(items + " 1)"));
  std::string parameters = "a";
  for (std::size_t i = 0; i < kMaxParameters; ++i) parameters += ";p" + std::to_string(i);
  EXPECT_TRUE(parse_dictionary(parameters));
  EXPECT_FALSE(parse_dictionary(parameters + ";q"));
  const std::string quoted = "a=\"" + std::string(kMaxBytes - 4, 'x') + "\"";
  EXPECT_TRUE(parse_dictionary(quoted));
  EXPECT_FALSE(parse_dictionary(quoted + " "));
  EXPECT_TRUE(parse_dictionary(std::string(64, 'k')));
  EXPECT_FALSE(parse_dictionary(std::string(65, 'k')));
}

TEST(StructuredField, AnErrorSaysWhereAndRepeatsNothing) {
  const auto refused = parse_dictionary("sig1=:c2VjcmV0:, sig2=:secret");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), "structured field: the end of the byte sequence expected at byte 23");
}

TEST(StructuredField, WhatHasNoTextIsNotWritten) {
  std::string out;
  EXPECT_FALSE(append(out, BareItem(std::string("a\n"))));
  EXPECT_FALSE(append(out, BareItem(std::string("\xc3\xa9"))));
  EXPECT_FALSE(append(out, BareItem(kMaxInteger + 1)));
  EXPECT_FALSE(append(out, BareItem(Decimal{-kMaxInteger - 1})));
  EXPECT_FALSE(append(out, BareItem(Token{""})));
  EXPECT_FALSE(append(out, BareItem(Token{"a b"})));
  EXPECT_FALSE(append(out, Parameters{{"Key", true}}));
  EXPECT_FALSE(append(out, Dictionary{{"", Item{true, {}}}}));
}

TEST(Base64, OneSpellingPerValue) {
  // RFC 4648 10.
  for (const auto& [bytes, text] :
       {std::pair{"", ""}, std::pair{"f", "Zg=="}, std::pair{"fo", "Zm8="}, std::pair{"foo", "Zm9v"},
        std::pair{"foob", "Zm9vYg=="}, std::pair{"fooba", "Zm9vYmE="}, std::pair{"foobar", "Zm9vYmFy"},
        std::pair{"\xfb\xff\xfe", "+//+"}}) {
    std::string out;
    append_base64(out, bytes);
    EXPECT_EQ(out, text);
    EXPECT_EQ(decode_base64(text), bytes);
  }
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "==", "====", "Z===", "Zg==Zg==", "Zm9v\n",
                           "Zm9 ", "-__-", "Zm=v"}) {
    EXPECT_FALSE(decode_base64(text)) << text;
  }
}

}  // namespace
}  // namespace postern::signature::sf
