// Identity `aws_federated`: AWS Signature Version 4 on each request, with the temporary keys of a role that STS gives
// for a token of the gateway's own issuer. No key of AWS is kept here.
//
// How the keys are obtained: tokens/aws.h. What is signed, and how: identity/aws_sigv4.
#pragma once

#include <memory>

#include "config/config.h"
#include "config/diagnostics.h"
#include "identity/catalog.h"
#include "identity/identity.h"

namespace postern::identity {

// From the configuration: see identity/catalog.h.
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_aws_federated(const config::IdentityUse& use,
                                                                       config::Diagnostics& diagnostics,
                                                                       const Services& services);

}  // namespace postern::identity
