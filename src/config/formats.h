// The values of `x-postern-format`: what a text must look like beyond what a pattern can say. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace postern::config {

enum class Format : std::uint8_t {
  none,
  duration,     // 5s; units.h
  size,         // 1MiB; units.h
  secret,       // a reference, never a value; secret.h
  ip,           // IPv4 or IPv6 address
  cidr,         // address/prefix, host bits zero
  host,         // host name or IP address, optional :port
  host_name,    // host name or IP address, without port and brackets
  dns_name,     // host name, no IP address
  dns_pattern,  // the same, or "*." and a host name
  url,          // scheme://authority or unix:///path, no user information, path, query or fragment
  date,         // YYYY-MM-DD
  timestamp,    // RFC 3339
  address,      // what a listener binds: host:port, [::1]:port, unix:/path
  header_name,  // RFC 9110 5.1 token
  regex,        // RE2, at most kMaxRegexBytes
};

inline constexpr std::size_t kMaxRegexBytes = 1024;

// nullopt for a name that is no format.
[[nodiscard]] std::optional<Format> format_by_name(std::string_view name) noexcept;
// Whether `text` has that form. For secret: whether it is a well-formed reference is judged by resolve_secret(), which
// has more to say; here only the type counts, so this is true.
[[nodiscard]] bool matches_format(Format format, std::string_view text);
// "a duration such as 500ms, 5s, 1m, 2h, 7d"
[[nodiscard]] std::string_view format_description(Format format) noexcept;

// A name of RFC 1123 (plus '_' which internal names use) or an IPv4 address. No brackets, no port.
[[nodiscard]] bool is_host_name(std::string_view text) noexcept;
[[nodiscard]] bool is_ipv4(std::string_view text) noexcept;
// Without brackets, without zone.
[[nodiscard]] bool is_ipv6(std::string_view text) noexcept;
// RFC 9110 5.6.2
[[nodiscard]] bool is_token(std::string_view text) noexcept;

// The parts of "host:port", "[v6]:port", "host", "[v6]"; port is "" if absent. nullopt if it is none of these.
struct HostPort {
  std::string_view host;  // without brackets
  std::string_view port;
};
[[nodiscard]] std::optional<HostPort> split_host_port(std::string_view text) noexcept;
// 1 to 65535, no leading zero.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text) noexcept;

// The parts of a URL as Format::url means it.
struct UrlParts {
  std::string_view scheme;
  std::string_view authority;  // "" for unix
  HostPort host;
  std::string_view path;  // unix: the socket
};
[[nodiscard]] std::optional<UrlParts> split_url(std::string_view text) noexcept;

}  // namespace postern::config
