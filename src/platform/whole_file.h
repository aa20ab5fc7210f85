// Small files, read and written as a whole. Synchronous: for the start of the process and the command line, not for a
// loop. Errors are Code::io_failed, Side::gateway, with the path and the reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace postern {

struct WholeFile {
  std::string content;
  std::uint32_t mode = 0;  // permission bits
};

// nullopt if there is no such file. Anything but a regular file of at most `max_bytes` is an error. Symbolic links are
// followed: mounted secrets are some. No copy of the content is left behind on the heap.
[[nodiscard]] Result<std::optional<WholeFile>> read_whole_file(const std::string& path, std::size_t max_bytes);

// What is in the way of a new file: it takes its place, or is an error.
enum class Existing : std::uint8_t { replace, refuse };

// Whoever reads `path` sees the old content or the new one, even if the machine stops meanwhile: a new file in the same
// directory, written to disk, takes its name. `mode` counts as it is, whatever the umask.
[[nodiscard]] Result<void> write_whole_file(const std::string& path, std::string_view content, std::uint32_t mode,
                                            Existing existing = Existing::replace);

// Removes a file for good: it does not come back if the machine stops. One that is not there is no error.
[[nodiscard]] Result<void> remove_file(const std::string& path);

}  // namespace postern
