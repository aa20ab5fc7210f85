#include "tls/server_name.h"

#include <openssl/ssl.h>

#include "base/ip.h"
#include "base/strings.h"

namespace postern::tls {

std::expected<std::string, int> parse_server_name(std::span<const unsigned char> extension) {
  // ServerNameList: length of the list, then one entry: type (0), length, bytes.
  const auto number = [&](std::size_t at) { return std::size_t{extension[at]} << 8 | extension[at + 1]; };
  constexpr std::size_t kHead = 5;
  if (extension.size() <= kHead || number(0) != extension.size() - 2 || extension[2] != TLSEXT_NAMETYPE_host_name ||
      number(3) != extension.size() - kHead) {
    return std::unexpected(SSL_AD_DECODE_ERROR);
  }
  std::span<const unsigned char> bytes = extension.subspan(kHead);
  if (bytes.back() == '.') bytes = bytes.first(bytes.size() - 1);
  if (bytes.empty() || bytes.size() > kMaxServerName) return std::unexpected(SSL_AD_UNRECOGNIZED_NAME);
  std::string name;
  name.reserve(bytes.size());
  for (const unsigned char byte : bytes) {
    if (byte <= ' ' || byte >= 0x7f) return std::unexpected(SSL_AD_UNRECOGNIZED_NAME);
    name += ascii_lower(static_cast<char>(byte));
  }
  return name;
}

CanonicalName::CanonicalName(std::string_view host) noexcept {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || host.size() > text_.size() || host.front() == '[') return;
  // Only an address ends in a digit or has a colon: no top-level domain does.
  if ((is_digit(host.back()) || host.contains(':')) && IpAddress::parse(host)) return;
  for (const char c : host) text_[size_++] = ascii_lower(c);
}

void NameMap::add(std::string_view pattern, unsigned number) {
  const bool wildcard = pattern.starts_with("*.");
  if (wildcard) pattern.remove_prefix(2);
  (wildcard ? wildcards_ : exact_).emplace(pattern, number);
}

std::optional<unsigned> NameMap::find(std::string_view name) const {
  if (const auto found = exact_.find(name); found != exact_.end()) return found->second;
  const std::size_t dot = name.find('.');
  if (dot == 0 || dot == std::string_view::npos) return std::nullopt;
  const auto found = wildcards_.find(name.substr(dot + 1));
  return found == wildcards_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace postern::tls
