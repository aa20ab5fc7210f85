#include "fetch/target.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "config/formats.h"

namespace postern::fetch {
namespace {

constexpr std::size_t kMaxUrl = 4096;

bool is_link_local(const IpAddress& address) noexcept {
  return (address.is_v4() && Cidr::parse("169.254.0.0/16")->contains(address)) ||
         (address.is_v6() && Cidr::parse("fe80::/10")->contains(address));
}

std::unexpected<Error> bad(std::string_view why) {
  return fail(Code::token_unavailable, Side::gateway, "the URL " + std::string(why));
}

}  // namespace

bool is_metadata_address(const IpAddress& address) noexcept {
  static constexpr std::array<std::string_view, 4> kOthers = {"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
                                                              "168.63.129.16"};
  return is_link_local(address) ||
         std::ranges::any_of(kOthers, [&](std::string_view text) { return IpAddress::parse(text) == address; });
}

Result<Target> parse_target(std::string_view url) {
  if (url.size() > kMaxUrl) return bad("is too long");
  if (std::ranges::any_of(url, [](char c) { return c <= ' ' || c > '~' || c == '#' || c == '"' || c == '\\'; })) {
    return bad("has a character in it that a URL has not");
  }
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return bad("does not begin with https://");
  const std::size_t path = std::min(url.find_first_of("/?", scheme_end + 3), url.size());
  const auto parts = config::split_url(url.substr(0, path));
  if (!parts || (parts->scheme != "https" && parts->scheme != "http")) {
    return bad("is none of the form https://host[:port]/path");
  }
  Target out;
  out.tls = parts->scheme == "https";
  out.host = to_lower(parts->host.host);
  out.port = out.tls ? 443 : 80;
  const bool names_port = !parts->host.port.empty();
  if (names_port) {
    const auto port = config::parse_port(parts->host.port);
    if (!port) return bad("has a port that is none");
    out.port = *port;
  }
  const std::string bracketed = out.host.find(':') == std::string::npos ? out.host : "[" + out.host + "]";
  const bool usual = out.port == (out.tls ? 443 : 80);
  out.authority = usual ? bracketed : bracketed + ":" + std::to_string(out.port);
  const std::string_view rest = url.substr(path);
  out.path_and_query = rest.starts_with('/') ? std::string(rest) : "/" + std::string(rest);
  out.address = IpAddress::parse(out.host);
  if (out.host == "metadata.google.internal") out.address = IpAddress::parse("169.254.169.254");
  out.metadata = out.address && is_metadata_address(*out.address);
  const bool loopback = out.host == "localhost" || (out.address && out.address->is_loopback());
  if (!out.tls && !loopback && !out.metadata) return bad("is http, which a credential may not go over");
  return out;
}

}  // namespace postern::fetch
