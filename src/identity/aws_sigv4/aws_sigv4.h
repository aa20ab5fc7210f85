// Identity `aws_sigv4`: AWS Signature Version 4 on each request, so that IAM in front of the origin (API Gateway, a
// Lambda function URL, VPC Lattice) or S3 knows the gateway.
//
// IAM computes the signature from the request as it arrives. Signed are method, path, query, Host, Content-Type, the
// payload's hash and every X-Amz-* that is sent; those are the gateway's own and the ones that `pass` names. All other
// X-Amz-* of the client are taken off: signed, they would be orders to the service in the gateway's name. Authorization
// carries the signature, so the client's own goes or is forwarded under another name.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "identity/catalog.h"
#include "identity/identity.h"
#include "signature/sigv4.h"

namespace postern::identity {

class AwsSigV4 final : public IdentityMethod, private FieldFilter {
 public:
  // All views outlive the method.
  struct Settings {
    std::string region;
    std::string service;
    std::string_view access_key_id;
    std::string_view secret_access_key;
    std::string_view session_token;           // "": none
    std::vector<std::string> pass;            // lower-case
    std::optional<std::uint64_t> whole_body;  // nullopt: UNSIGNED-PAYLOAD
  };
  explicit AwsSigV4(Settings settings) : settings_(std::move(settings)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "aws_sigv4"; }
  [[nodiscard]] std::vector<std::string_view> headers() const override;
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  [[nodiscard]] std::vector<std::string_view> secrets() const override;
  [[nodiscard]] std::optional<std::uint64_t> whole_body() const noexcept override { return settings_.whole_body; }
  [[nodiscard]] const FieldFilter* filter() const noexcept override { return this; }

 private:
  [[nodiscard]] bool forbids(std::string_view name) const noexcept override;
  [[nodiscard]] Result<void> sign(Attempt& attempt) const;
  // Derived for the day of `now`; at midnight one loop after the other finds that it has to be derived again.
  [[nodiscard]] Result<std::shared_ptr<const signature::SigV4Key>> key_for(WallTime now) const;

  const Settings settings_;
  mutable std::atomic<std::shared_ptr<const signature::SigV4Key>> key_;
};

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_aws_sigv4(const config::IdentityUse& use,
                                                                   config::Diagnostics& diagnostics,
                                                                   const Services& services);

}  // namespace postern::identity
