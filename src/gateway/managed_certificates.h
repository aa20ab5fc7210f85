// ManagedCertificates: the gateway's own client certificates under `mtls: {managed: true}`: short-lived, one per
// origin, issued by the deployment's private client CA, renewed at half their life. On the control thread; what it
// hands out is immutable.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "config/config.h"
#include "platform/clock.h"
#include "tls/authority_store.h"

namespace postern::gateway {

class ManagedCertificates {
 public:
  // Makes the authorities in `directory` if there are none yet. `gateway` names this one in the certificates.
  [[nodiscard]] static Result<std::unique_ptr<ManagedCertificates>> open(const std::string& directory,
                                                                         std::string gateway, WallTime now);

  // Issues what the origins of `config` need and do not have, or renews what is due. True if anything is new; an error
  // leaves the rest as it is.
  [[nodiscard]] Result<bool> provide(const config::Config& config, WallTime now);
  // Whether provide() would issue anything, a few seconds after a failure at the earliest.
  [[nodiscard]] bool renewal_due(const config::Config& config, WallTime now) const;
  // For an origin that provide() has seen; nullptr otherwise.
  [[nodiscard]] std::shared_ptr<const tls::CertifiedKey> for_origin(const std::string& origin) const;
  // What signs the certificates of origins under `trust: {ca: managed}`.
  [[nodiscard]] const std::shared_ptr<const tls::TrustAnchors>& server_anchors() const noexcept { return anchors_; }
  [[nodiscard]] const tls::AuthorityStore& authorities() const noexcept { return *store_; }

 private:
  explicit ManagedCertificates(std::unique_ptr<tls::AuthorityStore> store, std::string gateway)
      : store_(std::move(store)), gateway_(std::move(gateway)) {}

  std::unique_ptr<tls::AuthorityStore> store_;
  std::string gateway_;
  std::shared_ptr<const tls::TrustAnchors> anchors_;
  std::map<std::string, std::shared_ptr<const tls::CertifiedKey>> issued_;
};

// Whether `config` asks for it at all.
[[nodiscard]] bool uses_managed_certificates(const config::Config& config);

}  // namespace postern::gateway
