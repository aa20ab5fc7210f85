// Steps 6 and 7 that are rules rather than waiting: what a response may carry to the client.
#pragma once

#include <span>
#include <string_view>

#include "gateway/loop_context.h"
#include "http/exchange.h"

namespace postern::gateway {

// Fills `head` from exchange.local.
void prepare_local_response(LoopContext& context, http::Exchange& exchange, http::ResponseHead& head);

// Hop-by-hop fields off, reflected identity off (counted), Via and X-Request-Id on.
void prepare_origin_response(LoopContext& context, const Snapshot& snapshot, const OriginPlan& origin,
                             std::span<const std::string_view> sensitive, http::Exchange& exchange,
                             http::ResponseHead& head);

// Takes fields off that carry identity material of the origin (its secrets, and what is `sensitive`), and counts and
// logs that. For heads, interim heads and trailers.
void guard_reflection(LoopContext& context, const OriginPlan& origin, std::span<const std::string_view> sensitive,
                      std::string_view request_id, http::Headers& headers);

// Outbound policies in reverse order, then what policies asked to add. `route` may be nullptr.
void run_outbound(const RoutePlan* route, http::Exchange& exchange, http::ResponseHead& head);

}  // namespace postern::gateway
