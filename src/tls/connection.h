// Connection: one TLS connection as the callbacks of the contexts see it. OpenSSL hands them an SSL; its BIO leads to
// the Connection. The stream around it is TlsStream. Internal to this room.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "tls/certificate.h"
#include "tls/client_context.h"
#include "tls/server_context.h"
#include "tls/tls_stream.h"

namespace postern::tls {

enum class Role : std::uint8_t { server, client };

// What OpenSSL reads ciphertext from and writes it to. Writing never blocks, so that OpenSSL never has to be asked
// twice for the same record.
class Transport {
 public:
  // At least one byte; 0 if there is none at the moment.
  [[nodiscard]] virtual std::size_t fetch(std::span<char> into) = 0;
  virtual void accept(std::string_view ciphertext) = 0;

 protected:
  ~Transport() = default;
};

// The BIO for that. Each context has a method, which its connections keep alive.
using BioMethodPtr = std::unique_ptr<BIO_METHOD, Freed<BIO_meth_free>>;

struct Connection {
  explicit Connection(Role r) noexcept : role(r) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  [[nodiscard]] static Connection& of(const SSL* ssl) noexcept {
    // Not by app data: that would cost every idle connection two more blocks of memory.
    return *static_cast<Connection*>(BIO_get_data(SSL_get_rbio(ssl)));
  }

  // Takes a new SSL of `context`; connect_transport() ties it to this object. Without memory for one, `ssl` stays
  // nullptr.
  void attach(SSL_CTX* context, BIO_METHOD* method);
  // The first thing that was found wrong counts: what follows is its consequence.
  void blame(std::string what) {
    if (problem.empty()) problem = std::move(what);
  }

  // Client: resumes the session in the slot, if it may still be; puts a new one there.
  void offer_session(WallTime now);
  void keep_session(SessionPtr session);
  // After the handshake: what it came to. Fails, with the reason blamed, if that is not what was offered.
  [[nodiscard]] bool conclude();

  const Role role;
  // One of the two. Declared before `ssl`, which dies first: its BIO has the method of the context.
  std::shared_ptr<const ServerContext> server;
  std::shared_ptr<const ClientContext> client;
  std::shared_ptr<SessionSlot> slot;  // client; may be nullptr
  SslPtr ssl;
  Transport* transport = nullptr;  // from connect_transport() on
  BIO_METHOD* bio_method = nullptr;
  Handshake info;
  std::string problem;  // what our own checks found wrong with the peer, for people
  int alert = -1;       // the fatal alert that the peer sent (RFC 8446 6)
  // Client: what the session that is offered for resumption was made with.
  ClientCertificate offered_certificate = ClientCertificate::not_requested;
  bool greeted = false;      // server: a ClientHello was seen
  bool established = false;  // the handshake has succeeded
  // Handshake messages after the handshake and since the last application data: KeyUpdate and NewSessionTicket.
  unsigned messages = 0;
  bool holds_buffers = false;  // since such a message
};

// What both roles have in common: protocol versions, ciphers, groups, security level, modes, and the callbacks that
// watch for alerts and for handshake messages.
[[nodiscard]] Result<ContextPtr> make_context(Role role, ProtocolVersion min_version, ProtocolVersion max_version);
[[nodiscard]] Result<void> use_key(SSL_CTX* context, const CertifiedKey& key);
[[nodiscard]] BioMethodPtr make_bio_method();
// False without memory. The transport outlives the SSL.
[[nodiscard]] bool connect_transport(Connection& connection, Transport& transport);

// The certificates that the peer presented, leaf first.
[[nodiscard]] std::vector<std::shared_ptr<const Certificate>> certificates_of(const STACK_OF(X509) * chain);

// The oldest entry of OpenSSL's error queue, which is the cause of the others, as text; empties the queue.
[[nodiscard]] std::string take_openssl_error();
// RFC 8446 6: "unknown CA"; the number for one that we do not know.
[[nodiscard]] std::string alert_text(int alert);

// Whether an error of a handshake is that the peer does not speak TLS at all, has hung up, or something else.
enum class PeerEnd : std::uint8_t { open, closed, reset, not_tls };
// Why the handshake has failed, for people. Empties OpenSSL's error queue.
[[nodiscard]] std::string handshake_failure(const Connection& connection, PeerEnd end);

}  // namespace postern::tls
