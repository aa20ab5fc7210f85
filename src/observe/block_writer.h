// BlockWriter: one thread that writes blocks of text to a file or pipe, so that no loop ever waits for a disk. Loops
// take an empty block, fill it, and submit it. The number of blocks is bounded: when all are in use, acquire() gives
// none and the caller drops and counts.
//
// Any thread may call anything. What was submitted before the destructor is written by it, within Options::stop_limit.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "observe/block_queue.h"
#include "platform/clock.h"

namespace postern::observe {

class Log;

struct Block {
  static constexpr std::size_t kBytes = 64 * 1024;
  std::size_t used = 0;
  std::uint32_t lines = 0;
  char bytes[kBytes];
  [[nodiscard]] std::size_t room() const noexcept { return kBytes - used; }
};

class BlockWriter final {
 public:
  enum class Sink : std::uint8_t { standard_output, standard_error, file };
  struct Options {
    Sink sink = Sink::standard_output;
    std::string path;                               // Sink::file; made with mode 0640 if missing, appended to
    std::size_t max_blocks = 64;                    // of 64 KiB
    Duration stop_limit = std::chrono::seconds(2);  // for a reader that has stopped reading
  };
  // Opens the sink and starts the thread. io_failed says why not. `log` gets write errors, and outlives this.
  [[nodiscard]] static Result<std::unique_ptr<BlockWriter>> start(const Options& options, Log& log);
  BlockWriter(const BlockWriter&) = delete;
  BlockWriter& operator=(const BlockWriter&) = delete;
  // No block may be in a caller's hands any more.
  ~BlockWriter();

  // An empty block, or nullptr if all are in use or memory is short.
  [[nodiscard]] std::unique_ptr<Block> acquire() noexcept;
  // Hands it over for writing.
  void submit(std::unique_ptr<Block> block) noexcept;
  // Back unused.
  void give_back(std::unique_ptr<Block> block) noexcept;

  // Opens the path again, before the next block is written, as log rotation wants. If that fails, the old file stays in
  // use. Nothing to do for standard output and error. Async-signal-safe.
  void reopen() noexcept;

  void count_dropped(std::uint64_t lines) noexcept { dropped_.fetch_add(lines, std::memory_order_relaxed); }
  // Lines lost: no block was free, or writing failed.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t write_errors() const noexcept { return write_errors_.load(std::memory_order_acquire); }
  // How often the path was opened again with success.
  [[nodiscard]] std::uint64_t reopened() const noexcept { return reopened_.load(std::memory_order_relaxed); }

 private:
  BlockWriter(const Options& options, Log& log);
  [[nodiscard]] Result<void> open_sink();
  // Below: writer thread only.
  void run() noexcept;
  void reopen_now() noexcept;
  void write(const Block& block) noexcept;
  [[nodiscard]] int write_all(std::string_view bytes) noexcept;  // 0 or an errno
  [[nodiscard]] bool wait_writable() noexcept;
  void wake() noexcept;

  const Options options_;
  Log& log_;
  int fd_ = -1;
  int wake_fd_ = -1;       // eventfd
  std::size_t chunk_ = 0;  // bytes per write(2) that cannot block once the sink polls writable
  bool failing_ = false;   // the error was reported; say so when it is over
  BlockQueue<Block> free_;
  BlockQueue<Block> full_;
  std::atomic<std::size_t> allocated_{0};
  std::atomic<bool> reopen_requested_{false};
  std::atomic<bool> stop_requested_{false};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> write_errors_{0};
  std::atomic<std::uint64_t> reopened_{0};
  std::chrono::steady_clock::time_point stop_deadline_;  // written before stop_requested_
  std::thread thread_;
};

}  // namespace postern::observe
