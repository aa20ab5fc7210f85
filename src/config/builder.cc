#include "config/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "config/formats.h"
#include "config/readers.h"

namespace postern::config {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

std::optional<Address> parse_address(std::string_view text) {
  if (!matches_format(Format::address, text)) return std::nullopt;
  Address address;
  address.text = text;
  if (text.starts_with("unix:")) {
    address.kind = Address::Kind::unix_socket;
    address.path = text.substr(5);
    return address;
  }
  const auto parts = split_host_port(text);
  address.host = to_lower(parts->host);
  address.port = *parse_port(parts->port);
  return address;
}

}  // namespace

void Builder::build() {
  const Node& root = document_.root();
  read_gateway(root);
  if (const Node* const listeners = root.find("listeners")) {
    for (const Node& item : listeners->items()) read_listener(item);
  }
  read_policies(root.find("policies"), Level::gateway, config_.policies);
  if (const Node* const origins = root.find("origins")) {
    config_.origins.reserve(origins->entries().size());
    for (const Entry& entry : origins->entries()) read_origin(entry);
  }
  if (const Node* const routes = root.find("routes")) {
    config_.routes.reserve(routes->items().size());
    for (const Node& item : routes->items()) read_route(item);
  }
}

void Builder::read_gateway(const Node& root) {
  read(&root, "workers", config_.workers);
  config_.state_directory = input_.paths.state_directory;
  read(&root, "state_directory", config_.state_directory);
  read(&root, "drain", config_.drain);
  read_size(&root, "buffer_memory", config_.buffer_memory);
  check_size(&root, "buffer_memory", 16 * kMiB, 1024 * 1024 * kMiB);
  read_limits(root.find("limits"), config_.limits);
  read(&root, "trusted_proxies", config_.trusted_proxies);
  if (const Node* const proxy = string_at(root.find("egress_proxy"), "url")) {
    const auto parts = split_url(proxy->text());
    if (parts) {
      config_.egress_proxy.host = parts->host.host;
      config_.egress_proxy.port = parse_port(parts->host.port).value_or(80);
      read(root.find("egress_proxy"), "bypass", config_.egress_proxy.bypass);
    }
  }
  config_.admin.socket = input_.paths.admin_socket;
  read(root.find("admin"), "socket", config_.admin.socket);
  if (const Node* const address = string_at(root.find("observe"), "address")) {
    if (auto parsed = parse_address(address->text())) config_.observe = ObserveConfig{std::move(*parsed)};
  }
  if (const Node* const log = root.find("access_log")) read_access_log(*log);
  config_.consumers.database = default_key_database(config_.state_directory);
  read(root.find("consumers"), "file", config_.consumers.file);
  read(root.find("consumers"), "database", config_.consumers.database);
  if (const Node* const issuer = root.find("issuer"); issuer && issuer->is(Kind::mapping)) read_issuer(*issuer);
}

void Builder::check_size(const Node* node, std::string_view key, std::uint64_t least, std::uint64_t most) {
  const Node* const value = string_at(node, key);
  const auto size = value ? parse_size(value->text()) : std::nullopt;
  if (!size || (*size >= least && *size <= most)) return;
  diagnostics_.error(Problem::bad_value, *value, printable(value->text()) + " is out of range",
                     fmt::format("write a size from {} to {}", format_size(least), format_size(most)));
}

void Builder::read_limits(const Node* node, Limits& limits) {
  if (!node) return;
  check_size(node, "max_header_bytes", kKiB, kKiB * kKiB);
  check_size(node, "max_target_length", 64, 64 * kKiB);
  read(node, "max_header_count", limits.max_header_count);
  read_size(node, "max_header_bytes", limits.max_header_bytes);
  read_size(node, "max_target_length", limits.max_target_length);
  read_size(node, "max_body_size", limits.max_body_size);
  read(node, "header_timeout", limits.header_timeout);
  read(node, "idle_timeout", limits.idle_timeout);
  read(node, "body_idle_timeout", limits.body_idle_timeout);
  read_size(node, "body_min_rate", limits.body_min_rate);
  read(node, "write_idle_timeout", limits.write_idle_timeout);
  read(node, "max_connections", limits.max_connections);
  read(node, "max_requests_per_connection", limits.max_requests_per_connection);
  read(node, "max_concurrent_streams", limits.max_concurrent_streams);
}

void Builder::read_listener(const Node& node) {
  ListenerConfig listener;
  listener.position = node.position();
  listener.limits = config_.limits;
  listener.trusted_proxies = config_.trusted_proxies;
  if (const Node* const address = string_at(&node, "address")) {
    if (auto parsed = parse_address(address->text())) listener.address = std::move(*parsed);
  }
  read_limits(node.find("limits"), listener.limits);
  read(&node, "trusted_proxies", listener.trusted_proxies);
  if (const Node* const proxy = string_at(&node, "proxy_protocol"); proxy && proxy->text() == "v2") {
    listener.proxy_protocol = ProxyProtocol::v2;
    if (listener.trusted_proxies.empty()) {
      diagnostics_.error(Problem::ambiguous, *proxy, "nobody is trusted to send a PROXY header",
                         "list the networks of your load balancer in trusted_proxies");
    }
  }
  if (const Node* const tls = node.find("tls"); tls && tls->is(Kind::mapping)) read_listener_tls(*tls, listener);
  read_http2(node, listener);
  read_redirect(node, listener);
  config_.listeners.push_back(std::move(listener));
}

void Builder::read_access_log(const Node& node) {
  AccessLogConfig& log = config_.access_log;
  std::string path = "stdout";
  read(&node, "path", path);
  if (path == "off") {
    log.sink = AccessLogConfig::Sink::off;
  } else if (path == "stderr") {
    log.sink = AccessLogConfig::Sink::standard_error;
  } else if (path != "stdout") {
    log.sink = AccessLogConfig::Sink::file;
    log.path = path;
  }
  const Node* const values = string_at(&node, "query_values");
  if (values && values->text() == "keep") log.query_values = AccessLogConfig::QueryValues::keep;
}

void Builder::read_policies(const Node* node, Level level, std::vector<PolicyUse>& out) {
  if (!node) return;
  for (const Node& item : node->items()) {
    if (item.is(Kind::string)) {
      out.push_back(
          {std::string(item.text()), &document_.add_empty_mapping(item.position()), item.position(), level, nullptr});
    } else if (item.entries().size() == 1) {
      const Entry& entry = item.entries()[0];
      out.push_back({std::string(entry.key), &entry.value, entry.key_position, level, nullptr});
      // The only policy with a file of its own; policies themselves read none.
      const Node* const ca = entry.key == "client_certificate" ? string_at(&entry.value, "ca") : nullptr;
      if (ca && ca->text().starts_with('/')) out.back().authorities = certificates_.read_authorities(*ca);
    }
  }
}

void Builder::read_without(const Node& node, Without& out) {
  read(&node, "without", out.names);
  read(&node, "reason", out.reason);
  const Node* const without = node.find("without");
  const Node* const reason = node.find("reason");
  if (without && !reason) {
    diagnostics_.error(Problem::without, *without, "`without` has no `reason`", "add `reason: ...` beside it");
  } else if (reason && !without) {
    diagnostics_.error(Problem::without, *reason, "`reason` has nothing to explain: there is no `without` here",
                       "remove it, or write it as a comment");
  }
}

void Builder::read_origin(const Entry& entry) {
  const Node& node = entry.value;
  OriginConfig origin;
  origin.name = entry.key;
  origin.position = entry.key_position;
  if (node.is(Kind::mapping)) {
    read_endpoints(node, origin);
    read_host(node, origin);
    if (const Node* const balance = string_at(&node, "balance"); balance && balance->text() == "least_request") {
      origin.balance = Balance::least_request;
    }
    read_tuning(node, origin);
    read_health(node, origin);
    if (const Node* const identity = node.find("identity")) {
      for (const Node& item : identity->items()) read_identity(item, origin);
    }
    read_insecure(node, origin);
    read_trust(node, origin);
    if (const Node* const http2 = string_at(&node, "http2")) {
      if (http2->text() == "always") origin.http2 = OriginHttp2::always;
      if (http2->text() == "never") origin.http2 = OriginHttp2::never;
    }
    read_policies(node.find("policies"), Level::origin, origin.policies);
    read_without(node, origin.without);
    read(&node, "allow_headers", origin.allow_headers);
    for (std::string& name : origin.allow_headers) name = to_lower(name);
  }
  config_.origins.push_back(std::move(origin));
}

void Builder::read_endpoints(const Node& node, OriginConfig& origin) {
  const Node* const url = node.find("url");
  const Node* const endpoints = node.find("endpoints");
  if (url && endpoints) {
    diagnostics_.error(Problem::ambiguous, *endpoints, "both `url` and `endpoints` are given", "keep one of them");
  } else if (!url && !endpoints) {
    diagnostics_.error(Problem::missing_key, node, "key `url` is missing",
                       "write `url: http://host:port`, or several under `endpoints:`");
  }
  if (url) read_endpoint(*url, origin);
  if (!endpoints) return;
  for (const Node& item : endpoints->items()) read_endpoint(item, origin);
}

void Builder::read_endpoint(const Node& node, OriginConfig& origin) {
  const auto parts = node.is(Kind::string) ? split_url(node.text()) : std::nullopt;
  if (!parts) return;
  if (parts->scheme == "service") {
    diagnostics_.error(Problem::not_built, node, "service:// is not built yet", "tunnels come with a later version");
    return;
  }
  // One origin is one way to know it and to be known by it.
  const bool tls = parts->scheme == "https";
  if (!origin.endpoints.empty() && origin.tls != tls) {
    diagnostics_.error(Problem::ambiguous, node, "some endpoints of this origin are https:// and some are not",
                       "make them all https://, or two origins of them");
  }
  origin.tls = origin.endpoints.empty() ? tls : origin.tls;
  EndpointConfig endpoint;
  endpoint.url = node.text();
  endpoint.address.text = node.text();
  if (parts->scheme == "unix") {
    endpoint.address.kind = Address::Kind::unix_socket;
    endpoint.address.path = parts->path;
    endpoint.authority = "localhost";
  } else {
    endpoint.address.host = to_lower(parts->host.host);
    const std::uint16_t usual = tls ? 443 : 80;
    endpoint.address.port = parse_port(parts->host.port).value_or(usual);
    endpoint.authority = to_lower(parts->authority);
    const std::string_view redundant = tls ? ":443" : ":80";
    if (parts->host.port == redundant.substr(1))
      endpoint.authority.resize(endpoint.authority.size() - redundant.size());
  }
  origin.endpoints.push_back(std::move(endpoint));
}

void Builder::read_host(const Node& node, OriginConfig& origin) {
  const Node* const host = string_at(&node, "host");
  if (!host || host->text() == "origin") return;
  if (host->text() == "preserve") {
    origin.host_mode = HostMode::preserve;
    return;
  }
  const std::array<std::string_view, 2> words = {"origin", "preserve"};
  const std::string_view hint = nearest(host->text(), words);
  // A name without a dot, one slip away from a mode, is far more likely to be the mode.
  if (!hint.empty() && host->text().find('.') == std::string_view::npos) {
    diagnostics_.warning(Problem::ambiguous, *host, printable(host->text()) + " is taken for a host name",
                         fmt::format("did you mean `{}`?", hint));
  }
  origin.host_mode = HostMode::name;
  origin.host_name = to_lower(host->text());
}

void Builder::read_tuning(const Node& node, OriginConfig& origin) {
  const Node* const timeouts = node.find("timeouts");
  read(timeouts, "connect", origin.timeouts.connect);
  read(timeouts, "first_byte", origin.timeouts.first_byte);
  read(timeouts, "idle", origin.timeouts.idle);
  const Node* const pool = node.find("pool");
  read(pool, "max_idle", origin.pool.max_idle);
  read(pool, "idle_timeout", origin.pool.idle_timeout);
  read(pool, "max_connections", origin.pool.max_connections);
  read(pool, "max_lifetime", origin.pool.max_lifetime);
  const Node* const retries = node.find("retries");
  read(retries, "attempts", origin.retries.attempts);
  read(retries, "budget_percent", origin.retries.budget_percent);
  const Node* const ejection = node.find("ejection");
  read(ejection, "consecutive_failures", origin.ejection.consecutive_failures);
  read(ejection, "base_time", origin.ejection.base_time);
  read(ejection, "max_percent", origin.ejection.max_percent);
}

void Builder::read_health(const Node& node, OriginConfig& origin) {
  const Node* const health = node.find("health");
  if (!health || !health->is(Kind::mapping)) return;
  HealthConfig config;
  read(health, "path", config.path);
  read(health, "interval", config.interval);
  read(health, "timeout", config.timeout);
  read(health, "healthy_threshold", config.healthy_threshold);
  read(health, "unhealthy_threshold", config.unhealthy_threshold);
  if (const Node* const statuses = health->find("expected_status")) {
    for (const Node& item : statuses->items()) config.expected_status.push_back(static_cast<int>(item.as_int()));
  }
  if (config.timeout > config.interval) {
    const Node* const at = health->find("timeout");
    diagnostics_.error(Problem::ambiguous, at ? *at : *health,
                       fmt::format("timeout ({}) is longer than interval ({})", format_duration(config.timeout),
                                   format_duration(config.interval)),
                       "a check must end before the next one starts");
  }
  origin.health = std::move(config);
}

void Builder::read_identity(const Node& node, OriginConfig& origin) {
  if (node.entries().size() != 1) return;
  const Entry& entry = node.entries()[0];
  if (entry.key == "shared_secret" && entry.value.is(Kind::mapping)) read_shared_secret(entry.value, origin);
  if (entry.key == "mtls" && entry.value.is(Kind::mapping)) read_mtls(entry, origin);
  const auto traits = std::ranges::find(input_.identity_methods, entry.key, &IdentityTraits::name);
  if (traits != input_.identity_methods.end() && entry.value.is(Kind::mapping)) read_method(*traits, entry, origin);
}

void Builder::read_method(const IdentityTraits& traits, const Entry& entry, OriginConfig& origin) {
  const Node& node = entry.value;
  MethodConfig config;
  config.options = &node;
  config.origin = origin.name;
  config.assurance = traits.assurance;
  config.where = fmt::format("origins.{}.identity[{}].{}", origin.name, origin.identity.size(), traits.name);
  if (!traits.default_header.empty()) {
    const Node* const header = string_at(&node, "header");
    config.headers.push_back(header ? std::string(header->text()) : traits.default_header);
    check_identity_header(header ? *header : node, config.headers.back(), origin);
  }
  for (const std::string& name : traits.headers) {
    check_identity_header(node, name, origin);
    config.headers.push_back(name);
  }
  read_client_authorization(node, config, origin);
  read_secrets(node, "", traits, config);
  origin.identity.push_back({traits.name, std::move(config), entry.key_position});
}

// `client_authorization: forward`: what the client said for itself goes on under another name.
void Builder::read_client_authorization(const Node& node, const MethodConfig& config, OriginConfig& origin) {
  const Node* const wish = string_at(&node, "client_authorization");
  if (!wish) return;
  const bool sets_it = std::ranges::any_of(
      config.headers, [](const std::string& name) { return fold_header_name(name) == "authorization"; });
  if (!sets_it) {
    diagnostics_.error(Problem::ambiguous, *wish,
                       "this identity does not need the Authorization field, so the client's own stays where it is",
                       "remove `client_authorization`");
    return;
  }
  origin.forward_authorization = wish->text() == "forward";
}

void Builder::read_secrets(const Node& node, std::string_view key, const IdentityTraits& traits, MethodConfig& config) {
  for (const Node& item : node.items()) read_secrets(item, key, traits, config);
  for (const Entry& entry : node.entries()) read_secrets(entry.value, entry.key, traits, config);
  if (!node.is(Kind::string) || !contains_reference(node.text())) return;
  const bool document = std::ranges::find(traits.documents, key) != traits.documents.end();
  auto secret = document ? resolve_document(node, input_.secrets, diagnostics_)
                         : resolve_secret(node, input_.secrets, diagnostics_);
  if (secret) config.secrets.emplace(&node, std::move(*secret));
}

void Builder::read_shared_secret(const Node& node, OriginConfig& origin) {
  SharedSecretConfig config;
  if (const Node* const header = string_at(&node, "header")) {
    check_identity_header(*header, header->text(), origin);
    config.header = header->text();
  }
  if (const Node* const prefix = string_at(&node, "prefix"); prefix && prefix->text() == "bearer") {
    config.prefix = SecretPrefix::bearer;
  }
  if (const Node* const value = string_at(&node, "value")) {
    if (auto secret = resolve_secret(*value, input_.secrets, diagnostics_)) config.value = std::move(*secret);
  }
  const Node* const next = node.find("next");
  const Node* const next_value = string_at(next, "value");
  const Node* const switch_at = string_at(next, "switch_at");
  const auto when = switch_at ? parse_timestamp(switch_at->text()) : std::nullopt;
  if (next_value && when) {
    auto secret = resolve_secret(*next_value, input_.secrets, diagnostics_);
    if (secret && secret->equals(config.value)) {
      diagnostics_.error(Problem::bad_value, *next_value, "the next secret is the same as the current one",
                         "make a new one with: openssl rand -hex 32");
    }
    if (secret) config.next = SharedSecretConfig::Next{std::move(*secret), *when};
    if (*when <= input_.now) {
      diagnostics_.warning(Problem::ambiguous, *switch_at, "this time is past: the next secret is the one in use",
                           "make it the `value`, and remove `next`");
    }
  }
  origin.identity.push_back({"shared_secret", std::move(config), node.position()});
}

void Builder::check_identity_header(const Node& node, std::string_view name, const OriginConfig& origin) {
  // Fields that belong to one connection, frame the message, have a meaning of their own for origins, or are rebuilt by
  // the gateway itself.
  static constexpr std::string_view kTaken =
      " connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length host expect "
      "http2-settings via forwarded x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto "
      "x-request-id content-type content-encoding date cookie range accept user-agent origin referer "
      "accept-encoding accept-language sec-websocket-key sec-websocket-version sec-websocket-protocol "
      "sec-websocket-extensions access-control-request-method access-control-request-headers if-match "
      "if-none-match if-modified-since if-unmodified-since if-range content-location content-language "
      "content-range early-data x-forwarded x-real-ip x-original-url x-rewrite-url x-http-method-override ";
  const std::string folded = fold_header_name(name);
  if (kTaken.find(" " + folded + " ") != std::string_view::npos) {
    diagnostics_.error(Problem::reserved_header, node, printable(name) + " has another meaning in HTTP",
                       "use a name of your own, such as X-Backend-Secret, or Authorization");
  }
  for (const IdentityUse& other : origin.identity) {
    for (const std::string_view taken : headers_of(other)) {
      if (fold_header_name(taken) != folded) continue;
      diagnostics_.error(Problem::duplicate, node, "another identity of this origin uses the same header field",
                         "give each its own");
    }
  }
}

void Builder::read_insecure(const Node& node, OriginConfig& origin) {
  const Node* const insecure = node.find("insecure");
  const Node* const until = string_at(insecure, "until");
  const auto day = until ? parse_date(until->text()) : std::nullopt;
  if (!day) return;
  InsecureConfig config;
  read(insecure, "reason", config.reason);
  config.until = *day + std::chrono::days(1);  // the named day is the last one
  if (config.until <= input_.now) {
    constexpr const char* kWhat = "the exception has expired";
    constexpr const char* kFix = "protect the connection, or decide again and move the date";
    if (input_.expired == ExpiredException::error) {
      diagnostics_.error(Problem::insecure, *until, kWhat, kFix);
    } else {
      diagnostics_.warning(Problem::insecure, *until, kWhat, kFix);
    }
  } else if (*day - input_.now > std::chrono::days(90)) {
    diagnostics_.error(Problem::insecure, *until, "more than 90 days ahead",
                       "choose an earlier date: an exception is to be decided again");
  }
  origin.insecure = std::move(config);
}

void Builder::read_route(const Node& node) {
  RouteConfig route;
  route.position = node.position();
  if (const Node* const match = node.find("match")) {
    read(match, "host", route.match.host);
    route.match.host = to_lower(route.match.host);
    read(match, "path", route.match.path);
    read(match, "methods", route.match.methods);
  }
  read(&node, "name", route.name);
  if (route.name.empty()) {
    const std::string methods = fmt::format("{}", fmt::join(route.match.methods, ","));
    route.name = methods + (methods.empty() ? "" : " ") + route.match.host + route.match.path;
  }
  read(&node, "origin", route.origin);
  for (const std::string_view key : {"respond", "redirect"}) {
    const Entry* const entry = node.find_entry(key);
    if (entry) route.answer = PolicyUse{std::string(key), &entry->value, entry->key_position, Level::route, nullptr};
  }
  read_policies(node.find("policies"), Level::route, route.policies);
  read_without(node, route.without);
  const Node* const open = node.find("public");
  if (open && open->is(Kind::boolean) && open->as_bool()) route.access = Access::open_to_public;
  config_.routes.push_back(std::move(route));
}

}  // namespace postern::config
