// DirectoryLock: several processes take turns in one directory of the gateway's own state (flock on its file "lock").
// Released when it is destroyed, and by the kernel when the process ends. Synchronous: for the start of the process and
// the command line, not for a loop.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/error.h"
#include "platform/clock.h"

namespace postern {

// Held until destroyed. Readers may hold it together; who changes something holds it alone and leaves a note in the
// file meanwhile, for whoever waits in vain.
class DirectoryLock {
 public:
  enum class Mode : std::uint8_t { read, change };

  // Waits for at most `max_wait`. The directory exists; Mode::change makes the file. A directory without the file that
  // is only read counts as locked: nobody has ever changed it with a lock, it is a mounted copy. Errors:
  // Code::io_failed, Side::gateway, with the path of the file and who has it.
  [[nodiscard]] static Result<DirectoryLock> take(const std::string& directory, Mode mode, Duration max_wait);
  ~DirectoryLock();
  DirectoryLock(DirectoryLock&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), noted_(std::exchange(other.noted_, false)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;

 private:
  explicit DirectoryLock(int fd) noexcept : fd_(fd) {}
  void leave_note();
  int fd_;  // -1: there is no file, or moved from
  bool noted_ = false;
};

}  // namespace postern
