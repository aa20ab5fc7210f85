#include "policies/path_prefix.h"

#include <string>

#include "base/arena.h"
#include "config/diagnostics.h"
#include "config/node.h"
#include "http/target.h"

namespace postern::policies {

std::string_view without_prefix(std::string_view path, std::string_view prefix) noexcept {
  if (prefix.empty() || !path.starts_with(prefix)) return path;
  const std::string_view rest = path.substr(prefix.size());
  return rest.empty() || rest.starts_with('/') ? rest : path;
}

bool check_path_prefix(const config::Node& node, config::Diagnostics& diagnostics) {
  const std::string_view text = node.text();
  Arena arena;
  const auto canonical = http::canonicalize_path(text, arena);
  if (canonical && *canonical == text && text.size() > 1 && !text.ends_with('/')) return true;
  diagnostics.error(config::Problem::policy_option, node, config::printable(text) + " is no prefix of a canonical path",
                    "write it as /a/b, without a slash at the end");
  return false;
}

}  // namespace postern::policies
