#include "platform/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace postern {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }
  // False if what was written may be lost.
  bool close() noexcept { return fd_ < 0 || ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

std::unexpected<Error> failed(const std::string& path, std::string_view what) {
  return fail(Code::io_failed, Side::gateway, path + ": " + std::string(what));
}
std::unexpected<Error> failed(const std::string& path, int error) {
  return failed(path, std::generic_category().message(error));
}

// False with errno.
bool write_all(int fd, std::string_view content) noexcept {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

// What has happened to the names in the directory of `path` is on disk afterwards.
Result<void> sync_directory_of(const std::string& path) {
  std::string parent = std::filesystem::path(path).parent_path().string();
  if (parent.empty()) parent = ".";
  const Descriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0 || ::fsync(directory.get()) != 0) return failed(parent, errno);
  return {};
}

}  // namespace

Result<std::optional<WholeFile>> read_whole_file(const std::string& path, std::size_t max_bytes) {
  // O_NONBLOCK: a FIFO under that name must not stop us.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    if (errno == ENOENT) return std::nullopt;
    return failed(path, errno);
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return failed(path, errno);
  if (!S_ISREG(status.st_mode)) return failed(path, "not a regular file");
  if (static_cast<std::uintmax_t>(status.st_size) > max_bytes) {
    return failed(path, "larger than " + std::to_string(max_bytes) + " bytes");
  }
  // One byte more than there should be, to see that it has not grown. Never larger, so that nothing is moved.
  WholeFile out{std::string(static_cast<std::size_t>(status.st_size) + 1, '\0'), status.st_mode & 07777U};
  std::size_t used = 0;
  while (used < out.content.size()) {
    const ssize_t n = ::read(file.get(), out.content.data() + used, out.content.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (n < 0) return failed(path, errno);
      break;
    }
    used += static_cast<std::size_t>(n);
  }
  if (used == out.content.size()) return failed(path, "somebody is writing it");
  out.content.resize(used);
  return out;
}

Result<void> write_whole_file(const std::string& path, std::string_view content, std::uint32_t mode,
                              Existing existing) {
  std::string fresh = path + ".XXXXXX";
  Descriptor file(::mkostemp(fresh.data(), O_CLOEXEC));  // mode 0600 until it is complete
  if (file.get() < 0) return failed(path, errno);
  bool done =
      write_all(file.get(), content) && ::fchmod(file.get(), mode) == 0 && ::fsync(file.get()) == 0 && file.close();
  if (done && existing == Existing::refuse) {
    done = ::link(fresh.c_str(), path.c_str()) == 0;
    const int error = errno;
    ::unlink(fresh.c_str());
    if (!done) return failed(path, error);
  } else if (done) {
    done = ::rename(fresh.c_str(), path.c_str()) == 0;
  }
  if (!done) {
    const int error = errno;
    ::unlink(fresh.c_str());
    return failed(path, error);
  }
  return sync_directory_of(path);
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0) return sync_directory_of(path);
  if (errno == ENOENT) return {};
  return failed(path, errno);
}

}  // namespace postern
