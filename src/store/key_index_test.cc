#include "store/key_index.h"

#include <gtest/gtest.h>

namespace postern::store {
namespace {

KeyRecord record(std::string id, std::uint8_t byte, std::string consumer) {
  KeyRecord out;
  out.key_id = "pst_" + id;
  out.hash.fill(byte);
  out.consumer.id = std::move(consumer);
  return out;
}

WallTime at(int seconds) { return WallTime(std::chrono::seconds(seconds)); }

TEST(KeyIndex, finds_what_is_stored_and_nothing_else) {
  std::vector<KeyRecord> records;
  for (int i = 1; i <= 200; ++i) {
    KeyRecord r = record("key" + std::to_string(1000 + i), 0, "c" + std::to_string(i));
    // Equal heads: all in one probe sequence.
    r.hash[31] = static_cast<std::uint8_t>(i);
    records.push_back(r);
  }
  const auto index = KeyIndex::build(records);
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ((*index)->size(), 200u);
  for (const KeyRecord& r : records) {
    const KeyRecord* const found = (*index)->find(r.hash);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->consumer.id, r.consumer.id);
    EXPECT_EQ((*index)->find_by_id(r.key_id), found);
  }
  EXPECT_EQ((*index)->find_by_id("pst_key0"), nullptr);
  EXPECT_EQ((*index)->find_by_id("pst_key9999"), nullptr);
  KeyHash unknown{};
  unknown[31] = 201;
  EXPECT_EQ((*index)->find(unknown), nullptr);
  EXPECT_EQ((*index)->find(KeyHash{}), nullptr);
}

TEST(KeyIndex, an_empty_index_knows_nobody) {
  const auto index = KeyIndex::build({});
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ((*index)->find(KeyHash{}), nullptr);
  EXPECT_EQ((*index)->find(hash_api_key("x")), nullptr);
}

TEST(KeyIndex, a_key_in_two_sources_counts_under_the_stricter_terms) {
  KeyRecord in_database = record("AAAAAAAA", 1, "acme");
  KeyRecord in_file = in_database;
  in_database.expires = at(100);
  in_file.expires = at(50);
  in_file.revoked = at(7);
  for (const auto& records : {std::vector{in_database, in_file}, std::vector{in_file, in_database}}) {
    const auto index = KeyIndex::build(records);
    ASSERT_TRUE(index.has_value());
    const KeyRecord* const found = (*index)->find(in_file.hash);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->expires, at(50));
    EXPECT_EQ(found->revoked, at(7));
  }
}

TEST(KeyIndex, contradictions_between_sources_are_refused) {
  const KeyRecord known = record("AAAAAAAA", 1, "acme");
  const struct {
    const char* name;
    KeyRecord other;
  } cases[] = {
      {"another consumer", record("AAAAAAAA", 1, "globex")},
      {"another key under the same id", record("AAAAAAAA", 2, "acme")},
      {"the same key under another id", record("BBBBBBBB", 1, "acme")},
      {"no hash", record("CCCCCCCC", 0, "acme")},
  };
  for (const auto& c : cases) {
    const auto index = KeyIndex::build({known, c.other});
    ASSERT_FALSE(index.has_value()) << c.name;
    EXPECT_EQ(index.error().code(), Code::store_unavailable) << c.name;
  }
}

TEST(KeyIndex, status_at_the_moment_of_expiry_is_expired) {
  KeyRecord r = record("AAAAAAAA", 1, "acme");
  EXPECT_EQ(status_of(r, at(1)), KeyStatus::valid);
  r.expires = at(10);
  EXPECT_EQ(status_of(r, at(9)), KeyStatus::valid);
  EXPECT_EQ(status_of(r, at(10)), KeyStatus::expired);
  r.revoked = at(1'000'000);  // from a clock that is ahead: revoked all the same
  EXPECT_EQ(status_of(r, at(9)), KeyStatus::revoked);
}

}  // namespace
}  // namespace postern::store
