#include "config/formats.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <re2/re2.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <string>

#include "base/strings.h"
#include "config/units.h"

namespace postern::config {
namespace {

struct FormatName {
  std::string_view name;
  Format format;
  std::string_view description;
};

constexpr std::array kFormats = {
    FormatName{"duration", Format::duration, "a duration with its unit, such as 500ms, 5s, 1m, 2h or 7d"},
    FormatName{"size", Format::size, "a size with its unit, such as 512B, 16KiB, 1MiB or 1GiB"},
    FormatName{"secret", Format::secret, "a reference: ${file:/path}, ${env:NAME} or ${cred:name}"},
    FormatName{"ip", Format::ip, "an IP address"},
    FormatName{"cidr", Format::cidr, "a network such as 10.0.0.0/8 or fd00::/8, without host bits"},
    FormatName{"host", Format::host, "a host name or IP address, with :port if needed"},
    FormatName{"host_name", Format::host_name, "a host name or IP address, without port"},
    FormatName{"dns_name", Format::dns_name, "a host name, no IP address and no port"},
    FormatName{"dns_pattern", Format::dns_pattern, "a host name such as api.example.com or *.example.com"},
    FormatName{"url", Format::url,
               "https://host:port, http://host:port or unix:///path, without user name, path or query"},
    FormatName{"date", Format::date, "a date YYYY-MM-DD"},
    FormatName{"timestamp", Format::timestamp, "a time such as 2026-12-24T08:00:00Z"},
    FormatName{"address", Format::address, "host:port, [::1]:port or unix:/path"},
    FormatName{"header_name", Format::header_name, "a header field name"},
    FormatName{"regex", Format::regex, "an RE2 regular expression of at most 1024 bytes"},
};

bool is_cidr(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string address(text.substr(0, slash));
  const std::string_view bits_text = text.substr(slash + 1);
  const auto bits = parse_decimal(bits_text);
  if (!bits || (bits_text.size() > 1 && bits_text[0] == '0')) return false;
  std::array<unsigned char, 16> bytes{};
  std::size_t total = 0;
  if (is_ipv4(address)) {
    total = 32;
    inet_pton(AF_INET, address.c_str(), bytes.data());
  } else if (is_ipv6(address)) {
    total = 128;
    inet_pton(AF_INET6, address.c_str(), bytes.data());
  }
  if (total == 0 || *bits > total) return false;
  for (std::size_t bit = static_cast<std::size_t>(*bits); bit < total; ++bit) {
    if ((bytes[bit / 8] >> (7 - bit % 8)) & 1) return false;
  }
  return true;
}

// Absolute, printable, fits into sockaddr_un.
bool is_socket_path(std::string_view path) noexcept {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/') return false;
  if (path.size() >= sizeof(sockaddr_un::sun_path)) return false;
  for (const char c : path) {
    if (c <= 0x20 || c == 0x7f) return false;
  }
  return true;
}

bool is_address(std::string_view text) noexcept {
  if (text.starts_with("unix:")) return is_socket_path(text.substr(5));
  const auto parts = split_host_port(text);
  return parts && parse_port(parts->port);
}

bool is_regex(std::string_view text) {
  if (text.empty() || text.size() > kMaxRegexBytes || text.find('\0') != std::string_view::npos) return false;
  RE2::Options options(RE2::Quiet);
  return RE2(re2::StringPiece(text.data(), text.size()), options).ok();
}

}  // namespace

std::optional<Format> format_by_name(std::string_view name) noexcept {
  for (const FormatName& row : kFormats) {
    if (row.name == name) return row.format;
  }
  return std::nullopt;
}

std::string_view format_description(Format format) noexcept {
  for (const FormatName& row : kFormats) {
    if (row.format == format) return row.description;
  }
  return "";
}

bool matches_format(Format format, std::string_view text) {
  switch (format) {
    case Format::none:
    case Format::secret: return true;
    case Format::duration: return parse_duration(text).has_value();
    case Format::size: return parse_size(text).has_value();
    case Format::ip: return is_ipv4(text) || is_ipv6(text);
    case Format::cidr: return is_cidr(text);
    case Format::host: {
      const auto parts = split_host_port(text);
      return parts && (parts->port.empty() || parse_port(parts->port));
    }
    case Format::host_name: return is_host_name(text) || is_ipv6(text);
    case Format::dns_name: return is_host_name(text) && !is_ipv4(text);
    case Format::dns_pattern: return matches_format(Format::dns_name, text.substr(text.starts_with("*.") ? 2 : 0));
    case Format::url: return split_url(text).has_value();
    case Format::date: return parse_date(text).has_value();
    case Format::timestamp: return parse_timestamp(text).has_value();
    case Format::address: return is_address(text);
    case Format::header_name: return is_token(text);
    case Format::regex: return is_regex(text);
  }
  return false;
}

bool is_ipv4(std::string_view text) noexcept {
  if (text.size() > 15 || text.empty()) return false;
  std::array<char, 16> copy{};
  std::memcpy(copy.data(), text.data(), text.size());
  in_addr address{};
  // inet_pton takes dotted decimal without leading zeros only; embedded NULs would cut the copy.
  return text.find('\0') == std::string_view::npos && inet_pton(AF_INET, copy.data(), &address) == 1;
}

bool is_ipv6(std::string_view text) noexcept {
  if (text.size() > 45 || text.empty()) return false;
  std::array<char, 46> copy{};
  std::memcpy(copy.data(), text.data(), text.size());
  in6_addr address{};
  return text.find('\0') == std::string_view::npos && inet_pton(AF_INET6, copy.data(), &address) == 1;
}

bool is_host_name(std::string_view text) noexcept {
  if (text.empty() || text.size() > 253) return false;
  std::size_t label = 0;
  bool last_label_numeric = true;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.') {
      if (label == 0 || text[i - 1] == '-') return false;
      label = 0;
      last_label_numeric = true;
      continue;
    }
    if (!is_alpha(c) && !is_digit(c) && c != '-' && c != '_') return false;
    if (c == '-' && label == 0) return false;
    if (!is_digit(c)) last_label_numeric = false;
    if (++label > 63) return false;
  }
  if (label == 0 || text.back() == '-') return false;
  // 010.1.1.1, 127.1, 2130706433, 0x7f.1: forms of addresses that resolvers read in different ways.
  const std::string_view last = text.substr(text.size() - label);
  if (last_label_numeric) return is_ipv4(text);
  if (last.size() < 2 || last[0] != '0' || ascii_lower(last[1]) != 'x') return true;
  for (const char c : last.substr(2)) {
    if (hex_value(c) < 0) return true;
  }
  return false;
}

bool is_token(std::string_view text) noexcept {
  constexpr std::string_view kSymbols = "!#$%&'*+-.^_`|~";
  for (const char c : text) {
    if (!is_alpha(c) && !is_digit(c) && kSymbols.find(c) == std::string_view::npos) return false;
  }
  return !text.empty();
}

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
  const auto value = parse_decimal(text);
  if (!value || *value == 0 || *value > 65535 || text[0] == '0') return std::nullopt;
  return static_cast<std::uint16_t>(*value);
}

std::optional<HostPort> split_host_port(std::string_view text) noexcept {
  HostPort parts;
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    parts.host = text.substr(1, end - 1);
    if (!is_ipv6(parts.host)) return std::nullopt;
    rest = text.substr(end + 1);
  } else {
    const std::size_t colon = text.find(':');
    parts.host = text.substr(0, colon);
    if (!is_host_name(parts.host)) return std::nullopt;
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (rest.empty()) return parts;
  if (rest.front() != ':' || rest.size() == 1) return std::nullopt;
  parts.port = rest.substr(1);
  return parts;
}

std::optional<UrlParts> split_url(std::string_view text) noexcept {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  UrlParts parts;
  parts.scheme = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 1);
  if (parts.scheme == "unix") {
    if (rest.starts_with("///")) rest.remove_prefix(2);
    if (rest.starts_with("//") || !is_socket_path(rest)) return std::nullopt;
    parts.path = rest;
    return parts;
  }
  if (parts.scheme != "http" && parts.scheme != "https" && parts.scheme != "service") return std::nullopt;
  if (!rest.starts_with("//")) return std::nullopt;
  rest.remove_prefix(2);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const auto host = split_host_port(rest);
  if (!host || (!host->port.empty() && !parse_port(host->port))) return std::nullopt;
  parts.authority = rest;
  parts.host = *host;
  return parts;
}

}  // namespace postern::config
