#include "gateway/tls_plans.h"

#include <algorithm>
#include <map>

#include "gateway/snapshot.h"

namespace postern::gateway {
namespace {

void add(std::string& text, std::string_view what) {
  text += what;
  text += '\n';
}

std::string fingerprints_of(const tls::TrustAnchors& anchors) {
  std::string text;
  for (const auto& certificate : anchors.certificates()) add(text, certificate->fingerprint());
  // Those of the system are not listed, but their id follows from their content: other roots are another trust.
  if (text.empty()) add(text, "system " + std::to_string(anchors.id()));
  return text;
}

std::string_view name_of(tls::ProtocolVersion version) {
  return version == tls::ProtocolVersion::tls_1_3 ? "1.3" : "1.2";
}

// One entry for all names that are served with the same certificates: a name may have one of RSA and one of ECDSA. The
// first entry is that of the first certificate.
std::vector<tls::ServerCertificate> certificates_by_name(const config::ListenerTlsConfig& tls) {
  using Keys = std::vector<std::shared_ptr<const tls::CertifiedKey>>;
  std::vector<std::string> names;  // in the order of the file
  std::map<std::string, Keys> keys;
  for (const config::ServerCertificateConfig& certificate : tls.certificates) {
    for (const std::string& name : certificate.names) {
      if (keys[name].empty()) names.push_back(name);
      keys[name].push_back(certificate.files.pair);
    }
  }
  std::vector<tls::ServerCertificate> out;
  // A certificate for addresses only has no name to be chosen by: it serves who asks for none.
  const config::ServerCertificateConfig& first = tls.certificates.front();
  if (first.names.empty()) out.push_back({{}, {first.files.pair}});
  for (const std::string& name : names) {
    const auto same = std::find_if(out.begin(), out.end(), [&](const auto& entry) { return entry.keys == keys[name]; });
    if (same != out.end()) {
      same->names.push_back(name);
    } else {
      out.push_back({{name}, keys[name]});
    }
  }
  return out;
}

}  // namespace

Result<ListenerTls> plan_listener_tls(const config::Config& config, const config::ListenerConfig& listener,
                                      const std::shared_ptr<tls::TicketKeys>& tickets, unsigned loops) {
  ListenerTls out;
  if (!listener.tls) return out;
  tls::ServerOptions options;
  options.min_version = listener.tls->min_version;
  options.offer_h2 = listener.http2 != config::ListenerHttp2::never;
  options.certificates = certificates_by_name(*listener.tls);
  add(out.trust, name_of(options.min_version));
  for (const config::RouteConfig& route : config.routes) {
    for (const config::PolicyUse* const use : config::effective_policies(config, route)) {
      if (use->name != "client_certificate") continue;
      options.client_certificate_hosts.push_back(route.match.host);
      add(out.trust, route.match.host);
      if (!use->authorities) continue;
      options.client_authorities.push_back(use->authorities);
      out.trust += fingerprints_of(*use->authorities);
    }
  }
  for (unsigned i = 0; i < loops; ++i) {
    Result<std::shared_ptr<const tls::ServerContext>> context =
        tls::ServerContext::make(options, listener.tls->session_tickets ? tickets : nullptr);
    if (!context) return std::unexpected(std::move(context.error()));
    out.contexts.push_back(std::move(*context));
  }
  return out;
}

Result<OriginTls> plan_origin_tls(const config::OriginConfig& origin, const ManagedCertificates* managed) {
  OriginTls out;
  const auto missing = [&] {
    return fail(Code::identity_unavailable, Side::gateway, "no managed certificates for origin `" + origin.name + "`");
  };
  add(out.terms, std::to_string(static_cast<int>(origin.http2)));
  if (!origin.tls) return out;
  const config::TrustConfig& trust = origin.trust;
  out.anchors = trust.anchors;
  if (trust.ca == config::TrustConfig::Ca::managed) {
    if (!managed) return missing();
    out.anchors = managed->server_anchors();
  }
  if (origin.insecure) out.anchors = nullptr;
  for (const config::IdentityUse& use : origin.identity) {
    const auto* const mtls = std::get_if<config::MtlsConfig>(&use.config);
    if (!mtls) continue;
    out.certificate = mtls->files.pair;
    if (mtls->managed) {
      out.certificate = managed ? managed->for_origin(origin.name) : nullptr;
      if (!out.certificate) return missing();
    }
  }
  add(out.terms, out.anchors ? fingerprints_of(*out.anchors) : "unverified");
  for (const std::string& name : trust.names) add(out.terms, name);
  for (const std::string& pin : trust.pins) add(out.terms, pin);
  add(out.terms, trust.server_name);
  add(out.terms, name_of(trust.min_version));
  add(out.terms, out.certificate ? out.certificate->leaf().fingerprint() : "no certificate");
  return out;
}

Result<std::shared_ptr<const origins::Transports>> make_transports(const config::OriginConfig& origin,
                                                                   const OriginTls& tls) {
  auto out = std::make_shared<origins::Transports>();
  if (!origin.tls) return std::shared_ptr<const origins::Transports>(std::move(out));
  const config::TrustConfig& trust = origin.trust;
  const bool automatic = origin.http2 == config::OriginHttp2::automatic;
  for (const config::EndpointConfig& endpoint : origin.endpoints) {
    origins::Transport& transport = (*out)[endpoint.authority];
    if (transport.tls) continue;
    tls::ClientOptions options;
    options.anchors = tls.anchors;
    options.verify = tls.anchors != nullptr;
    options.names = trust.names.empty() ? std::vector<std::string>{endpoint.address.host} : trust.names;
    options.pins = trust.pins;
    options.server_name = trust.server_name;
    if (options.server_name.empty() && !IpAddress::parse(endpoint.address.host)) {
      options.server_name = endpoint.address.host;
    }
    options.min_version = trust.min_version;
    options.certificate = tls.certificate;
    options.offer_h2 = origin.http2 != config::OriginHttp2::never;
    options.offer_http_1_1 = origin.http2 != config::OriginHttp2::always;
    transport.http2 = origin.http2;
    Result<std::shared_ptr<const tls::ClientContext>> context = tls::ClientContext::make(options);
    if (!context) return std::unexpected(std::move(context.error()));
    transport.tls = std::move(*context);
    if (!automatic) continue;
    options.offer_h2 = false;
    Result<std::shared_ptr<const tls::ClientContext>> unshared = tls::ClientContext::make(options);
    if (!unshared) return std::unexpected(std::move(unshared.error()));
    transport.unshared = std::move(*unshared);
  }
  return std::shared_ptr<const origins::Transports>(std::move(out));
}

std::vector<CertificateInUse> certificates_in_use(const Snapshot& snapshot, const ManagedCertificates* managed) {
  std::vector<CertificateInUse> out;
  const auto add_anchors = [&](const std::string& where, const tls::TrustAnchors* anchors) {
    if (!anchors) return;
    const auto certificates = anchors->certificates();
    for (std::size_t i = 0; i < certificates.size(); ++i) {
      out.push_back({where + "[" + std::to_string(i) + "]", certificates[i].get()});
    }
  };
  for (std::size_t i = 0; i < snapshot.listeners.size(); ++i) {
    const ListenerPlan& listener = snapshot.listeners[i];
    const std::string where = "listeners[" + std::to_string(i) + "].tls";
    if (!listener.config->tls) continue;
    const auto& certificates = listener.config->tls->certificates;
    for (std::size_t j = 0; j < certificates.size(); ++j) {
      out.push_back({where + ".certificates[" + std::to_string(j) + "]", &certificates[j].files.pair->leaf()});
    }
  }
  for (const OriginPlan& plan : snapshot.origins) {
    const std::string where = "origins." + plan.origin->config.name;
    if (plan.certificate) out.push_back({where + ".identity.mtls", &plan.certificate->leaf()});
    if (plan.origin->config.trust.ca == config::TrustConfig::Ca::file) {
      add_anchors(where + ".trust.ca", plan.origin->config.trust.anchors.get());
    }
  }
  if (managed) {
    out.push_back({"ca.client", &managed->authorities().client.certificate()});
    out.push_back({"ca.server", &managed->authorities().server.certificate()});
  }
  return out;
}

}  // namespace postern::gateway
