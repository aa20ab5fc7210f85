#include "base/ip.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/strings.h"

namespace postern {

IpAddress IpAddress::from_v4(const std::array<std::uint8_t, 4>& bytes) noexcept {
  IpAddress out;
  out.family_ = Family::v4;
  std::copy(bytes.begin(), bytes.end(), out.bytes_.begin());
  return out;
}

IpAddress IpAddress::from_v6(const std::array<std::uint8_t, 16>& bytes) noexcept {
  constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) {
    return from_v4({bytes[12], bytes[13], bytes[14], bytes[15]});
  }
  IpAddress out;
  out.family_ = Family::v6;
  out.bytes_ = bytes;
  return out;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) noexcept {
  std::array<char, INET6_ADDRSTRLEN + 1> copy{};
  if (text.empty() || text.size() >= copy.size() || text.find('\0') != std::string_view::npos) return std::nullopt;
  std::copy(text.begin(), text.end(), copy.begin());
  std::array<std::uint8_t, 16> bytes{};
  if (::inet_pton(AF_INET, copy.data(), bytes.data()) == 1) {
    return from_v4({bytes[0], bytes[1], bytes[2], bytes[3]});
  }
  if (::inet_pton(AF_INET6, copy.data(), bytes.data()) == 1) return from_v6(bytes);
  return std::nullopt;
}

bool IpAddress::is_loopback() const noexcept {
  if (is_v4()) return bytes_[0] == 127;
  if (!is_v6()) return false;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](std::uint8_t b) { return b == 0; }) && bytes_[15] == 1;
}

bool IpAddress::is_routable_unicast() const noexcept {
  if (is_v4()) {
    const bool this_network = bytes_[0] == 0;                      // RFC 1122 3.2.1.3
    const bool link_local = bytes_[0] == 169 && bytes_[1] == 254;  // RFC 3927
    return !this_network && !link_local && bytes_[0] < 224;        // multicast, reserved, broadcast
  }
  if (!is_v6()) return false;
  const bool unspecified = std::all_of(bytes_.begin(), bytes_.end(), [](std::uint8_t b) { return b == 0; });
  const bool link_local = bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;  // RFC 4291 2.5.6
  return !unspecified && !link_local && bytes_[0] != 0xff;
}

IpAddress IpAddress::prefix(unsigned bits) const noexcept {
  IpAddress out = *this;
  for (unsigned i = 0; i < 16; ++i) {
    const unsigned before = i * 8;
    if (bits >= before + 8) continue;
    const unsigned kept = bits > before ? bits - before : 0;
    out.bytes_[i] = static_cast<std::uint8_t>(out.bytes_[i] & ~(0xffu >> kept));
  }
  return out;
}

std::string IpAddress::to_string() const {
  if (is_unspecified()) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (is_v4()) {  // on every request; inet_ntop() goes through sprintf()
    char* at = text.data();
    for (std::size_t i = 0; i < 4; ++i) {
      if (i != 0) *at++ = '.';
      at = std::to_chars(at, text.data() + text.size(), bytes_[i]).ptr;
    }
    return {text.data(), at};
  }
  ::inet_ntop(AF_INET6, bytes_.data(), text.data(), text.size());
  return text.data();
}

std::optional<Cidr> Cidr::parse(std::string_view text) noexcept {
  const std::size_t slash = text.find('/');
  const auto network = IpAddress::parse(text.substr(0, slash));
  if (!network) return std::nullopt;
  Cidr out;
  out.network_ = *network;
  out.bits_ = network->bits();
  if (slash != std::string_view::npos) {
    const auto bits = parse_decimal(text.substr(slash + 1));
    if (!bits || *bits > network->bits()) return std::nullopt;
    out.bits_ = static_cast<unsigned>(*bits);
  }
  if (network->prefix(out.bits_) != *network) return std::nullopt;
  return out;
}

bool Cidr::contains(const IpAddress& address) const noexcept {
  return address.is_v4() == network_.is_v4() && address.is_v6() == network_.is_v6() &&
         address.prefix(bits_) == network_;
}

std::string Cidr::to_string() const { return network_.to_string() + "/" + std::to_string(bits_); }

bool CidrSet::contains(const IpAddress& address) const noexcept {
  return std::any_of(networks_.begin(), networks_.end(), [&](const Cidr& c) { return c.contains(address); });
}

}  // namespace postern
