// Transport: how the gateway speaks to one endpoint: in clear or with TLS, as whom, in which version of HTTP. Traffic
// and health checks use the same one. Immutable, shared by all loops.
#pragma once

#include <memory>

#include "config/config.h"
#include "platform/buffer.h"
#include "platform/network.h"
#include "tls/client_context.h"

namespace postern::origins {

// What a request asks of its connection.
enum class Want : std::uint8_t {
  any,
  // Not shared, where there is a choice:
  websocket,       // the connection, or the stream, becomes one
  own_connection,  // it will be logged in as a whole (NTLM)
};

struct Transport {
  std::shared_ptr<const tls::ClientContext> tls;       // nullptr: in clear
  std::shared_ptr<const tls::ClientContext> unshared;  // for what is not shared; nullptr: the same
  config::OriginHttp2 http2 = config::OriginHttp2::automatic;

  // Whether a connection for `want` may turn out to be HTTP/2.
  [[nodiscard]] bool may_be_http2(Want want) const noexcept;
  [[nodiscard]] bool must_be_http2() const noexcept { return http2 == config::OriginHttp2::always; }
};

// A connection on which HTTP may begin: the origin is verified.
struct Established {
  std::unique_ptr<Stream> stream;
  const tls::TlsStream* tls = nullptr;  // of `stream`; nullptr: in clear
  bool http2 = false;
};

// Errors: origin_connect_failed, origin_connect_timeout, origin_tls_failed; all with Retry::yes. Parameters by value or
// outliving the task.
[[nodiscard]] Task<Result<Established>> establish(Loop& loop, BufferPool& buffers, Network& network,
                                                  SocketAddress address, Transport transport, Want want,
                                                  std::shared_ptr<tls::SessionSlot> sessions, MonoTime deadline);

}  // namespace postern::origins
