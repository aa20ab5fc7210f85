#include "store/key_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "platform/temporary_directory.h"
#include "store/key_database.h"
#include "store/key_file.h"

namespace postern::store {
namespace {

using std::chrono::milliseconds;

// Polling is off: each look is made by refresh(), time stands still unless advanced. What another process does is done
// by a second connection.
class KeyStoreTest : public ::testing::Test {
 protected:
  KeyStore::Options options() const {
    KeyStore::Options out;
    out.database = directory.file("keys.db");
    out.poll = Duration::zero();
    return out;
  }
  std::unique_ptr<KeyStore> open(KeyStore::Options with) {
    auto store = KeyStore::open(std::move(with), clock);
    EXPECT_TRUE(store.has_value()) << store.error().to_string();
    return store ? std::move(*store) : nullptr;
  }
  std::unique_ptr<KeyDatabase> other_process() const {
    return std::move(*KeyDatabase::open(directory.file("keys.db"), KeyDatabase::Missing::fail));
  }
  std::string create(const std::string& consumer) const {
    const auto made = other_process()->create({consumer, "", {}}, std::nullopt, clock.wall());
    EXPECT_TRUE(made.has_value());
    return std::string(made->key.reveal());
  }
  KeyStatus status(const KeyStore& store, const std::string& key) const {
    const KeyIndex* const index = store.index();
    const KeyRecord* const record = index ? index->find(hash_api_key(key)) : nullptr;
    EXPECT_NE(record, nullptr);
    return record ? status_of(*record, clock.wall()) : KeyStatus::revoked;
  }
  // Bytes into the middle of the file, past SQLite, as a bad disk or a careless script would put them.
  void overwrite(const std::string& path, std::size_t bytes) const {
    const int fd = ::open(path.c_str(), O_WRONLY);
    ASSERT_GE(fd, 0);
    const std::string garbage(bytes, '\x5a');
    ASSERT_EQ(::pwrite(fd, garbage.data(), garbage.size(), 0), static_cast<ssize_t>(bytes));
    ::close(fd);
  }

  TemporaryDirectory directory;
  ManualClock clock;
};

TEST_F(KeyStoreTest, sees_keys_and_revocations_of_another_process_at_the_next_look) {
  const auto store = open(options());
  const std::string key = create("acme");
  EXPECT_EQ(store->index()->find(hash_api_key(key)), nullptr);
  ASSERT_TRUE(store->refresh().has_value());
  EXPECT_EQ(status(*store, key), KeyStatus::valid);

  ASSERT_EQ(other_process()->revoke(key_id_of(key), clock.wall()).value(), KeyDatabase::Revoked::now);
  ASSERT_TRUE(store->refresh().has_value());
  EXPECT_EQ(status(*store, key), KeyStatus::revoked);
}

TEST_F(KeyStoreTest, nothing_is_published_while_nothing_changes) {
  const auto store = open(options());
  ASSERT_TRUE(store->refresh().has_value());
  const KeyIndex* const before = store->index();
  const std::uint64_t generation = store->status().generation;
  ASSERT_TRUE(store->refresh().has_value());
  EXPECT_EQ(store->index(), before);
  EXPECT_EQ(store->status().generation, generation);
}

TEST_F(KeyStoreTest, merges_database_and_file) {
  KeyRecord in_file;
  const auto file_key = generate_api_key();
  in_file.key_id = key_id_of(file_key->reveal());
  in_file.hash = hash_api_key(file_key->reveal());
  in_file.consumer = {"globex", "globex", {}};
  directory.write("keys.yaml", "version: 1\nconsumers:\n" + format_key_entry(in_file));
  auto both = options();
  both.file = directory.file("keys.yaml");
  const auto store = open(both);
  const std::string database_key = create("acme");
  ASSERT_TRUE(store->refresh().has_value());
  EXPECT_EQ(status(*store, database_key), KeyStatus::valid);
  EXPECT_EQ(status(*store, std::string(file_key->reveal())), KeyStatus::valid);
  EXPECT_EQ(store->status().keys, 2u);

  in_file.revoked = clock.wall();
  directory.write("keys.yaml", "version: 1\nconsumers:\n" + format_key_entry(in_file));
  ASSERT_TRUE(store->refresh().has_value());
  EXPECT_EQ(status(*store, std::string(file_key->reveal())), KeyStatus::revoked);
  EXPECT_EQ(status(*store, database_key), KeyStatus::valid);
}

TEST_F(KeyStoreTest, a_file_that_went_bad_closes_the_store_after_max_stale_and_recovers_by_itself) {
  directory.write("keys.yaml", "version: 1\nconsumers: []\n");
  auto both = options();
  both.file = directory.file("keys.yaml");
  const auto store = open(both);
  std::vector<KeyStore::Status> seen;
  store->on_change([&](const KeyStore::Status& status) { seen.push_back(status); });

  directory.write("keys.yaml", "version: 1\nconsum");
  EXPECT_FALSE(store->refresh().has_value());
  EXPECT_NE(store->index(), nullptr) << "an editor may be writing: the last index serves for max_stale";
  clock.advance(milliseconds(1000));
  EXPECT_FALSE(store->refresh().has_value());
  EXPECT_NE(store->index(), nullptr);
  clock.advance(Duration(1));
  // The reader itself sees that time is up; it does not wait for the store's thread to say so.
  EXPECT_EQ(store->index(), nullptr);
  EXPECT_FALSE(store->refresh().has_value());
  EXPECT_FALSE(store->status().available);
  EXPECT_THAT(store->status().problem, ::testing::HasSubstr("keys.yaml"));

  directory.write("keys.yaml", "version: 1\nconsumers: []\n");
  EXPECT_TRUE(store->refresh().has_value());
  EXPECT_NE(store->index(), nullptr);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_TRUE(seen[0].available);
  EXPECT_NE(seen[0].problem, "");
  EXPECT_FALSE(seen[1].available);
  EXPECT_TRUE(seen[2].available);
  EXPECT_EQ(seen[2].problem, "");
}

struct Fault {
  const char* name;
  void (*harm)(const std::string& path);
};

TEST_F(KeyStoreTest, a_database_that_went_bad_closes_the_store) {
  const Fault faults[] = {
      {"removed", [](const std::string& path) { std::filesystem::remove(path); }},
      {"truncated", [](const std::string& path) { std::filesystem::resize_file(path, 0); }},
      {"a directory",
       [](const std::string& path) {
         std::filesystem::remove(path);
         std::filesystem::create_directory(path);
       }},
      {"another file",
       [](const std::string& path) {
         std::filesystem::remove(path);
         std::ofstream(path) << "these are not the keys";
       }},
      {"empty file",
       [](const std::string& path) {
         std::filesystem::remove(path);
         std::ofstream{path};
       }},
  };
  for (const Fault& fault : faults) {
    auto with = options();
    with.database = directory.file(std::string(fault.name) + ".db");
    const auto store = open(with);
    fault.harm(with.database);
    EXPECT_FALSE(store->refresh().has_value()) << fault.name;
    EXPECT_NE(store->status().problem, "") << fault.name;
    clock.advance(milliseconds(1001));
    EXPECT_FALSE(store->refresh().has_value()) << fault.name;
    EXPECT_EQ(store->index(), nullptr) << fault.name;
  }
}

TEST_F(KeyStoreTest, damage_inside_of_the_file_is_noticed) {
  {
    const auto database = KeyDatabase::open(directory.file("keys.db"), KeyDatabase::Missing::create);
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE((*database)->create({"acme" + std::to_string(i), "", {}}, std::nullopt, clock.wall()).has_value());
    }
  }  // closing moves everything from the log into the file
  const auto store = open(options());
  EXPECT_EQ(store->status().keys, 200u);
  overwrite(directory.file("keys.db"), 6000);
  EXPECT_FALSE(store->refresh().has_value());
  clock.advance(milliseconds(1001));
  EXPECT_EQ(store->index(), nullptr);
}

TEST_F(KeyStoreTest, a_restored_database_is_read_and_its_revocations_count) {
  const auto store = open(options());
  const std::string key = create("acme");
  ASSERT_TRUE(store->refresh().has_value());
  {
    const auto backup = KeyDatabase::open(directory.file("backup.db"), KeyDatabase::Missing::create);
    ASSERT_TRUE((*backup)->create({"globex", "", {}}, std::nullopt, clock.wall()).has_value());
  }
  for (const char* const suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(directory.file("keys.db") + suffix);
  }
  EXPECT_FALSE(store->refresh().has_value());
  clock.advance(milliseconds(1001));
  EXPECT_EQ(store->index(), nullptr);

  std::filesystem::rename(directory.file("backup.db"), directory.file("keys.db"));
  ASSERT_TRUE(store->refresh().has_value());
  ASSERT_NE(store->index(), nullptr);
  EXPECT_EQ(store->index()->find(hash_api_key(key)), nullptr);
  EXPECT_EQ(store->status().keys, 1u);
}

TEST_F(KeyStoreTest, does_not_open_without_its_sources) {
  auto absent = options();
  absent.file = directory.file("absent.yaml");
  EXPECT_FALSE(KeyStore::open(absent, clock).has_value());
  directory.write("keys.db", "garbage");
  EXPECT_FALSE(KeyStore::open(options(), clock).has_value());
}

TEST_F(KeyStoreTest, a_silent_store_thread_closes_the_store) {
  auto with = options();
  // The thread will not look again within this test, which stands for a thread that hangs on a disk.
  with.poll = std::chrono::hours(1);
  const auto store = open(with);
  clock.advance(std::chrono::seconds(5));
  EXPECT_NE(store->index(), nullptr);
  clock.advance(Duration(1));
  EXPECT_EQ(store->index(), nullptr);
  EXPECT_FALSE(store->status().available);
}

TEST_F(KeyStoreTest, polls_by_itself) {
  const SystemClock real;
  auto with = options();
  with.poll = milliseconds(1);
  const auto store = KeyStore::open(with, real);
  ASSERT_TRUE(store.has_value());
  const std::string key = create("acme");
  // Ends as soon as the key is seen; the bound only guards against hanging.
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  bool seen = false;
  while (!seen && std::chrono::steady_clock::now() < give_up) {
    const KeyIndex* const index = (*store)->index();
    seen = index && index->find(hash_api_key(key));
    std::this_thread::yield();
  }
  EXPECT_TRUE(seen);
}

TEST_F(KeyStoreTest, many_readers_while_keys_come_and_go) {
  const auto store = open(options());
  const std::string key = create("acme");
  const KeyHash hash = hash_api_key(key);
  ASSERT_TRUE(store->refresh().has_value());
  std::atomic<bool> stop{false};
  std::atomic<bool> revoked{false};
  std::atomic<int> late{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      while (!stop) {
        const bool must_be_revoked = revoked;
        const KeyRecord* const record = store->index()->find(hash);
        if (!record || (must_be_revoked && !record->revoked)) ++late;
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    create("other" + std::to_string(i));
    ASSERT_TRUE(store->refresh().has_value());
  }
  ASSERT_TRUE(other_process()->revoke(key_id_of(key), clock.wall()).has_value());
  ASSERT_TRUE(store->refresh().has_value());
  revoked = true;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(store->refresh().has_value());
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(late, 0);
}

TEST_F(KeyStoreTest, more_threads_than_slots_still_read) {
  const auto store = open(options());
  const std::string key = create("acme");
  ASSERT_TRUE(store->refresh().has_value());
  int found = 0;
  for (int i = 0; i < 200; ++i) {
    std::thread([&] { found += store->index()->find(hash_api_key(key)) != nullptr; }).join();
  }
  EXPECT_EQ(found, 200);
}

}  // namespace
}  // namespace postern::store
