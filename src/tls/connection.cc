#include "tls/connection.h"

#include <openssl/err.h>

#include <algorithm>
#include <span>

#include "base/strings.h"

namespace postern::tls {
namespace {

// Forward secrecy and authenticated encryption only (RFC 9325 4.2, RFC 9113 9.2.2). AES-128 before AES-256: it is the
// faster one and nobody breaks either.
constexpr const char* kCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
constexpr const char* kCipherSuites = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
constexpr const char* kGroups = "X25519:P-256:P-384";
constexpr int kSecurityLevel = 2;
// What a peer may send as its certificates: ten of a generous size.
constexpr long kMaxCertificateBytes = 64 * 1024;

// Whether a Certificate message has a certificate in it (RFC 5246 7.4.2, RFC 8446 4.4.2).
bool is_empty_certificate(std::span<const unsigned char> message, bool tls_1_3) noexcept {
  std::size_t at = 4;  // type and length
  if (tls_1_3) {
    if (message.size() <= at) return true;
    at += 1u + message[at];  // certificate_request_context
  }
  if (message.size() < at + 3) return true;
  return message[at] == 0 && message[at + 1] == 0 && message[at + 2] == 0;
}

// Sees every message and every record header, in clear.
void on_message(int outgoing, int /*version*/, int content_type, const void* data, std::size_t size, SSL* ssl,
                void* /*unused*/) {
  if (content_type != SSL3_RT_HANDSHAKE || size == 0) return;
  Connection& connection = Connection::of(ssl);
  const std::span message(static_cast<const unsigned char*>(data), size);
  if (connection.established) {
    if (outgoing == 0) ++connection.messages;
    connection.holds_buffers = true;
    return;
  }
  const bool from_client = (outgoing != 0) == (connection.role == Role::client);
  ClientCertificate& state = connection.info.client_certificate;
  if (message[0] == SSL3_MT_CERTIFICATE_REQUEST && !from_client) {
    state = ClientCertificate::requested_not_presented;
  } else if (message[0] == SSL3_MT_CERTIFICATE && from_client) {
    if (!is_empty_certificate(message, SSL_version(ssl) == TLS1_3_VERSION)) state = ClientCertificate::presented;
  }
}

void on_info(const SSL* ssl, int where, int value) {
  if (where != SSL_CB_READ_ALERT || (value >> 8) != SSL3_AL_FATAL) return;
  Connection::of(ssl).alert = value & 0xff;
}

// RFC 8446 6.2: what a server says to a client whose certificate it does not like.
bool is_about_certificates(int alert) noexcept {
  switch (alert) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case TLS13_AD_CERTIFICATE_REQUIRED: return true;
    default: return false;
  }
}

std::string refusal(const Connection& connection) {
  const std::string alert = "alert " + alert_text(connection.alert);
  if (connection.role == Role::server) {
    if (is_about_certificates(connection.alert) && connection.alert != SSL_AD_HANDSHAKE_FAILURE) {
      return "the client refused our certificate: " + alert;
    }
    return "the client refused the handshake: " + alert;
  }
  if (connection.alert == SSL_AD_NO_APPLICATION_PROTOCOL) return "no protocol in common (ALPN): " + alert;
  if (connection.alert == SSL_AD_PROTOCOL_VERSION) return "no TLS version in common: " + alert;
  if (connection.alert == SSL_AD_UNRECOGNIZED_NAME) return "the origin does not know the server name: " + alert;
  if (connection.alert == TLS13_AD_CERTIFICATE_REQUIRED) return "the origin demands a client certificate: " + alert;
  if (is_about_certificates(connection.alert)) {
    switch (connection.info.client_certificate) {
      case ClientCertificate::presented: return "the origin refused our certificate: " + alert;
      case ClientCertificate::requested_not_presented: return "the origin demands a client certificate: " + alert;
      case ClientCertificate::not_requested: break;
    }
  }
  return "the origin refused the handshake: " + alert;
}

int number_of(ProtocolVersion version) noexcept {
  return version == ProtocolVersion::tls_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

int bio_read(BIO* bio, char* into, int size) {
  BIO_clear_retry_flags(bio);
  const std::size_t got = static_cast<Connection*>(BIO_get_data(bio))
                              ->transport->fetch({into, static_cast<std::size_t>(std::max(size, 0))});
  if (got != 0) return static_cast<int>(got);
  // Never an end: what the end of the stream below means is not for OpenSSL to say, and it would refuse to write then.
  BIO_set_retry_read(bio);
  return -1;
}

int bio_write(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  static_cast<Connection*>(BIO_get_data(bio))->transport->accept({bytes, static_cast<std::size_t>(std::max(size, 0))});
  return size;
}

long bio_ctrl(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace

void Connection::attach(SSL_CTX* context, BIO_METHOD* method) {
  bio_method = method;
  ssl.reset(SSL_new(context));
  if (!ssl) return;
  if (role == Role::server) {
    SSL_set_accept_state(ssl.get());
  } else {
    SSL_set_connect_state(ssl.get());
  }
}

void Connection::offer_session(WallTime now) {
  if (!slot || !slot->session) return;
  const SessionPtr session = std::move(slot->session);
  const bool same_context = !slot->context.owner_before(client) && !client.owner_before(slot->context);
  const bool in_force =
      std::ranges::all_of(slot->peer, [&](const auto& certificate) { return now < certificate->not_after(); });
  if (!same_context || !in_force || SSL_set_session(ssl.get(), session.get()) != 1) return;
  info.peer = slot->peer;  // replaced if it comes to a full handshake after all
  offered_certificate = slot->client_certificate;
}

void Connection::keep_session(SessionPtr session) {
  slot->session = std::move(session);
  slot->context = client;
  slot->peer = info.peer;
  slot->client_certificate = info.client_certificate;
}

bool Connection::conclude() {
  SSL* const raw = ssl.get();
  info.protocol = SSL_get_version(raw);
  info.cipher = SSL_get_cipher_name(raw);
  info.resumed = SSL_session_reused(raw) == 1;
  const unsigned char* data = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(raw, &data, &size);
  const std::string_view chosen(reinterpret_cast<const char*>(data), size);
  info.alpn = chosen == "h2" ? Alpn::h2 : chosen == "http/1.1" ? Alpn::http_1_1 : Alpn::none;
  if (role == Role::server) return true;
  const ClientOptions& options = client->options();
  // Who chooses none speaks HTTP/1.1 (RFC 9112 2.3); whoever was offered none need not choose.
  const bool nothing_offered = !options.offer_h2 && !options.offer_http_1_1;
  const bool offered = info.alpn == Alpn::h2 ? options.offer_h2 : options.offer_http_1_1 || nothing_offered;
  if (!offered || (info.alpn == Alpn::none && !chosen.empty())) {
    blame("no protocol in common (ALPN): the origin chose " + (chosen.empty() ? "none" : visible(chosen)));
    return false;
  }
  if (!info.resumed) return true;
  info.client_certificate = offered_certificate;
  // A server of TLS 1.2 need not give another ticket, and the old one may be used again.
  if (slot && !slot->session && SSL_version(raw) == TLS1_2_VERSION) keep_session(SessionPtr(SSL_get1_session(raw)));
  return true;
}

Result<ContextPtr> make_context(Role role, ProtocolVersion min_version, ProtocolVersion max_version) {
  ERR_clear_error();
  ContextPtr context(SSL_CTX_new(role == Role::server ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* const raw = context.get();
  if (!raw || SSL_CTX_set_min_proto_version(raw, number_of(min_version)) != 1 ||
      SSL_CTX_set_max_proto_version(raw, number_of(max_version)) != 1 || SSL_CTX_set_cipher_list(raw, kCiphers) != 1 ||
      SSL_CTX_set_ciphersuites(raw, kCipherSuites) != 1 || SSL_CTX_set1_groups_list(raw, kGroups) != 1) {
    return fail(Code::internal, Side::gateway, "OpenSSL: " + take_openssl_error());
  }
  SSL_CTX_set_security_level(raw, kSecurityLevel);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(raw, 1);
  SSL_CTX_set_max_cert_list(raw, kMaxCertificateBytes);
  SSL_CTX_set_verify_depth(raw, static_cast<int>(kMaxChainLength) - 2);  // intermediates, between leaf and root
  SSL_CTX_set_msg_callback(raw, on_message);
  SSL_CTX_set_info_callback(raw, on_info);
  return context;
}

Result<void> use_key(SSL_CTX* context, const CertifiedKey& key) {
  ERR_clear_error();
  const std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })> chain(
      sk_X509_new_null());
  for (const auto& certificate : key.chain().subspan(1)) {
    if (!chain || sk_X509_push(chain.get(), certificate->native()) == 0) {
      return fail(Code::internal, Side::gateway, "OpenSSL: " + take_openssl_error());
    }
  }
  if (SSL_CTX_use_cert_and_key(context, key.leaf().native(), key.key(), chain.get(), 1) != 1) {
    return fail(Code::internal, Side::gateway,
                "certificate " + visible(key.leaf().subject()) + " cannot be used: " + take_openssl_error());
  }
  return {};
}

BioMethodPtr make_bio_method() {
  BioMethodPtr method(BIO_meth_new(BIO_TYPE_SOURCE_SINK, "postern stream"));
  if (method) {
    BIO_meth_set_read(method.get(), bio_read);
    BIO_meth_set_write(method.get(), bio_write);
    BIO_meth_set_ctrl(method.get(), bio_ctrl);
  }
  return method;
}

bool connect_transport(Connection& connection, Transport& transport) {
  if (!connection.ssl) return false;
  BIO* const bio = BIO_new(connection.bio_method);
  if (!bio) return false;
  connection.transport = &transport;
  BIO_set_data(bio, &connection);
  BIO_set_init(bio, 1);
  SSL_set_bio(connection.ssl.get(), bio, bio);  // owns it
  return true;
}

std::vector<std::shared_ptr<const Certificate>> certificates_of(const STACK_OF(X509) * chain) {
  std::vector<std::shared_ptr<const Certificate>> out;
  for (int i = 0; i < sk_X509_num(chain); ++i) out.push_back(Certificate::from(sk_X509_value(chain, i)));
  return out;
}

std::string take_openssl_error() {
  const unsigned long error = ERR_peek_error();
  ERR_clear_error();
  if (error == 0) return "unknown error";
  if (const char* const reason = ERR_reason_error_string(error)) return reason;
  return "error " + std::to_string(ERR_GET_REASON(error));
}

std::string alert_text(int alert) {
  switch (alert) {
    case SSL_AD_CLOSE_NOTIFY: return "close notify";
    case SSL_AD_UNEXPECTED_MESSAGE: return "unexpected message";
    case SSL_AD_BAD_RECORD_MAC: return "bad record MAC";
    case SSL_AD_RECORD_OVERFLOW: return "record overflow";
    case SSL_AD_HANDSHAKE_FAILURE: return "handshake failure";
    case SSL_AD_BAD_CERTIFICATE: return "bad certificate";
    case SSL_AD_UNSUPPORTED_CERTIFICATE: return "unsupported certificate";
    case SSL_AD_CERTIFICATE_REVOKED: return "certificate revoked";
    case SSL_AD_CERTIFICATE_EXPIRED: return "certificate expired";
    case SSL_AD_CERTIFICATE_UNKNOWN: return "certificate unknown";
    case SSL_AD_ILLEGAL_PARAMETER: return "illegal parameter";
    case SSL_AD_UNKNOWN_CA: return "unknown CA";
    case SSL_AD_ACCESS_DENIED: return "access denied";
    case SSL_AD_DECODE_ERROR: return "decode error";
    case SSL_AD_DECRYPT_ERROR: return "decrypt error";
    case SSL_AD_PROTOCOL_VERSION: return "protocol version";
    case SSL_AD_INSUFFICIENT_SECURITY: return "insufficient security";
    case SSL_AD_INTERNAL_ERROR: return "internal error";
    case SSL_AD_USER_CANCELLED: return "user cancelled";
    case SSL_AD_NO_RENEGOTIATION: return "no renegotiation";
    case TLS13_AD_MISSING_EXTENSION: return "missing extension";
    case SSL_AD_UNSUPPORTED_EXTENSION: return "unsupported extension";
    case SSL_AD_UNRECOGNIZED_NAME: return "unrecognized name";
    case TLS13_AD_CERTIFICATE_REQUIRED: return "certificate required";
    case SSL_AD_NO_APPLICATION_PROTOCOL: return "no application protocol";
    default: return std::to_string(alert);
  }
}

std::string handshake_failure(const Connection& connection, PeerEnd end) {
  const std::string_view peer = connection.role == Role::client ? "the origin" : "the client";
  const unsigned long error = ERR_peek_error();
  const int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
  const std::string openssl = take_openssl_error();
  if (!connection.problem.empty()) return connection.problem;
  if (connection.alert >= 0) return refusal(connection);
  if (end == PeerEnd::not_tls) {
    return "not TLS: " + std::string(peer) + (connection.role == Role::client ? " answered" : " speaks") + " in clear";
  }
  switch (reason) {
    case SSL_R_NO_APPLICATION_PROTOCOL: return "no protocol in common (ALPN)";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE: return "no TLS version in common";
    case SSL_R_NO_SHARED_CIPHER: return "no cipher in common";
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM: return "no signature algorithm in common";
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS: return "no key exchange group in common";
    case SSL_R_EXCESSIVE_MESSAGE_SIZE: return std::string(peer) + " sent too large a message";
    default: break;
  }
  if (error == 0 && end == PeerEnd::closed) return std::string(peer) + " closed the connection during the handshake";
  if (error == 0 && end == PeerEnd::reset) return std::string(peer) + " reset the connection during the handshake";
  return std::string(peer) + " broke the protocol: " + openssl;
}

}  // namespace postern::tls
