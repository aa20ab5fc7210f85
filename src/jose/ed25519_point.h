// What OpenSSL does not ask of an Ed25519 public key: it takes any 32 bytes. Internal to this room.
#pragma once

#include <array>
#include <cstdint>

namespace postern::jose::internal {

// As it stands in a key (RFC 8032 5.1.2): y, least byte first, and in the highest bit the sign of x.
using Ed25519Point = std::array<unsigned char, 32>;

enum class PointFault : std::uint8_t {
  none,
  off_curve,    // no x belongs to y, or y is not below 2^255 - 19 (RFC 8032 5.1.3). No signature of such a key is good
  small_order,  // [8]P is the neutral point: RFC 8032 5.1.7 finds a signature by it that fits every text
};

// Pure; any thread. off_curve as well without memory.
[[nodiscard]] PointFault check_point(const Ed25519Point& point);

}  // namespace postern::jose::internal
