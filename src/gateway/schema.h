// Reading a configuration with everything this binary knows: the root schema, all policies, all identity methods.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "config/config.h"
#include "config/diagnostics.h"
#include "config/schema.h"

namespace postern::gateway {

// The schema that validates, and that `postern schema` prints. An error is a bug of ours, found by any test.
[[nodiscard]] Result<config::Schema> full_schema();

// The whole file. nullopt after reporting why it cannot be read.
[[nodiscard]] std::optional<std::string> read_config_text(const std::string& file, config::Diagnostics& diagnostics);

// What a load takes for granted; see config::LoadInput.
struct LoadRules {
  config::ExpiredException expired = config::ExpiredException::error;
  config::OutdatedCertificate outdated = config::OutdatedCertificate::error;
  const config::Config* in_force = nullptr;
  std::string* kept = nullptr;
};
// Reads `text`, which came from `file`, with the process's environment and the secrets and certificates that `files`
// finds. nullptr if diagnostics has errors afterwards.
[[nodiscard]] std::shared_ptr<const config::Config> load_config(const std::string& file, std::string_view text,
                                                                const config::FileReader& files, WallTime now,
                                                                config::Diagnostics& diagnostics,
                                                                const LoadRules& rules);

// True if a policy asks for a key: only then is there a key store.
[[nodiscard]] bool identifies_consumers(const config::Config& config);

}  // namespace postern::gateway
