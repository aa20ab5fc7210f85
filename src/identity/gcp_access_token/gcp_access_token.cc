#include "identity/gcp_access_token/gcp_access_token.h"

#include <variant>

#include "identity/bearer_token.h"
#include "identity/options.h"
#include "tokens/gcp.h"

namespace postern::identity {
namespace {

using config::Problem;

Result<std::unique_ptr<tokens::Source>> from_metadata(const config::Node& at, tokens::GcpWanted wanted) {
  tokens::GcpMetadataOptions metadata;
  metadata.wanted = std::move(wanted);
  metadata.endpoint = text_of(at, "endpoint", metadata.endpoint);
  metadata.account = text_of(at, "account", metadata.account);
  return tokens::make_gcp_metadata(std::move(metadata));
}

std::string scope_of(const config::Node& options) {
  const config::Node* const scopes = options.find("scopes");
  return scopes ? joined(scopes, ' ') : std::string(tokens::kGcpPlatformScope);
}

}  // namespace

std::unique_ptr<const IdentityMethod> make_gcp_access_token(const config::IdentityUse& use,
                                                            config::Diagnostics& diagnostics,
                                                            const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  const config::Node* const file = options.find("service_account");
  const config::Node* const metadata = options.find("metadata");
  if (file && metadata) {
    diagnostics.error(Problem::ambiguous, *metadata, "both a key file and the metadata server",
                      "remove `service_account` or `metadata`");
    return nullptr;
  }
  if (!file && !metadata) {
    diagnostics.error(
        Problem::missing_key, options, "neither `service_account` nor `metadata`",
        "give `service_account: \"${file:/path/service.json}\"`, or `metadata: {}` on a machine of Google");
    return nullptr;
  }
  auto wanted = tokens::GcpWanted::access(scope_of(options));
  if (metadata) {
    constexpr std::string_view kOfFile[] = {"subject", "token_url"};
    if (!refuse_unused(options, kOfFile, "the metadata server knows one account only", diagnostics)) return nullptr;
    return make_bearer("gcp_access_token", use, from_metadata(*metadata, std::move(wanted)), diagnostics, services);
  }
  tokens::GcpServiceAccountOptions grant;
  grant.account = service_account_of(config, diagnostics);
  if (!grant.account) return nullptr;
  grant.wanted = std::move(wanted);
  grant.subject = text_of(options, "subject");
  grant.token_url = text_of(options, "token_url");
  return make_bearer("gcp_access_token", use, tokens::make_gcp_service_account(std::move(grant)), diagnostics,
                     services);
}

}  // namespace postern::identity
