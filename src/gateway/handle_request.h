// handle_request(): one request from its first byte to its record in the log. Read this first;
// docs/life_of_a_request.md has the same steps.
#pragma once

#include "gateway/loop_context.h"
#include "http/connection/server_connection.h"

namespace postern::gateway {

// `listener` belongs to the context's current snapshot or an older one that the connection keeps alive.
[[nodiscard]] Task<http::AfterResponse> handle_request(LoopContext& context, http::ServerConnection& client,
                                                       const ListenerPlan& listener);

}  // namespace postern::gateway
