// Origin: a backend as one configuration snapshot knows it, and OriginState: what outlives snapshots (endpoints with
// their health, the retry budget).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/config.h"
#include "identity/identity.h"
#include "origins/balancer.h"
#include "origins/endpoint.h"
#include "origins/resolver.h"
#include "origins/transport.h"

namespace postern::origins {

// What becomes of connections when a new snapshot takes over.
enum class Connections : std::uint8_t {
  keep,
  renew,  // they were made under another identity: none of them may carry a request any more
};

// Thread-safe. Carried from snapshot to snapshot by origin name.
class OriginState {
 public:
  explicit OriginState(std::uint32_t retry_budget_percent) : budget_(retry_budget_percent) {}

  // The state for the next snapshot: the same endpoints, or new ones at the same addresses with the same health.
  [[nodiscard]] static std::shared_ptr<OriginState> next(const OriginState& old, std::uint32_t retry_budget_percent,
                                                         Connections connections);

  // Counts publications; a loop refetches endpoints() when it changed.
  [[nodiscard]] std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }
  [[nodiscard]] std::shared_ptr<const EndpointSet> endpoints() const {
    const std::lock_guard lock(mutex_);
    return endpoints_;
  }
  void publish(std::shared_ptr<const EndpointSet> endpoints) {
    const std::lock_guard lock(mutex_);
    endpoints_ = std::move(endpoints);
    version_.fetch_add(1, std::memory_order_release);
  }
  [[nodiscard]] RetryBudget& budget() noexcept { return budget_; }
  [[nodiscard]] const RetryBudget& budget() const noexcept { return budget_; }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const EndpointSet> endpoints_ = std::make_shared<EndpointSet>();  // guarded by mutex_
  std::atomic<std::uint64_t> version_{1};
  RetryBudget budget_;
};

// The endpoints that `config` describes, as far as they are known without asking: numeric addresses and Unix sockets,
// names among `known`, and names that `before` knows. Endpoints of `before` stay the same objects, with their health
// and their connections.
[[nodiscard]] std::shared_ptr<const EndpointSet> known_endpoints(const config::OriginConfig& config,
                                                                 const EndpointSet& before,
                                                                 const KnownAddresses& known = {});
// Names in `config` of which `endpoints` knows no address.
[[nodiscard]] std::vector<std::string> unknown_names(const config::OriginConfig& config, const EndpointSet& endpoints);

// How each endpoint is spoken to, by its authority: that is what its certificate must name, unless `trust` says
// otherwise.
using Transports = std::map<std::string, Transport, std::less<>>;

// Immutable; part of a snapshot, which keeps `config` alive.
struct Origin {
  const config::OriginConfig& config;
  std::vector<std::unique_ptr<const identity::IdentityMethod>> identity;
  std::vector<std::string_view> secrets;  // of all identity methods, for the reflection guard
  std::shared_ptr<OriginState> state;
  std::uint64_t generation = 0;  // of the snapshot that brought the present trust and identity
  std::shared_ptr<const Transports> transports;
  WallTime certificate_ends = WallTime::max();  // of the gateway's client certificate, if it has one
  // How long a body an identity method reads before the head is sent: the least limit of all; nullopt: none does.
  std::optional<std::uint64_t> whole_body{};
  std::vector<const identity::FieldFilter*> filters{};  // of identity methods
  bool replaces_authorization = false;  // an identity method sets Authorization: the client's own goes before that

  [[nodiscard]] Transport transport_to(const Endpoint& endpoint) const;
  // False after the date of `insecure: {until}`: the exception has ended, and nothing is sent any more.
  [[nodiscard]] bool usable(WallTime now) const noexcept { return !config.insecure || now < config.insecure->until; }
};

}  // namespace postern::origins
