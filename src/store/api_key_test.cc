#include "store/api_key.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace postern::store {
namespace {

// Fixed so that a change of the form is noticed: keys in users' hands must stay keys.
constexpr std::string_view kKnown = "pst_4XbQ9sLm0aYt7RkZ2cVn8PwEuH1gJo2Zl61Q";

TEST(ApiKey, a_known_key_stays_a_key) {
  EXPECT_TRUE(is_api_key(kKnown));
  EXPECT_EQ(key_id_of(kKnown), "pst_4XbQ9sLm");
  EXPECT_TRUE(is_key_id(key_id_of(kKnown)));
}

TEST(ApiKey, hash_is_sha256_of_the_text) {
  EXPECT_EQ(to_hex(hash_api_key("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(ApiKey, every_changed_missing_or_added_character_is_noticed) {
  const std::string key(kKnown);
  for (std::size_t i = 0; i < key.size(); ++i) {
    for (const char c : {'0', 'A', 'z', ' ', '\0', '\n', '_', '\xff'}) {
      std::string changed = key;
      if (changed[i] == c) continue;
      changed[i] = c;
      EXPECT_FALSE(is_api_key(changed)) << i << " " << c;
    }
    EXPECT_FALSE(is_api_key(key.substr(0, i))) << i;
    EXPECT_FALSE(is_api_key(key.substr(0, i) + "a" + key.substr(i)));
    if (i > 0 && key[i] != key[i - 1]) {
      std::string swapped = key;
      std::swap(swapped[i], swapped[i - 1]);
      EXPECT_FALSE(is_api_key(swapped)) << i;
    }
  }
  EXPECT_FALSE(is_api_key(""));
  EXPECT_FALSE(is_api_key("Pst_" + key.substr(4)));
}

TEST(ApiKey, generated_keys_are_keys_and_differ) {
  std::set<std::string> seen;
  std::set<char> digits;
  for (int i = 0; i < 500; ++i) {
    const auto key = generate_api_key();
    ASSERT_TRUE(key.has_value());
    EXPECT_TRUE(is_api_key(key->reveal()));
    seen.emplace(key->reveal());
    for (const char c : key->reveal().substr(4)) digits.insert(c);
  }
  EXPECT_EQ(seen.size(), 500u);
  EXPECT_EQ(digits.size(), 62u);
}

TEST(ApiKey, hex_has_one_spelling) {
  const KeyHash hash = hash_api_key(kKnown);
  const std::string hex = to_hex(hash);
  EXPECT_EQ(key_hash_from_hex(hex), hash);
  std::string upper = hex;
  for (char& c : upper) c = c >= 'a' ? static_cast<char>(c - 32) : c;
  EXPECT_FALSE(key_hash_from_hex(upper));
  EXPECT_FALSE(key_hash_from_hex(hex.substr(1)));
  EXPECT_FALSE(key_hash_from_hex(hex + "0"));
  EXPECT_FALSE(key_hash_from_hex("g" + hex.substr(1)));
}

}  // namespace
}  // namespace postern::store
