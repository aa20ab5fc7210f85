// IP addresses and networks as values. IPv4-mapped IPv6 addresses (::ffff:a.b.c.d) are normalised to IPv4 when parsed
// or built, so that one client has one form. No name resolution, no zones.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern {

class IpAddress {
 public:
  IpAddress() = default;  // unspecified: neither v4 nor v6
  static IpAddress from_v4(const std::array<std::uint8_t, 4>& bytes) noexcept;
  static IpAddress from_v6(const std::array<std::uint8_t, 16>& bytes) noexcept;
  // Strict text forms (inet_pton); nullopt for anything else, zones included.
  static std::optional<IpAddress> parse(std::string_view text) noexcept;

  [[nodiscard]] bool is_v4() const noexcept { return family_ == Family::v4; }
  [[nodiscard]] bool is_v6() const noexcept { return family_ == Family::v6; }
  [[nodiscard]] bool is_unspecified() const noexcept { return family_ == Family::none; }
  [[nodiscard]] bool is_loopback() const noexcept;
  // Means one host that a packet can be sent to from anywhere in a network: not unspecified (0.0.0.0, ::), link-local,
  // multicast or broadcast.
  [[nodiscard]] bool is_routable_unicast() const noexcept;
  [[nodiscard]] std::array<std::uint8_t, 4> v4_bytes() const noexcept {
    return {bytes_[0], bytes_[1], bytes_[2], bytes_[3]};
  }
  [[nodiscard]] const std::array<std::uint8_t, 16>& v6_bytes() const noexcept { return bytes_; }
  // Same family, everything after the first `bits` cleared.
  [[nodiscard]] IpAddress prefix(unsigned bits) const noexcept;
  [[nodiscard]] unsigned bits() const noexcept { return is_v6() ? 128 : is_v4() ? 32 : 0; }
  // "" if unspecified; IPv6 in RFC 5952 form without brackets.
  [[nodiscard]] std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  enum class Family : std::uint8_t { none, v4, v6 };
  std::array<std::uint8_t, 16> bytes_{};
  Family family_ = Family::none;
};

class Cidr {
 public:
  // "10.0.0.0/8", "2001:db8::/32", or a single address. Bits after the prefix must be zero.
  static std::optional<Cidr> parse(std::string_view text) noexcept;
  [[nodiscard]] bool contains(const IpAddress& address) const noexcept;
  [[nodiscard]] std::string to_string() const;
  bool operator==(const Cidr&) const = default;

 private:
  IpAddress network_;
  unsigned bits_ = 0;
};

class CidrSet {
 public:
  void add(const Cidr& cidr) { networks_.push_back(cidr); }
  [[nodiscard]] bool contains(const IpAddress& address) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return networks_.empty(); }

 private:
  std::vector<Cidr> networks_;
};

}  // namespace postern
