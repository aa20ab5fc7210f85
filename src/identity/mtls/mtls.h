// Identity `mtls`: the gateway's client certificate, shown to the origin in the TLS handshake of every connection. It
// belongs to the connection and not to the request, so there is nothing to add to a message: origins/ puts the
// certificate into the ClientContext of the origin, and a connection that was made with another one is another
// generation (gateway/snapshot.cc). The method object stands for it in the list, so that nothing is left out that asks
// an origin for its identities.
#pragma once

#include "identity/identity.h"

namespace postern::identity {

class Mtls final : public IdentityMethod {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "mtls"; }
  [[nodiscard]] std::vector<std::string_view> headers() const override { return {}; }
  // Nothing to do, never an error: without the handshake there is no connection to send an attempt on.
  [[nodiscard]] Task<Result<void>> apply(Attempt& attempt) const override;
  // A certificate is public, and its key never leaves the process.
  [[nodiscard]] std::vector<std::string_view> secrets() const override { return {}; }
};

}  // namespace postern::identity
