#include "store/key_database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "store/statement.h"

namespace postern::store {
namespace {

// "PSTK": a file of another program is refused, not overwritten.
constexpr std::int64_t kApplicationId = 0x5053544b;
constexpr std::int64_t kSchemaVersion = 1;
// Longer than any write of ours takes; the store's thread polls, so it can come back later.
constexpr int kBusyMilliseconds = 400;

constexpr const char* kSchema = R"sql(
CREATE TABLE consumers (
  id      TEXT PRIMARY KEY,
  name    TEXT NOT NULL,
  created INTEGER NOT NULL          -- seconds since 1970, as all times here
) STRICT, WITHOUT ROWID;
CREATE TABLE consumer_metadata (
  consumer TEXT NOT NULL REFERENCES consumers (id) ON DELETE CASCADE,
  name     TEXT NOT NULL,
  value    TEXT NOT NULL,
  PRIMARY KEY (consumer, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE keys (
  id       TEXT PRIMARY KEY,        -- public: pst_ and 8 digits
  hash     BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),  -- SHA-256 of the key
  consumer TEXT NOT NULL REFERENCES consumers (id),
  created  INTEGER NOT NULL,
  expires  INTEGER,
  revoked  INTEGER
) STRICT, WITHOUT ROWID;
)sql";

std::int64_t to_seconds(WallTime time) noexcept {
  return std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
}
// Times outside of what fits into nanoseconds (years 1678 to 2262) are taken as the nearest one that does.
WallTime from_seconds(std::int64_t seconds) noexcept {
  constexpr std::int64_t kMost = 9'000'000'000;
  return WallTime(std::chrono::seconds(std::clamp(seconds, -kMost, kMost)));
}
std::optional<std::int64_t> to_seconds(const std::optional<WallTime>& time) noexcept {
  return time ? std::optional(to_seconds(*time)) : std::nullopt;
}
std::optional<WallTime> from_seconds(const std::optional<std::int64_t>& seconds) noexcept {
  return seconds ? std::optional(from_seconds(*seconds)) : std::nullopt;
}

// Rolls back unless told that all went well.
class Transaction {
 public:
  explicit Transaction(sqlite3* database)
      : database_(database), open_(sqlite3_exec(database, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (open_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  [[nodiscard]] bool is_open() const noexcept { return open_; }
  [[nodiscard]] bool commit() {
    if (sqlite3_exec(database_, "COMMIT", nullptr, nullptr, nullptr) != SQLITE_OK) return false;
    open_ = false;
    return true;
  }

 private:
  sqlite3* database_;
  bool open_;
};

}  // namespace

struct KeyDatabase::Statements {
  Statement data_version, list_metadata, list_keys, find_key, find_consumer, put_consumer, rename_consumer;
  Statement forget_metadata, put_metadata, put_key, revoke_key;
};

KeyDatabase::KeyDatabase(std::string path, sqlite3* database) : path_(std::move(path)), database_(database) {}

KeyDatabase::~KeyDatabase() {
  statements_.reset();
  sqlite3_close(database_);
}

std::unexpected<Error> KeyDatabase::failure(std::string_view doing) const {
  return fail(Code::store_unavailable, Side::gateway,
              "key database " + path_ + ": " + std::string(doing) + ": " + sqlite3_errmsg(database_));
}

Result<void> KeyDatabase::run(const char* sql) const {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return failure("cannot be used");
  return {};
}

Result<std::unique_ptr<KeyDatabase>> KeyDatabase::open(const std::string& path, Missing missing) {
  if (missing == Missing::create) {
    // SQLite would create the file under the umask; its -wal and -shm files take the mode of this one.
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
      ::close(fd);
    } else if (errno != EEXIST) {
      return fail(Code::store_unavailable, Side::gateway,
                  "key database " + path + ": cannot be created: " + std::generic_category().message(errno));
    }
  }
  sqlite3* handle = nullptr;
  const int opened = sqlite3_open_v2(path.c_str(), &handle,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  std::unique_ptr<KeyDatabase> database(new KeyDatabase(path, handle));
  if (opened != SQLITE_OK) return database->failure("cannot be opened");
  if (auto ready = database->prepare(missing); !ready) {
    database->disown();
    return std::unexpected(std::move(ready.error()));
  }
  return database;
}

Result<void> KeyDatabase::inspect(const std::string& path) {
  // A name without characters that mean something in a URI (sqlite.org/uri.html).
  std::string uri = "file:";
  for (const char c : path) {
    if (c == '%' || c == '?' || c == '#') {
      uri += c == '%' ? "%25" : c == '?' ? "%3f" : "%23";
    } else {
      uri.push_back(c);
    }
  }
  // Without a log the file is complete, and `immutable` keeps SQLite from making one; a log that is there belongs to
  // whoever has the file open.
  uri += ::access((path + "-wal").c_str(), F_OK) == 0 ? "?mode=ro" : "?immutable=1";
  sqlite3* handle = nullptr;
  const int opened =
      sqlite3_open_v2(uri.c_str(), &handle,
                      SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  KeyDatabase database(path, handle);
  if (opened != SQLITE_OK) return database.failure("cannot be opened");
  database.harden();
  database.disown();
  const Result<Marks> marks = database.read_marks();
  if (!marks) return database.failure("cannot be read");
  if (marks->empty()) return {};
  if (auto known = database.judge(*marks); !known) return known;
  if (auto prepared = database.prepare_statements(); !prepared) return prepared;
  if (auto sound = database.check(); !sound) return sound;
  auto records = database.list();
  if (!records) return std::unexpected(std::move(records.error()));
  return {};
}

void KeyDatabase::harden() noexcept {
  sqlite3_busy_timeout(database_, kBusyMilliseconds);
  sqlite3_db_config(database_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(database_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(database_, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
}

Result<void> KeyDatabase::prepare(Missing missing) {
  harden();
  // FULL: a revocation that was reported as done survives a power failure.
  if (auto ok = run("PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON; PRAGMA journal_mode = WAL;"
                    "PRAGMA synchronous = FULL;");
      !ok) {
    return ok;
  }

  Result<Marks> marks = read_marks();
  if (!marks) return std::unexpected(std::move(marks.error()));
  if (marks->empty() && missing == Missing::create) {
    Transaction transaction(database_);
    if (!transaction.is_open()) return failure("cannot be written");
    // Another process may have been faster between our look and our lock.
    marks = read_marks();
    if (marks && marks->tables == 0) {
      if (auto ok = run(kSchema); !ok) return ok;
      const std::string mark = "PRAGMA application_id = " + std::to_string(kApplicationId) +
                               "; PRAGMA user_version = " + std::to_string(kSchemaVersion) + ";";
      if (auto ok = run(mark.c_str()); !ok) return ok;
    }
    if (!transaction.commit()) return failure("cannot be written");
  } else if (auto known = judge(*marks); !known) {
    return known;
  }
  return prepare_statements();
}

Result<KeyDatabase::Marks> KeyDatabase::read_marks() const {
  const auto number = [this](std::string_view sql) -> Result<std::int64_t> {
    Statement statement;
    if (!statement.prepare(database_, sql) || statement.step() != SQLITE_ROW) return failure("cannot be read");
    return statement.integer(0);
  };
  Result<std::int64_t> application = number("PRAGMA application_id");
  Result<std::int64_t> version = number("PRAGMA user_version");
  Result<std::int64_t> tables = number("SELECT count(*) FROM sqlite_schema");
  if (!application) return std::unexpected(std::move(application.error()));
  if (!version) return std::unexpected(std::move(version.error()));
  if (!tables) return std::unexpected(std::move(tables.error()));
  return Marks{*application, *version, *tables};
}

Result<void> KeyDatabase::judge(const Marks& marks) const {
  if (marks.application != kApplicationId) {
    return fail(Code::store_unavailable, Side::gateway, "key database " + path_ + ": is not a key database of Postern");
  }
  if (marks.version != kSchemaVersion) {
    return fail(Code::store_unavailable, Side::gateway,
                "key database " + path_ + ": has schema version " + std::to_string(marks.version) +
                    ", this program knows " + std::to_string(kSchemaVersion));
  }
  return {};
}

Result<void> KeyDatabase::prepare_statements() {
  statements_ = std::make_unique<Statements>();
  Statements& s = *statements_;
  const bool prepared =
      s.data_version.prepare(database_, "PRAGMA data_version") &&
      s.list_metadata.prepare(database_, "SELECT consumer, name, value FROM consumer_metadata ORDER BY 1, 2") &&
      s.list_keys.prepare(
          database_,
          "SELECT k.id, k.hash, k.consumer, c.name, k.created, k.expires, k.revoked "
          "FROM keys k LEFT JOIN consumers c ON c.id = k.consumer ORDER BY k.consumer, k.created, k.id") &&
      s.find_key.prepare(database_, "SELECT revoked FROM keys WHERE id = ?") &&
      s.find_consumer.prepare(database_, "SELECT name FROM consumers WHERE id = ?") &&
      s.put_consumer.prepare(database_, "INSERT INTO consumers (id, name, created) VALUES (?, ?, ?)") &&
      s.rename_consumer.prepare(database_, "UPDATE consumers SET name = ?2 WHERE id = ?1") &&
      s.forget_metadata.prepare(database_, "DELETE FROM consumer_metadata WHERE consumer = ?") &&
      s.put_metadata.prepare(database_, "INSERT INTO consumer_metadata (consumer, name, value) VALUES (?, ?, ?)") &&
      s.put_key.prepare(database_, "INSERT INTO keys (id, hash, consumer, created, expires) VALUES (?, ?, ?, ?, ?)") &&
      s.revoke_key.prepare(database_, "UPDATE keys SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL");
  if (!prepared) return failure("has an unexpected schema");
  return {};
}

Result<void> KeyDatabase::put_consumer(Consumer& consumer, WallTime now) {
  Statements& s = *statements_;
  const int found = s.find_consumer.start().bind(consumer.id).step();
  const bool known = found == SQLITE_ROW;
  const std::string known_name = known ? s.find_consumer.text(0) : std::string();
  s.find_consumer.finish();
  if (!known && found != SQLITE_DONE) return failure("cannot be read");

  const bool keeps_name = known && consumer.name.empty();
  const bool keeps_metadata = known && consumer.metadata.empty();
  if (keeps_name) consumer.name = known_name;
  if (std::string wrong = normalise(consumer); !wrong.empty()) {
    return fail(Code::bad_request, Side::client, std::move(wrong));
  }
  Statement& write = known ? s.rename_consumer.start().bind(consumer.id).bind(consumer.name)
                           : s.put_consumer.start().bind(consumer.id).bind(consumer.name).bind(to_seconds(now));
  if (write.step() != SQLITE_DONE) return failure("cannot be written");
  if (keeps_metadata) {
    Statement statement;
    if (!statement.prepare(database_, "SELECT name, value FROM consumer_metadata WHERE consumer = ? ORDER BY 1")) {
      return failure("cannot be read");
    }
    int outcome = statement.start().bind(consumer.id).step();
    for (; outcome == SQLITE_ROW; outcome = statement.step()) {
      consumer.metadata.push_back({statement.text(0), statement.text(1)});
    }
    if (outcome != SQLITE_DONE) return failure("cannot be read");
    return {};
  }
  if (s.forget_metadata.start().bind(consumer.id).step() != SQLITE_DONE) return failure("cannot be written");
  for (const Metadata& entry : consumer.metadata) {
    if (s.put_metadata.start().bind(consumer.id).bind(entry.name).bind(entry.value).step() != SQLITE_DONE) {
      return failure("cannot be written");
    }
  }
  return {};
}

Result<KeyDatabase::NewKey> KeyDatabase::create(Consumer consumer, std::optional<WallTime> expires, WallTime now) {
  if (!is_consumer_id(consumer.id)) {
    return fail(Code::bad_request, Side::client, "a consumer id is 1 to 128 letters, digits and . _ ~ @ : + -");
  }
  if (expires && *expires <= now) return fail(Code::bad_request, Side::client, "the key would have expired already");

  Transaction transaction(database_);
  if (!transaction.is_open()) return failure("cannot be written");
  if (auto put = put_consumer(consumer, now); !put) return std::unexpected(std::move(put.error()));

  Statements& s = *statements_;
  // 62^8 key ids: a second attempt is for the unlucky, a fifth one is a broken generator.
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto key = generate_api_key();
    if (!key) return std::unexpected(std::move(key.error()));
    KeyRecord record;
    record.key_id = key_id_of(key->reveal());
    record.hash = hash_api_key(key->reveal());
    record.created = from_seconds(to_seconds(now));
    record.expires = from_seconds(to_seconds(expires));
    const int outcome = s.put_key.start()
                            .bind(record.key_id)
                            .bind(std::span<const std::uint8_t>(record.hash))
                            .bind(consumer.id)
                            .bind(to_seconds(now))
                            .bind(to_seconds(expires))
                            .step();
    if (outcome == SQLITE_CONSTRAINT_PRIMARYKEY || outcome == SQLITE_CONSTRAINT_UNIQUE) continue;
    if (outcome != SQLITE_DONE) return failure("cannot be written");
    if (!transaction.commit()) return failure("cannot be written");
    record.consumer = std::move(consumer);
    return NewKey{std::move(*key), std::move(record)};
  }
  return fail(Code::internal, Side::gateway, "five new key ids in a row exist already");
}

Result<KeyDatabase::Revoked> KeyDatabase::revoke(std::string_view key_id, WallTime now) {
  Transaction transaction(database_);
  if (!transaction.is_open()) return failure("cannot be written");
  Statements& s = *statements_;
  const int found = s.find_key.start().bind(key_id).step();
  const bool before = found == SQLITE_ROW && !s.find_key.is_null(0);
  s.find_key.finish();
  if (found == SQLITE_DONE) return Revoked::unknown_key;
  if (found != SQLITE_ROW) return failure("cannot be read");
  if (before) return Revoked::before;
  if (s.revoke_key.start().bind(key_id).bind(to_seconds(now)).step() != SQLITE_DONE)
    return failure("cannot be written");
  if (!transaction.commit()) return failure("cannot be written");
  return Revoked::now;
}

Result<std::vector<KeyRecord>> KeyDatabase::list() const {
  // One transaction, so that both reads see the same state.
  if (auto begun = run("BEGIN"); !begun) return std::unexpected(std::move(begun.error()));
  struct End {
    sqlite3* database;
    ~End() { sqlite3_exec(database, "ROLLBACK", nullptr, nullptr, nullptr); }
  } const end{database_};

  Statements& s = *statements_;
  std::map<std::string, std::vector<Metadata>, std::less<>> metadata;
  int outcome = s.list_metadata.start().step();
  for (; outcome == SQLITE_ROW; outcome = s.list_metadata.step()) {
    metadata[s.list_metadata.text(0)].push_back({s.list_metadata.text(1), s.list_metadata.text(2)});
  }
  s.list_metadata.finish();
  if (outcome != SQLITE_DONE) return failure("cannot be read");

  std::vector<KeyRecord> records;
  Statement& row = s.list_keys.start();
  std::string wrong;
  for (outcome = row.step(); outcome == SQLITE_ROW && wrong.empty(); outcome = row.step()) {
    KeyRecord record;
    record.key_id = row.text(0);
    const std::span<const std::uint8_t> hash = row.blob(1);
    record.consumer.id = row.text(2);
    record.consumer.name = row.text(3);
    record.created = from_seconds(row.integer(4));
    record.expires = from_seconds(row.optional_integer(5));
    record.revoked = from_seconds(row.optional_integer(6));
    if (const auto found = metadata.find(record.consumer.id); found != metadata.end()) {
      record.consumer.metadata = found->second;
    }
    // What others wrote into the file is checked like any input: it ends up in header fields.
    wrong = normalise(record.consumer);
    if (!is_key_id(record.key_id)) wrong = "a key id is malformed";
    if (hash.size() != record.hash.size()) wrong = "the hash of key " + record.key_id + " is malformed";
    if (!wrong.empty()) break;
    std::ranges::copy(hash, record.hash.begin());
    records.push_back(std::move(record));
  }
  row.finish();
  if (!wrong.empty()) {
    return fail(Code::store_unavailable, Side::gateway, "key database " + path_ + ": " + wrong);
  }
  if (outcome != SQLITE_DONE) return failure("cannot be read");
  return records;
}

Result<std::int64_t> KeyDatabase::version() const {
  Statement& statement = statements_->data_version.start();
  if (statement.step() != SQLITE_ROW) return failure("cannot be read");
  const std::int64_t version = statement.integer(0);
  statement.finish();
  return version;
}

void KeyDatabase::disown() noexcept { sqlite3_db_config(database_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr); }

Result<void> KeyDatabase::check() const {
  // With all pages still in the write-ahead log SQLite would not notice that the file itself was overwritten. Read
  // through SQLite's own handle: closing another one would drop its locks (fcntl(2)).
  sqlite3_file* file = nullptr;
  std::array<char, 16> magic{};
  constexpr std::string_view kMagic("SQLite format 3\0", 16);
  if (sqlite3_file_control(database_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) != SQLITE_OK ||
      file == nullptr || file->pMethods == nullptr ||
      file->pMethods->xRead(file, magic.data(), magic.size(), 0) != SQLITE_OK ||
      std::string_view(magic.data(), magic.size()) != kMagic) {
    return fail(Code::store_unavailable, Side::gateway, "key database " + path_ + ": is damaged: no SQLite header");
  }
  Statement statement;
  if (!statement.prepare(database_, "PRAGMA quick_check(1)")) return failure("cannot be read");
  if (statement.step() != SQLITE_ROW) return failure("cannot be read");
  if (const std::string verdict = statement.text(0); verdict != "ok") {
    return fail(Code::store_unavailable, Side::gateway, "key database " + path_ + ": is damaged: " + verdict);
  }
  return {};
}

}  // namespace postern::store
