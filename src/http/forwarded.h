// Who the client is and what the origin is told about it: X-Forwarded-* is rebuilt, Via appended. From strangers
// nothing is believed; from `trusted` proxies the chain is kept and continued.
#pragma once

#include "base/arena.h"
#include "base/ip.h"
#include "http/message.h"

namespace postern::http {

struct ForwardingFacts {
  IpAddress peer;                // who connected
  std::string_view host;         // authority of the request
  std::uint16_t local_port = 0;  // of the listener; 0: unknown
  std::string_view scheme;       // "http" or "https"
};

// The peer, or, if the peer is trusted, the last address of X-Forwarded-For that is not itself a trusted proxy. A
// malformed element ends the walk at the hop before it.
[[nodiscard]] IpAddress effective_client(const Headers& headers, const IpAddress& peer, const CidrSet& trusted);

// Replaces Forwarded, X-Forwarded-For/Proto/Host/Port, removes whatever else claims to name the client (X-Forwarded-*,
// X-Real-IP and kin, in all aliases), and appends to Via. New values live in `arena`.
void rebuild_forwarding(RequestHead& request, const ForwardingFacts& facts, const CidrSet& trusted, Arena& arena);

}  // namespace postern::http
