// What the gateway's issuer publishes, answered on every listener before any route is looked at: discovery document and
// key set (OpenID Connect Discovery 1.0, RFC 7517). No policy applies, because whoever verifies a token must be able to
// read them.
#pragma once

#include "gateway/snapshot.h"
#include "http/exchange.h"

namespace postern::gateway {

// True if the request is for one of them, by the host and path of the issuer's own URL: then exchange.local is the
// answer (GET and HEAD; 405 for other methods).
[[nodiscard]] bool answer_issuer_document(const Snapshot& snapshot, http::Exchange& exchange);

}  // namespace postern::gateway
