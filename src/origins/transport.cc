#include "origins/transport.h"

namespace postern::origins {

bool Transport::may_be_http2(Want want) const noexcept {
  if (http2 == config::OriginHttp2::always) return true;
  return http2 == config::OriginHttp2::automatic && tls && want == Want::any;
}

Task<Result<Established>> establish(Loop& loop, BufferPool& buffers, Network& network, SocketAddress address,
                                    Transport transport, Want want, std::shared_ptr<tls::SessionSlot> sessions,
                                    MonoTime deadline) {
  Result<std::unique_ptr<Stream>> stream = co_await network.connect(loop, address, deadline);
  if (!stream) co_return std::unexpected(std::move(stream.error()));
  Established out;
  if (!transport.tls) {
    out.stream = std::move(*stream);
    out.http2 = transport.must_be_http2();
    co_return out;
  }
  const bool apart = want != Want::any && transport.unshared;
  std::unique_ptr<tls::TlsStream> secured =
      tls::ClientContext::connect(apart ? transport.unshared : transport.tls, loop, buffers, std::move(*stream),
                                  apart ? nullptr : std::move(sessions));
  Result<void> verified = co_await secured->handshake(deadline);
  if (!verified) co_return std::unexpected(std::move(verified.error()));
  out.tls = secured.get();
  out.http2 = secured->info().alpn == tls::Alpn::h2;
  out.stream = std::move(secured);
  co_return out;
}

}  // namespace postern::origins
