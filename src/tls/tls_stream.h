// TlsStream: a Stream over another Stream, encrypted. Made by ServerContext::accept() or ClientContext::connect();
// handshake() comes first, and until it has succeeded not one byte passes in either direction.
//
// Reading and writing follow the contract of Stream. An end without close_notify is an error, not an end: a truncated
// message must not look whole (RFC 8446 6.1). Renegotiation is refused. Between requests it holds no buffers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "platform/buffer.h"
#include "platform/deadline.h"
#include "platform/loop.h"
#include "platform/stream.h"
#include "platform/task.h"
#include "tls/certificate.h"

namespace postern::tls {

class ServerContext;
class ClientContext;
struct SessionSlot;

enum class Alpn : std::uint8_t { none, http_1_1, h2 };

// Whether a client certificate went over the connection, seen from who presents it.
enum class ClientCertificate : std::uint8_t { not_requested, requested_not_presented, presented };
[[nodiscard]] std::string_view to_string(ClientCertificate state) noexcept;

// What the handshake came to. Server: `peer` is what the client presented, with possession of its key proved but its
// chain NOT verified (TrustAnchors::verify_client does that, per request). Client: `peer` is the verified chain as built
// up to the anchor.
struct Handshake {
  std::string_view protocol;  // "TLSv1.3"
  std::string_view cipher;
  Alpn alpn = Alpn::none;
  bool resumed = false;
  std::string server_name;  // server: SNI as sent, lower-case, without trailing dot; client: what was sent
  unsigned selection = 0;   // server: ServerContext::select(server_name)
  ClientCertificate client_certificate = ClientCertificate::not_requested;
  std::vector<std::shared_ptr<const Certificate>> peer;
};

class TlsStream final : public Stream, Stream::AbortListener {
 public:
  ~TlsStream() override;

  // Once. Server side errors: Side::client, tls_handshake_failed; client side: Side::origin, origin_tls_failed with
  // what was wrong (Retry::yes: nothing of a request was sent), or origin_connect_timeout. The detail names the reason
  // and never an address.
  [[nodiscard]] Task<Result<void>> handshake(MonoTime deadline);
  // After handshake().
  [[nodiscard]] const Handshake& info() const noexcept { return info_; }
  // Why it broke, if TLS knows: "alert: certificate required". Empty while it has not.
  [[nodiscard]] std::string_view failure() const noexcept;

  [[nodiscard]] IoResult try_read(std::span<char> into) override;
  [[nodiscard]] IoResult try_write(std::span<const iovec> from) override;
  void shutdown_write() noexcept override;
  void reset_on_close() noexcept override;
  void close_in_order() noexcept override;

 private:
  friend class ServerContext;
  friend class ClientContext;
  struct Impl;
  TlsStream(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> inner, SslPtr ssl);
  void on_abort() override;

  Handshake info_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::tls
