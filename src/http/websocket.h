// The WebSocket opening handshake (RFC 6455 section 4) as a gateway sees it: it judges both halves and leaves the
// frames alone.
#pragma once

#include <string>

#include "base/error.h"
#include "http/message.h"

namespace postern::http {

// A GET by HTTP/1.1 or 2 with one 16-byte key and version 13. Upgrade and Connection have been judged before
// (hop_by_hop.h). Error: upgrade_refused.
[[nodiscard]] Result<void> check_websocket_request(const RequestHead& request);

// The Sec-WebSocket-Accept that answers `key`.
[[nodiscard]] std::string websocket_accept(std::string_view key);

// The origin's 101: Upgrade, Accept, and only a subprotocol that was offered. Error: origin_upgrade_failed.
[[nodiscard]] Result<void> check_websocket_response(const RequestHead& request, const ResponseHead& response);

}  // namespace postern::http
