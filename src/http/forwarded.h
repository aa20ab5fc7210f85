// Who the client is and what the origin is told about it: Forwarded (RFC 7239) and X-Forwarded-* are made anew, Via is
// appended. From strangers nothing is believed; from `trusted` proxies the chain in X-Forwarded-For is kept and
// continued. Forwarded is never believed: a proxy that writes only the one would pass a forged other.
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

// The peer, or, if the peer is trusted, the last address of X-Forwarded-For that is not itself a trusted proxy. An
// element may have a port ("192.0.2.1:4711", "[2001:db8::1]:99"), as some proxies write it. An element that is no
// address ("unknown") leaves the client unspecified: it is somebody whom a trusted proxy could not name, not the proxy.
[[nodiscard]] IpAddress effective_client(const Headers& headers, const IpAddress& peer, const CidrSet& trusted);

// A name by which a proxy, a balancer or a framework says who the client is, in any spelling.
[[nodiscard]] bool is_forwarding_name(const Field& field) noexcept;

// Makes Forwarded and X-Forwarded-For/Proto/Host/Port anew, removes whatever else claims to name the client
// (X-Forwarded-*, X-Real-IP and kin, in all aliases), and appends to Via. New values live in `arena`. Returns how many
// fields of a stranger were removed; what a trusted proxy said is continued, not removed.
unsigned rebuild_forwarding(RequestHead& request, const ForwardingFacts& facts, const CidrSet& trusted, Arena& arena);

}  // namespace postern::http
