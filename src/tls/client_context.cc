#include "tls/client_context.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/ip.h"
#include "base/strings.h"
#include "tls/connection.h"
#include "tls/server_name.h"

namespace postern::tls {
namespace {

constexpr std::size_t kMaxNamesTold = 8;  // of a certificate, in an error
// RFC 9525 6.3: a wildcard is a whole leftmost label, and the subject's CN is nobody's name.
constexpr unsigned kHostFlags = X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;

std::unexpected<Error> bad_options(std::string why) {
  return fail(Code::internal, Side::gateway, "TLS to an origin: " + std::move(why));
}

// As X509_check_host() wants them: a leading dot would mean every subdomain there.
bool is_host(std::string_view name) noexcept {
  if (name.empty() || name.size() > kMaxServerName || name.front() == '.') return false;
  return std::ranges::all_of(name, [](char c) { return c > ' ' && c < '\x7f'; });
}

bool bears(X509* leaf, const std::string& name) {
  if (IpAddress::parse(name)) return X509_check_ip_asc(leaf, name.c_str(), 0) == 1;
  return X509_check_host(leaf, name.data(), name.size(), kHostFlags, nullptr) == 1;
}

// "name `orders.internal` is not among the certificate's names: a.example, b.example". Addresses are counted, not
// shown.
std::string mismatch(const std::vector<std::string>& names, const Certificate& leaf) {
  std::string out;
  for (const std::string& name : names) {
    out += out.empty() ? "" : ", ";
    out += IpAddress::parse(name) ? "the address" : "name `" + name + "`";
  }
  const std::size_t total = leaf.dns_names().size();
  const std::size_t addresses = leaf.ip_addresses().size();
  if (total == 0 && addresses == 0) return out + ": the certificate has no names (subject alternative names)";
  out += names.size() == 1 ? " is" : " are";
  out += " not among the certificate's names: ";
  for (std::size_t i = 0; i < std::min(total, kMaxNamesTold); ++i) {
    if (i != 0) out += ", ";
    out += leaf.dns_names()[i];
  }
  if (total > kMaxNamesTold) out += " and " + std::to_string(total - kMaxNamesTold) + " more";
  if (addresses != 0) {
    if (total != 0) out += " and ";
    out += std::to_string(addresses) + (addresses == 1 ? " IP address" : " IP addresses");
  }
  return out;
}

// The first thing wrong with a chain, and the certificate it is about.
int on_chain_error(int ok, X509_STORE_CTX* store) {
  if (ok == 1) return 1;
  SSL* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  X509* const at = X509_STORE_CTX_get_current_cert(store);
  const std::shared_ptr<const Certificate> about = at ? Certificate::from(at) : nullptr;
  Connection::of(ssl).blame(verify_error_text(X509_STORE_CTX_get_error(store), about.get()));
  return 0;
}

}  // namespace

struct ClientContext::Impl {
  ClientOptions options;
  BioMethodPtr bio_method;
  ContextPtr context;

  // Whether the peer is the origin. `chain`: verified, or only the leaf.
  [[nodiscard]] std::string judge_names(const Certificate& leaf) const;
  [[nodiscard]] std::string judge_pins(std::span<const std::shared_ptr<const Certificate>> chain) const;

  // Callbacks of OpenSSL.
  static int on_certificates(X509_STORE_CTX* store, void* unused);
  static int on_session(SSL* ssl, SSL_SESSION* session);
};

std::string ClientContext::Impl::judge_names(const Certificate& leaf) const {
  for (const std::string& name : options.names) {
    if (bears(leaf.native(), name)) return {};
  }
  return mismatch(options.names, leaf);
}

std::string ClientContext::Impl::judge_pins(std::span<const std::shared_ptr<const Certificate>> chain) const {
  if (options.pins.empty()) return {};
  for (const auto& certificate : chain) {
    if (std::ranges::find(options.pins, certificate->spki_pin()) != options.pins.end()) return {};
  }
  return "pin: none of the configured pins is in the chain (leaf is sha256/" + chain.front()->spki_pin() + ")";
}

int ClientContext::Impl::on_certificates(X509_STORE_CTX* store, void* /*unused*/) {
  SSL* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  Connection& connection = Connection::of(ssl);
  const Impl& impl = *connection.client->impl_;
  const auto refuse = [&](int error, std::string why) {
    connection.blame(std::move(why));
    X509_STORE_CTX_set_error(store, error);
    return 0;
  };
  const STACK_OF(X509)* const presented = X509_STORE_CTX_get0_untrusted(store);
  if (sk_X509_num(presented) > static_cast<int>(kMaxChainLength)) {
    return refuse(X509_V_ERR_CERT_CHAIN_TOO_LONG, "the origin sent too long a certificate chain");
  }
  std::vector<std::shared_ptr<const Certificate>>& peer = connection.info.peer;
  if (impl.options.verify) {
    X509_STORE_CTX_set_verify_cb(store, on_chain_error);
    if (X509_verify_cert(store) != 1) {
      return refuse(X509_STORE_CTX_get_error(store), "the certificate chain could not be verified");
    }
    peer = certificates_of(X509_STORE_CTX_get0_chain(store));
    if (std::string why = impl.judge_names(*peer.front()); !why.empty()) {
      return refuse(X509_V_ERR_HOSTNAME_MISMATCH, std::move(why));
    }
  } else {
    peer = certificates_of(presented);
    X509_STORE_CTX_set_error(store, X509_V_OK);
  }
  const std::span believed(peer.data(), impl.options.verify ? peer.size() : 1);
  if (std::string why = impl.judge_pins(believed); !why.empty()) {
    return refuse(X509_V_ERR_CERT_REJECTED, std::move(why));
  }
  return 1;
}

// TLS 1.3: comes after the handshake, with a ticket; the newest is kept.
int ClientContext::Impl::on_session(SSL* ssl, SSL_SESSION* session) {
  Connection& connection = Connection::of(ssl);
  if (!connection.slot || SSL_SESSION_is_resumable(session) != 1) return 0;
  connection.keep_session(SessionPtr(session));  // 1: it is ours now
  return 1;
}

ClientContext::ClientContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ClientContext::~ClientContext() = default;

const ClientOptions& ClientContext::options() const noexcept { return impl_->options; }

Result<std::shared_ptr<const ClientContext>> ClientContext::make(const ClientOptions& options) {
  if (options.verify && !options.anchors) return bad_options("no authority to believe");
  if (options.verify && options.names.empty()) return bad_options("no name to verify");
  if (options.min_version > options.max_version) return bad_options("no version of TLS is left");
  ERR_clear_error();
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  for (std::string& name : impl->options.names) {
    if (name.ends_with('.')) name.pop_back();
    if (!is_host(name)) return bad_options("`" + visible(name) + "` is not a name that a certificate can bear");
  }
  std::string& server_name = impl->options.server_name;
  if (server_name.ends_with('.')) server_name.pop_back();
  if (IpAddress::parse(server_name)) server_name.clear();
  if (!server_name.empty() && !is_host(server_name)) {
    return bad_options("`" + visible(server_name) + "` cannot be sent as server name");
  }
  Result<ContextPtr> made = make_context(Role::client, options.min_version, options.max_version);
  if (!made) return std::unexpected(std::move(made.error()));
  SSL_CTX* const context = made->get();
  if (options.certificate) {
    Result<void> used = use_key(context, *options.certificate);
    if (!used) return std::unexpected(std::move(used.error()));
  }
  std::string protocols;
  if (options.offer_h2) protocols += "\x02h2";
  if (options.offer_http_1_1) protocols += "\x08http/1.1";
  if (!protocols.empty() && SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(protocols.data()),
                                                    static_cast<unsigned>(protocols.size())) != 0) {
    return bad_options("OpenSSL: " + take_openssl_error());
  }
  if (options.verify) {
    SSL_CTX_set1_cert_store(context, options.anchors->store());
    SSL_CTX_set_purpose(context, X509_PURPOSE_SSL_SERVER);
  }
  // Also without verification: pins are checked there.
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context, Impl::on_certificates, nullptr);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, Impl::on_session);
  impl->bio_method = make_bio_method();
  if (!impl->bio_method) return bad_options("OpenSSL: " + take_openssl_error());
  impl->context = *std::move(made);
  return std::shared_ptr<const ClientContext>(new ClientContext(std::move(impl)));
}

std::unique_ptr<TlsStream> ClientContext::connect(std::shared_ptr<const ClientContext> context, Loop& loop,
                                                  BufferPool& pool, std::unique_ptr<Stream> inner,
                                                  std::shared_ptr<SessionSlot> slot) {
  auto connection = std::make_unique<Connection>(Role::client);
  connection->attach(context->impl_->context.get(), context->impl_->bio_method.get());
  connection->info.server_name = context->options().server_name;
  connection->client = std::move(context);
  connection->slot = std::move(slot);
  SSL* const ssl = connection->ssl.get();
  if (ssl && !connection->info.server_name.empty()) {
    SSL_set_tlsext_host_name(ssl, connection->info.server_name.c_str());
  }
  if (ssl) {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(loop.wall().time_since_epoch());
    X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl), now.count());
    connection->offer_session(loop.wall());
  }
  return std::unique_ptr<TlsStream>(new TlsStream(loop, pool, std::move(inner), std::move(connection), {}));
}

}  // namespace postern::tls
