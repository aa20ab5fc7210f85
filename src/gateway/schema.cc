#include "gateway/schema.h"

#include <unistd.h>

#include <algorithm>
#include <vector>

#include "config/yaml.h"
#include "identity/catalog.h"
#include "policies/catalog.h"

namespace postern::gateway {
Result<config::Schema> full_schema() {
  std::vector<config::SchemaPart> parts = identity::schema_parts();
  for (const config::SchemaPart& part : policies::schema_parts()) parts.push_back(part);
  return config::compile_schema(config::root_schema_text(), parts);
}

std::optional<std::string> read_config_text(const std::string& file, config::Diagnostics& diagnostics) {
  config::FileReader::Outcome read = config::DiskFileReader().read(file, config::kMaxFileBytes);
  if (!read.content) {
    diagnostics.error(config::Problem::unreadable, config::Position{}, "cannot read the file: " + read.problem,
                      "name a file that the user of the gateway may read with --config");
  }
  return std::move(read.content);
}

std::shared_ptr<const config::Config> load_config(const std::string& file, std::string_view text,
                                                  const config::FileReader& files, WallTime now,
                                                  config::Diagnostics& diagnostics, const LoadRules& rules) {
  const Result<config::Schema> schema = full_schema();
  if (!schema) {
    diagnostics.error(config::Problem::unreadable, config::Position{},
                      "the built-in schema is broken: " + std::string(schema.error().detail()));
    return nullptr;
  }
  const config::ProcessEnvironment environment;
  const config::LoadInput input{.file = file,
                                .text = text,
                                .schema = *schema,
                                .secrets = {environment, files},
                                .now = now,
                                .paths = config::default_paths(environment, ::geteuid()),
                                .authenticating_policies = policies::authenticating_policies(),
                                .identity_methods = identity::traits(),
                                .expired = rules.expired,
                                .outdated = rules.outdated,
                                .in_force = rules.in_force,
                                .kept = rules.kept};
  return config::load(input, diagnostics);
}

bool identifies_consumers(const config::Config& config) {
  const auto any = [&](const std::vector<config::PolicyUse>& uses) {
    return std::ranges::any_of(uses, [](const config::PolicyUse& use) {
      const policies::CatalogEntry* const entry = policies::find_policy(use.name);
      return entry && entry->authenticates == policies::Authenticates::by_key;
    });
  };
  return any(config.policies) || std::ranges::any_of(config.origins, any, &config::OriginConfig::policies) ||
         std::ranges::any_of(config.routes, any, &config::RouteConfig::policies);
}

}  // namespace postern::gateway
