#include "tls/server_context.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/ip.h"
#include "base/strings.h"
#include "tls/connection.h"
#include "tls/server_name.h"

namespace postern::tls {
namespace {

using CipherPtr = std::unique_ptr<EVP_CIPHER, Freed<EVP_CIPHER_free>>;
using SessionContext = std::array<unsigned char, 32>;
static_assert(sizeof(SessionContext) <= SSL_MAX_SID_CTX_LENGTH);

constexpr std::string_view kH2 = "h2";
constexpr std::string_view kHttp11 = "http/1.1";
// Names of authorities share a message with little else, and an extension holds 64 KiB (RFC 8446 4.2.4).
constexpr int kMaxAuthorityNames = 32 * 1024;

// The number of a selection: a certificate set, and whether a client certificate is asked for.
enum class Ask : std::uint8_t { no, yes };
constexpr unsigned selection_of(unsigned set, Ask ask) noexcept { return 2 * set + (ask == Ask::yes ? 1 : 0); }

// Texts with their lengths, so that no two lists are written alike, hashed.
class Digest {
 public:
  void add(std::string_view text) {
    text_ += std::to_string(text.size());
    text_ += ':';
    text_ += text;
  }
  [[nodiscard]] SessionContext finish() const {
    SessionContext out{};
    static_cast<void>(EVP_Q_digest(nullptr, "SHA256", nullptr, text_.data(), text_.size(), out.data(), nullptr));
    return out;
  }

 private:
  std::string text_;
};

std::string canonical_pattern(std::string_view pattern) {
  if (pattern.ends_with('.')) pattern.remove_suffix(1);
  return to_lower(pattern);
}

bool is_address(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return IpAddress::parse(host).has_value();
}

}  // namespace

struct ServerContext::Impl {
  BioMethodPtr bio_method;
  std::vector<ContextPtr> contexts;  // by certificate set; connections begin with the first
  NameMap sets;
  NameMap asked;
  bool ask_everybody = false;
  bool ask_nameless = false;
  std::vector<SessionContext> session_contexts;  // by selection
  std::shared_ptr<TicketKeys> tickets;
  CipherPtr ticket_cipher;
  bool offer_h2 = false;

  [[nodiscard]] unsigned select(std::string_view canonical) const {
    bool ask = ask_everybody || (canonical.empty() && ask_nameless);
    if (!ask && !canonical.empty()) ask = asked.find(canonical).has_value();
    return selection_of(canonical.empty() ? 0 : sets.find(canonical).value_or(0), ask ? Ask::yes : Ask::no);
  }

  Result<void> add_set(const ServerCertificate& certificate, const ServerOptions& options);
  void remember_whom_to_ask(const ServerOptions& options);
  void add_session_contexts(const std::vector<std::string>& names, const ServerOptions& options);

  // Callbacks of OpenSSL.
  static int on_client_hello(SSL* ssl, int* alert, void* unused);
  static int on_server_name(SSL* ssl, int* alert, void* unused);
  static int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                     unsigned in_size, void* unused);
  static int on_client_certificate(X509_STORE_CTX* store, void* unused);
  static int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                       int encrypt);
};

// Decides everything that depends on the name, before OpenSSL looks at a ticket or a certificate. OpenSSL calls this
// when it has the whole ClientHello, in however many pieces it came; and again for the one that answers a
// HelloRetryRequest.
int ServerContext::Impl::on_client_hello(SSL* ssl, int* alert, void* /*unused*/) {
  Connection& connection = Connection::of(ssl);
  const Impl& impl = *connection.server->impl_;
  std::string name;
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) == 1) {
    auto parsed = parse_server_name({data, size});
    if (!parsed) {
      *alert = parsed.error();
      connection.blame("malformed server name");
      return SSL_CLIENT_HELLO_ERROR;
    }
    name = *std::move(parsed);
  }
  if (connection.greeted && name != connection.info.server_name) {  // RFC 8446 4.1.2
    *alert = SSL_AD_ILLEGAL_PARAMETER;
    connection.blame("two server names");
    return SSL_CLIENT_HELLO_ERROR;
  }
  connection.greeted = true;
  const unsigned selection = impl.select(CanonicalName(name).view());
  connection.info.server_name = std::move(name);
  connection.info.selection = selection;
  const SessionContext& session_context = impl.session_contexts[selection];
  if (!SSL_set_SSL_CTX(ssl, impl.contexts[selection / 2].get()) ||
      SSL_set_session_id_context(ssl, session_context.data(), static_cast<unsigned>(session_context.size())) != 1) {
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
  }
  const bool ask = selection == selection_of(selection / 2, Ask::yes);
  SSL_set_verify(ssl, ask ? SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE : SSL_VERIFY_NONE, nullptr);
  return SSL_CLIENT_HELLO_SUCCESS;
}

// Says in the answer that the name was used (RFC 6066 3).
int ServerContext::Impl::on_server_name(SSL* ssl, int* /*alert*/, void* /*unused*/) {
  return Connection::of(ssl).info.server_name.empty() ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_OK;
}

int ServerContext::Impl::on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                                 unsigned in_size, void* /*unused*/) {
  const bool offer_h2 = Connection::of(ssl).server->impl_->offer_h2;
  std::string_view chosen;
  // OpenSSL has checked that the list is well-formed.
  for (std::span list(in, in_size); !list.empty(); list = list.subspan(1u + list[0])) {
    const std::string_view offered(reinterpret_cast<const char*>(list.data()) + 1, list[0]);
    if (offered == kH2 && offer_h2) chosen = kH2;
    if (offered == kHttp11 && chosen.empty()) chosen = kHttp11;
  }
  if (chosen.empty()) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = reinterpret_cast<const unsigned char*>(chosen.data());
  *out_size = static_cast<unsigned char>(chosen.size());
  return SSL_TLSEXT_ERR_OK;
}

// Takes whatever chain there is: what it is worth is decided per request.
int ServerContext::Impl::on_client_certificate(X509_STORE_CTX* store, void* /*unused*/) {
  SSL* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const STACK_OF(X509)* const chain = X509_STORE_CTX_get0_untrusted(store);
  if (sk_X509_num(chain) > static_cast<int>(kMaxChainLength)) {
    Connection::of(ssl).blame("the client sent too long a certificate chain");
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_CHAIN_TOO_LONG);
    return 0;
  }
  Connection::of(ssl).info.peer = certificates_of(chain);
  X509_STORE_CTX_set_error(store, X509_V_OK);
  SSL_set_num_tickets(ssl, 0);  // TLS 1.3; for 1.2 on_ticket() sees to it
  return 1;
}

int ServerContext::Impl::on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                                   EVP_MAC_CTX* mac, int encrypt) {
  const Connection& connection = Connection::of(ssl);
  const Impl& impl = *connection.server->impl_;
  std::shared_ptr<const TicketKeys::Key> key;
  int result = 1;
  if (encrypt == 1) {
    if (connection.info.client_certificate == ClientCertificate::presented) return 0;  // an empty ticket
    key = impl.tickets->current();
    std::memcpy(name, key->name.data(), TicketKeys::Key::kName);
    if (RAND_bytes(iv, TicketKeys::Key::kIv) != 1) return -1;
  } else {
    key = impl.tickets->find(name);
    if (!key) return 0;  // a full handshake
    // "Renew": a ticket of TLS 1.3 is used once (RFC 8446 C.4), and the key may be an old one.
    if (SSL_version(ssl) == TLS1_3_VERSION || key != impl.tickets->current()) result = 2;
  }
  std::array<char, 7> digest = {"SHA256"};
  const std::array params = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
                                                               const_cast<unsigned char*>(key->hmac.data()),  // NOLINT
                                                               key->hmac.size()),
                             OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
                             OSSL_PARAM_construct_end()};
  if (EVP_CipherInit_ex2(cipher, impl.ticket_cipher.get(), key->aes.data(), iv, encrypt, nullptr) != 1 ||
      EVP_MAC_CTX_set_params(mac, params.data()) != 1) {
    return -1;
  }
  return result;
}

Result<void> ServerContext::Impl::add_set(const ServerCertificate& certificate, const ServerOptions& options) {
  Result<ContextPtr> made = make_context(Role::server, options.min_version, ProtocolVersion::tls_1_3);
  if (!made) return std::unexpected(std::move(made.error()));
  SSL_CTX* const context = made->get();
  if (certificate.keys.empty()) return fail(Code::internal, Side::gateway, "a name set without certificate");
  std::set<int> kinds;
  for (const auto& key : certificate.keys) {
    if (!kinds.insert(EVP_PKEY_get_base_id(key->key())).second) {
      return fail(Code::internal, Side::gateway,
                  "two certificates with keys of the same kind for the same names: " + visible(key->leaf().subject()));
    }
    Result<void> used = use_key(context, *key);
    if (!used) return used;
  }
  int name_bytes = 0;
  for (const auto& anchors : options.client_authorities) {
    for (const auto& authority : anchors->certificates()) {
      name_bytes += 2 + i2d_X509_NAME(X509_get_subject_name(authority->native()), nullptr);
    }
  }
  // None at all leaves the choice to the client.
  for (const auto& anchors : options.client_authorities) {
    if (name_bytes > kMaxAuthorityNames) break;
    for (const auto& authority : anchors->certificates()) SSL_CTX_add_client_CA(context, authority->native());
  }
  SSL_CTX_set_client_hello_cb(context, on_client_hello, nullptr);
  SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
  SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
  SSL_CTX_set_cert_verify_callback(context, on_client_certificate, nullptr);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (tickets) {
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_timeout(context, std::chrono::duration_cast<std::chrono::seconds>(TicketKeys::kLifetime).count());
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
  } else {
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  }
  const auto set = static_cast<unsigned>(contexts.size());
  std::vector<std::string> names;
  for (const std::string& name :
       certificate.names.empty() ? certificate.keys.front()->leaf().dns_names() : certificate.names) {
    names.push_back(canonical_pattern(name));
    sets.add(names.back(), set);
  }
  add_session_contexts(names, options);
  contexts.push_back(*std::move(made));
  return {};
}

void ServerContext::Impl::remember_whom_to_ask(const ServerOptions& options) {
  for (const std::string& host : options.client_certificate_hosts) {
    if (host.empty()) {
      ask_everybody = true;
    } else if (is_address(host)) {
      ask_nameless = true;
    } else {
      asked.add(canonical_pattern(host), 1);
    }
  }
}

// What a session may be resumed under: everything that was decided about trust when it was made. The certificate's key
// does not matter: a renewed certificate ends no session.
void ServerContext::Impl::add_session_contexts(const std::vector<std::string>& names, const ServerOptions& options) {
  std::set<std::string> authorities;
  for (const auto& anchors : options.client_authorities) {
    for (const auto& authority : anchors->certificates()) authorities.insert(authority->fingerprint());
    if (anchors->certificates().empty()) authorities.insert("system");
  }
  const std::set<std::string> sorted(names.begin(), names.end());
  for (const Ask ask : {Ask::no, Ask::yes}) {
    Digest digest;
    digest.add("postern session 1");
    digest.add(ask == Ask::yes ? "ask" : "");
    digest.add(std::to_string(sorted.size()));
    for (const std::string& name : sorted) digest.add(name);
    for (const std::string& authority : authorities) digest.add(authority);
    session_contexts.push_back(digest.finish());
  }
}

ServerContext::ServerContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ServerContext::~ServerContext() = default;

Result<std::shared_ptr<const ServerContext>> ServerContext::make(const ServerOptions& options,
                                                                 std::shared_ptr<TicketKeys> tickets) {
  auto impl = std::make_unique<Impl>();
  ERR_clear_error();
  impl->bio_method = make_bio_method();
  impl->ticket_cipher.reset(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr));
  if (!impl->bio_method || !impl->ticket_cipher) {
    return fail(Code::internal, Side::gateway, "OpenSSL: " + take_openssl_error());
  }
  impl->tickets = std::move(tickets);
  impl->offer_h2 = options.offer_h2;
  if (options.certificates.empty()) return fail(Code::internal, Side::gateway, "a TLS listener without certificate");
  for (const ServerCertificate& certificate : options.certificates) {
    const Result<void> added = impl->add_set(certificate, options);
    if (!added) return fail(added.error().code(), added.error().side(), std::string(added.error().detail()));
  }
  impl->remember_whom_to_ask(options);
  return std::shared_ptr<const ServerContext>(new ServerContext(std::move(impl)));
}

std::unique_ptr<TlsStream> ServerContext::accept(std::shared_ptr<const ServerContext> context, Loop& loop,
                                                 BufferPool& pool, std::unique_ptr<Stream> inner, std::string early) {
  auto connection = std::make_unique<Connection>(Role::server);
  connection->attach(context->impl_->contexts.front().get(), context->impl_->bio_method.get());
  connection->server = std::move(context);
  return std::unique_ptr<TlsStream>(
      new TlsStream(loop, pool, std::move(inner), std::move(connection), std::move(early)));
}

unsigned ServerContext::select(std::string_view host) const { return impl_->select(CanonicalName(host).view()); }

}  // namespace postern::tls
