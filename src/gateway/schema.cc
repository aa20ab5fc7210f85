#include "gateway/schema.h"

#include <unistd.h>

#include <vector>

#include "identity/catalog.h"
#include "policies/catalog.h"

namespace postern::gateway {
namespace {

constexpr std::size_t kMaxConfigBytes = 16 * 1024 * 1024;

}  // namespace

Result<config::Schema> full_schema() {
  std::vector<config::SchemaPart> parts(identity::schema_parts().begin(), identity::schema_parts().end());
  for (const policies::CatalogEntry& entry : policies::catalog()) parts.push_back({"policy", entry.name, entry.schema});
  return config::compile_schema(config::root_schema_text(), parts);
}

std::shared_ptr<const config::Config> load_config_file(const std::string& file, WallTime now,
                                                       config::Diagnostics& diagnostics) {
  const config::DiskFileReader files;
  const config::FileReader::Outcome read = files.read(file, kMaxConfigBytes);
  if (!read.content) {
    diagnostics.error(config::Problem::unreadable, config::Position{}, "cannot read the file: " + read.problem);
    return nullptr;
  }
  const Result<config::Schema> schema = full_schema();
  if (!schema) {
    diagnostics.error(config::Problem::unreadable, config::Position{},
                      "the built-in schema is broken: " + std::string(schema.error().detail()));
    return nullptr;
  }
  const config::ProcessEnvironment environment;
  config::LoadInput input{.file = file,
                          .text = *read.content,
                          .schema = *schema,
                          .secrets = {environment, files},
                          .now = now,
                          .paths = config::default_paths(environment, ::geteuid()),
                          .authenticating_policies = {}};
  for (const policies::CatalogEntry& entry : policies::catalog()) {
    if (entry.authenticates == policies::Authenticates::yes) input.authenticating_policies.emplace_back(entry.name);
  }
  return config::load(input, diagnostics);
}

}  // namespace postern::gateway
