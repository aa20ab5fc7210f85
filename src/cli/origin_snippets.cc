#include "cli/origin_snippets.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/strings.h"

namespace postern::cli {
namespace {

// nginx before 1.27 has no variable for subject alternative names, so it is the common name that it looks at; every
// certificate of the client CA has the origin there.
constexpr std::string_view kNginx = R"(# nginx, in http {}:
map $ssl_client_s_dn $from_postern_%VARIABLE% {
  default 0;
  "CN=%ORIGIN%" 1;  # issued for this origin, not for another one of the same deployment
}
server {
  listen %PORT% ssl;
  ssl_certificate %FILES%/%ORIGIN%.pem;
  ssl_certificate_key %FILES%/%ORIGIN%.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_client_certificate %FILES%/client-ca.pem;
  ssl_verify_client on;
  ssl_conf_command VerifyMode Require;  # nginx 1.19.4 or later: without a certificate there is not even a handshake
  ssl_verify_depth 1;
  if ($from_postern_%VARIABLE% = 0) { return 403; }
  location / { proxy_pass http://%BACKEND%; }
}
)";

constexpr std::string_view kHaproxy = R"(# HAProxy. It takes certificate and key from one file; as root:
#   (umask 077; cd %FILES% && cat %ORIGIN%.pem %ORIGIN%.key > %ORIGIN%.haproxy.pem)
frontend %ORIGIN%
  mode http
  bind :%PORT% ssl crt %FILES%/%ORIGIN%.haproxy.pem ca-file %FILES%/client-ca.pem verify required ssl-min-ver TLSv1.2 alpn h2,http/1.1
  # issued for this origin, not for another one of the same deployment
  http-request deny deny_status 403 unless { ssl_c_s_dn(cn) -m str %ORIGIN% }
  default_backend %ORIGIN%
backend %ORIGIN%
  mode http
  server main %BACKEND%
)";

// An `expression` cannot look at this placeholder: it is no string there.
constexpr std::string_view kCaddy =
    R"(# Caddyfile, Caddy 2.6 or later. From 2.8 on, `trust_pool file %FILES%/client-ca.pem` is the newer form of the
# line with trusted_ca_cert_file. Where it demands certificates, Caddy answers only for the host that the handshake
# named (else 421): the `url` of the origin has its DNS name, not its address.
:%PORT% {
  tls %FILES%/%ORIGIN%.pem %FILES%/%ORIGIN%.key {
    client_auth {
      mode require_and_verify
      trusted_ca_cert_file %FILES%/client-ca.pem
    }
  }
  # issued for this origin, not for another one of the same deployment
  @stranger not vars_regexp {http.request.tls.client.san.uris.0} ^postern://%DEPLOYMENT%/gateway/[^/]+/origin/%ORIGIN%$
  respond @stranger 403
  reverse_proxy %BACKEND%
}
)";

constexpr std::string_view kEnvoy = R"(# Envoy, in the filter chain of the listener:
transport_socket:
  name: envoy.transport_sockets.tls
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
    require_client_certificate: true
    common_tls_context:
      alpn_protocols: [h2, http/1.1]
      tls_certificates:
      - certificate_chain: {filename: %FILES%/%ORIGIN%.pem}
        private_key: {filename: %FILES%/%ORIGIN%.key}
      validation_context:
        trusted_ca: {filename: %FILES%/client-ca.pem}
        # Issued for this origin, not for another one of the same deployment. What comes before this end of the name is
        # postern://%DEPLOYMENT%/gateway/NAME: the CA signs nothing else.
        match_typed_subject_alt_names:
        - san_type: URI
          matcher: {suffix: "/origin/%ORIGIN%"}
)";

constexpr std::string_view kNode = R"(// Node.js 18 or later, as an ES module.
import { readFileSync } from 'node:fs';
import https from 'node:https';

// Issued for this origin, not for another one of the same deployment.
const gateway = /^URI:postern:\/\/%DEPLOYMENT%\/gateway\/[^/]+\/origin\/%ORIGIN%$/;

const server = https.createServer({
  cert: readFileSync('%FILES%/%ORIGIN%.pem'),
  key: readFileSync('%FILES%/%ORIGIN%.key'),
  ca: readFileSync('%FILES%/client-ca.pem'),
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: 'TLSv1.2',
}, (request, response) => {
  const names = request.socket.getPeerCertificate().subjectaltname ?? '';
  if (!names.split(', ').some((name) => gateway.test(name))) {
    response.writeHead(403).end();
    return;
  }
  response.end('hello\n');
});
server.listen(%PORT%);
)";

std::string_view text_for(std::string_view server) {
  if (server == "nginx") return kNginx;
  if (server == "haproxy") return kHaproxy;
  if (server == "caddy") return kCaddy;
  if (server == "envoy") return kEnvoy;
  return kNode;
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) {
    text.replace(at, what.size(), by);
  }
}

// A part of the name of a variable of nginx that no other origin has.
std::string variable_of(std::string_view origin) {
  std::string out;
  for (const char c : origin) {
    if (is_alpha(c) || is_digit(c)) {
      out += c;
    } else {
      out += fmt::format("_{:02x}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace

std::string to_text(const OriginSnippet& snippet) {
  std::string text(text_for(snippet.server));
  replace_all(text, "%FILES%", snippet.files);
  replace_all(text, "%ORIGIN%", snippet.origin);
  replace_all(text, "%VARIABLE%", variable_of(snippet.origin));
  replace_all(text, "%DEPLOYMENT%", snippet.deployment);
  replace_all(text, "%PORT%", snippet.port);
  replace_all(text, "%BACKEND%", snippet.backend);
  return text;
}

bool is_plain(std::string_view text) noexcept {
  static constexpr std::string_view kSigns = "/._-:[]";
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || kSigns.contains(c);
  });
}

}  // namespace postern::cli
