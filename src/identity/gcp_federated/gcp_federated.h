// Identity `gcp_federated`: a token of Google for a token of the gateway's own issuer (Workload Identity Federation):
// no key of Google's is kept here.
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
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_gcp_federated(const config::IdentityUse& use,
                                                                       config::Diagnostics& diagnostics,
                                                                       const Services& services);

}  // namespace postern::identity
