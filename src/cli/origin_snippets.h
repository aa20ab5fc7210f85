// What makes a server an origin that only the gateways of one deployment can open: for each server that people have in
// front of their code, the lines of its configuration that demand a client certificate and check whom it is for.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace postern::cli {

inline constexpr std::array<std::string_view, 5> kSnippetServers = {"nginx", "haproxy", "caddy", "envoy", "node"};

// Where the snippets expect client-ca.pem, ORIGIN.pem and ORIGIN.key.
inline constexpr std::string_view kOriginDirectory = "/etc/postern";

// `server` is one of kSnippetServers, `origin` the name of an origin, `deployment` as in tls/authority_store.h: texts
// that mean nothing special in any of the languages. Ends with a newline.
[[nodiscard]] std::string origin_snippet(std::string_view server, std::string_view origin, std::string_view deployment);

}  // namespace postern::cli
