// TlsStream: a Stream over another Stream, encrypted. Made by ServerContext::accept() or ClientContext::connect();
// handshake() comes first, and until it has succeeded not one byte passes in either direction.
//
// Reading and writing follow the contract of Stream, and more closely:
// - An end without close_notify is an error (ECONNRESET), not an end: a truncated message must not look whole (RFC 8446
//   6.1). An alert, a bad record, or records without end and without data are the error EPROTO; failure() says which.
// - try_write() says ok for what the stream below has taken entirely, up to 64 KiB. Otherwise would_block: the bytes
// are
//   encrypted then and cannot be taken back, so the next try_write() begins with the same ones. What is encrypted goes
//   out as the stream below takes it, whoever waits.
// - writable() is false only while ciphertext is left; never more than one try_write() makes.
//
// Renegotiation, compression and early data are refused. Between requests it holds no buffers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
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
struct Connection;

enum class Alpn : std::uint8_t { none, http_1_1, h2 };

// Whether a client certificate went over the connection, seen from who presents it. A resumed connection has the state
// of the one that its session is from.
enum class ClientCertificate : std::uint8_t { not_requested, requested_not_presented, presented };
// "not_requested" and so on: as logs and JSON have it.
[[nodiscard]] std::string_view to_string(ClientCertificate state) noexcept;

// What the handshake came to. Server: `peer` is what the client presented, with possession of its key proved but its
// chain NOT verified (TrustAnchors::verify_client does that, per request). Client: `peer` is the verified chain as
// built up to the anchor (without verification: as presented), also on a resumed connection.
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
  // Says close_notify if that can be done at once, the handshake has succeeded and nobody asked for a reset.
  ~TlsStream() override;

  // Once. Server side errors: Side::client, tls_handshake_failed; client side: Side::origin, origin_tls_failed with
  // what was wrong (Retry::yes: nothing of a request was sent), or origin_connect_timeout. `cancelled` if the wait was
  // interrupted (drain). The detail names the reason and never an address.
  [[nodiscard]] Task<Result<void>> handshake(MonoTime deadline);
  // After handshake().
  [[nodiscard]] const Handshake& info() const noexcept;
  // Why reading or writing has failed, if that was TLS's doing and not the network's: "alert: certificate required" is
  // how a server of TLS 1.3 refuses a client certificate, after the handshake. Otherwise "".
  [[nodiscard]] std::string_view failure() const noexcept;

  [[nodiscard]] IoResult try_read(std::span<char> into) override;
  [[nodiscard]] IoResult try_write(std::span<const iovec> from) override;
  // close_notify, and the half-close of the stream below once everything before it has gone out.
  void shutdown_write() noexcept override;
  void reset_on_close() noexcept override;
  void close_in_order() noexcept override;

 private:
  friend class ServerContext;
  friend class ClientContext;
  struct Impl;
  TlsStream(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> inner, std::unique_ptr<Connection> connection,
            std::string early);
  void on_abort() override;

  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::tls
