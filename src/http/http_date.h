// IMF-fixdate (RFC 9110 5.6.7).
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "platform/clock.h"

namespace postern::http {

inline constexpr std::size_t kHttpDateSize = 29;

// Writes "Tue, 15 Nov 1994 08:12:31 GMT" and a NUL.
void format_http_date(WallTime time, char (&out)[32]) noexcept;
// Exactly that form, from 1970 to 2199: the obsolete ones are nobody's any more. The day of the week is not compared.
[[nodiscard]] std::optional<WallTime> parse_http_date(std::string_view text) noexcept;

}  // namespace postern::http
