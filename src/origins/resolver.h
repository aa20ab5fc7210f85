// Resolver: turns host names into addresses on a loop, never blocking it. Belongs to the control loop. An interface, so
// that tests answer by themselves; make_resolver() gives the one that asks the network, with c-ares.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "platform/loop.h"

namespace postern::origins {

// Host names and what they stand for.
using KnownAddresses = std::map<std::string, std::vector<IpAddress>, std::less<>>;

struct Resolution {
  std::vector<IpAddress> addresses;  // at least one, sorted, without duplicates
  Duration ttl{};
};

inline constexpr std::size_t kMaxAddresses = 64;  // of one name; each gets a pool and health checks

// Takes off what a name server should not be able to make the gateway talk to, with its identity in hand: addresses
// that are none for an origin (link-local, multicast, unspecified), the metadata services of clouds, and loopback for
// every name but localhost. Localhost is the other way round: loopback or nothing (RFC 6761 6.3), because identity may
// go there in clear. Whoever means such an address writes it as a literal. More than kMaxAddresses are cut.
[[nodiscard]] std::vector<IpAddress> usable_addresses(std::string_view host, std::vector<IpAddress> addresses);

class Resolver {
 public:
  using Callback = std::function<void(Result<Resolution>)>;

  // Pending callbacks are dropped without being called.
  virtual ~Resolver() = default;

  // Calls back on the loop, in this turn or a later one, exactly once. Error: origin_unresolved.
  virtual void resolve(const std::string& host, Callback callback) = 0;
};

struct ResolverOptions {
  std::string servers;  // "192.0.2.53:53,192.0.2.54"; empty: those of the system
};

// Reads the system's configuration (resolv.conf, hosts). Times to live are honoured within bounds. An error if c-ares
// cannot start. `loop` outlives the resolver.
[[nodiscard]] Result<std::unique_ptr<Resolver>> make_resolver(Loop& loop, const ResolverOptions& options = {});

// Looks up all names side by side and blocks the calling thread until the last answer or `limit`. Names without an
// answer are missing in the result.
[[nodiscard]] KnownAddresses resolve_now(const std::vector<std::string>& names, Duration limit,
                                         const ResolverOptions& options = {});

}  // namespace postern::origins
