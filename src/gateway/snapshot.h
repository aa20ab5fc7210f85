// Snapshot: everything that follows from one configuration, built once, immutable, shared by all loops. A reload builds
// a new one beside the old and swaps it; exchanges finish on the snapshot they began with.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/diagnostics.h"
#include "gateway/managed_certificates.h"
#include "http/connection/server_connection.h"
#include "http/h2/limits.h"
#include "http/hop_by_hop.h"
#include "identity/catalog.h"
#include "observe/gateway_metrics.h"
#include "origins/origin.h"
#include "policies/catalog.h"
#include "route/router.h"

namespace postern::gateway {

// A policy in the chain of a route, and where it comes from.
struct PolicyStep {
  const policies::Policy* policy;
  const config::PolicyUse* use;
  observe::PolicyMetrics metrics;
};

struct RoutePlan {
  const config::RouteConfig* config = nullptr;
  int origin = -1;                        // index into Snapshot::origins; -1: the route answers by itself
  bool answers_preflights = false;        // has a cors policy: it does not matter whether OPTIONS is among the methods
  std::vector<PolicyStep> steps;          // inbound in this order, outbound in reverse
  http::ReservedNames written;            // header fields that these policies set or remove on requests
  http::ReservedNames written_responses;  // and on responses
  observe::RouteMetrics metrics;
};

struct OriginPlan {
  std::unique_ptr<origins::Origin> origin;
  observe::OriginMetrics metrics;
  std::string certificate_terms;                         // other ones: new connections, but the same generation
  std::string tls_terms;                                 // what its connections are made under
  std::shared_ptr<const tls::CertifiedKey> certificate;  // that it is shown; nullptr: none
};

struct ListenerPlan {
  const config::ListenerConfig* config = nullptr;
  SocketAddress address;
  http::ServerLimits limits;
  http::h2::Limits http2;
  std::vector<std::shared_ptr<const tls::ServerContext>> tls;  // one per loop; none: in clear
  std::string trust;  // what connections were made under: they go on only while this is the same
  std::shared_ptr<std::atomic<std::uint32_t>> open_connections;  // all loops; survives reloads
  CidrSet trusted_proxies;
  observe::ListenerMetrics metrics;
};

class Snapshot {
 public:
  // What survives from one snapshot to the next; all outlive every snapshot.
  struct Services {
    policies::Services policies;
    identity::Services identity;
    observe::GatewayMetrics& metrics;
    observe::MetricRegistry& registry;
    std::size_t loop_buffer_memory = ~std::size_t{0};  // see BufferPool::set_limit()
    unsigned loops = 1;
    std::shared_ptr<tls::TicketKeys> tickets = nullptr;  // nullptr: sessions are not resumed
    const ManagedCertificates* managed = nullptr;        // nullptr: none is configured
  };

  // nullptr if diagnostics has errors afterwards. `previous` gives origins their state (endpoints, health).
  [[nodiscard]] static std::shared_ptr<const Snapshot> build(std::shared_ptr<const config::Config> loaded,
                                                             const Services& services, const Snapshot* previous,
                                                             std::uint64_t number, config::Diagnostics& diagnostics);

  std::uint64_t generation = 0;
  std::shared_ptr<const config::Config> config;
  route::Router router;
  std::vector<RoutePlan> routes;  // indexed by the router's value
  std::vector<OriginPlan> origins;
  std::vector<ListenerPlan> listeners;
  observe::RouteMetrics unmatched;  // requests that found no route
  std::size_t loop_buffer_memory = 0;
  std::shared_ptr<const issuer::TokenMint> mint;  // what the issuer publishes; nullptr: there is none
  const store::KeyStore* keys = nullptr;          // where api_key policies look; outlives the snapshot
  // Every header that the gateway vouches for: identity of any origin, policies, forwarding.
  http::ReservedNames reserved;

 private:
  class Builder;
  std::vector<std::unique_ptr<const policies::Policy>> policies_;
  observe::SeriesSet series_;
};

}  // namespace postern::gateway
