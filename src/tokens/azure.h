// Access tokens of Microsoft Entra ID for an application: with a secret, a certificate, or a token of our issuer
// (federated identity credential); and those that Azure's own machines are given (managed identity).
//
// Every make_*() checks its options and fails with io_failed, Side::gateway, and a detail for whoever wrote them.
// What Entra says in an error is quoted for the operator, with a hint for the codes that are met most; decisions go by
// the status alone, since neither texts nor numbers are promised to stay.
#pragma once

#include <memory>
#include <string>

#include "config/secret.h"
#include "tls/certificate.h"
#include "tokens/cloud.h"
#include "tokens/source.h"

namespace postern::tokens {

// The application at the tenant's token endpoint, AUTHORITY/TENANT/oauth2/v2.0/token.
struct AzureApp {
  std::string tenant;     // a GUID or a verified domain; "common" and the like have no applications of their own
  std::string client_id;  // a GUID
  std::string resource;   // the API: its App ID URI or GUID. What is asked for is "RESOURCE/.default"
  std::string authority = "https://login.microsoftonline.com";  // others for sovereign clouds
};

[[nodiscard]] Result<std::unique_ptr<Source>> make_azure_secret(AzureApp app, config::Secret client_secret);

// An assertion signed with the certificate's RSA key: PS256, x5t#S256, good for ten minutes, a jti of its own for every
// attempt.
[[nodiscard]] Result<std::unique_ptr<Source>> make_azure_certificate(AzureApp app,
                                                                     std::shared_ptr<const tls::CertifiedKey> key);

// What a federated identity credential has as its audience, unless a sovereign cloud wants another.
inline constexpr std::string_view kAzureAudience = "api://AzureADTokenExchange";
// Our JWT as the assertion. `mint` has to mint RS256: Entra takes nothing else. `assertion_name` tells apart what it
// mints; it stands in key().
[[nodiscard]] Result<std::unique_ptr<Source>> make_azure_federated(AzureApp app, MintAssertion mint,
                                                                   std::string assertion_name);

struct AzureManagedIdentity {
  std::string resource;  // App ID URI, without "/.default"
  // Which one, if several are assigned: at most one of these.
  std::string client_id = {};
  std::string object_id = {};
  std::string resource_id = {};
};
// The metadata server of a virtual machine.
inline constexpr std::string_view kAzureInstanceEndpoint = "http://169.254.169.254";
[[nodiscard]] Result<std::unique_ptr<Source>> make_azure_instance(
    AzureManagedIdentity identity, std::string endpoint = std::string(kAzureInstanceEndpoint));
// App Service, Functions and Container Apps: IDENTITY_ENDPOINT and IDENTITY_HEADER of the process.
[[nodiscard]] Result<std::unique_ptr<Source>> make_azure_app_service(AzureManagedIdentity identity,
                                                                     std::string endpoint, config::Secret header);
// App Service if the environment says so, else the virtual machine.
[[nodiscard]] Result<std::unique_ptr<Source>> make_azure_managed(AzureManagedIdentity identity,
                                                                 const config::Environment& environment);

}  // namespace postern::tokens
