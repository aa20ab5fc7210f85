#include "store/key_database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <set>

#include "platform/temporary_directory.h"

namespace postern::store {
namespace {

using Missing = KeyDatabase::Missing;

constexpr WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));

std::unique_ptr<KeyDatabase> open(const std::string& path, Missing missing = Missing::create) {
  auto database = KeyDatabase::open(path, missing);
  EXPECT_TRUE(database.has_value()) << database.error().to_string();
  return database ? std::move(*database) : nullptr;
}

TEST(KeyDatabase, keeps_consumers_and_keys_but_never_a_key) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("keys.db");
  std::string key;
  {
    const auto database = open(path);
    auto made = database->create({"acme", "ACME", {{"plan", "gold"}}}, kNow + std::chrono::hours(1), kNow);
    ASSERT_TRUE(made.has_value()) << made.error().to_string();
    key = made->key.reveal();
    EXPECT_TRUE(is_api_key(key));
    EXPECT_EQ(made->record.key_id, key_id_of(key));
    EXPECT_EQ(made->record.hash, hash_api_key(key));
    EXPECT_EQ(made->record.consumer.name, "ACME");
  }
  const auto records = open(path, Missing::fail)->list();
  ASSERT_TRUE(records.has_value());
  ASSERT_EQ(records->size(), 1u);
  EXPECT_EQ((*records)[0].hash, hash_api_key(key));
  EXPECT_EQ((*records)[0].consumer, (Consumer{"acme", "ACME", {{"plan", "gold"}}}));
  EXPECT_EQ((*records)[0].created, kNow);
  EXPECT_EQ((*records)[0].expires, kNow + std::chrono::hours(1));

  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(path).parent_path())) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    EXPECT_EQ(bytes.find(key.substr(kKeyIdLength)), std::string::npos) << entry.path();
  }
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(KeyDatabase, a_second_key_keeps_what_is_known_of_the_consumer) {
  const TemporaryDirectory directory;
  const auto database = open(directory.file("keys.db"));
  ASSERT_TRUE(database->create({"acme", "ACME", {{"plan", "gold"}}}, std::nullopt, kNow).has_value());
  const auto second = database->create({"acme", "", {}}, std::nullopt, kNow);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->record.consumer, (Consumer{"acme", "ACME", {{"plan", "gold"}}}));
  const auto third = database->create({"acme", "Acme Inc", {{"plan", "free"}, {"a", "b"}}}, std::nullopt, kNow);
  ASSERT_TRUE(third.has_value());
  const auto records = database->list();
  ASSERT_EQ(records->size(), 3u);
  for (const KeyRecord& record : *records) {
    EXPECT_EQ(record.consumer, (Consumer{"acme", "Acme Inc", {{"a", "b"}, {"plan", "free"}}}));
  }
}

TEST(KeyDatabase, revoking_is_final_and_told_from_a_mistake) {
  const TemporaryDirectory directory;
  const auto database = open(directory.file("keys.db"));
  const auto made = database->create({"acme", "", {}}, std::nullopt, kNow);
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ(database->revoke("pst_00000000", kNow).value(), KeyDatabase::Revoked::unknown_key);
  EXPECT_EQ(database->revoke("' OR 1=1 --", kNow).value(), KeyDatabase::Revoked::unknown_key);
  EXPECT_EQ(database->revoke(made->record.key_id, kNow).value(), KeyDatabase::Revoked::now);
  EXPECT_EQ(database->revoke(made->record.key_id, kNow + std::chrono::hours(1)).value(), KeyDatabase::Revoked::before);
  EXPECT_EQ((*database->list())[0].revoked, kNow);
}

TEST(KeyDatabase, refuses_consumers_that_could_not_travel_in_a_header) {
  const TemporaryDirectory directory;
  const auto database = open(directory.file("keys.db"));
  const struct {
    const char* name;
    Consumer consumer;
  } cases[] = {
      {"empty id", {"", "", {}}},
      {"id with newline", {"a\r\nX-Admin: 1", "", {}}},
      {"id with NUL", {std::string("a\0b", 3), "", {}}},
      {"id too long", {std::string(129, 'a'), "", {}}},
      {"name with control character", {"a", "x\ny", {}}},
      {"name that is not UTF-8", {"a", "\xff", {}}},
      {"name with C1 control", {"a", "\xc2\x9b", {}}},
      {"metadata name", {"a", "", {{"a b", "c"}}}},
      {"metadata value", {"a", "", {{"a", "b\nc"}}}},
      {"metadata twice", {"a", "", {{"a", "b"}, {"a", "c"}}}},
  };
  for (const auto& c : cases) {
    const auto made = database->create(c.consumer, std::nullopt, kNow);
    ASSERT_FALSE(made.has_value()) << c.name;
    EXPECT_EQ(made.error().code(), Code::bad_request) << c.name;
  }
  EXPECT_FALSE(database->create({"a", "", {}}, kNow, kNow).has_value());
  EXPECT_TRUE(database->list()->empty());
}

TEST(KeyDatabase, version_moves_when_another_connection_writes) {
  const TemporaryDirectory directory;
  const auto reader = open(directory.file("keys.db"));
  const auto writer = open(directory.file("keys.db"));
  const std::int64_t before = reader->version().value();
  EXPECT_EQ(reader->version().value(), before);
  ASSERT_TRUE(writer->create({"acme", "", {}}, std::nullopt, kNow).has_value());
  EXPECT_NE(reader->version().value(), before);
  EXPECT_EQ(reader->list()->size(), 1u);
}

TEST(KeyDatabase, opens_nothing_that_is_no_key_database) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(KeyDatabase::open(directory.file("absent.db"), Missing::fail).has_value());
  EXPECT_FALSE(std::filesystem::exists(directory.file("absent.db")));
  EXPECT_FALSE(KeyDatabase::open(directory.file("no/such/directory.db"), Missing::create).has_value());

  directory.write("text.db", std::string(4096, 'x'));
  const auto text = KeyDatabase::open(directory.file("text.db"), Missing::create);
  ASSERT_FALSE(text.has_value());
  EXPECT_EQ(text.error().code(), Code::store_unavailable);
  EXPECT_THAT(std::string(text.error().detail()), ::testing::HasSubstr("text.db"));

  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(directory.file("other.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "CREATE TABLE keys (x)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
  EXPECT_FALSE(KeyDatabase::open(directory.file("other.db"), Missing::create).has_value());

  // An empty file in the place of the database is not taken for an empty set of keys while running.
  directory.write("empty.db", "");
  EXPECT_FALSE(KeyDatabase::open(directory.file("empty.db"), Missing::fail).has_value());
}

TEST(KeyDatabase, refuses_rows_that_others_wrote_wrongly) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("keys.db");
  const auto database = open(path);
  ASSERT_TRUE(database->create({"acme", "", {}}, std::nullopt, kNow).has_value());
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &other), SQLITE_OK);
  ASSERT_EQ(
      sqlite3_exec(other, "UPDATE consumers SET name = 'a' || char(10) || 'X-Admin: 1'", nullptr, nullptr, nullptr),
      SQLITE_OK);
  sqlite3_close(other);
  EXPECT_FALSE(database->list().has_value());
}

TEST(KeyDatabase, an_inspection_finds_what_an_opening_would_and_leaves_no_trace) {
  const TemporaryDirectory directory;
  const auto files = [&] {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory.file("")))
      names.insert(entry.path().filename());
    return names;
  };
  const std::string path = directory.file("50%?#.db");  // characters with a meaning in a URI
  EXPECT_FALSE(KeyDatabase::inspect(path)) << "there is none";
  EXPECT_TRUE(files().empty());
  {
    const auto database = open(path);
    ASSERT_TRUE(database->create({"acme", "ACME", {}}, std::nullopt, kNow).has_value());
    const auto used = files();
    EXPECT_TRUE(KeyDatabase::inspect(path)) << "while somebody writes";
    EXPECT_EQ(files(), used);
    EXPECT_TRUE(database->create({"acme", "", {}}, std::nullopt, kNow).has_value());
  }
  EXPECT_TRUE(KeyDatabase::inspect(path));
  EXPECT_EQ(files(), std::set<std::string>{"50%?#.db"});

  directory.write("empty.db", "");
  EXPECT_TRUE(KeyDatabase::inspect(directory.file("empty.db"))) << "a start makes the tables";
  directory.write("text.db", "this is not a database, but it is long enough to be one: " + std::string(4096, 'x'));
  const auto text = KeyDatabase::inspect(directory.file("text.db"));
  ASSERT_FALSE(text);
  EXPECT_THAT(std::string(text.error().detail()), ::testing::HasSubstr("text.db"));
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(4096) << std::string(4096, 'x');
  EXPECT_FALSE(KeyDatabase::inspect(path)) << "a damaged page";
}

}  // namespace
}  // namespace postern::store
