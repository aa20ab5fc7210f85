// What makes a server an origin that only the gateways of one deployment can open: for each server that people have in
// front of their code, the lines of its configuration that demand a client certificate and check whom it is for.
#pragma once

#include <array>
#include <string>
#include <string_view>

namespace postern::cli {

inline constexpr std::array<std::string_view, 5> kSnippetServers = {"nginx", "haproxy", "caddy", "envoy", "node"};

// Texts that mean nothing special in any of the languages.
struct OriginSnippet {
  std::string_view server;      // one of kSnippetServers
  std::string_view origin;      // its name
  std::string_view deployment;  // as in tls/authority_store.h
  std::string_view files;       // directory of client-ca.pem, ORIGIN.pem and ORIGIN.key
  std::string port;             // to listen on
  std::string_view backend;     // host:port of the application
};
// Ends with a newline.
[[nodiscard]] std::string to_text(const OriginSnippet& snippet);
// Whether a directory, or host:port, can stand in all of them as it is: letters, digits and a few signs.
[[nodiscard]] bool is_plain(std::string_view text) noexcept;

}  // namespace postern::cli
