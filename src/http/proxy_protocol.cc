#include "http/proxy_protocol.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace postern::http {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixedSize = 16;

std::unexpected<Error> refuse(std::string_view rule) {
  return fail(Code::bad_proxy_header, Side::client, std::string(rule));
}

std::uint16_t big_endian(std::string_view bytes) noexcept {
  return static_cast<std::uint16_t>((static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]));
}

// Type, two bytes of length, value; the lengths must add up exactly.
bool valid_tlvs(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    if (bytes.size() < 3) return false;
    const std::size_t size = 3u + big_endian(bytes.substr(1));
    if (size > bytes.size()) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

}  // namespace

Result<ProxyParse> parse_proxy_header(std::string_view bytes, ProxyHeader& out) {
  const std::size_t compared = std::min(bytes.size(), kSignature.size());
  if (bytes.substr(0, compared) != kSignature.substr(0, compared)) return refuse("no PROXY v2 signature");
  if (bytes.size() < kFixedSize) return ProxyParse::need_more;
  const auto version_command = static_cast<unsigned char>(bytes[12]);
  const auto family = static_cast<unsigned char>(bytes[13]);
  if ((version_command >> 4) != 2 || (version_command & 0xf) > 1) return refuse("unknown version or command");
  const std::size_t length = big_endian(bytes.substr(14));
  if (kFixedSize + length > kMaxProxyHeader) return refuse("header too long");
  if (bytes.size() < kFixedSize + length) return ProxyParse::need_more;
  out.size = kFixedSize + length;
  out.source.reset();
  const std::string_view body = bytes.substr(kFixedSize, length);
  const bool local = (version_command & 0xf) == 0;
  std::size_t addresses = 0;
  switch (family) {
    case 0x00: break;                    // UNSPEC
    case 0x11: addresses = 12; break;    // TCP over IPv4
    case 0x21: addresses = 36; break;    // TCP over IPv6
    case 0x31: addresses = 216; break;   // Unix stream
    default: return refuse("unknown address family or protocol");
  }
  if (body.size() < addresses) return refuse("addresses cut short");
  if (!valid_tlvs(body.substr(addresses))) return refuse("malformed TLV");
  if (local) return ProxyParse::done;
  if (family == 0x11) {
    std::array<std::uint8_t, 4> ip{};
    std::memcpy(ip.data(), body.data(), ip.size());
    out.source = {IpAddress::from_v4(ip), big_endian(body.substr(8))};
  } else if (family == 0x21) {
    std::array<std::uint8_t, 16> ip{};
    std::memcpy(ip.data(), body.data(), ip.size());
    out.source = {IpAddress::from_v6(ip), big_endian(body.substr(32))};
  }
  return ProxyParse::done;
}

}  // namespace postern::http
