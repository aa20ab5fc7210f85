// Steps 1 to 4 of a request that are rules rather than waiting: what is taken off, what is judged, what is added.
#pragma once

#include "gateway/loop_context.h"
#include "http/downstream.h"
#include "http/exchange.h"

namespace postern::gateway {

// Request id, time, client address. Never fails: a refused request has these, too.
void begin_exchange(LoopContext& context, const http::Downstream& client, const ListenerPlan& listener,
                    http::Exchange& exchange);

// The canonical target; upgrade and method rules; removal of hop-by-hop fields, override headers and every alias of a
// reserved header. Errors are the client's.
[[nodiscard]] Result<void> canonicalize_request(LoopContext& context, const Snapshot& snapshot,
                                                const ListenerPlan& listener, http::Exchange& exchange);

// RFC 9110 7.4: a request must not come over a connection that was made for another authority, if that one would have
// been served otherwise (another certificate, another rule for client certificates). Error: misdirected.
[[nodiscard]] Result<void> check_authority(const http::ConnectionFacts& connection,
                                           const http::CanonicalTarget& target);

// For a listener that only sends its clients to https: fills exchange.local and is true.
[[nodiscard]] bool redirect_to_https(const ListenerPlan& listener, http::Exchange& exchange);

// CONNECT and TRACE are refused whatever the route.
[[nodiscard]] Result<void> check_method(const http::RequestHead& request);

// True if the connection carries no other request after such a refusal.
[[nodiscard]] bool ends_connection(Code code) noexcept;

// no_route, or method_not_allowed with Allow among exchange.response_additions.
[[nodiscard]] Result<const RoutePlan*> find_route(const Snapshot& snapshot, http::Exchange& exchange);

// A body that is announced over the limit is refused before it is read.
[[nodiscard]] Result<void> check_body_limit(const http::Exchange& exchange);

// Override headers that the origin does not allow go; Via, X-Forwarded-* and X-Request-Id are rebuilt from what the
// gateway knows.
void prepare_forwarding(LoopContext& context, const origins::Origin& origin, const http::Downstream& client,
                        const ListenerPlan& listener, http::Exchange& exchange);

// Takes off a request's trailers what its head may not carry to `origin` on `route`.
void strip_trailers(LoopContext& context, const http::ReservedNames& reserved, const RoutePlan& route,
                    const origins::Origin& origin, http::Headers& trailers);

}  // namespace postern::gateway
