// Reading a configuration with everything this binary knows: the root schema, all policies, all identity methods.
#pragma once

#include <memory>
#include <string>

#include "config/config.h"
#include "config/diagnostics.h"
#include "config/schema.h"

namespace postern::gateway {

// The schema that validates, and that `postern schema` prints. An error is a bug of ours, found by any test.
[[nodiscard]] Result<config::Schema> full_schema();

// Reads `file` with the process's environment and credentials. nullptr if diagnostics has errors afterwards.
[[nodiscard]] std::shared_ptr<const config::Config> load_config_file(const std::string& file, WallTime now,
                                                                     config::Diagnostics& diagnostics);

}  // namespace postern::gateway
