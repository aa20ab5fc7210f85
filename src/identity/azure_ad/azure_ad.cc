#include "identity/azure_ad/azure_ad.h"

#include <array>
#include <string>
#include <variant>

#include "identity/bearer_token.h"
#include "identity/options.h"
#include "tokens/azure.h"

namespace postern::identity {
namespace {

using config::Problem;

// The way to log in: exactly one of the three. nullptr after saying what is wrong.
const config::Node* way_of(const config::Node& options, config::Diagnostics& diagnostics) {
  constexpr std::array<std::string_view, 3> kWays = {"client_secret", "certificate", "managed_identity"};
  const config::Node* found = nullptr;
  for (const std::string_view way : kWays) {
    const config::Node* const at = options.find(way);
    if (!at) continue;
    if (found) {
      diagnostics.error(Problem::ambiguous, *at, "more than one way to log in",
                        "keep one of `client_secret`, `certificate` and `managed_identity`");
      return nullptr;
    }
    found = at;
  }
  if (!found) {
    diagnostics.error(Problem::missing_key, options, "no way to log in",
                      "give `client_secret: \"${file:/path}\"`, `certificate` and `key`, or `managed_identity: {}`");
  }
  return found;
}

Result<std::unique_ptr<tokens::Source>> managed(const config::Node& way, std::string resource,
                                                const Services& services) {
  tokens::AzureManagedIdentity identity;
  identity.resource = std::move(resource);
  identity.client_id = text_of(way, "client_id");
  identity.object_id = text_of(way, "object_id");
  identity.resource_id = text_of(way, "resource_id");
  if (const std::string_view endpoint = text_of(way, "endpoint"); !endpoint.empty()) {
    return tokens::make_azure_instance(std::move(identity), std::string(endpoint));
  }
  const config::ProcessEnvironment process;
  return tokens::make_azure_managed(std::move(identity), services.environment ? *services.environment : process);
}

Result<std::unique_ptr<tokens::Source>> source_of(const config::MethodConfig& config, const config::Node& way,
                                                  const Services& services) {
  const config::Node& options = *config.options;
  std::string resource(text_of(options, "resource"));
  if (&way == options.find("managed_identity")) return managed(way, std::move(resource), services);
  tokens::AzureApp app;
  app.tenant = text_of(options, "tenant");
  app.client_id = text_of(options, "client_id");
  app.resource = std::move(resource);
  app.authority = text_of(options, "authority", app.authority);
  if (const config::Secret* const secret = config.secret("client_secret")) {
    return tokens::make_azure_secret(std::move(app), secret->clone());
  }
  const config::Secret* const chain = config.secret("certificate");
  const config::Secret* const key = config.secret("key");
  if (!chain || !key) return fail(Code::io_failed, Side::gateway, "certificate and key belong together");
  auto certified = tls::CertifiedKey::parse(chain->reveal(), key->reveal(), tls::CertifiedKey::Use::client);
  if (!certified) return std::unexpected(std::move(certified.error()));
  return tokens::make_azure_certificate(std::move(app), std::move(*certified));
}

}  // namespace

std::unique_ptr<const IdentityMethod> make_azure_ad(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                    const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  const std::size_t errors = diagnostics.errors();
  const config::Node* const way = way_of(options, diagnostics);
  const bool managed_identity = way && way == options.find("managed_identity");
  for (const std::string_view needed : {"tenant", "client_id"}) {
    const config::Node* const at = options.find(needed);
    if (way && !managed_identity && !at) {
      diagnostics.error(Problem::missing_key, options, "`" + std::string(needed) + "` is missing",
                        "it stands on the page of the app registration");
    }
    if (managed_identity && at) {
      diagnostics.error(Problem::ambiguous, *at,
                        "a managed identity belongs to the machine, not to an app registration",
                        "remove it; `managed_identity: {client_id: ...}` chooses one of several");
    }
  }
  constexpr std::string_view kOfApp[] = {"authority"};
  if (managed_identity) refuse_unused(options, kOfApp, "the machine logs in, wherever it is", diagnostics);
  if (const config::Node* const key = options.find("key"); key && !options.find("certificate")) {
    diagnostics.error(Problem::missing_key, *key, "a key without its certificate", "add `certificate`");
  }
  if (errors != diagnostics.errors()) return nullptr;
  return make_bearer("azure_ad", use, source_of(config, *way, services), diagnostics, services);
}

}  // namespace postern::identity
