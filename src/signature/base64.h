// Base64 with the standard alphabet and padding (RFC 4648 4): what structured fields, Content-Digest and webhook
// signatures carry. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace postern::signature {

// Appends to `out`; 4 characters for every 3 bytes begun.
void append_base64(std::string& out, std::string_view bytes);

// One spelling per value: nullopt on a foreign character, missing or surplus padding, or bits set behind the last byte
// (RFC 4648 3.5), so that a signature has one text. What was decoded may be a secret: the caller cleanses it.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace postern::signature
