// What can be judged only when the whole configuration is known. Runs only on a file without errors so far, so that one
// mistyped name does not bring ten consequences.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/ip.h"
#include "config/builder.h"
#include "config/credentials.h"
#include "config/formats.h"
#include "config/units.h"

namespace postern::config {
namespace {

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_loopback(const Address& address) {
  if (address.kind == Address::Kind::unix_socket) return true;
  if (is_ipv4(address.host)) return address.host.starts_with("127.");
  return address.host == "::1" || address.host == "localhost";
}

class Checks {
 public:
  Checks(const LoadInput& input, Config& config, Diagnostics& diagnostics)
      : input_(input),
        config_(config),
        diagnostics_(diagnostics),
        root_(config.document->root()),
        reserved_(reserved_headers(config)) {}

  void run() {
    check_listeners();
    check_client_certificates();
    check_body_limits();
    const Node* const origins = root_.find("origins");
    for (std::size_t i = 0; i < config_.origins.size(); ++i) {
      by_name_.emplace(config_.origins[i].name, i);
      check_origin(config_.origins[i], origins->entries()[i].value);
    }
    check_shared_secrets(origins);
    const Node* const routes = root_.find("routes");
    std::unordered_set<std::size_t> used;
    for (std::size_t i = 0; i < config_.routes.size(); ++i) {
      RouteConfig& route = config_.routes[i];
      const Node& node = routes->items()[i];
      if (!check_target(route, node)) continue;
      if (!route.origin.empty()) used.insert(route.origin_index);
      check_answers(route, node);
      check_access(route, node);
      check_duplicate(route, node, i);
      check_shadowed(route, node);
    }
    for (std::size_t i = 0; i < config_.origins.size(); ++i) {
      if (used.contains(i)) continue;
      diagnostics_.warning(Problem::unused_origin, origins->entries()[i].value, "no route leads to this origin",
                           "add a route, or remove the origin");
    }
  }

 private:
  void check_listeners() {
    std::unordered_set<std::string_view> seen;
    const Node* const listeners = root_.find("listeners");
    for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
      if (seen.insert(config_.listeners[i].address.text).second) continue;
      diagnostics_.error(Problem::duplicate, listeners->items()[i], "another listener has the same address",
                         "keep one of them");
    }
    if (std::ranges::all_of(config_.listeners, &ListenerConfig::redirects)) {
      diagnostics_.warning(Problem::ambiguous, *listeners,
                           "every listener redirects to https, and none leads to a route", "add a listener with `tls`");
    }
    if (config_.observe) check_observe(*root_.find("observe"));
    if (config_.observe && seen.contains(config_.observe->address.text)) {
      diagnostics_.error(Problem::duplicate, *root_.find("observe"), "a listener for clients has the same address",
                         "give `observe` a port of its own");
    }
  }

  // The gateway answers there itself, before it looks for a route.
  void check_shadowed(const RouteConfig& route, const Node& node) {
    if (!config_.issuer || (!route.match.host.empty() && !serves_issuer_host(route.match.host))) return;
    const std::vector<std::string> published = issuer::document_paths(config_.issuer->options);
    if (!contains(published, route.match.path)) return;
    diagnostics_.error(Problem::duplicate, node, "the gateway's own issuer is published under this path",
                       "remove the route, or give `issuer.url` another path");
  }
  [[nodiscard]] bool serves_issuer_host(std::string_view host) const {
    const std::string_view url = config_.issuer->options.url;
    const std::string_view rest = url.substr(std::min(url.find("://"), url.size() - 3) + 3);
    const auto place = split_host_port(rest.substr(0, rest.find('/')));
    if (!place) return false;
    if (!host.starts_with("*.")) return place->host == host;
    return place->host.ends_with(host.substr(1));
  }

  // A name could stand for any interface, and for another one tomorrow.
  void check_observe(const Node& node) {
    const Address& address = config_.observe->address;
    if (address.kind == Address::Kind::unix_socket || address.host == "localhost") return;
    if (IpAddress::parse(address.host)) return;
    diagnostics_.error(Problem::bad_value, *node.find("address"),
                       printable(address.text) + " is not an address to listen on",
                       "write an IP address: 127.0.0.1:9090, [::1]:9090; or localhost:9090, or unix:/path");
  }

  // Only TLS can carry a client certificate; a header that claims to be one proves nothing.
  void check_client_certificates() {
    const auto has_tls = [](const ListenerConfig& listener) { return listener.tls.has_value(); };
    if (std::ranges::any_of(config_.listeners, has_tls)) return;
    const auto check = [&](const std::vector<PolicyUse>& uses) {
      for (const PolicyUse& use : uses) {
        if (use.name != "client_certificate") continue;
        diagnostics_.error(Problem::needs_tls, *use.options,
                           "no listener speaks TLS, so no client can show a certificate", "give a listener `tls`");
      }
    };
    check(config_.policies);
    for (const OriginConfig& origin : config_.origins) check(origin.policies);
    for (const RouteConfig& route : config_.routes) check(route.policies);
  }

  void check_origin(const OriginConfig& origin, const Node& node) {
    const bool in_clear = !origin.tls && std::any_of(origin.endpoints.begin(), origin.endpoints.end(),
                                                     [](const EndpointConfig& e) { return !is_loopback(e.address); });
    // Over https:// the exception says that the certificate is not verified, which is an effect of its own.
    const bool needed = origin.tls ? origin.insecure.has_value() : in_clear && !origin.identity.empty();
    if (needed && !origin.insecure) {
      diagnostics_.error(Problem::insecure, *node.find("identity"), "identity would travel in clear over plain http",
                         "use https://, a loopback address or a Unix socket; or accept it for a while with "
                         "`insecure: {reason: ..., until: YYYY-MM-DD}`");
    } else if (!needed && origin.insecure) {
      diagnostics_.error(Problem::insecure_unused, *node.find("insecure"),
                         origin.identity.empty() ? "this origin has no identity to protect"
                                                 : "no identity leaves this machine in clear",
                         "remove it");
    }
    if (origin.identity.empty()) {
      diagnostics_.warning(Problem::no_identity, node, "the origin cannot tell the gateway from anybody else",
                           "give it an `identity`, such as a shared_secret, and let it refuse requests without");
    }
    for (std::size_t i = 0; i < origin.allow_headers.size(); ++i) {
      if (!contains(reserved_, fold_header_name(origin.allow_headers[i]))) continue;
      diagnostics_.error(Problem::reserved_header, node.find("allow_headers")->items()[i],
                         "clients may never send a header that carries identity", "remove it from allow_headers");
    }
    std::vector<std::string> inherited;
    for (const PolicyUse& use : config_.policies) inherited.push_back(use.name);
    check_without(origin.without, inherited, node);
  }

  void check_without(const Without& without, const std::vector<std::string>& inherited, const Node& node) {
    for (std::size_t i = 0; i < without.names.size(); ++i) {
      if (contains(inherited, without.names[i])) continue;
      const std::vector<std::string_view> names(inherited.begin(), inherited.end());
      diagnostics_.error(Problem::without, node.find("without")->items()[i],
                         printable(without.names[i]) + " is not inherited here",
                         names.empty() ? "nothing is inherited here; remove `without`"
                                       : fmt::format("inherited: {}", fmt::join(names, ", ")));
    }
  }

  void check_shared_secrets(const Node* origins) {
    for (std::size_t a = 0; a < config_.origins.size() && config_.origins.size() <= kMaxCompared; ++a) {
      for (std::size_t b = 0; b < a; ++b) {
        if (!share_secret(config_.origins[a], config_.origins[b])) continue;
        diagnostics_.warning(Problem::secret_shared, *origins->entries()[a].value.find("identity"),
                             fmt::format("the same secret as origin `{}`", config_.origins[b].name),
                             "give each origin a secret of its own");
        break;
      }
    }
  }

  static bool share_secret(const OriginConfig& a, const OriginConfig& b) {
    for (const IdentityUse& x : a.identity) {
      for (const IdentityUse& y : b.identity) {
        const auto* const left = std::get_if<SharedSecretConfig>(&x.config);
        const auto* const right = std::get_if<SharedSecretConfig>(&y.config);
        if (left && right && left->value.equals(right->value)) return true;
      }
    }
    return false;
  }

  // The first would answer, and the second never run.
  void check_answers(const RouteConfig& route, const Node& node) {
    const PolicyUse* first = nullptr;
    for (const PolicyUse* const use : effective_policies(config_, route)) {
      if (!answers(*use)) continue;
      if (first) {
        diagnostics_.error(
            Problem::ambiguous, node,
            fmt::format("`{}` and `{}` would both answer on this route", first->name, use->name),
            first->level == Level::route
                ? "keep one of them"
                : fmt::format("drop the inherited one with `without: [{}]` and a `reason`", first->name));
        return;
      }
      first = use;
    }
  }
  static bool answers(const PolicyUse& use) { return use.name == "respond" || use.name == "redirect"; }

  // What no listener lets in, no policy can allow.
  void check_body_limits() {
    std::uint64_t most = 0;
    for (const ListenerConfig& listener : config_.listeners) most = std::max(most, listener.limits.max_body_size);
    const auto check = [&](const std::vector<PolicyUse>& uses) {
      for (const PolicyUse& use : uses) {
        const Node* const max = use.name == "body_limit" ? use.options->find("max") : nullptr;
        const auto size = max ? parse_size(max->text()) : std::nullopt;
        if (!size || *size <= most) continue;
        diagnostics_.error(Problem::policy_option, *max,
                           fmt::format("no listener takes more than {} (max_body_size)", format_size(most)),
                           fmt::format("write at most {0}, or `limits: {{max_body_size: {1}}}` for the gateway",
                                       format_size(most), max->text()));
      }
    };
    check(config_.policies);
    for (const OriginConfig& origin : config_.origins) check(origin.policies);
    for (const RouteConfig& route : config_.routes) check(route.policies);
  }

  // False if the route leads nowhere, after saying so.
  bool check_target(RouteConfig& route, const Node& node) {
    const Node* const origin = node.find("origin");
    const bool both_answers = node.find("respond") && node.find("redirect");
    if (both_answers || (origin && route.answer)) {
      diagnostics_.error(Problem::ambiguous, node, "more than one of `origin`, `respond` and `redirect` is given",
                         "keep one of them");
      return false;
    }
    if (!origin) {
      if (route.answer || std::any_of(route.policies.begin(), route.policies.end(), answers)) return true;
      diagnostics_.error(Problem::no_target, node, "the route has neither `origin` nor `respond` nor `redirect`",
                         "add `origin: NAME`");
      return false;
    }
    if (const auto at = by_name_.find(route.origin); at != by_name_.end()) {
      route.origin_index = at->second;
      return true;
    }
    std::vector<std::string_view> names;
    for (const OriginConfig& known : config_.origins) names.push_back(known.name);
    const std::string_view hint = diagnostics_.full() ? std::string_view() : nearest(route.origin, names);
    diagnostics_.error(Problem::unknown_origin, *origin, "there is no origin " + printable(route.origin),
                       hint.empty() ? "add it under `origins:`" : fmt::format("did you mean `{}`?", hint));
    return false;
  }

  [[nodiscard]] bool authenticates(const PolicyUse& use) const {
    return contains(input_.authenticating_policies, use.name);
  }

  void check_access(const RouteConfig& route, const Node& node) {
    std::vector<std::string> inherited;
    const OriginConfig* const origin = route.origin.empty() ? nullptr : &config_.origins[route.origin_index];
    for (const PolicyUse& use : config_.policies) {
      if (!origin || !contains(origin->without.names, use.name)) inherited.push_back(use.name);
    }
    if (origin) {
      for (const PolicyUse& use : origin->policies) inherited.push_back(use.name);
    }
    if (!route.without.names.empty()) check_without(route.without, inherited, node);

    const PolicyUse* checking = nullptr;
    for (const PolicyUse* const use : effective_policies(config_, route)) {
      if (authenticates(*use)) checking = use;
    }
    const bool open = route.access == Access::open_to_public;
    if (!checking && !open) {
      diagnostics_.error(Problem::unauthenticated, node, "no policy on this route authenticates the client",
                         input_.authenticating_policies.empty()
                             ? "write `public: true` if that is meant"
                             : fmt::format("add `{}` to its policies, or write `public: true` if that is meant",
                                           input_.authenticating_policies.front()));
    } else if (checking && open) {
      diagnostics_.error(
          Problem::public_conflict, *node.find("public"), fmt::format("`{}` still applies here", checking->name),
          checking->level == Level::route
              ? fmt::format("remove `public: true`, or `{}` from the policies", checking->name)
              : fmt::format("drop it with `without: [{}]` and a `reason`, or remove `public: true`", checking->name));
    }
  }

  // Two routes with the same host, path and method: parameter names do not make a difference.
  void check_duplicate(const RouteConfig& route, const Node& node, std::size_t index) {
    std::string shape = route.match.host + " ";
    bool in_name = false;
    for (const char c : route.match.path) {
      if (!in_name) shape.push_back(c);
      if (c == '{') in_name = true;
      if (c == '}' && in_name) {
        shape.push_back(c);
        in_name = false;
      }
    }
    const std::size_t length = shape.size();
    std::vector<std::string> methods = route.match.methods;
    if (methods.empty()) methods.emplace_back("*");
    for (const std::string& method : methods) {
      shape.resize(length);
      shape.append(" ").append(method);
      const auto [at, fresh] = shapes_.emplace(shape, index);
      if (fresh) continue;
      diagnostics_.error(
          Problem::duplicate, node,
          fmt::format("the same match as the route in line {}", config_.routes[at->second].position.line),
          "change the match of one, or remove it");
      return;
    }
    if (!names_.insert(route.name).second) {
      const Node* const name = node.find("name");
      diagnostics_.error(Problem::duplicate, name ? *name : node, "another route has the same name",
                         "metrics and logs could not tell them apart: choose another `name`");
    }
  }

  // Comparing each pair: beyond this number of origins the warning is not worth the time.
  static constexpr std::size_t kMaxCompared = 1000;

  const LoadInput& input_;
  Config& config_;
  Diagnostics& diagnostics_;
  const Node& root_;
  const std::vector<std::string> reserved_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
  std::unordered_map<std::string, std::size_t> shapes_;
  std::unordered_set<std::string_view> names_;
};

}  // namespace

void check_whole(const LoadInput& input, Config& config, Diagnostics& diagnostics) {
  Checks(input, config, diagnostics).run();
  warn_of_literal_credentials(config, diagnostics);
}

}  // namespace postern::config
