// Which header fields a policy may write, and with what. One place, so that no policy can break the framing of a
// message, forge who the client is, or inject a second field. Used when configuration is read.
#pragma once

#include <cstdint>
#include <string_view>

namespace postern::config {
class Diagnostics;
struct Entry;
class Node;
}  // namespace postern::config

namespace postern::policies {

enum class Direction : std::uint8_t { request, response };

// RFC 9110 5.6.2.
[[nodiscard]] bool is_header_name(std::string_view name) noexcept;
// RFC 9110 5.5 without obs-text: visible ASCII, SP and HTAB inside, no CR, LF or NUL, no space at the ends. May be
// empty.
[[nodiscard]] bool is_header_value(std::string_view value) noexcept;

// Why no policy may write or remove `name`: "" if it may. Refused are hop-by-hop and framing fields, Host, and on
// requests what the gateway itself vouches for (Via, Forwarded, X-Forwarded-*, X-Request-Id, handshake fields), in
// every spelling that an origin could take for them (separators, case).
[[nodiscard]] std::string_view why_forbidden(std::string_view name, Direction direction) noexcept;

// Both rules, reported at the key or the value. True if the name can be used.
bool check_header_name(const config::Entry& at, Direction direction, config::Diagnostics& diagnostics);
bool check_header_name(const config::Node& at, Direction direction, config::Diagnostics& diagnostics);

}  // namespace postern::policies
