// Where a configuration file has what other processes than the gateway need: the admin socket, the key database, the
// authorities. Read without judging the rest of the file: an expired exception somewhere else must not keep a key from
// being revoked, and a shell without the gateway's environment must be able to ask for a reload.
#pragma once

#include <string>

#include "config/config.h"
#include "config/diagnostics.h"

namespace postern::cli {

struct ConfigPaths {
  std::string admin_socket;
  std::string key_database;
  std::string authorities;  // directory
};

// False after reporting why: the file cannot be read, or is no YAML or JSON.
[[nodiscard]] bool find_paths(const std::string& config_file, ConfigPaths& out, config::Diagnostics& diagnostics);

// The issuer of a configuration file, read in the same way; its own section is judged. False after reporting why there
// is none.
[[nodiscard]] bool find_issuer(const std::string& config_file, config::IssuerConfig& out,
                               config::Diagnostics& diagnostics);

}  // namespace postern::cli
