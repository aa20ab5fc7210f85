#include "cli/paths.h"

#include <unistd.h>

#include "config/config.h"
#include "config/yaml.h"
#include "tls/authority_store.h"

namespace postern::cli {
namespace {

void read(const config::Node& root, std::string_view section, std::string_view key, std::string& out) {
  const config::Node* const parent = section.empty() ? &root : root.find(section);
  const config::Node* const node = parent ? parent->find(key) : nullptr;
  if (node && node->is(config::Kind::string)) out = node->text();
}

}  // namespace

bool find_paths(const std::string& config_file, ConfigPaths& out, config::Diagnostics& diagnostics) {
  const config::FileReader::Outcome content = config::DiskFileReader().read(config_file, config::kMaxFileBytes);
  if (!content.content) {
    diagnostics.error(config::Problem::unreadable, config::Position{}, "cannot read the file: " + content.problem,
                      "name a file that you may read with --config");
    return false;
  }
  const auto document = config::read_document(config_file, *content.content, diagnostics);
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

}  // namespace postern::cli
