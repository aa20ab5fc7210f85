#include "prove/assurance.h"

#include <algorithm>
#include <variant>

namespace postern::prove {

Assurance assess(const config::OriginConfig& origin) noexcept {
  if (origin.identity.empty()) return {0, "the origin has no identity: it cannot tell the gateway from anybody else"};
  // config/checks.cc lets identity leave this machine in clear only with an `insecure` exception.
  if (origin.insecure && origin.tls) return {0, "the origin is not verified, by an exception that ends at its date"};
  if (origin.insecure) return {0, "identity travels in clear, by an exception that ends at its date"};
  const bool mtls = std::any_of(origin.identity.begin(), origin.identity.end(), [](const config::IdentityUse& use) {
    return std::holds_alternative<config::MtlsConfig>(use.config);
  });
  if (mtls) return {3, "mTLS: each side verifies the other's certificate"};
  int strongest = 1;
  for (const config::IdentityUse& use : origin.identity) {
    const auto* const method = std::get_if<config::MethodConfig>(&use.config);
    if (method) strongest = std::max(strongest, method->assurance);
  }
  if (strongest >= 3) return {3, "each request is signed for itself"};
  if (strongest == 2) return {2, "a short-lived token in each request"};
  if (origin.tls) return {1, "a static secret over verified TLS"};
  return {1, "a static secret that never leaves this machine"};
}

}  // namespace postern::prove
