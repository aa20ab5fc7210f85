// The one place where an Error becomes what a client sees: problem+json (RFC 9457) with a stable code and the request
// id. Policies and the data plane return errors; they never format one.
#pragma once

#include "base/error.h"
#include "http/exchange.h"

namespace postern::gateway {

// Fills exchange.local. The detail is shown only for errors of the client's own making, and not if a credential was
// refused; everything is in the access log.
void answer_with_problem(http::Exchange& exchange, const Error& error);

// The same body for a connection that never became an exchange (over the connection limit), complete with head.
[[nodiscard]] std::string raw_problem_response(const Error& error, std::string_view request_id);

}  // namespace postern::gateway
