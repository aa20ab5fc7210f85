// Identity `gcp_jwt`: a JWT that is signed here with the key of a Google service account (AIP-4111): for IAP, for APIs
// of Google that take it, and for one's own verifier. No server is asked.
//
// How the token is obtained: tokens/gcp.h. What becomes of it: identity/bearer_token.h.
#pragma once

#include <memory>

#include "config/config.h"
#include "config/diagnostics.h"
#include "identity/catalog.h"
#include "identity/identity.h"

namespace postern::identity {

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_gcp_jwt(const config::IdentityUse& use,
                                                                 config::Diagnostics& diagnostics,
                                                                 const Services& services);

}  // namespace postern::identity
