// KeyDatabase: consumers and hashed keys in one SQLite file. Synchronous; one object belongs to one thread at a time.
// Used by `postern keys` directly, and by KeyStore on its own thread.
//
// Several processes may have the same file open: WAL mode, writers wait for each other. The file is created readable
// for its owner only. It holds no key, only SHA-256 hashes of random keys.
//
// Errors are Code::store_unavailable with a text that names the file and SQLite's reason, unless said otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/secret.h"
#include "store/key_record.h"

struct sqlite3;

namespace postern::store {

class KeyDatabase {
 public:
  enum class Missing : std::uint8_t {
    create,  // a missing file becomes an empty database (its directory must exist)
    fail,
  };

  // Checks that the file is a key database of the version this program knows.
  [[nodiscard]] static Result<std::unique_ptr<KeyDatabase>> open(const std::string& path, Missing missing);
  // Reads the whole file and judges it, without creating, locking or changing anything. An empty file is a database
  // that is still to be made.
  [[nodiscard]] static Result<void> inspect(const std::string& path);
  KeyDatabase(const KeyDatabase&) = delete;
  KeyDatabase& operator=(const KeyDatabase&) = delete;
  ~KeyDatabase();

  struct NewKey {
    config::Secret key;  // to be shown once; it cannot be had again
    KeyRecord record;
  };
  // Makes a key for the consumer. A consumer that is new is stored with it; of a known one, a name and metadata that
  // are not empty replace the stored ones. Code::bad_request (side client) if the consumer or the expiry makes no
  // sense.
  [[nodiscard]] Result<NewKey> create(Consumer consumer, std::optional<WallTime> expires, WallTime now);

  enum class Revoked : std::uint8_t { now, before, unknown_key };
  // From the return on, no gateway that reads this file within its polling interval accepts the key. Revoking is final.
  [[nodiscard]] Result<Revoked> revoke(std::string_view key_id, WallTime now);

  // All keys, by consumer and creation; revoked and expired ones too.
  [[nodiscard]] Result<std::vector<KeyRecord>> list() const;

  // A number that is different after any other connection has changed the database. Cheap.
  [[nodiscard]] Result<std::int64_t> version() const;
  // From now on, closing leaves the file and its log as they are. For a file that may have been damaged or replaced:
  // the last connection to close would otherwise write pages into it, and delete the log under its name.
  void disown() noexcept;
  // Reads the structure of the whole file: an Error if it is damaged.
  [[nodiscard]] Result<void> check() const;

 private:
  struct Statements;
  KeyDatabase(std::string path, sqlite3* database);
  void harden() noexcept;
  [[nodiscard]] Result<void> prepare(Missing missing);
  [[nodiscard]] Result<void> prepare_statements();
  struct Marks {
    std::int64_t application = 0;
    std::int64_t version = 0;
    std::int64_t tables = 0;
    [[nodiscard]] bool empty() const noexcept { return application == 0 && version == 0 && tables == 0; }
  };
  [[nodiscard]] Result<Marks> read_marks() const;
  [[nodiscard]] Result<void> judge(const Marks& marks) const;
  [[nodiscard]] std::unexpected<Error> failure(std::string_view doing) const;
  [[nodiscard]] Result<void> run(const char* sql) const;
  [[nodiscard]] Result<void> put_consumer(Consumer& consumer, WallTime now);

  std::string path_;
  sqlite3* database_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace postern::store
