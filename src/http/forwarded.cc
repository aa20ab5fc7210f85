#include "http/forwarded.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>

#include "base/strings.h"

namespace postern::http {
namespace {

// The element after the last comma of `list`, which shrinks by it.
std::string_view take_last(std::string_view& list) noexcept {
  const std::size_t comma = list.rfind(',');
  const std::string_view element = trim_ows(comma == std::string_view::npos ? list : list.substr(comma + 1));
  list = comma == std::string_view::npos ? std::string_view() : list.substr(0, comma);
  return element;
}

// "192.0.2.1", "2001:db8::1", and both with a port. RFC 7239 6 has the brackets.
std::optional<IpAddress> parse_node(std::string_view text) noexcept {
  if (const auto bare = IpAddress::parse(text)) return bare;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    port = text.substr(end + 1);
    text = text.substr(1, end - 1);
    if (text.find(':') == std::string_view::npos) return std::nullopt;
  } else {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    port = text.substr(colon);
    text = text.substr(0, colon);
  }
  const auto number = port.starts_with(':') ? parse_decimal(port.substr(1)) : std::optional<std::uint64_t>(0);
  if ((!port.empty() && !port.starts_with(':')) || !number || *number > 65535) return std::nullopt;
  return IpAddress::parse(text);
}

struct HostAndScheme {
  std::string_view host;
  std::string_view scheme;
};

// RFC 7239 4 and 6.
std::string forwarded_hop(std::string_view element) {
  const auto address = parse_node(trim_ows(element));
  if (!address) return "for=unknown";
  return address->is_v4() ? "for=" + address->to_string() : "for=\"[" + address->to_string() + "]\"";
}

// One element for each hop of `chain` (X-Forwarded-For, which alone is believed) and for the `peer`, if it has an
// address; the last one with what this hop knows.
std::string_view forwarded_value(std::string_view chain, const IpAddress& peer, std::string_view peer_text,
                                 const HostAndScheme& seen, Arena& arena) {
  std::string hops;
  while (!chain.empty()) {
    const std::size_t comma = chain.find(',');
    if (comma == std::string_view::npos && peer.is_unspecified()) break;
    const std::string_view hop = trim_ows(chain.substr(0, comma));
    if (!hop.empty()) hops.append(forwarded_hop(hop)).append(", ");  // RFC 9110 5.6.1
    chain = comma == std::string_view::npos ? std::string_view() : chain.substr(comma + 1);
  }
  // Of what has no address the last hop is all that is known.
  const std::string last = peer.is_unspecified() ? forwarded_hop(chain) : std::string();
  const std::string_view before = peer.is_unspecified() ? "" : peer.is_v6() ? "for=\"[" : "for=";
  const std::string_view after = peer.is_v6() ? "]\"" : "";
  // Quoted, because a port and the brackets of IPv6 are no token characters.
  if (seen.host.find_first_of("\"\\") != std::string_view::npos) {
    return arena.join(hops, last, before, peer_text, after, ";proto=", seen.scheme);
  }
  return arena.join(hops, last, before, peer_text, after, ";host=\"", seen.host, "\";proto=", seen.scheme);
}

}  // namespace

bool is_forwarding_name(const Field& field) noexcept {
  switch (field.id) {
    case HeaderName::forwarded:
    case HeaderName::x_forwarded_for:
    case HeaderName::x_forwarded_host:
    case HeaderName::x_forwarded_port:
    case HeaderName::x_forwarded_proto: return true;
    case HeaderName::other: break;
    default: return false;
  }
  // X-Forwarded-Prefix, -Uri, -User and whatever else frameworks believe, now and later.
  constexpr std::string_view kPrefix = "x-forwarded-";
  if (field.name.size() > kPrefix.size() && is_alias_of(field.name.substr(0, kPrefix.size()), kPrefix)) return true;
  // And the other names by which balancers, caches and frameworks say who the client is.
  static constexpr std::array<std::string_view, 11> kClientAddress = {
      "x-forwarded",    "forwarded-for",    "client-ip",   "x-client-ip",   "x-cluster-client-ip", "x-real-ip",
      "true-client-ip", "cf-connecting-ip", "x-remote-ip", "x-remote-addr", "fastly-client-ip"};
  return std::any_of(kClientAddress.begin(), kClientAddress.end(),
                     [&](std::string_view name) { return is_alias_of(field.name, name); });
}

IpAddress effective_client(const Headers& headers, const IpAddress& peer, const CidrSet& trusted) {
  IpAddress client = peer;
  if (trusted.empty() || !trusted.contains(peer)) return client;
  // Several fields are one list (RFC 9110 5.3); walk it from its end.
  for (std::size_t i = headers.size(); i-- > 0;) {
    if (headers[i].id != HeaderName::x_forwarded_for) continue;
    std::string_view list = headers[i].value;
    while (!list.empty()) {
      const std::string_view element = take_last(list);
      if (element.empty()) continue;  // RFC 9110 5.6.1
      const auto address = parse_node(element);
      if (!address) return IpAddress();
      client = *address;
      if (!trusted.contains(client)) return client;
    }
  }
  return client;
}

unsigned rebuild_forwarding(RequestHead& request, const ForwardingFacts& facts, const CidrSet& trusted, Arena& arena) {
  std::string_view chain;
  std::string_view scheme = facts.scheme;
  std::string_view host = facts.host;
  const bool believed = !trusted.empty() && trusted.contains(facts.peer);
  if (believed) {
    for (const Field& field : request.headers) {
      if (field.id != HeaderName::x_forwarded_for || field.value.empty()) continue;
      chain = chain.empty() ? field.value : arena.join(chain, ", ", field.value);
    }
    const std::string_view their_scheme = request.headers.value(HeaderName::x_forwarded_proto);
    if (their_scheme == "https" || their_scheme == "http") scheme = their_scheme;
    const std::string_view their_host = request.headers.value(HeaderName::x_forwarded_host);
    if (!their_host.empty() && their_host.find(',') == std::string_view::npos) host = their_host;
  }
  std::string_view via;
  for (const Field& field : request.headers) {
    if (field.id == HeaderName::via) via = via.empty() ? field.value : arena.join(via, ", ", field.value);
  }
  request.headers.remove(HeaderName::via);
  const std::size_t removed = request.headers.remove_if(is_forwarding_name);

  const std::string_view peer = arena.copy(facts.peer.to_string());
  request.headers.append(HeaderName::forwarded, forwarded_value(chain, facts.peer, peer, {host, scheme}, arena));
  if (chain.empty()) {
    chain = peer;
  } else if (!peer.empty()) {
    chain = arena.join(chain, ", ", peer);
  }
  if (!chain.empty()) request.headers.append(HeaderName::x_forwarded_for, chain);
  request.headers.append(HeaderName::x_forwarded_proto, scheme);
  request.headers.append(HeaderName::x_forwarded_host, host);
  if (facts.local_port != 0) {
    std::array<char, 6> digits{};
    const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), facts.local_port).ptr;
    request.headers.append(HeaderName::x_forwarded_port,
                           arena.copy({digits.data(), static_cast<std::size_t>(end - digits.data())}));
  }
  // RFC 9110 7.6.3: the version is that of the message received.
  const std::string_view ours = request.version == Version::http_1_0   ? "1.0 postern"
                                : request.version == Version::http_1_1 ? "1.1 postern"
                                                                       : "2 postern";
  request.headers.append(HeaderName::via, via.empty() ? ours : arena.join(via, ", ", ours));
  return believed ? 0 : static_cast<unsigned>(removed);
}

}  // namespace postern::http
