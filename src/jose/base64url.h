// Base64url without padding (RFC 7515 2, RFC 4648 5): what every part of a token and every number of a JWK is written
// in. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace postern::jose {

// Appends to `out`.
void append_base64url(std::string& out, std::string_view bytes);
[[nodiscard]] std::string to_base64url(std::string_view bytes);

// One spelling per value: nullopt on padding, white space, the standard alphabet's '+' and '/', a length that no bytes
// have, or bits set behind the last byte (RFC 4648 3.5). Otherwise a token had many spellings, and a cache or a list of
// revoked tokens that goes by the spelling could be walked around. What was decoded may be a secret: the caller
// cleanses it.
[[nodiscard]] std::optional<std::string> from_base64url(std::string_view text);

}  // namespace postern::jose
