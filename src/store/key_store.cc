#include "store/key_store.h"

#include <pthread.h>
#include <signal.h>

#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "store/key_database.h"
#include "store/key_file.h"

namespace postern::store {
namespace {

std::int64_t ticks(MonoTime time) noexcept { return time.time_since_epoch().count(); }

// A small number of its own for every thread that reads a store. Never reused: a slot has one writer for ever.
std::size_t thread_number() noexcept {
  static std::atomic<std::size_t> next{0};
  thread_local std::size_t number = 0;  // 0: none yet
  if (number == 0) number = next.fetch_add(1, std::memory_order_relaxed) + 1;
  return number - 1;
}

// The keys of the database as they were last read.
class DatabaseSource {
 public:
  explicit DatabaseSource(std::string path) : path_(std::move(path)) {}

  // True if records() changed.
  Result<bool> refresh(KeyDatabase::Missing missing) {
    auto changed = try_refresh(missing);
    // Nothing that belongs to a failed look is trusted in the next one.
    if (!changed) close();
    return changed;
  }
  [[nodiscard]] const std::vector<KeyRecord>& records() const noexcept { return records_; }

 private:
  Result<bool> try_refresh(KeyDatabase::Missing missing) {
    if (database_) {
      auto stamp = stamp_of(path_);
      if (!stamp) return std::unexpected(std::move(stamp.error()));
      // A checkpoint, or somebody who wrote into the file, or put another one in its place: SQLite would go on with
      // the pages that it holds in memory.
      if (*stamp != stamp_) close();
    }
    if (!database_) return open(missing);
    auto version = database_->version();
    if (!version) return std::unexpected(std::move(version.error()));
    if (*version == version_) return false;
    return read(*version);
  }

  Result<bool> open(KeyDatabase::Missing missing) {
    auto database = KeyDatabase::open(path_, missing);
    if (!database) return std::unexpected(std::move(database.error()));
    database_ = std::move(*database);
    // In this order: what changes after the stamp or the version is found by the next look.
    auto stamp = stamp_of(path_);
    if (!stamp) return std::unexpected(std::move(stamp.error()));
    stamp_ = *stamp;
    if (auto sound = database_->check(); !sound) return std::unexpected(std::move(sound.error()));
    auto version = database_->version();
    if (!version) return std::unexpected(std::move(version.error()));
    return read(*version);
  }

  Result<bool> read(std::int64_t version) {
    auto records = database_->list();
    if (!records) return std::unexpected(std::move(records.error()));
    records_ = std::move(*records);
    version_ = version;
    return true;
  }

  // What is on the disk may be somebody's evidence, or the work of another process: nothing is tidied up in it. Only
  // the destructor, after a good look, closes in SQLite's ordinary way, so that the file is complete without its log.
  void close() {
    if (database_) database_->disown();
    database_.reset();
  }

  std::string path_;
  std::unique_ptr<KeyDatabase> database_;
  FileStamp stamp_;
  std::int64_t version_ = 0;
  std::vector<KeyRecord> records_;
};

}  // namespace

class KeyStore::Sources {
 public:
  explicit Sources(const Options& options) {
    if (!options.database.empty()) database_.emplace(options.database);
    if (!options.file.empty()) file_.emplace(options.file);
  }

  // A new index if anything changed, nullptr if not.
  Result<std::shared_ptr<const KeyIndex>> refresh(WallTime now, KeyDatabase::Missing missing) {
    if (database_) {
      auto changed = database_->refresh(missing);
      if (!changed) return std::unexpected(std::move(changed.error()));
      stale_ |= *changed;
    }
    if (file_) {
      auto change = file_->refresh(now);
      if (!change) return std::unexpected(std::move(change.error()));
      stale_ |= *change == KeyFile::Change::read;
    }
    if (!stale_) return nullptr;
    std::vector<KeyRecord> records;
    if (database_) records = database_->records();
    if (file_) records.insert(records.end(), file_->records().begin(), file_->records().end());
    auto index = KeyIndex::build(std::move(records));
    if (index) stale_ = false;
    return index;
  }

 private:
  std::optional<DatabaseSource> database_;
  std::optional<KeyFile> file_;
  bool stale_ = true;  // the records are newer than the last index
};

KeyStore::KeyStore(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock), sources_(std::make_unique<Sources>(options_)) {}

Result<std::unique_ptr<KeyStore>> KeyStore::open(Options options, const Clock& clock) {
  std::unique_ptr<KeyStore> store(new KeyStore(std::move(options), clock));
  const MonoTime start = clock.now();
  auto index = store->sources_->refresh(clock.wall(), KeyDatabase::Missing::create);
  if (!index) return std::unexpected(std::move(index.error()));
  store->published_ = std::move(*index);
  store->generation_ = 1;
  store->confirmed_ = ticks(start);
  store->looked_ = ticks(clock.now());
  store->available_ = true;

  // Signals belong to the thread that waits for them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  store->thread_ = std::thread([raw = store.get()] { raw->run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return store;
}

KeyStore::~KeyStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool KeyStore::is_current() const noexcept {
  const bool failing = failing_.load(std::memory_order_acquire);
  const bool silent_counts = options_.poll > Duration::zero();
  if (!failing && !silent_counts) return true;
  const std::int64_t now = ticks(clock_.now());
  if (failing && now - confirmed_.load(std::memory_order_acquire) > options_.max_stale.count()) return false;
  return !silent_counts || now - looked_.load(std::memory_order_acquire) <= options_.max_silence.count();
}

const KeyIndex* KeyStore::read_slot(Slot& slot, std::uint64_t generation) const {
  if (slot.generation != generation) {
    slot.index = shared_index();
    // The index may be newer than `generation`: then the next call fetches it once more.
    slot.generation = generation;
  }
  return slot.index.get();
}

const KeyIndex* KeyStore::index() const {
  if (!is_current()) return nullptr;
  const std::uint64_t generation = generation_.load(std::memory_order_acquire);
  const std::size_t number = thread_number();
  if (number < kSlots) return read_slot(slots_[number], generation);
  Slot* slot = nullptr;
  {
    const std::lock_guard lock(mutex_);
    slot = &more_slots_[number];
  }
  return read_slot(*slot, generation);
}

std::shared_ptr<const KeyIndex> KeyStore::shared_index() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

KeyStore::Status KeyStore::status() const {
  Status status;
  status.available = is_current();
  status.generation = generation_.load(std::memory_order_acquire);
  status.confirmed = MonoTime(Duration(confirmed_.load(std::memory_order_acquire)));
  const std::lock_guard lock(mutex_);
  status.problem = problem_;
  status.keys = published_->size();
  return status;
}

void KeyStore::on_change(std::function<void(const Status&)> listener) {
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

Result<void> KeyStore::refresh() {
  // Shared: set_value() still works on the promise when the waiter already runs.
  auto promise = std::make_shared<std::promise<Result<void>>>();
  std::future<Result<void>> done = promise->get_future();
  {
    const std::lock_guard lock(mutex_);
    jobs_.emplace_back([this, promise] { promise->set_value(look()); });
  }
  wake_.notify_one();
  return done.get();
}

void KeyStore::run() {
  pthread_setname_np(pthread_self(), "postern-store");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto awake = [this] { return stopping_ || !jobs_.empty(); };
    if (options_.poll > Duration::zero()) {
      wake_.wait_for(lock, options_.poll, awake);
    } else {
      wake_.wait(lock, awake);
    }
    if (stopping_) break;
    std::function<void()> job;
    if (!jobs_.empty()) {
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    lock.unlock();
    if (job) {
      job();
    } else {
      static_cast<void>(look());  // what went wrong is in status()
    }
    lock.lock();
  }
}

Result<void> KeyStore::look() {
  const MonoTime start = clock_.now();
  auto index = sources_->refresh(clock_.wall(), KeyDatabase::Missing::fail);
  if (!index) {
    failing_.store(true, std::memory_order_release);
    looked_.store(ticks(clock_.now()), std::memory_order_release);
    report(std::string(index.error().detail()));
    return std::unexpected(std::move(index.error()));
  }
  if (*index) {
    const std::lock_guard lock(mutex_);
    published_ = std::move(*index);
    generation_.fetch_add(1, std::memory_order_release);
  }
  confirmed_.store(ticks(start), std::memory_order_release);
  failing_.store(false, std::memory_order_release);
  looked_.store(ticks(clock_.now()), std::memory_order_release);
  report({});
  return {};
}

void KeyStore::report(std::string problem) {
  const bool available = is_current();
  std::function<void(const Status&)> listener;
  {
    const std::lock_guard lock(mutex_);
    if (available == available_ && problem == problem_) return;
    available_ = available;
    problem_ = std::move(problem);
    listener = listener_;
  }
  if (listener) listener(status());
}

}  // namespace postern::store
