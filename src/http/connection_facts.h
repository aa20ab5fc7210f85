// ConnectionFacts: what is known of the connection on which a client came in, for everything that judges its requests.
#pragma once

#include <memory>

#include "platform/network.h"
#include "tls/server_context.h"
#include "tls/tls_stream.h"

namespace postern::http {

struct ConnectionFacts {
  PeerAddress peer;                       // or what a PROXY header said
  const tls::Handshake* tls = nullptr;    // nullptr: in clear. Lives as long as the connection
  std::shared_ptr<const tls::ServerContext> tls_context;  // under which the connection was made
  [[nodiscard]] bool secure() const noexcept { return tls != nullptr; }
};

}  // namespace postern::http
