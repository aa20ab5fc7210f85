#include "gateway/managed_certificates.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>

namespace postern::gateway {
namespace {

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

ManagedCertificates::ManagedCertificates(tls::Authorities authorities) : authorities_(std::move(authorities)) {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  gateway_ = tls::gateway_name(host.data());
}

Result<std::unique_ptr<ManagedCertificates>> ManagedCertificates::open(const std::string& directory, WallTime now,
                                                                       const Entropy& entropy) {
  return from(tls::open_or_make_authorities(directory, now, entropy));
}

Result<std::unique_ptr<ManagedCertificates>> ManagedCertificates::rehearse(const std::string& directory, WallTime now) {
  std::error_code ignored;
  if (std::filesystem::exists(directory + "/client-ca.pem", ignored)) return from(tls::load_authorities(directory));
  const auto imagine = [&](tls::CertifiedKey::Use use) {
    return tls::Authority::make("not made yet", use, now - tls::kClockSkew, now + tls::kAuthorityLife);
  };
  Result<tls::Authority> client = imagine(tls::CertifiedKey::Use::client);
  if (!client) return std::unexpected(std::move(client.error()));
  Result<tls::Authority> server = imagine(tls::CertifiedKey::Use::server);
  if (!server) return std::unexpected(std::move(server.error()));
  return from(tls::Authorities{std::string(16, '0'), std::move(*client), std::move(*server)});
}

Result<std::unique_ptr<ManagedCertificates>> ManagedCertificates::from(Result<tls::Authorities> authorities) {
  if (!authorities) return std::unexpected(std::move(authorities.error()));
  std::unique_ptr<ManagedCertificates> out(new ManagedCertificates(std::move(*authorities)));
  Result<std::shared_ptr<const tls::TrustAnchors>> anchors =
      tls::TrustAnchors::parse(out->authorities_.server.certificate().to_pem());
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
  return pending_ || std::any_of(config.origins.begin(), config.origins.end(), [&](const config::OriginConfig& origin) {
           return wants_certificate(origin) && due(origin.name, now);
         });
}

void ManagedCertificates::retry_later(WallTime now) noexcept { retry_at_ = now + kRetry; }

Result<void> ManagedCertificates::provide(const config::Config& config, WallTime now) {
  for (const config::OriginConfig& origin : config.origins) {
    if (!wants_certificate(origin) || !due(origin.name, now)) continue;
    const tls::LeafRequest request = tls::client_request({authorities_.deployment, gateway_, origin.name}, now);
    Result<std::shared_ptr<const tls::CertifiedKey>> issued = authorities_.client.issue(request);
    if (!issued) {
      retry_at_ = now + kRetry;
      // One that is still in force goes on.
      const auto running = issued_.find(origin.name);
      if (running != issued_.end() && now < running->second.certificate->leaf().not_after()) continue;
      return std::unexpected(std::move(issued.error()));
    }
    // Near the end of the authority a new one would not last longer than the one that is there.
    const WallTime until = (*issued)->leaf().not_after();
    const WallTime renew_at = std::max(now + (until - now) / 2, now + kRetry);
    const auto running = issued_.find(origin.name);
    if (running != issued_.end() && until <= running->second.certificate->leaf().not_after()) {
      running->second.renew_at = renew_at;
      continue;
    }
    issued_[origin.name] = {std::move(*issued), renew_at};
    pending_ = true;
  }
  return {};
}

std::shared_ptr<const tls::CertifiedKey> ManagedCertificates::for_origin(const std::string& origin) const {
  const auto found = issued_.find(origin);
  return found == issued_.end() ? nullptr : found->second.certificate;
}

}  // namespace postern::gateway
