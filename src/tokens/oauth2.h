// OAuth 2.0 client credentials (RFC 6749 4.4) with any server: the gateway shows who it is, and gets an access token.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/secret.h"
#include "jose/key.h"
#include "tls/certificate.h"
#include "tokens/source.h"

namespace postern::tokens {

// The names are those of the IANA registry (OpenID Connect Core 9, RFC 8705 2).
enum class ClientAuthentication : std::uint8_t {
  client_secret_basic,  // in Authorization, form-encoded first (RFC 6749 2.3.1)
  client_secret_post,   // in the body
  private_key_jwt,      // an assertion that is signed anew, with a jti of its own, for every attempt (RFC 7523 2.2)
  tls_client_auth,      // the certificate of the connection (RFC 8705); the token may be bound to it
};

struct ClientCredentialsOptions {
  std::string token_url;
  std::string client_id;
  ClientAuthentication authentication = ClientAuthentication::client_secret_basic;
  config::Secret client_secret;                          // for client_secret_*
  std::shared_ptr<const jose::PrivateKey> key;           // for private_key_jwt; its algorithm is the assertion's
  std::string key_id;                                    // kid of the assertion; "": none is written
  std::string assertion_audience;                        // "": token_url
  std::shared_ptr<const tls::CertifiedKey> certificate;  // for tls_client_auth
  std::shared_ptr<const tls::TrustAnchors> trust;        // nullptr: the system's authorities
  // What else the body holds, in this order: scope, audience, resource (RFC 8707), and what the server wants beyond.
  std::vector<std::pair<std::string, std::string>> params;
};

// Error: io_failed, Side::gateway, if an option is missing or cannot be sent; the detail names the option. What the
// server answers is read by cloud::read_token(): Bearer tokens with a lifetime, and nothing else.
[[nodiscard]] Result<std::unique_ptr<Source>> make_client_credentials(ClientCredentialsOptions options);

}  // namespace postern::tokens
