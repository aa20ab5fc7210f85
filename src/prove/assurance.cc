#include "prove/assurance.h"

namespace postern::prove {

Assurance assess(const config::OriginConfig& origin) noexcept {
  if (origin.identity.empty()) return {0, "the origin has no identity: it cannot tell the gateway from anybody else"};
  // config/checks.cc lets identity leave this machine only with an `insecure` exception.
  if (origin.insecure) return {0, "identity travels in clear, by an exception that ends at its date"};
  return {1, "a static secret that never leaves this machine"};
}

}  // namespace postern::prove
