#include "identity/gcp_jwt/gcp_jwt.h"

#include <variant>

#include "identity/bearer_token.h"
#include "identity/options.h"
#include "tokens/gcp.h"

namespace postern::identity {

std::unique_ptr<const IdentityMethod> make_gcp_jwt(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                   const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  tokens::GcpSelfSignedOptions wanted;
  wanted.account = service_account_of(config, diagnostics);
  if (!wanted.account) return nullptr;
  wanted.audience = text_of(options, "audience");
  wanted.scope = joined(options.find("scopes"), ' ');
  return make_bearer("gcp_jwt", use, tokens::make_gcp_self_signed(std::move(wanted)), diagnostics, services);
}

}  // namespace postern::identity
