// PROXY protocol version 2 (the binary form of proxy-protocol.txt): a trusted balancer says in front of the connection
// where it comes from. Sans-I/O. Version 1 is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/ip.h"

namespace postern::http {

struct ProxyHeader {
  struct Source {
    IpAddress ip;
    std::uint16_t port = 0;
  };
  // Nothing for LOCAL: the connection is the proxy's own. An unspecified address for PROXY with a family that has none:
  // somebody else's connection, but nobody can say whose.
  std::optional<Source> source;
  std::size_t size = 0;  // bytes of the header, to be dropped
};

enum class ProxyParse : std::uint8_t { need_more, done };

inline constexpr std::size_t kMaxProxyHeader = 4096;

// bad_proxy_header as soon as it is certain.
[[nodiscard]] Result<ProxyParse> parse_proxy_header(std::string_view bytes, ProxyHeader& out);

}  // namespace postern::http
