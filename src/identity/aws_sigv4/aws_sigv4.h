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
#include "tokens/aws.h"
#include "tokens/token.h"

namespace postern::identity {

class AwsSigV4 final : public IdentityMethod, private FieldFilter {
 public:
  // All views outlive the method.
  struct Settings {
    std::string_view method = "aws_sigv4";  // its name in the configuration
    std::string region;
    std::string service;
    // Keys as they were given...
    std::string_view access_key_id;
    std::string_view secret_access_key;
    std::string_view session_token;  // "": none
    // ...or as they are fetched and kept fresh: from a metadata server or STS. With `fetched` and no token the
    // configuration is only looked at.
    bool fetched = false;
    std::shared_ptr<tokens::Token> token;
    std::vector<std::string> pass;            // lower-case
    std::optional<std::uint64_t> whole_body;  // nullopt: UNSIGNED-PAYLOAD
  };
  explicit AwsSigV4(Settings settings) : settings_(std::move(settings)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return settings_.method; }
  [[nodiscard]] std::vector<std::string_view> headers() const override;
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  [[nodiscard]] std::vector<std::string_view> secrets() const override;
  [[nodiscard]] std::optional<std::uint64_t> whole_body() const noexcept override { return settings_.whole_body; }
  [[nodiscard]] const FieldFilter* filter() const noexcept override { return this; }

 private:
  [[nodiscard]] bool forbids(std::string_view name) const noexcept override;
  // The keys of one attempt; the views live as long as it.
  struct Keys {
    std::string_view access_key_id, secret_access_key, session_token;
  };
  [[nodiscard]] Task<Result<void>> sign_when_there(Attempt& attempt) const;
  [[nodiscard]] Result<void> sign_with(Attempt& attempt, std::shared_ptr<const tokens::Credential> credential) const;
  [[nodiscard]] Result<void> sign(Attempt& attempt, const Keys& keys) const;
  struct Derived {
    std::string access_key_id;
    signature::SigV4Key key;
  };
  // Derived for the day of `now`; at midnight, and when the keys have changed, one loop after the other finds that it
  // has to be derived again.
  [[nodiscard]] Result<std::shared_ptr<const Derived>> key_for(const Keys& keys, WallTime now) const;

  const Settings settings_;
  mutable std::atomic<std::shared_ptr<const Derived>> key_;
};

// The options that say what is signed, and how: region, service, payload, max_body, pass. Reports what is wrong.
void read_signing_options(AwsSigV4::Settings& settings, const config::Node& options, config::Diagnostics& diagnostics);
// `role_arn` and so on of `role`, and the region of the signature for STS.
[[nodiscard]] tokens::AwsRoleOptions read_role(const config::Node& role, std::string_view region,
                                               const config::MethodConfig& config);

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_aws_sigv4(const config::IdentityUse& use,
                                                                   config::Diagnostics& diagnostics,
                                                                   const Services& services);

}  // namespace postern::identity
