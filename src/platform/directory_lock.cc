#include "platform/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/strings.h"

namespace postern {
namespace {

constexpr std::size_t kMaxNote = 256;
constexpr auto kPoll = std::chrono::milliseconds(20);

std::unexpected<Error> refused(const std::string& path, std::string_view what) {
  return fail(Code::io_failed, Side::gateway, path + ": " + std::string(what));
}
std::unexpected<Error> refused(const std::string& path, int error) {
  return refused(path, std::generic_category().message(error));
}

}  // namespace

DirectoryLock::~DirectoryLock() {
  if (fd_ < 0) return;
  if (noted_) static_cast<void>(::ftruncate(fd_, 0));
  ::close(fd_);
}

Result<DirectoryLock> DirectoryLock::take(const std::string& directory, Mode mode, Duration max_wait) {
  const std::string path = directory + "/lock";
  const bool change = mode == Mode::change;
  DirectoryLock lock(::open(path.c_str(), (change ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock.fd_ < 0 && errno == ENOENT && !change) return lock;
  if (lock.fd_ < 0) return refused(path, errno);
  for (Duration waited{};; waited += kPoll) {
    if (::flock(lock.fd_, (change ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) break;
    if (errno != EWOULDBLOCK && errno != EINTR) return refused(path, errno);
    if (waited >= max_wait) {
      std::array<char, kMaxNote> note{};
      const ssize_t n = ::pread(lock.fd_, note.data(), note.size(), 0);
      const std::string_view who(note.data(), static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
      return refused(path, "another process holds it" +
                               (who.empty() ? std::string() : ": " + visible(trim_ows(who.substr(0, who.find('\n'))))) +
                               "; see whether it hangs, a lock is free when its process has ended");
    }
    std::this_thread::sleep_for(kPoll);
  }
  if (change) lock.leave_note();
  return lock;
}

// Nothing depends on it.
void DirectoryLock::leave_note() {
  std::array<char, 128> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  const std::string note = "process " + std::to_string(::getpid()) + " on " + host.data() + "\n";
  noted_ = ::ftruncate(fd_, 0) == 0 && ::pwrite(fd_, note.data(), note.size(), 0) > 0;
}

}  // namespace postern
