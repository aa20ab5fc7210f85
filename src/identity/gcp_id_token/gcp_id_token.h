// Identity `gcp_id_token`: an ID token that Google has signed for one audience: what Cloud Run, Functions and IAP ask
// for, and what one's own verifier checks with Google's keys.
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
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_gcp_id_token(const config::IdentityUse& use,
                                                                      config::Diagnostics& diagnostics,
                                                                      const Services& services);

}  // namespace postern::identity
