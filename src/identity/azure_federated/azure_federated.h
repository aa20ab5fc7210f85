// Identity `azure_federated`: an access token of Microsoft Entra ID for a token of the gateway's own issuer (federated
// identity credential): no secret of Azure's is kept here.
//
// How the token is obtained: tokens/azure.h. What becomes of it: identity/bearer_token.h.
#pragma once

#include <memory>

#include "config/config.h"
#include "config/diagnostics.h"
#include "identity/catalog.h"
#include "identity/identity.h"

namespace postern::identity {

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_azure_federated(const config::IdentityUse& use,
                                                                         config::Diagnostics& diagnostics,
                                                                         const Services& services);

}  // namespace postern::identity
