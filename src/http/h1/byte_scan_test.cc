#include "http/h1/byte_scan.h"

#include <gtest/gtest.h>

#include <string>

#include "http/h1/test_support.h"

namespace postern::http::h1 {
namespace {

struct ByteClass {
  const char* name;
  const char* (*skip)(const char*, const char*) noexcept;
  bool (*inside)(char) noexcept;
  char sample;
};
constexpr ByteClass kClasses[] = {{"token", skip_token, is_token_byte, 'a'},
                                  {"value", skip_value, is_value_byte, '\xff'},
                                  {"visible", skip_visible, is_visible_byte, '~'}};

TEST(ByteScan, StopsAtExactlyTheBytesOfTheScalarPredicateWhereverTheyStand) {
  for (const ByteClass& c : kClasses) {
    for (int byte = 0; byte < 256; ++byte) {
      for (std::size_t at = 0; at < 48; ++at) {
        std::string text(48, c.sample);
        text[at] = static_cast<char>(byte);
        const ExactBytes exact(text);
        const char* const begin = exact.view().data();
        const char* const end = begin + exact.view().size();
        const char* const expected = c.inside(static_cast<char>(byte)) ? end : begin + at;
        ASSERT_EQ(c.skip(begin, end) - begin, expected - begin) << c.name << ' ' << byte << " at " << at;
      }
    }
  }
}

TEST(ByteScan, ReadsNothingBeyondTheEndWhateverTheSizeAndTheStart) {
  for (const ByteClass& c : kClasses) {
    for (std::size_t size = 0; size < 50; ++size) {
      const ExactBytes exact(std::string(size, c.sample));
      const char* const end = exact.view().data() + size;
      for (std::size_t from = 0; from <= size; ++from) EXPECT_EQ(c.skip(exact.view().data() + from, end), end);
    }
  }
}

TEST(ByteScan, StopsAtTheFirstOfSeveral) {
  for (const ByteClass& c : kClasses) {
    for (std::size_t first = 0; first < 40; ++first) {
      for (std::size_t second = first; second < 40; ++second) {
        std::string text(40, c.sample);
        text[first] = text[second] = '\n';
        EXPECT_EQ(c.skip(text.data(), text.data() + text.size()), text.data() + first);
      }
    }
  }
}

TEST(ByteScan, TheClassesAreThoseOfTheStandards) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool token =
        alphanumeric || (byte != 0 && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
    EXPECT_EQ(is_token_byte(c), token) << byte;                                                    // RFC 9110 5.6.2
    EXPECT_EQ(is_value_byte(c), byte == 9 || (byte >= 32 && byte <= 126) || byte >= 128) << byte;  // RFC 9110 5.5
    EXPECT_EQ(is_visible_byte(c), byte >= 33 && byte <= 126) << byte;
  }
  EXPECT_TRUE(is_token("GET"));
  EXPECT_FALSE(is_token(""));
  EXPECT_FALSE(is_token("G ET"));
}

}  // namespace
}  // namespace postern::http::h1
