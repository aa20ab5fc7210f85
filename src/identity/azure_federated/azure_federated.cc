#include "identity/azure_federated/azure_federated.h"

#include <variant>

#include "identity/bearer_token.h"
#include "identity/options.h"
#include "tokens/azure.h"

namespace postern::identity {

std::unique_ptr<const IdentityMethod> make_azure_federated(const config::IdentityUse& use,
                                                           config::Diagnostics& diagnostics, const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  auto assertion =
      assertion_of(config, std::string(text_of(options, "audience", tokens::kAzureAudience)), diagnostics, services);
  if (!assertion) return nullptr;
  tokens::AzureApp app;
  app.tenant = text_of(options, "tenant");
  app.client_id = text_of(options, "client_id");
  app.resource = text_of(options, "resource");
  app.authority = text_of(options, "authority", app.authority);
  return make_bearer(
      "azure_federated", use,
      tokens::make_azure_federated(std::move(app), std::move(assertion->mint), std::move(assertion->name)), diagnostics,
      services);
}

}  // namespace postern::identity
