// ServerContext: the TLS side of a listener on one loop: certificates by name, protocol versions, ALPN, tickets, and
// whom to ask for a client certificate. Immutable; a reload makes a new one, and connections keep what they began with.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/entropy.h"
#include "tls/certificate.h"
#include "tls/tls_stream.h"

namespace postern::tls {

enum class ProtocolVersion : std::uint8_t { tls_1_2, tls_1_3 };

// Keys that encrypt session tickets (RFC 5077 4, RFC 8446 4.6.1): AES-256 with HMAC-SHA-256. One set per process, shared
// by all loops; a key encrypts for `kLifetime`, and decrypts for one more. Thread-safe.
class TicketKeys {
 public:
  static constexpr Duration kLifetime = std::chrono::hours(1);
  TicketKeys(const Entropy& entropy, Clock& clock);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  struct Key;
  // The key for new tickets; rotates as time demands.
  [[nodiscard]] std::shared_ptr<const Key> current();
  // The key of that name (16 bytes), or nullptr if it is too old.
  [[nodiscard]] std::shared_ptr<const Key> find(const unsigned char* name);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One name set with its certificates: for the same names there may be one of RSA and one of ECDSA.
struct ServerCertificate {
  std::vector<std::string> names;  // lower-case, "*.example.com" for one label; empty: the DNS names of the leaf
  std::vector<std::shared_ptr<const CertifiedKey>> keys;
};

struct ServerOptions {
  std::vector<ServerCertificate> certificates;  // the first serves who asks for no name, or for an unknown one
  ProtocolVersion min_version = ProtocolVersion::tls_1_2;
  bool offer_h2 = true;
  // Host patterns ("", "api.example.com", "*.example.com") for which a client certificate is asked for, though not
  // demanded: what becomes of a request without one is decided per request.
  std::vector<std::string> client_certificate_hosts;
  // Names of these authorities go into the request for it.
  std::vector<std::shared_ptr<const TrustAnchors>> client_authorities;
};

class ServerContext {
 public:
  // `tickets` may be shared by any number of contexts; nullptr: no resumption. Tickets made under other options that
  // matter for trust (names, authorities, whom to ask) are not accepted.
  [[nodiscard]] static Result<std::shared_ptr<const ServerContext>> make(const ServerOptions& options,
                                                                         std::shared_ptr<TicketKeys> tickets);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

  // `early`: bytes that were read from `inner` already. The context outlives the stream if the caller keeps the
  // returned stream's context alive: the stream holds a reference.
  [[nodiscard]] static std::unique_ptr<TlsStream> accept(std::shared_ptr<const ServerContext> context, Loop& loop,
                                                         BufferPool& pool, std::unique_ptr<Stream> inner,
                                                         std::string early);

  // Which certificate and client-certificate rule a name selects: two names with equal numbers are served alike, so a
  // request for one may come on a connection that was made for the other (RFC 9110 7.4, 421 otherwise). Any case, with
  // or without trailing dot; IP addresses and unknown names select the first.
  [[nodiscard]] unsigned select(std::string_view host) const;

 private:
  struct Impl;
  explicit ServerContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::tls
