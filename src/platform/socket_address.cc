#include "base/strings.h"
#include "platform/network.h"

namespace postern {

std::string SocketAddress::to_string() const {
  if (is_unix()) return "unix:" + unix_path;
  const std::string port_text = ":" + std::to_string(port);
  return ip.is_v6() ? "[" + ip.to_string() + "]" + port_text : ip.to_string() + port_text;
}

Result<SocketAddress> parse_socket_address(std::string_view text) {
  const auto malformed = [&] {
    return fail(Code::io_failed, Side::gateway,
                "'" + std::string(text) + "' is not an address: use 192.0.2.1:80, [2001:db8::1]:80 or unix:/path");
  };
  constexpr std::string_view kUnix = "unix:";
  SocketAddress address;
  if (text.starts_with(kUnix)) {
    address.unix_path = std::string(text.substr(kUnix.size()));
    if (address.unix_path.empty() || address.unix_path[0] != '/') return malformed();
    return address;
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return malformed();
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = IpAddress::parse(host);
  const auto port = parse_decimal(text.substr(colon + 1));
  if (!ip || ip->is_v6() != bracketed || !port || *port > 65535) return malformed();
  address.ip = *ip;
  address.port = static_cast<std::uint16_t>(*port);
  return address;
}

}  // namespace postern
