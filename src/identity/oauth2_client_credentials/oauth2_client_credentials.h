// Identity `oauth2_client_credentials`: an access token of any OAuth 2.0 server.
//
// How the token is obtained: tokens/oauth2.h. What becomes of it: identity/bearer_token.h.
#pragma once

#include <memory>

#include "config/config.h"
#include "config/diagnostics.h"
#include "identity/catalog.h"
#include "identity/identity.h"

namespace postern::identity {

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_oauth2_client_credentials(const config::IdentityUse& use,
                                                                                   config::Diagnostics& diagnostics,
                                                                                   const Services& services);

}  // namespace postern::identity
