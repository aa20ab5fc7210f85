#include "gateway/request_rules.h"

#include "http/forwarded.h"
#include "http/hop_by_hop.h"
#include "http/websocket.h"

namespace postern::gateway {
namespace {

void count_strips(LoopContext& context, const http::StripCounts& counts) {
  using observe::StripReason;
  const auto add = [&](StripReason reason, unsigned amount) {
    if (amount != 0) context.metrics.add(context.metric_families.strip(reason), amount);
  };
  add(StripReason::reserved, counts.reserved);
  add(StripReason::nominated, counts.nominated);
  add(StripReason::hop_by_hop, counts.hop_by_hop);
  add(StripReason::override, counts.override_headers);
  add(StripReason::forwarding, counts.forwarding);
}

// A second copy could be what the origin believes while we judged the first.
Result<void> check_duplicates(const http::RequestHead& request) {
  if (request.headers.count(http::HeaderName::authorization) > 1) {
    return fail(Code::security_header_twice, Side::client, "Authorization");
  }
  return {};
}

// A preflight asks about another request (Fetch Standard, CORS-preflight fetch): the route of that one answers it, if
// it has a cors policy. That policy answers or refuses every preflight, so OPTIONS goes no further.
const RoutePlan* find_preflighted(const Snapshot& snapshot, const http::Exchange& exchange) {
  const http::RequestHead& request = exchange.request;
  const std::string_view method = request.headers.value(http::HeaderName::access_control_request_method);
  if (request.method != http::Method::options || method.empty() || !request.headers.find(http::HeaderName::origin)) {
    return nullptr;
  }
  route::Match match;
  if (snapshot.router.lookup(exchange.target.host, exchange.target.path, method, match) != route::Lookup::found) {
    return nullptr;
  }
  const RoutePlan& plan = snapshot.routes[match.value];
  return plan.answers_preflights ? &plan : nullptr;
}

unsigned filter_fields(const origins::Origin& origin, http::Headers& fields) {
  std::size_t removed = 0;
  for (const identity::FieldFilter* const filter : origin.filters) {
    removed += fields.remove_if([filter](const http::Field& field) { return filter->forbids(field.name); });
  }
  return static_cast<unsigned>(removed);
}

}  // namespace

void begin_exchange(LoopContext& context, const http::Downstream& client, const ListenerPlan& listener,
                    http::Exchange& exchange) {
  exchange.started = context.loop.now();
  exchange.started_wall = context.wall();
  exchange.connection = &client.connection();
  exchange.secure = exchange.connection->secure();
  const IpAddress& peer = client.connection().peer.ip;
  exchange.client_address = http::effective_client(exchange.request.headers, peer, listener.trusted_proxies);
  const std::string_view given = exchange.request.headers.value(http::HeaderName::x_request_id);
  if (!given.empty() && listener.trusted_proxies.contains(peer) && http::is_acceptable_request_id(given)) {
    exchange.request_id = exchange.arena.copy(given);
    return;
  }
  const std::span<char> id = exchange.arena.allocate(http::RequestIdGenerator::kSize);
  context.request_ids.next(id.first<http::RequestIdGenerator::kSize>());
  exchange.request_id = {id.data(), id.size()};
}

Result<void> canonicalize_request(LoopContext& context, const Snapshot& snapshot, const ListenerPlan& listener,
                                  http::Exchange& exchange) {
  http::RequestHead& request = exchange.request;
  Result<void> method = check_method(request);
  if (!method) return method;
  Result<void> unique = check_duplicates(request);
  if (!unique) return unique;
  Result<void> target =
      http::canonicalize(request.method_text, request.target, request.headers.value(http::HeaderName::host),
                         exchange.arena, exchange.target);
  if (!target) return target;
  exchange.body_limit = listener.config->limits.max_body_size;

  http::StripCounts counts;
  Result<http::UpgradeRequest> upgrade = http::strip_request(request, snapshot.reserved, counts);
  if (!upgrade) return std::unexpected(std::move(upgrade.error()));
  count_strips(context, counts);
  switch (*upgrade) {
    case http::UpgradeRequest::none: return {};
    case http::UpgradeRequest::other: return fail(Code::upgrade_refused, Side::client, "only websocket");
    case http::UpgradeRequest::websocket: break;
  }
  Result<void> handshake = http::check_websocket_request(request);
  exchange.websocket = handshake.has_value();
  return handshake;
}

Result<void> check_authority(const http::ConnectionFacts& connection, const http::CanonicalTarget& target) {
  if (!connection.tls || !connection.tls_context) return {};
  if (connection.tls_context->select(target.host) == connection.tls->selection) return {};
  return fail(Code::misdirected, Side::client);
}

bool redirect_to_https(const ListenerPlan& listener, http::Exchange& exchange) {
  if (!listener.config->redirect_to_https) return false;
  std::string location = "https://" + std::string(exchange.target.host);
  if (const std::uint16_t port = *listener.config->redirect_to_https; port != 443)
    location += ":" + std::to_string(port);
  location += exchange.target.path_and_query(exchange.arena);
  // 308 keeps the method and the body (RFC 9110 15.4.9).
  exchange.local.status = 308;
  exchange.local.headers.append("Location", exchange.arena.copy(location));
  return true;
}

Result<void> check_method(const http::RequestHead& request) {
  // CONNECT would make a raw pipe past every policy; TRACE would show a client the headers we add.
  if (request.method == http::Method::connect) return fail(Code::method_refused, Side::client, "CONNECT");
  if (request.method == http::Method::trace) return fail(Code::method_refused, Side::client, "TRACE");
  return {};
}

bool ends_connection(Code code) noexcept {
  // After the first two nobody knows what follows; the third has no room for more.
  return code == Code::method_refused || code == Code::upgrade_refused || code == Code::overloaded;
}

Result<const RoutePlan*> find_route(const Snapshot& snapshot, http::Exchange& exchange) {
  route::Match match;
  switch (snapshot.router.lookup(exchange.target.host, exchange.target.path, exchange.request.method_text, match)) {
    case route::Lookup::found: {
      const RoutePlan& plan = snapshot.routes[match.value];
      // A method that HTTP does not define passes only where a route names it.
      if (exchange.request.method == http::Method::other && plan.config->match.methods.empty()) {
        return fail(Code::method_refused, Side::client, "unknown method");
      }
      // A wider route takes any method, OPTIONS included; only one that names it means to answer preflights itself.
      if (exchange.request.method == http::Method::options && plan.config->match.methods.empty()) {
        if (const RoutePlan* const asked = find_preflighted(snapshot, exchange)) return asked;
      }
      return &plan;
    }
    case route::Lookup::no_route: return fail(Code::no_route, Side::client);
    case route::Lookup::method_not_allowed: break;
  }
  if (const RoutePlan* const plan = find_preflighted(snapshot, exchange)) return plan;
  // RFC 9110 15.5.6: a 405 says what would be allowed.
  exchange.local.headers.append("Allow", exchange.arena.copy(match.allow));
  return fail(Code::method_not_allowed, Side::client);
}

Result<void> check_body_limit(const http::Exchange& exchange) {
  const http::RequestHead& request = exchange.request;
  if (request.framing == http::Framing::length && request.content_length > exchange.body_limit) {
    return fail(Code::body_too_large, Side::client);
  }
  return {};
}

void prepare_forwarding(LoopContext& context, const origins::Origin& origin, const http::Downstream& client,
                        const ListenerPlan& listener, http::Exchange& exchange) {
  http::StripCounts counts;
  http::strip_overrides(exchange.request.headers, origin.config.allow_headers, counts);
  const std::string_view own = exchange.request.headers.value(http::HeaderName::authorization);
  counts.reserved += filter_fields(origin, exchange.request.headers);
  if (origin.replaces_authorization) {
    counts.reserved += static_cast<unsigned>(exchange.request.headers.remove_aliases_of("authorization"));
  }
  const http::ForwardingFacts facts{client.connection().peer.ip, exchange.target.authority(exchange.arena),
                                    listener.address.port, exchange.secure ? "https" : "http"};
  counts.forwarding += http::rebuild_forwarding(exchange.request, facts, listener.trusted_proxies, exchange.arena);
  count_strips(context, counts);
  // After all X-Forwarded-* of the client are gone.
  if (origin.config.forward_authorization && !own.empty()) {
    exchange.request.headers.append("X-Forwarded-Authorization", exchange.arena.copy(own));
  }
  exchange.request.headers.remove_aliases_of("x-request-id");
  exchange.request.headers.append(http::HeaderName::x_request_id, exchange.request_id);
}

void strip_trailers(LoopContext& context, const http::ReservedNames& reserved, const RoutePlan& route,
                    const origins::Origin& origin, http::Headers& trailers) {
  http::StripCounts counts;
  http::strip_request_trailers(trailers, reserved, route.written, origin.config.allow_headers, counts);
  counts.reserved += filter_fields(origin, trailers);
  count_strips(context, counts);
}

}  // namespace postern::gateway
