#include "platform/private_directory.h"

#include <sys/stat.h>

#include <cerrno>
#include <system_error>

namespace postern {

Result<void> make_private_directory(const std::filesystem::path& path) {
  std::filesystem::path partial;
  for (const std::filesystem::path& part : path) {
    partial /= part;
    if (::mkdir(partial.c_str(), 0700) == 0 || errno == EEXIST) continue;
    // A directory above that may not be written, but is there, is no obstacle.
    const int error = errno;
    if (std::error_code ignored; std::filesystem::is_directory(partial, ignored)) continue;
    return fail(Code::store_unavailable, Side::gateway,
                partial.string() + ": cannot make the directory: " + std::generic_category().message(error));
  }
  return {};
}

}  // namespace postern
