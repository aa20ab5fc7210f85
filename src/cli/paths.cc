#include "cli/paths.h"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "config/config.h"
#include "config/issuer_section.h"
#include "config/units.h"
#include "config/yaml.h"
#include "tls/authority_store.h"

namespace postern::cli {
namespace {

void read(const config::Node& root, std::string_view section, std::string_view key, std::string& out) {
  const config::Node* const parent = section.empty() ? &root : root.find(section);
  const config::Node* const node = parent ? parent->find(key) : nullptr;
  if (node && node->is(config::Kind::string)) out = node->text();
}

// nullptr after reporting why.
std::shared_ptr<const config::Document> read_file(const std::string& config_file, config::Diagnostics& diagnostics) {
  const config::FileReader::Outcome content = config::DiskFileReader().read(config_file, config::kMaxFileBytes);
  if (content.content) return config::read_document(config_file, *content.content, diagnostics);
  diagnostics.error(config::Problem::unreadable, config::Position{}, "cannot read the file: " + content.problem,
                    "name a file that you may read with --config");
  return nullptr;
}

// What the schema would say about the section, in so far as a default would take its place.
void check_issuer(const config::Node& section, config::Diagnostics& diagnostics) {
  const auto refuse = [&](const config::Node& at) {
    diagnostics.error(config::Problem::bad_value, at, "this is not understood", "`postern check` says what is wrong");
  };
  const config::Node* const url = section.find("url");
  if (!url || !url->is(config::Kind::string)) refuse(url ? *url : section);
  const config::Node* const directory = section.find("directory");
  if (directory && !directory->text().starts_with('/')) refuse(*directory);
  if (const config::Node* const algorithms = section.find("algorithms")) {
    const auto unknown = [](const config::Node& item) { return !jose::algorithm_by_name(item.text()); };
    if (algorithms->items().empty() || std::ranges::any_of(algorithms->items(), unknown)) refuse(*algorithms);
  }
  const auto check_duration = [&](const config::Node* parent, std::string_view key) {
    const config::Node* const node = parent ? parent->find(key) : nullptr;
    if (node && !config::parse_duration(node->text())) refuse(*node);
  };
  const config::Node* const rotation = section.find("rotation");
  if (rotation && !rotation->is(config::Kind::mapping)) refuse(*rotation);
  check_duration(&section, "lifetime");
  for (const std::string_view key : {"period", "lead", "overlap"}) check_duration(rotation, key);
}

}  // namespace

bool find_paths(const std::string& config_file, ConfigPaths& out, config::Diagnostics& diagnostics) {
  const auto document = read_file(config_file, diagnostics);
  if (!document) return false;
  const config::DefaultPaths defaults = config::default_paths(config::ProcessEnvironment(), ::geteuid());
  const config::Node& root = document->root();
  out.admin_socket = defaults.admin_socket;
  read(root, "admin", "socket", out.admin_socket);
  std::string state = defaults.state_directory;
  read(root, "", "state_directory", state);
  out.key_database = config::default_key_database(state);
  read(root, "consumers", "database", out.key_database);
  out.authorities = tls::authority_directory(state);
  return true;
}

bool find_issuer(const std::string& config_file, config::IssuerConfig& out, config::Diagnostics& diagnostics) {
  const auto document = read_file(config_file, diagnostics);
  if (!document) return false;
  const config::Node& root = document->root();
  const config::Node* const section = root.find("issuer");
  if (!section || !section->is(config::Kind::mapping)) {
    diagnostics.error(config::Problem::missing_key, root,
                      "there is no section `issuer`, so the gateway signs no tokens",
                      "issuer: {url: https://HOST/PATH}");
    return false;
  }
  check_issuer(*section, diagnostics);
  std::string state = config::default_paths(config::ProcessEnvironment(), ::geteuid()).state_directory;
  read(root, "", "state_directory", state);
  if (!diagnostics.has_errors()) out = config::read_issuer_section(*section, state, diagnostics);
  return !diagnostics.has_errors();
}

}  // namespace postern::cli
