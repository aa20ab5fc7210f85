// What gRPC over HTTP/2 asks of a gateway: an error is a status in the form that its clients read, and a deadline holds
// on the way, too. Source: the gRPC project's "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping".
#pragma once

#include <optional>

#include "base/error.h"
#include "http/exchange.h"

namespace postern::gateway {

// A gRPC call: application/grpc, with or without a suffix, over HTTP/2.
[[nodiscard]] bool is_grpc(const http::Exchange& exchange) noexcept;

// grpc-status and grpc-message for an error. The message has the stable code and its title, never the detail.
void append_grpc_status(const Error& error, Arena& arena, http::Headers& fields);

// How long the caller waits, from the start of the exchange; nothing without a well-formed grpc-timeout.
[[nodiscard]] std::optional<Duration> grpc_timeout(const http::Exchange& exchange) noexcept;

}  // namespace postern::gateway
