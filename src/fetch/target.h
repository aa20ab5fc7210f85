// Target: where the URL of a token endpoint, metadata server or key set leads. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/ip.h"

namespace postern::fetch {

struct Target {
  bool tls = true;
  std::string host;  // lower-case; an IP address without brackets
  std::uint16_t port = 443;
  std::string authority;  // as Host has it: without the default port
  std::string path_and_query = "/";
  std::optional<IpAddress> address;  // known without asking a name server
  bool metadata = false;             // a metadata server of a cloud: never by way of a proxy
};

// The metadata servers: link-local addresses, those of AWS and GCP over IPv6, Azure's wire server, and the name
// metadata.google.internal, which stands for 169.254.169.254 whatever a name server says.
[[nodiscard]] bool is_metadata_address(const IpAddress& address) noexcept;

// Error: token_unavailable, Side::gateway; the detail says what is wrong and shows nothing of the URL. Plain http only
// to loopback and metadata servers. No user information, no fragment, visible ASCII only, at most 4 KiB.
[[nodiscard]] Result<Target> parse_target(std::string_view url);

}  // namespace postern::fetch
