// Quantities as people write them: always with a unit, never with a guess. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "platform/clock.h"

namespace postern::config {

// 1*DIGIT followed by ms, s, m, h or d; more than zero, at most 3660d.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text) noexcept;
// 1*DIGIT followed by B, KiB, MiB or GiB; below 2^63.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;
// YYYY-MM-DD: the first moment (UTC) of that day. Years 1970 to 2199.
[[nodiscard]] std::optional<WallTime> parse_date(std::string_view text) noexcept;
// RFC 3339 date-time, with Z or a numeric offset; 'T' and 'Z' in upper case, no leap second.
[[nodiscard]] std::optional<WallTime> parse_timestamp(std::string_view text) noexcept;

// The largest unit that divides: "5s", "90m", "1MiB".
[[nodiscard]] std::string format_duration(Duration duration);
[[nodiscard]] std::string format_size(std::uint64_t bytes);
// "2026-12-24T08:00:00Z"
[[nodiscard]] std::string format_timestamp(WallTime time);

}  // namespace postern::config
