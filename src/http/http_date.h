// IMF-fixdate (RFC 9110 5.6.7).
#pragma once

#include <cstddef>

#include "platform/clock.h"

namespace postern::http {

inline constexpr std::size_t kHttpDateSize = 29;

// Writes "Tue, 15 Nov 1994 08:12:31 GMT" and a NUL.
void format_http_date(WallTime time, char (&out)[32]) noexcept;

}  // namespace postern::http
