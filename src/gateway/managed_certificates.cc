#include "gateway/managed_certificates.h"

#include <algorithm>

namespace postern::gateway {
namespace {

constexpr Duration kLife = std::chrono::hours(24);
// Clocks differ; a certificate that is a moment old is not from the future anywhere.
constexpr Duration kBackdate = std::chrono::minutes(5);
constexpr Duration kRetry = std::chrono::seconds(30);

bool is_managed(const config::IdentityUse& use) {
  const auto* const mtls = std::get_if<config::MtlsConfig>(&use.config);
  return mtls && mtls->managed;
}

bool wants_certificate(const config::OriginConfig& origin) {
  return std::any_of(origin.identity.begin(), origin.identity.end(), is_managed);
}

}  // namespace

bool uses_managed_certificates(const config::Config& config) {
  return std::any_of(config.origins.begin(), config.origins.end(), [](const config::OriginConfig& origin) {
    return origin.trust.ca == config::TrustConfig::Ca::managed || wants_certificate(origin);
  });
}

Result<std::unique_ptr<ManagedCertificates>> ManagedCertificates::open(const std::string& directory, WallTime now) {
  Result<tls::AuthorityStore> store = tls::AuthorityStore::open_or_make(directory, now);
  if (!store) return std::unexpected(std::move(store.error()));
  return from(std::move(*store));
}

Result<std::unique_ptr<ManagedCertificates>> ManagedCertificates::rehearse(const std::string& directory, WallTime now) {
  Result<tls::AuthorityStore> store = tls::AuthorityStore::load_or_imagine(directory, now);
  if (!store) return std::unexpected(std::move(store.error()));
  return from(std::move(*store));
}

Result<std::unique_ptr<ManagedCertificates>> ManagedCertificates::from(tls::AuthorityStore store) {
  std::unique_ptr<ManagedCertificates> out(new ManagedCertificates(std::move(store)));
  Result<std::shared_ptr<const tls::TrustAnchors>> anchors =
      tls::TrustAnchors::parse(out->store_.server().certificate().to_pem());
  if (!anchors) return std::unexpected(std::move(anchors.error()));
  out->anchors_ = std::move(*anchors);
  return out;
}

bool ManagedCertificates::due(const std::string& origin, WallTime now) const {
  const auto found = issued_.find(origin);
  return found == issued_.end() || now >= found->second.renew_at;
}

bool ManagedCertificates::renewal_due(const config::Config& config, WallTime now) const {
  if (now < retry_at_) return false;
  return std::any_of(config.origins.begin(), config.origins.end(), [&](const config::OriginConfig& origin) {
    return wants_certificate(origin) && due(origin.name, now);
  });
}

Result<void> ManagedCertificates::provide(const config::Config& config, WallTime now) {
  for (const config::OriginConfig& origin : config.origins) {
    if (!wants_certificate(origin) || !due(origin.name, now)) continue;
    tls::LeafRequest request;
    request.use = tls::CertifiedKey::Use::client;
    // Servers that cannot look at a URI compare the common name; it is the origin's, so that a certificate for one does
    // not open another.
    request.common_name = origin.name;
    request.uris.push_back(store_.client_uri(tls::gateway_name(), origin.name));
    request.not_before = now - kBackdate;
    request.not_after = now + kLife;
    Result<std::shared_ptr<const tls::CertifiedKey>> issued = store_.client().issue(request);
    if (!issued) {
      retry_at_ = now + kRetry;
      // One that is still in force goes on.
      const auto running = issued_.find(origin.name);
      if (running != issued_.end() && now < running->second.certificate->leaf().not_after()) continue;
      return std::unexpected(std::move(issued.error()));
    }
    const WallTime until = (*issued)->leaf().not_after();
    issued_[origin.name] = {std::move(*issued), now + (until - now) / 2};
  }
  return {};
}

std::shared_ptr<const tls::CertifiedKey> ManagedCertificates::for_origin(const std::string& origin) const {
  const auto found = issued_.find(origin);
  return found == issued_.end() ? nullptr : found->second.certificate;
}

}  // namespace postern::gateway
