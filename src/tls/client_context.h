// ClientContext: how the gateway speaks TLS to one origin on one loop: whom it believes (trust) and what it shows
// (certificate). Immutable; other trust or another certificate is another context, and sessions never cross.
//
// The chain, the name and the pins are checked while the handshake runs: before its end no byte of a request can leave.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tls/certificate.h"
#include "tls/server_context.h"
#include "tls/tls_stream.h"

namespace postern::tls {

struct ClientOptions {
  std::shared_ptr<const TrustAnchors> anchors;  // nullptr only with `verify = false`
  // DNS names or IP addresses, one of which the certificate must bear as a SAN (RFC 9525: no CN, wildcards for one
  // whole leftmost label). At least one if verified.
  std::vector<std::string> names;
  // base64(SHA-256(SPKI)); empty, or one of them must be in the verified chain. Without verification it must be the
  // leaf's: everything else in the chain is the peer's say-so.
  std::vector<std::string> pins;
  std::string server_name;  // SNI; "" sends none (IP addresses never go into it)
  ProtocolVersion min_version = ProtocolVersion::tls_1_2;
  ProtocolVersion max_version =
      ProtocolVersion::tls_1_3;  // tls_1_2: for an origin that stumbles over 1.3, and for tests
  // With offer_h2 alone an origin that does not choose h2 is an error. Neither: no ALPN.
  bool offer_h2 = false;
  bool offer_http_1_1 = true;
  bool verify = true;                               // false: `insecure`, whose date the caller watches
  std::shared_ptr<const CertifiedKey> certificate;  // presented if the origin asks
};

// The newest session of one endpoint, for resumption. One per (context, endpoint), on one loop. A session is used once,
// only under the context that it was made under, and never longer than a certificate of its chain is in force.
struct SessionSlot {
  SessionPtr session;
  // What was found when the full handshake was made; a resumed one exchanges no certificates.
  std::weak_ptr<const ClientContext> context;
  std::vector<std::shared_ptr<const Certificate>> peer;
  ClientCertificate client_certificate = ClientCertificate::not_requested;
};

class ClientContext {
 public:
  // Fails with Code::internal, Side::gateway if the options contradict themselves or OpenSSL refuses the certificate.
  [[nodiscard]] static Result<std::shared_ptr<const ClientContext>> make(const ClientOptions& options);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  // `slot` may be nullptr: no resumption. The stream keeps the slot and the context alive. Loop and pool outlive it.
  [[nodiscard]] static std::unique_ptr<TlsStream> connect(std::shared_ptr<const ClientContext> context, Loop& loop,
                                                          BufferPool& pool, std::unique_ptr<Stream> inner,
                                                          std::shared_ptr<SessionSlot> slot);

  [[nodiscard]] const ClientOptions& options() const noexcept;

 private:
  struct Impl;
  explicit ClientContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::tls
