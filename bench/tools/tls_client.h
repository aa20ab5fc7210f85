// TLS for the load tools. They do not verify the certificate: that costs only their own core, and the runner has looked
// at it before the load starts. Every connection asks for the name "localhost".
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <memory>

#include "sockets.h"

namespace postern::bench {

using TlsContextPtr = std::unique_ptr<SSL_CTX, decltype([](SSL_CTX* context) { SSL_CTX_free(context); })>;
using TlsPtr = std::unique_ptr<SSL, decltype([](SSL* tls) { SSL_free(tls); })>;
using TlsSessionPtr = std::unique_ptr<SSL_SESSION, decltype([](SSL_SESSION* session) { SSL_SESSION_free(session); })>;

// The library's defaults, as most clients have them; buffers are released between messages, so that thousands of idle
// connections fit into the memory of the tool.
inline TlsContextPtr make_client_context() {
  TlsContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) die("SSL_CTX_new");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  return context;
}

inline TlsPtr make_client(SSL_CTX& context, int fd) {
  TlsPtr tls(SSL_new(&context));
  if (tls == nullptr || SSL_set_fd(tls.get(), fd) != 1) die("SSL_new");
  SSL_set_tlsext_host_name(tls.get(), "localhost");
  return tls;
}

}  // namespace postern::bench
