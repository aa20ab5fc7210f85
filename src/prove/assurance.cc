#include "prove/assurance.h"

#include <algorithm>
#include <variant>

namespace postern::prove {

namespace {

// A signature that leaves the body out binds no request; a token that names the request does.
int level_of(const config::MethodConfig& method) noexcept {
  const config::Node& options = *method.options;
  const config::Node* const payload = options.find("payload");
  const bool body_free = options.find("unsigned_body") || (payload && payload->text() == "unsigned");
  const config::Node* const bind = options.find("bind");
  if (body_free) return std::min(method.assurance, 2);
  return bind && bind->text() == "request" ? 3 : method.assurance;
}

}  // namespace

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
    if (method) strongest = std::max(strongest, level_of(*method));
  }
  if (strongest >= 3) return {3, "each request is signed for itself"};
  if (strongest == 2) return {2, "a short-lived token in each request"};
  if (origin.tls) return {1, "a static secret over verified TLS"};
  return {1, "a static secret that never leaves this machine"};
}

}  // namespace postern::prove
