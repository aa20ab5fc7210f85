#include "store/key_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "config/diagnostics.h"
#include "platform/temporary_directory.h"

namespace postern::store {
namespace {

const std::string kHash = to_hex(hash_api_key("a"));
const std::string kGood =
    "version: 1\n"
    "consumers:\n"
    "  - id: acme\n"
    "    name: ACME Corporation\n"
    "    metadata: {plan: gold, seats: 12}\n"
    "    keys:\n"
    "      - id: pst_4XbQ9sLm\n"
    "        sha256: " +
    kHash +
    "\n"
    "        created: 2026-01-01T00:00:00Z\n"
    "        expires: 2027-01-01T00:00:00Z\n"
    "  - id: \"42\"\n"
    "    keys: []\n";

struct Parsed {
  std::vector<KeyRecord> records;
  std::string problems;
};
Parsed parse(std::string_view text, const std::string& file = "keys.yaml") {
  config::Diagnostics diagnostics(file);
  Parsed out;
  out.records = parse_key_file(file, text, diagnostics);
  if (diagnostics.has_errors()) out.problems = diagnostics.to_text();
  return out;
}

TEST(KeyFile, reads_consumers_and_keys) {
  const Parsed parsed = parse(kGood);
  ASSERT_EQ(parsed.problems, "");
  ASSERT_EQ(parsed.records.size(), 1u);
  const KeyRecord& key = parsed.records[0];
  EXPECT_EQ(key.key_id, "pst_4XbQ9sLm");
  EXPECT_EQ(to_hex(key.hash), kHash);
  EXPECT_EQ(key.consumer.id, "acme");
  EXPECT_EQ(key.consumer.name, "ACME Corporation");
  EXPECT_EQ(key.consumer.metadata, (std::vector<Metadata>{{"plan", "gold"}, {"seats", "12"}}));
  EXPECT_TRUE(key.expires.has_value());
  EXPECT_FALSE(key.revoked.has_value());
}

TEST(KeyFile, reads_json_too) {
  const Parsed parsed =
      parse(R"({"version": 1, "consumers": [{"id": "acme", "keys": [{"id": "pst_4XbQ9sLm", "sha256": ")" + kHash +
                R"("}]}]})",
            "keys.json");
  EXPECT_EQ(parsed.problems, "");
  EXPECT_EQ(parsed.records.size(), 1u);
}

std::string with_key(const std::string& lines) {
  return "version: 1\nconsumers:\n  - id: acme\n    keys:\n      - " + lines;
}

TEST(KeyFile, refuses_what_it_does_not_understand) {
  const std::string good_key = "id: pst_4XbQ9sLm\n        sha256: " + kHash + "\n";
  ASSERT_EQ(parse(with_key(good_key)).problems, "");
  const struct {
    const char* name;
    std::string text;
    const char* says;
  } cases[] = {
      {"empty file", "", ""},
      {"no version", "consumers: []\n", "version: 1"},
      {"version of the future", "version: 2\nconsumers: []\n", "version 1"},
      {"no consumers", "version: 1\n", "consumers"},
      {"unknown key", "version: 1\nconsumers: []\nkeys: []\n", "`keys`"},
      {"mistyped revoked", with_key(good_key + "        revokd: 2026-01-01T00:00:00Z\n"), "did you mean `revoked`"},
      {"revoked: true", with_key(good_key + "        revoked: true\n"), "is no time"},
      {"expires without zone", with_key(good_key + "        expires: 2026-01-01T00:00:00\n"), "is no time"},
      {"no hash", with_key("id: pst_4XbQ9sLm\n"), "sha256"},
      {"hash in upper case", with_key("id: pst_4XbQ9sLm\n        sha256: " + std::string(64, 'A') + "\n"), "no hash"},
      {"hash of zeros", with_key("id: pst_4XbQ9sLm\n        sha256: \"" + std::string(64, '0') + "\"\n"), "no hash"},
      {"duplicate key", with_key(good_key + "      - " + good_key), "appears twice"},
      {"key id too short", with_key("id: pst_4Xb\n        sha256: " + kHash + "\n"), "no key id"},
      {"consumer id for a header injection", "version: 1\nconsumers:\n  - id: \"a\\r\\nX: b\"\n    keys: []\n",
       "consumer id"},
      {"name with newline", "version: 1\nconsumers:\n  - id: a\n    name: \"a\\nb\"\n    keys: []\n", "name"},
      {"consumer twice", "version: 1\nconsumers:\n  - id: a\n    keys: []\n  - id: a\n    keys: []\n", "appears twice"},
      {"truncated", kGood.substr(0, kGood.find("sha256") + 20), ""},
  };
  for (const auto& c : cases) {
    const Parsed parsed = parse(c.text);
    EXPECT_TRUE(parsed.records.empty()) << c.name;
    EXPECT_NE(parsed.problems, "") << c.name;
    EXPECT_THAT(parsed.problems, ::testing::HasSubstr(c.says)) << c.name;
  }
}

TEST(KeyFile, a_whole_key_in_the_file_is_refused_and_not_repeated) {
  const auto key = generate_api_key();
  ASSERT_TRUE(key.has_value());
  const std::string text(key->reveal());
  const std::string as_id = with_key("id: " + text + "\n        sha256: " + kHash + "\n");
  const std::string as_hash = with_key("id: pst_4XbQ9sLm\n        sha256: " + text + "\n");
  for (const std::string& file : {as_id, as_hash}) {
    const Parsed parsed = parse(file);
    EXPECT_NE(parsed.problems, "");
    EXPECT_THAT(parsed.problems, ::testing::Not(::testing::HasSubstr(text.substr(kKeyIdLength))));
  }
}

TEST(KeyFile, an_entry_that_was_printed_can_be_read) {
  KeyRecord record;
  record.key_id = "pst_4XbQ9sLm";
  record.hash = hash_api_key("a");
  record.consumer = {"acme", "Grüße \"quoted\" \\ back: #x", {{"plan", "yes"}, {"x", ""}}};
  record.created = WallTime(std::chrono::seconds(1'800'000'000));
  record.expires = WallTime(std::chrono::seconds(1'900'000'000));
  record.revoked = WallTime(std::chrono::seconds(1'850'000'000));
  const Parsed parsed = parse("version: 1\nconsumers:\n" + format_key_entry(record));
  ASSERT_EQ(parsed.problems, "");
  ASSERT_EQ(parsed.records.size(), 1u);
  EXPECT_EQ(parsed.records[0].consumer, record.consumer);
  EXPECT_EQ(parsed.records[0].hash, record.hash);
  EXPECT_EQ(parsed.records[0].created, record.created);
  EXPECT_EQ(parsed.records[0].expires, record.expires);
  EXPECT_EQ(parsed.records[0].revoked, record.revoked);
}

TEST(KeyFile, reads_again_only_what_may_have_changed) {
  const TemporaryDirectory directory;
  directory.write("keys.yaml", kGood);
  KeyFile file(directory.file("keys.yaml"));
  const WallTime now = std::chrono::system_clock::now();
  const WallTime later = now + std::chrono::hours(1);

  EXPECT_EQ(file.refresh(now).value(), KeyFile::Change::read);
  // Written a moment ago: a second write in the same tick of the file system's clock would have the same stamp, so the
  // content is looked at.
  EXPECT_EQ(file.refresh(now).value(), KeyFile::Change::none);
  EXPECT_EQ(file.refresh(later).value(), KeyFile::Change::none);
  EXPECT_EQ(file.records().size(), parse(kGood).records.size());

  directory.write("keys.yaml", "version: 1\nconsumers: []\n");
  EXPECT_EQ(file.refresh(later).value(), KeyFile::Change::read);
  EXPECT_TRUE(file.records().empty());
}

TEST(KeyFile, after_an_error_the_same_bytes_are_an_error_again) {
  const TemporaryDirectory directory;
  directory.write("keys.yaml", kGood);
  KeyFile file(directory.file("keys.yaml"));
  const WallTime later = std::chrono::system_clock::now() + std::chrono::hours(1);
  ASSERT_TRUE(file.refresh(later).has_value());
  directory.write("keys.yaml", "version: 1\nconsumers: nonsense\n");
  EXPECT_FALSE(file.refresh(later).has_value());
  EXPECT_FALSE(file.refresh(later).has_value());
  std::filesystem::remove(directory.file("keys.yaml"));
  EXPECT_FALSE(file.refresh(later).has_value());
  directory.write("keys.yaml", kGood);
  EXPECT_EQ(file.refresh(later).value(), KeyFile::Change::read);
}

// Whoever can write the file can let anybody in.
TEST(KeyFile, one_that_others_may_write_is_refused) {
  const TemporaryDirectory directory;
  directory.write("keys.yaml", kGood);
  const std::string path = directory.file("keys.yaml");
  const WallTime now = std::chrono::system_clock::now();
  for (const mode_t mode : {0660U, 0602U}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    KeyFile file(path);
    const auto read = file.refresh(now);
    ASSERT_FALSE(read.has_value()) << mode;
    EXPECT_THAT(std::string(read.error().detail()), ::testing::HasSubstr("PST-C017"));
    EXPECT_TRUE(file.records().empty());
  }
  for (const mode_t mode : {0600U, 0644U, 0400U}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_TRUE(KeyFile(path).refresh(now).has_value()) << mode;
  }
}

}  // namespace
}  // namespace postern::store
