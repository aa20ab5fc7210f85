#include "identity/gcp_federated/gcp_federated.h"

#include <variant>

#include "identity/bearer_token.h"
#include "identity/options.h"
#include "tokens/gcp.h"

namespace postern::identity {

std::unique_ptr<const IdentityMethod> make_gcp_federated(const config::IdentityUse& use,
                                                         config::Diagnostics& diagnostics, const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  tokens::GcpFederationOptions wanted;
  wanted.provider = text_of(options, "provider");
  wanted.service_account = text_of(options, "impersonate");
  wanted.lifetime = seconds_of(options, "lifetime", wanted.lifetime);
  wanted.sts_url = text_of(options, "sts_url", wanted.sts_url);
  wanted.iamcredentials_url = text_of(options, "iamcredentials_url", wanted.iamcredentials_url);
  constexpr std::string_view kOfAccount[] = {"lifetime", "iamcredentials_url"};
  constexpr std::string_view kOfAccess[] = {"lifetime"};
  const bool used =
      wanted.service_account.empty()
          ? refuse_unused(options, kOfAccount, "no account is impersonated", diagnostics)
          : !options.find("id_token_audience") ||
                refuse_unused(options, kOfAccess, "Google decides how long an ID token lives", diagnostics);
  if (!used) return nullptr;
  const config::Node* const scopes = options.find("scopes");
  const std::string_view id_token = text_of(options, "id_token_audience");
  if (scopes && !id_token.empty()) {
    diagnostics.error(config::Problem::ambiguous, *scopes,
                      "scopes are for access tokens, id_token_audience is for ID tokens", "remove one of the two");
    return nullptr;
  }
  wanted.wanted = id_token.empty()
                      ? tokens::GcpWanted::access(scopes ? joined(scopes, ' ') : std::string(tokens::kGcpPlatformScope))
                      : tokens::GcpWanted::identity(std::string(id_token));
  // What a provider expects unless it has a list of its own.
  const std::string audience(text_of(options, "audience", "https:" + wanted.provider));
  auto assertion = assertion_of(config, audience, diagnostics, services);
  if (!assertion) return nullptr;
  return make_bearer(
      "gcp_federated", use,
      tokens::make_gcp_federation(std::move(wanted), std::move(assertion->mint), std::move(assertion->name)),
      diagnostics, services);
}

}  // namespace postern::identity
