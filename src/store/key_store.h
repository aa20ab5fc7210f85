// KeyStore: the consumers and keys that the gateway accepts, kept up to date from a SQLite database and a file of
// hashed keys (either may be absent), merged, and handed to all loops as an immutable KeyIndex.
//
// A thread of its own looks at both sources every Options::poll and publishes a new index when one has changed,
// whoever changed it: `postern keys revoke` in another process, an editor, a deployment.
//
// Fail closed. index() gives no index, and so nobody is let in, when
//   - a source cannot be read (missing, damaged, unreadable, not valid) and the last good look at both sources is older
//     than Options::max_stale. Within max_stale the last index serves: an editor that is just writing, or a busy lock,
//     is no fault;
//   - the store's thread itself has not finished a look for Options::max_silence (a hung disk).
// It recovers by itself with the first good look; nothing has to be restarted.
//
// Thread-safe. Readers pay for two atomic loads; the index itself is fetched again only when it changed.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/error.h"
#include "platform/clock.h"
#include "store/key_index.h"

namespace postern::store {

class KeyStore {
 public:
  struct Options {
    std::string database;  // path; "" none. Created if it is missing at the start, never later
    std::string file;      // path; "" none. Must exist
    Duration poll = std::chrono::milliseconds(250);  // zero: look only when refresh() is called (tests)
    Duration max_stale = std::chrono::seconds(1);
    Duration max_silence = std::chrono::seconds(5);  // not applied if poll is zero
  };

  // Reads both sources; fails if either cannot be read. `clock` outlives the store and is used by its thread.
  [[nodiscard]] static Result<std::unique_ptr<KeyStore>> open(Options options, const Clock& clock);
  KeyStore(const KeyStore&) = delete;
  KeyStore& operator=(const KeyStore&) = delete;
  ~KeyStore();

  // The index that counts now, or nullptr while the store is unavailable. Valid until this thread calls index() on this
  // store again: copy what outlives the look-up.
  [[nodiscard]] const KeyIndex* index() const [[clang::lifetimebound]];
  // The same, kept alive by the caller. Takes a lock: not for the request path.
  [[nodiscard]] std::shared_ptr<const KeyIndex> shared_index() const;

  struct Status {
    bool available = false;
    std::string problem;           // why the last look failed; "" if it did not
    std::uint64_t generation = 0;  // counts published indexes
    std::size_t keys = 0;
    MonoTime confirmed{};  // start of the last good look
  };
  [[nodiscard]] Status status() const;

  // Looks at the sources now, on the store's thread, and waits for the end of it. An Error says why it failed.
  Result<void> refresh();

  // For log, readiness and metrics: called on the thread that looked, after a look whose availability or problem
  // differs from the one before. Set it before loops start; it must not call refresh().
  void on_change(std::function<void(const Status&)> listener);

 private:
  class Sources;

  // One per reading thread, so that no two threads write the same cache line.
  struct alignas(64) Slot {
    std::uint64_t generation = 0;
    std::shared_ptr<const KeyIndex> index;
  };
  static constexpr std::size_t kSlots = 128;

  KeyStore(Options options, const Clock& clock);
  void run();
  [[nodiscard]] Result<void> look();
  [[nodiscard]] bool is_current() const noexcept;
  [[nodiscard]] const KeyIndex* read_slot(Slot& slot, std::uint64_t generation) const;
  void report(std::string problem);

  const Options options_;
  const Clock& clock_;
  std::unique_ptr<Sources> sources_;  // used by thread_ only, once it runs

  std::atomic<std::uint64_t> generation_{0};
  std::atomic<std::int64_t> confirmed_{0};  // MonoTime of the last good look
  std::atomic<std::int64_t> looked_{0};     // MonoTime of the end of the last look, good or not
  std::atomic<bool> failing_{false};
  mutable std::array<Slot, kSlots> slots_;  // each used by one thread only

  mutable std::mutex mutex_;
  std::shared_ptr<const KeyIndex> published_;  // guarded by mutex_, as is all below
  std::string problem_;
  std::function<void(const Status&)> listener_;
  bool available_ = false;                          // as last reported
  mutable std::map<std::size_t, Slot> more_slots_;  // for threads beyond kSlots
  bool stopping_ = false;
  std::deque<std::function<void()>> jobs_;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace postern::store
