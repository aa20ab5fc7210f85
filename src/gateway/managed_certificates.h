// ManagedCertificates: the gateway's own client certificates under `mtls: {managed: true}`: short-lived, one per
// origin, issued by the deployment's private client CA, renewed at half their life. On the control thread; what it
// hands out is immutable.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "config/config.h"
#include "platform/clock.h"
#include "tls/authority_store.h"

namespace postern::gateway {

class ManagedCertificates {
 public:
  // Makes the authorities in `directory` if there are none yet.
  [[nodiscard]] static Result<std::unique_ptr<ManagedCertificates>> open(const std::string& directory, WallTime now,
                                                                         const Entropy& entropy);
  // For a dry run: those of `directory`, or some that exist in memory only. Writes nothing.
  [[nodiscard]] static Result<std::unique_ptr<ManagedCertificates>> rehearse(const std::string& directory,
                                                                             WallTime now);

  // Issues what the origins of `config` need and do not have, and renews what is due. An error only if an origin would
  // be without a certificate that is in force.
  [[nodiscard]] Result<void> provide(const config::Config& config, WallTime now);
  // Whether provide() would issue anything, or what it issued last is not in force; after a failure not before some
  // time has passed.
  [[nodiscard]] bool renewal_due(const config::Config& config, WallTime now) const;
  // What provide() gave is in force.
  void in_force() noexcept { pending_ = false; }
  // It is not: something else keeps the configuration from being taken over.
  void retry_later(WallTime now) noexcept;
  // For an origin that provide() has seen; nullptr otherwise.
  [[nodiscard]] std::shared_ptr<const tls::CertifiedKey> for_origin(const std::string& origin) const;
  // What signs the certificates of origins under `trust: {ca: managed}`.
  [[nodiscard]] const std::shared_ptr<const tls::TrustAnchors>& server_anchors() const noexcept { return anchors_; }
  [[nodiscard]] const tls::Authorities& authorities() const noexcept { return authorities_; }

 private:
  struct Issued {
    std::shared_ptr<const tls::CertifiedKey> certificate;
    WallTime renew_at{};
  };
  explicit ManagedCertificates(tls::Authorities authorities);
  [[nodiscard]] static Result<std::unique_ptr<ManagedCertificates>> from(Result<tls::Authorities> authorities);
  [[nodiscard]] bool due(const std::string& origin, WallTime now) const;

  tls::Authorities authorities_;
  std::string gateway_;  // the name of this one in its certificates
  std::shared_ptr<const tls::TrustAnchors> anchors_;
  std::map<std::string, Issued> issued_;
  WallTime retry_at_{};
  bool pending_ = false;  // something was issued that is not in force
};

// Whether `config` asks for it at all.
[[nodiscard]] bool uses_managed_certificates(const config::Config& config);

}  // namespace postern::gateway
