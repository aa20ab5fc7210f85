// The form of an API key:
//
//   pst_4XbQ9sLm0aYt7RkZ2cVn8PwEuH1gJo2Zl61Q
//   ----                                      prefix
//       --------                              public part: with the prefix it is the key id, "pst_4XbQ9sLm"
//               ----------------------        secret: 22 random base62 digits (130 bits)
//                                     ------  CRC-32 (IEEE) of everything before it, base62, most significant first
//
// The checksum protects nothing: it lets the gateway, secret scanners and people tell a key from a typo without a
// look-up. The key id may be shown and logged. The key itself is shown once and stored only as its SHA-256, which is
// enough because the secret is random: there is no dictionary to try.
//
// Pure functions but generate_api_key(), which draws from the operating system's generator.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "config/secret.h"

namespace postern::store {

inline constexpr std::string_view kKeyPrefix = "pst_";
inline constexpr std::size_t kKeyIdLength = 12;  // "pst_" and 8 digits
inline constexpr std::size_t kKeyLength = 40;

// True if `text` has the form of a key and its checksum fits.
[[nodiscard]] bool is_api_key(std::string_view text) noexcept;
// True if `text` has the form of a key id.
[[nodiscard]] bool is_key_id(std::string_view text) noexcept;
// REQUIRES: is_api_key(key).
[[nodiscard]] inline std::string_view key_id_of(std::string_view key) noexcept { return key.substr(0, kKeyIdLength); }

// SHA-256 of the whole key text.
using KeyHash = std::array<std::uint8_t, 32>;
[[nodiscard]] KeyHash hash_api_key(std::string_view key) noexcept;
// 64 lower-case hexadecimal digits and back; nullopt for anything else.
[[nodiscard]] std::string to_hex(const KeyHash& hash);
[[nodiscard]] std::optional<KeyHash> key_hash_from_hex(std::string_view hex) noexcept;

// A new key. Fails (Code::internal) only if the operating system gives no randomness.
[[nodiscard]] Result<config::Secret> generate_api_key();

}  // namespace postern::store
