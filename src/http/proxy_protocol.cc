#include "http/proxy_protocol.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace postern::http {
namespace {

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr std::size_t kFixedSize = 16;
// Version 2 in the high nibble, the command in the low one.
constexpr unsigned char kLocal = 0x20;
constexpr unsigned char kProxy = 0x21;
// Address family in the high nibble, stream or datagram in the low one.
constexpr unsigned char kUnspecified = 0x00;
constexpr unsigned char kTcp4 = 0x11;
constexpr unsigned char kTcp6 = 0x21;
constexpr unsigned char kUnixStream = 0x31;

std::unexpected<Error> refuse(std::string_view rule) {
  return fail(Code::bad_proxy_header, Side::client, std::string(rule));
}

std::uint16_t big_endian(std::string_view bytes) noexcept {
  return static_cast<std::uint16_t>((static_cast<unsigned char>(bytes[0]) << 8) | static_cast<unsigned char>(bytes[1]));
}

// What a header of that family has in front of its TLVs; nullopt for a family that no listener here can have.
std::optional<std::size_t> address_bytes(unsigned char family) noexcept {
  switch (family) {
    case kUnspecified: return 0;
    case kTcp4: return 12;
    case kTcp6: return 36;
    case kUnixStream: return 216;
    default: return std::nullopt;
  }
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
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() > 12 && byte(12) != kLocal && byte(12) != kProxy) return refuse("unknown version or command");
  const std::optional<std::size_t> addresses = bytes.size() > 13 ? address_bytes(byte(13)) : 0;
  if (!addresses) return refuse("unknown address family or protocol");
  if (bytes.size() < kFixedSize) return ProxyParse::need_more;
  const std::size_t length = big_endian(bytes.substr(14));
  if (kFixedSize + length > kMaxProxyHeader) return refuse("header too long");
  if (length < *addresses) return refuse("addresses cut short");
  if (bytes.size() < kFixedSize + length) return ProxyParse::need_more;
  const std::string_view body = bytes.substr(kFixedSize, length);
  if (!valid_tlvs(body.substr(*addresses))) return refuse("malformed TLV");
  out.size = kFixedSize + length;
  out.source.reset();
  if (byte(12) == kLocal) return ProxyParse::done;
  out.source = ProxyHeader::Source{};
  if (byte(13) == kTcp4) {
    std::array<std::uint8_t, 4> ip{};
    std::memcpy(ip.data(), body.data(), ip.size());
    out.source = {IpAddress::from_v4(ip), big_endian(body.substr(8))};
  } else if (byte(13) == kTcp6) {
    std::array<std::uint8_t, 16> ip{};
    std::memcpy(ip.data(), body.data(), ip.size());
    out.source = {IpAddress::from_v6(ip), big_endian(body.substr(32))};
  }
  return ProxyParse::done;
}

}  // namespace postern::http
