// ServerContext: the TLS side of a listener on one loop: certificates by name, protocol versions, ALPN, tickets, and
// whom to ask for a client certificate. Immutable; a reload makes a new one, and connections keep what they began with.
//
// TLS 1.2 and 1.3, forward secrecy and authenticated encryption only. The protocol is chosen by ALPN: h2 if both sides
// offer it, else http/1.1; a client that offers others only is refused (RFC 7301 3.2), so that its bytes are never
// taken for HTTP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tls/certificate.h"
#include "tls/ticket_keys.h"
#include "tls/tls_stream.h"

namespace postern::tls {

enum class ProtocolVersion : std::uint8_t { tls_1_2, tls_1_3 };

// One name set with its certificates: for the same names there may be one of RSA and one of ECDSA.
struct ServerCertificate {
  // "*.example.com" for one label; empty: the DNS names of the first leaf. A name that an earlier set has stays there.
  std::vector<std::string> names;
  std::vector<std::shared_ptr<const CertifiedKey>> keys;
};

struct ServerOptions {
  std::vector<ServerCertificate> certificates;  // the first serves who asks for no name, or for an unknown one
  ProtocolVersion min_version = ProtocolVersion::tls_1_2;
  bool offer_h2 = true;
  // Host patterns ("", "api.example.com", "*.example.com") for which a client certificate is asked for, though not
  // demanded: what becomes of a request without one is decided per request. "" is every host. An IP address is every
  // connection without server name, since addresses are not sent as one.
  std::vector<std::string> client_certificate_hosts;
  // Names of these authorities go into the request for it (unless they are too many for the message).
  std::vector<std::shared_ptr<const TrustAnchors>> client_authorities;
};

class ServerContext {
 public:
  // `tickets` may be shared by any number of contexts; nullptr: no resumption. Tickets made under other options that
  // matter for trust (names, authorities, whom to ask) are not accepted, and who presented a certificate gets none: a
  // ticket does not carry it. Fails with Code::internal, Side::gateway if there is no certificate, if two of one set
  // have keys of the same kind, or if OpenSSL refuses one.
  [[nodiscard]] static Result<std::shared_ptr<const ServerContext>> make(const ServerOptions& options,
                                                                         std::shared_ptr<TicketKeys> tickets);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  // `early`: bytes that were read from `inner` already. The stream keeps the context alive. Loop and pool outlive it.
  [[nodiscard]] static std::unique_ptr<TlsStream> accept(std::shared_ptr<const ServerContext> context, Loop& loop,
                                                         BufferPool& pool, std::unique_ptr<Stream> inner,
                                                         std::string early);

  // Which certificate and client-certificate rule a name selects: two names with equal numbers are served alike, so a
  // request for one may come on a connection that was made for the other (RFC 9110 7.4, 421 otherwise). Any case, with
  // or without trailing dot, without port; IP addresses and unknown names select the first certificate.
  [[nodiscard]] unsigned select(std::string_view host) const;

 private:
  struct Impl;
  explicit ServerContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::tls
