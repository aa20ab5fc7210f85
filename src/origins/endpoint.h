// Endpoint: one address of an origin and what all loops know about it. Everything mutable is an atomic: requests on any
// loop and the health checker write it. An endpoint survives reloads as long as its address and the identity by which
// the origin knows the gateway stay the same; connections belong to an endpoint, so they do, too (OriginState::next()).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "platform/clock.h"
#include "platform/network.h"

namespace postern::origins {

// Under a configured max_connections an idle connection of one loop takes a place that another loop may need. Here the
// pools of an endpoint, one per loop, tell each other. Thread-safe.
class PlaceBoard {
 public:
  // `give_up_one` makes the pool `who` close an idle connection soon. It is called on any thread and may only post.
  void enlist(const void* who, std::function<void()> give_up_one) {
    const std::lock_guard lock(mutex_);
    pools_.emplace_back(who, std::move(give_up_one));
  }
  // Afterwards nobody calls what `who` enlisted.
  void withdraw(const void* who) {
    const std::lock_guard lock(mutex_);
    std::erase_if(pools_, [who](const auto& pool) { return pool.first == who; });
  }
  // Asks every pool but `asking`.
  void ask(const void* asking) {
    const std::lock_guard lock(mutex_);
    for (const auto& [who, give_up_one] : pools_) {
      if (who != asking) give_up_one();
    }
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<const void*, std::function<void()>>> pools_;  // guarded by mutex_
};

struct Endpoint {
  Endpoint(SocketAddress socket_address, std::string host_authority)
      : address(std::move(socket_address)), authority(std::move(host_authority)) {}

  const SocketAddress address;
  const std::string authority;  // Host under `host: origin`

  std::atomic<std::uint32_t> in_flight{0};     // requests, all loops
  std::atomic<std::uint32_t> connections{0};   // open connections, all loops
  std::atomic<std::uint32_t> failures{0};      // consecutive ones, of requests
  std::atomic<std::uint32_t> ejections{0};     // in a row; each doubles the time
  std::atomic<std::int64_t> ejected_until{0};  // MonoTime since epoch, ns
  std::atomic<bool> healthy{true};             // verdict of the active checks
  std::atomic<std::int64_t> last_loss{0};      // MonoTime since epoch, ns: of a session with requests under way

  std::atomic<std::uint32_t> waiting{0};  // requests that wait for a place under max_connections, all loops
  PlaceBoard places;

  // Of the health checks; control loop only.
  std::uint32_t checks_against = 0;  // in a row, that contradict `healthy`
  bool being_checked = false;

  // Whether this is the first request to tell that a session was lost: the others on it tell the same, in the same
  // moment.
  [[nodiscard]] bool first_loss(MonoTime now) noexcept {
    constexpr std::int64_t kMoment = 1'000'000'000;
    const std::int64_t time = now.time_since_epoch().count();
    std::int64_t last = last_loss.load(std::memory_order_relaxed);
    return time - last > kMoment && last_loss.compare_exchange_strong(last, time, std::memory_order_relaxed);
  }
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
