// Identity `gcp_access_token`: an OAuth access token of Google for its APIs: with the key of a service account, or from
// the metadata server.
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
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_gcp_access_token(const config::IdentityUse& use,
                                                                          config::Diagnostics& diagnostics,
                                                                          const Services& services);

}  // namespace postern::identity
