#include "config/credentials.h"

#include <algorithm>
#include <array>

#include "config/config.h"
#include "config/diagnostics.h"

namespace postern::config {
namespace {

void warn_of_fields(const Node* fields, Diagnostics& diagnostics) {
  if (!fields) return;
  for (const Entry& entry : fields->entries()) {
    if (!is_literal_credential(entry.key, entry.value)) continue;
    diagnostics.warning(Problem::secret_literal, entry.value,
                        printable(entry.key) + " looks like a credential, and its value is written out here",
                        "if it is one, make it a `shared_secret` in `identity` of the origin, with the value "
                        "\"${env:NAME}\" or \"${file:/path}\"");
  }
}

void warn_of_policies(const std::vector<PolicyUse>& policies, Diagnostics& diagnostics) {
  for (const PolicyUse& use : policies) {
    if (use.name != "request_headers") continue;
    warn_of_fields(use.options->find("set"), diagnostics);
    warn_of_fields(use.options->find("add"), diagnostics);
  }
}

}  // namespace

bool names_credential(std::string_view name) {
  const std::string folded = fold_header_name(name);
  if (folded == "authorization" || folded == "cookie" || folded == "apikey" || folded.ends_with("-key")) return true;
  constexpr std::array<std::string_view, 5> kWords = {"secret", "token", "password", "credential", "api-key"};
  return std::ranges::any_of(kWords, [&](std::string_view word) { return folded.contains(word); });
}

bool is_literal_credential(std::string_view name, const Node& value) {
  if (!value.is(Kind::string) || !names_credential(name)) return false;
  return !value.text().starts_with("${") || !value.text().ends_with("}");
}

void warn_of_literal_credentials(const Config& config, Diagnostics& diagnostics) {
  warn_of_policies(config.policies, diagnostics);
  for (const OriginConfig& origin : config.origins) warn_of_policies(origin.policies, diagnostics);
  for (const RouteConfig& route : config.routes) warn_of_policies(route.policies, diagnostics);
}

}  // namespace postern::config
