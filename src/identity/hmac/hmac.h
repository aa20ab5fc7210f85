// Identity `hmac`: a timestamped HMAC-SHA-256 over the body of each request, in the form of Stripe or of Standard
// Webhooks, so that an origin verifies it with a library that it may have already.
//
// It binds body and time. Method, path and host are not signed: within the receiver's tolerance (5 minutes in the usual
// libraries) a request that somebody has seen is good for every path of every origin that has the same secret. So each
// origin gets a secret of its own, and where a path must not be swapped http_signature is the method.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "identity/catalog.h"
#include "identity/identity.h"
#include "signature/webhook_hmac.h"

namespace postern::identity {

class Hmac final : public IdentityMethod {
 public:
  struct Settings {
    signature::WebhookForm form = signature::WebhookForm::standard;
    std::string header;
    signature::WebhookKeys keys;
    std::vector<std::string_view> secrets;  // their texts, for the reflection guard; outlive the method
    std::uint64_t whole_body = 0;
  };
  Hmac(Settings settings, const Entropy& entropy) : settings_(std::move(settings)), entropy_(entropy) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "hmac"; }
  // The fields of Standard Webhooks are the gateway's in either form.
  [[nodiscard]] std::vector<std::string_view> headers() const override;
  // The id is new for each attempt: a receiver that remembers ids would take a retry for a replay.
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  [[nodiscard]] std::vector<std::string_view> secrets() const override { return settings_.secrets; }
  [[nodiscard]] std::optional<std::uint64_t> whole_body() const noexcept override { return settings_.whole_body; }

 private:
  [[nodiscard]] Result<void> sign(Attempt& attempt) const;

  const Settings settings_;
  const Entropy& entropy_;
};

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_hmac(const config::IdentityUse& use,
                                                              config::Diagnostics& diagnostics,
                                                              const Services& services);

}  // namespace postern::identity
