#include "config/config.h"

#include <algorithm>

#include "base/strings.h"
#include "config/builder.h"
#include "config/diagnostics.h"
#include "config/schema.h"
#include "config/yaml.h"
#include "http/headers.h"

namespace postern::config {
namespace {

std::string from_environment(const Environment& environment, std::string_view name) {
  std::optional<std::string> value = environment.get(name);
  return value && value->starts_with('/') ? std::move(*value) : std::string();
}

bool dropped(const Without& without, const PolicyUse& use) {
  return std::find(without.names.begin(), without.names.end(), use.name) != without.names.end();
}

}  // namespace

DefaultPaths default_paths(const Environment& environment, unsigned user_id) {
  DefaultPaths paths;
  // systemd gives these to a service with RuntimeDirectory= and StateDirectory=; several directories stand with ':'.
  const std::string runtime = from_environment(environment, "RUNTIME_DIRECTORY");
  const std::string state = from_environment(environment, "STATE_DIRECTORY");
  if (!state.empty()) {
    paths.state_directory = state.substr(0, state.find(':'));
  } else if (user_id != 0) {
    const std::string xdg = from_environment(environment, "XDG_STATE_HOME");
    const std::string home = from_environment(environment, "HOME");
    if (!xdg.empty()) {
      paths.state_directory = xdg + "/postern";
    } else if (!home.empty()) {
      paths.state_directory = home + "/.local/state/postern";
    }
  }
  if (!runtime.empty()) {
    paths.admin_socket = runtime.substr(0, runtime.find(':')) + "/admin.sock";
  } else if (user_id != 0) {
    const std::string xdg = from_environment(environment, "XDG_RUNTIME_DIR");
    paths.admin_socket = xdg.empty() ? paths.state_directory + "/admin.sock" : xdg + "/postern/admin.sock";
  }
  return paths;
}

std::string default_key_database(const std::string& state_directory) { return state_directory + "/postern.db"; }

std::shared_ptr<const Config> load(const LoadInput& input, Diagnostics& diagnostics) {
  const std::size_t errors_before = diagnostics.errors();
  const std::shared_ptr<Document> document = read_document(input.file, input.text, diagnostics);
  if (!document) return nullptr;
  diagnostics.set_root(&document->root());
  input.schema.validate(document->root(), diagnostics);
  auto config = std::make_shared<Config>();
  config->document = document;
  Builder(input, *document, diagnostics, *config).build();
  if (diagnostics.errors() == errors_before) check_whole(input, *config, diagnostics);
  if (diagnostics.errors() == errors_before) return config;
  diagnostics.set_root(nullptr);  // the tree goes now
  return nullptr;
}

std::vector<const PolicyUse*> effective_policies(const Config& config, const RouteConfig& route) {
  std::vector<const PolicyUse*> out;
  const OriginConfig* const origin = route.origin.empty() ? nullptr : &config.origins[route.origin_index];
  for (const PolicyUse& use : config.policies) {
    if ((!origin || !dropped(origin->without, use)) && !dropped(route.without, use)) out.push_back(&use);
  }
  if (origin) {
    for (const PolicyUse& use : origin->policies) {
      if (!dropped(route.without, use)) out.push_back(&use);
    }
  }
  for (const PolicyUse& use : route.policies) out.push_back(&use);
  if (route.answer) out.push_back(&*route.answer);
  return out;
}

std::vector<std::string> reserved_headers(const Config& config) {
  std::vector<std::string> names;
  for (const OriginConfig& origin : config.origins) {
    for (const IdentityUse& use : origin.identity) {
      for (const std::string_view name : headers_of(use)) names.push_back(fold_header_name(name));
    }
    if (origin.forward_authorization) names.emplace_back("x-forwarded-authorization");
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::vector<std::string_view> headers_of(const IdentityUse& use) {
  if (const auto* const shared = std::get_if<SharedSecretConfig>(&use.config)) return {shared->header};
  const auto* const method = std::get_if<MethodConfig>(&use.config);
  return method ? std::vector<std::string_view>(method->headers.begin(), method->headers.end())
                : std::vector<std::string_view>();
}

const Secret* MethodConfig::secret(std::string_view key) const noexcept {
  const auto at = secrets.find(options->find(key));
  return at == secrets.end() ? nullptr : &at->second;
}

bool MethodConfig::same_as(const MethodConfig& other) const noexcept {
  // The same keys in another order are the same options only to people: a reload then makes new connections, no more.
  const auto same = [&](const auto& self, const Node& a, const Node& b) -> bool {
    if (a.kind() != b.kind() || a.text() != b.text()) return false;
    const auto mine = secrets.find(&a);
    const auto its = other.secrets.find(&b);
    if ((mine == secrets.end()) != (its == other.secrets.end())) return false;
    if (mine != secrets.end() && !mine->second.equals(its->second)) return false;
    return std::ranges::equal(a.items(), b.items(), [&](const Node& x, const Node& y) { return self(self, x, y); }) &&
           std::ranges::equal(a.entries(), b.entries(), [&](const Entry& x, const Entry& y) {
             return x.key == y.key && self(self, x.value, y.value);
           });
  };
  return headers == other.headers && same(same, *options, *other.options);
}

std::string fold_header_name(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = http::fold_name_byte(c);
  return out;
}

}  // namespace postern::config
