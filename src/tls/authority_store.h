// The authorities of one deployment in a directory, and the certificates that they issue.
//
//   client-ca.pem  client-ca.key   sign what gateways show to origins
//   server-ca.pem  server-ca.key   sign what origins show to gateways
//   deployment                     16 hexadecimal digits, part of every client certificate's name
//   lock                           held by whoever makes or reads the above (flock)
//
// Keys are 0600, in a directory of 0700. One that others may read is refused: it has to be taken for stolen. A key may
// be absent, because it is kept offline. Two gateways share the authorities by sharing the directory, and only so.
//
// Synchronous: for the start of the process and the command line. Errors are Code::io_failed, Side::gateway, and their
// detail names the file and what to do.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "tls/authority.h"

namespace postern::tls {

inline constexpr Duration kAuthorityLife = std::chrono::hours(24 * 3650);
inline constexpr Duration kClientLife = std::chrono::hours(24);       // the gateway renews at half of it
inline constexpr Duration kServerLife = std::chrono::hours(24 * 90);  // `postern ca issue-origin` renews
// Certificates are in force so much earlier, for peers whose clock is behind.
inline constexpr Duration kClockSkew = std::chrono::minutes(5);
inline constexpr Duration kMaxLockWait = std::chrono::seconds(5);

// Where a gateway has its authorities.
[[nodiscard]] std::string authority_directory(std::string_view state_directory);

// What is in the directory.
struct Authorities {
  std::string deployment;
  Authority client;
  Authority server;
};

// Where the key of the client CA goes.
struct MakeOptions {
  std::string offline_client_key;  // "": into the directory; else the name of a file that does not exist yet
};

// Makes the directory if need be, and both authorities. Fails if there are any. Interrupted, it leaves nothing that
// counts: the next one starts anew.
[[nodiscard]] Result<Authorities> make_authorities(const std::string& directory, WallTime now, const Entropy& entropy,
                                                   const MakeOptions& options = {}, Duration max_wait = kMaxLockWait);
// Those that are there. Fails if there are none, or only a part of them.
[[nodiscard]] Result<Authorities> load_authorities(const std::string& directory, Duration max_wait = kMaxLockWait);
// For a gateway at its start: those that are there, or new ones. Of two gateways that start at the same time one makes
// them.
[[nodiscard]] Result<Authorities> open_or_make_authorities(const std::string& directory, WallTime now,
                                                           const Entropy& entropy, Duration max_wait = kMaxLockWait);

// Who a client certificate is for: this gateway of this deployment, towards this origin. The origin checks it, so that
// what was issued for another origin does not open this one.
struct GatewayIdentity {
  std::string deployment;  // 16 hexadecimal digits, lower-case
  std::string gateway;     // as gateway_name() makes it
  std::string origin;      // the name of an origin in the configuration
  bool operator==(const GatewayIdentity&) const = default;
};
// "postern://DEPLOYMENT/gateway/GATEWAY/origin/ORIGIN"
[[nodiscard]] std::string to_uri(const GatewayIdentity& identity);
// The part of it that is the same for all gateways of a deployment, up to the name of the gateway.
[[nodiscard]] std::string uri_prefix(std::string_view deployment);
// nullopt for everything that to_uri() does not make.
[[nodiscard]] std::optional<GatewayIdentity> parse_gateway_uri(std::string_view uri);
// A host name as the name of a gateway: a-z, 0-9, ".", "_" and "-", at most 63 characters, begins with a letter or
// digit; "gateway" if nothing is left.
[[nodiscard]] std::string gateway_name(std::string_view host_name);
// Whether a name can be that of an origin: a-z, then a-z, 0-9, "_" and "-", at most 63 characters.
[[nodiscard]] bool is_origin_name(std::string_view name) noexcept;

// The certificate that a gateway shows to an origin: the URI above as its SAN, the origin as CN for servers that cannot
// read a SAN (nginx), in force for kClientLife.
[[nodiscard]] LeafRequest client_request(const GatewayIdentity& identity, WallTime now);
// The certificate of an origin, for kServerLife.
[[nodiscard]] LeafRequest server_request(std::string_view origin, std::vector<std::string> dns_names,
                                         std::vector<std::string> ip_addresses, WallTime now);

}  // namespace postern::tls
