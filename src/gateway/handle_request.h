// handle_request(): one request from its first byte to its record in the log. Read this first;
// docs/life_of_a_request.md has the same steps.
#pragma once

#include <memory>

#include "gateway/loop_context.h"
#include "http/downstream.h"

namespace postern::gateway {

// A listener as it is configured at the moment; a reload replaces it while a connection waits for its next request.
struct LiveListener {
  std::shared_ptr<const Snapshot> snapshot;  // keeps `plan`; not the current one if that has no such listener any more
  const ListenerPlan* plan = nullptr;
};

// `live` outlives the connection.
[[nodiscard]] Task<http::AfterResponse> handle_request(LoopContext& context, http::Downstream& client,
                                                       const LiveListener& live);

}  // namespace postern::gateway
