// Percent-encoding (RFC 3986 2.1) as canonical forms need it: everything but unreserved characters, capital digits.
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::signature {

// What '+' means in the text: itself (RFC 3986), or a space (a form, URL Standard 5.1).
enum class Plus : std::uint8_t { is_plus, is_space };

// Triplets become bytes; a '%' that begins none stays as it is, so that any text has one reading.
[[nodiscard]] std::string percent_decode(std::string_view text, Plus plus);

// ALPHA, DIGIT, "-", ".", "_", "~" and the bytes of `keep` stay; everything else becomes a triplet.
void append_percent_encoded(std::string& out, std::string_view bytes, std::string_view keep = {});

}  // namespace postern::signature
