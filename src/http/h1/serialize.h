// Writes HTTP/1.1 heads into a Buffer. Values come from parsers and policies that have refused control characters; this
// is the last place before the wire, so it is checked once more in debug builds.
#pragma once

#include <cstdint>
#include <string_view>

#include "http/headers.h"
#include "platform/buffer.h"

namespace postern::http::h1 {

void begin_request_head(Buffer& out, std::string_view method, std::string_view target);
void begin_response_head(Buffer& out, int status, std::string_view reason);
void write_field(Buffer& out, std::string_view name, std::string_view value);
void write_fields(Buffer& out, const Headers& headers);
void write_content_length(Buffer& out, std::uint64_t length);
// A whole head without body framing, for interim responses.
void write_response_head(Buffer& out, int status, std::string_view reason, const Headers& headers);

// "OK" for 200; "" for a status without a registered phrase.
[[nodiscard]] std::string_view reason_phrase(int status) noexcept;

}  // namespace postern::http::h1
