// From configuration to TLS: the contexts of a listener, the transports of an origin, and what each stands for, in a
// text that is compared at a reload: connections go on only under the same.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/diagnostics.h"
#include "gateway/managed_certificates.h"
#include "origins/origin.h"
#include "origins/transport.h"
#include "tls/server_context.h"

namespace postern::gateway {

class Snapshot;

struct ListenerTls {
  std::vector<std::shared_ptr<const tls::ServerContext>> contexts;  // one per loop; none: in clear
  std::string trust;
};
// `tickets` as ServerContext::make().
[[nodiscard]] Result<ListenerTls> plan_listener_tls(const config::Config& config,
                                                    const config::ListenerConfig& listener,
                                                    const std::shared_ptr<tls::TicketKeys>& tickets, unsigned loops);

// How an origin is trusted and what it is shown.
struct OriginTls {
  std::shared_ptr<const tls::TrustAnchors> anchors;      // nullptr: in clear, or unverified
  std::shared_ptr<const tls::CertifiedKey> certificate;  // nullptr: none
  // Trust and certificate in one text; other text, other generation.
  std::string terms;
};
// Fails if the configuration asks for managed certificates and `managed` has none.
[[nodiscard]] Result<OriginTls> plan_origin_tls(const config::OriginConfig& origin, const ManagedCertificates* managed);
[[nodiscard]] Result<std::shared_ptr<const origins::Transports>> make_transports(const config::OriginConfig& origin,
                                                                                 const OriginTls& tls);

// Every certificate of ours, and every authority that is believed by name: what must be renewed one day.
struct CertificateInUse {
  std::string where;  // "listeners[0]", "origins.orders.identity.mtls"
  const tls::Certificate* certificate;
};
[[nodiscard]] std::vector<CertificateInUse> certificates_in_use(const Snapshot& snapshot,
                                                                const ManagedCertificates* managed);

}  // namespace postern::gateway
