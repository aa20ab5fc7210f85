#include "base/arena.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern {
namespace {

TEST(Arena, keeps_every_text_where_it_is_until_reset) {
  Arena arena;
  std::vector<std::string> expected;
  std::vector<std::string_view> kept;
  for (std::size_t i = 0; i < 2000; ++i) {
    // Around the sizes at which a block ends, and far beyond one.
    const std::size_t size = i % 97 == 0 ? 5000 + i : i % 41;
    expected.push_back(std::string(size, static_cast<char>('a' + i % 26)));
    kept.push_back(arena.copy(expected.back()));
  }
  for (std::size_t i = 0; i < kept.size(); ++i) ASSERT_EQ(kept[i], expected[i]) << i;
  arena.reset();
  EXPECT_EQ(arena.copy("again"), "again");
}

TEST(Arena, joins_parts) {
  Arena arena;
  EXPECT_EQ(arena.join("a", std::string("bc"), std::string_view(), "d"), "abcd");
  EXPECT_EQ(arena.join(std::string_view()), "");
  EXPECT_EQ(arena.copy({}), "");
  const std::string large(10'000, 'x');
  EXPECT_EQ(arena.join(large, "/", large), large + "/" + large);
}

TEST(Arena, a_long_chain_of_blocks_does_not_recurse_when_it_goes) {
  Arena arena;
  for (int i = 0; i < 50'000; ++i) static_cast<void>(arena.allocate(4096));
}

}  // namespace
}  // namespace postern
