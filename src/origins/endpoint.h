// Endpoint: one address of an origin and what all loops know about it. Everything mutable is an atomic: requests on any
// loop and the health checker write it. An endpoint survives reloads as long as its address and its transport identity
// (`generation`) stay the same.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "platform/clock.h"
#include "platform/network.h"

namespace postern::origins {

struct Endpoint {
  Endpoint(SocketAddress socket_address, std::string host_authority)
      : address(std::move(socket_address)), authority(std::move(host_authority)) {}

  const SocketAddress address;
  const std::string authority;  // Host under `host: origin`

  std::atomic<std::uint32_t> in_flight{0};      // requests, all loops
  std::atomic<std::uint32_t> connections{0};    // open connections, all loops
  std::atomic<std::uint32_t> failures{0};       // consecutive ones, of requests
  std::atomic<std::uint32_t> ejections{0};      // in a row; each doubles the time
  std::atomic<std::int64_t> ejected_until{0};   // MonoTime since epoch, ns
  std::atomic<bool> healthy{true};              // verdict of the active checks

  std::uint32_t checks_against = 0;  // health checks in a row that contradict `healthy`; control loop only

  [[nodiscard]] bool ejected(MonoTime now) const noexcept {
    return now.time_since_epoch().count() < ejected_until.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool available(MonoTime now) const noexcept {
    return healthy.load(std::memory_order_relaxed) && !ejected(now);
  }
};

// The endpoints of an origin at one moment. Immutable; replaced as a whole when DNS or configuration changes.
using EndpointSet = std::vector<std::shared_ptr<Endpoint>>;

}  // namespace postern::origins
