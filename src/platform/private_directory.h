// Directories that hold the gateway's own state.
#pragma once

#include <filesystem>

#include "base/error.h"

namespace postern {

// Makes what is missing of `path`, for the owner only (0700); what exists stays as it is. Code::store_unavailable with
// a detail that names the directory and the reason.
[[nodiscard]] Result<void> make_private_directory(const std::filesystem::path& path);

}  // namespace postern
