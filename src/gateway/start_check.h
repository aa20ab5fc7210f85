// What a start needs from the file system: directories to create files in, a key database and a file of keys that can
// be read. Looked at without creating, locking or changing anything, by the rules of the user that asks.
#pragma once

#include "config/config.h"
#include "config/diagnostics.h"

namespace postern::gateway {

// Reports what would stop a start with `config`; its tree must be the root of `diagnostics`.
void check_start(const config::Config& config, config::Diagnostics& diagnostics);

}  // namespace postern::gateway
