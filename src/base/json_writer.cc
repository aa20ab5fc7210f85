#include "base/json_writer.h"

#include <array>
#include <cstddef>

namespace postern {
namespace {

// Decodes one code point of UTF-8 (RFC 3629) at `at`; size 0 if it is not one.
struct Decoded {
  std::uint32_t point = 0;
  std::size_t size = 0;
};
Decoded decode(std::string_view text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t first = byte(at);
  const std::size_t size = first < 0x80                    ? 1
                           : first >= 0xc2 && first < 0xe0 ? 2
                           : first >= 0xe0 && first < 0xf0 ? 3
                           : first >= 0xf0 && first < 0xf5 ? 4
                                                           : 0;
  if (size == 0 || at + size > text.size()) return {};
  std::uint32_t point = size == 1 ? first : first & (0xffu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return {};
    point = (point << 6) | (byte(at + i) & 0x3f);
  }
  constexpr std::array<std::uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (point < kSmallest[size] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return {};
  return {point, size};
}

void append_escape(std::string& out, std::uint32_t unit) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += "\\u";
  for (const unsigned shift : {12u, 8u, 4u, 0u}) out += kHex[(unit >> shift) & 0xf];
}

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
      out += c;
      ++at;
      continue;
    }
    const Decoded decoded = decode(text, at);
    at += decoded.size == 0 ? 1 : decoded.size;
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (decoded.size == 0) {
      append_escape(out, 0xfffd);
    } else if (decoded.point >= 0x10000) {
      append_escape(out, 0xd800 + ((decoded.point - 0x10000) >> 10));
      append_escape(out, 0xdc00 + ((decoded.point - 0x10000) & 0x3ff));
    } else {
      append_escape(out, decoded.point);
    }
  }
  out += '"';
}

void JsonWriter::separate() {
  if (!first_ && !after_key_) out_ += ',';
  first_ = false;
  after_key_ = false;
}

void JsonWriter::open(char bracket) {
  separate();
  out_ += bracket;
  first_ = true;
}

void JsonWriter::close(char bracket) {
  out_ += bracket;
  first_ = false;
}

void JsonWriter::key(std::string_view name) {
  separate();
  append_json_string(out_, name);
  out_ += ':';
  after_key_ = true;
}

void JsonWriter::value(std::string_view text) {
  separate();
  append_json_string(out_, text);
}

}  // namespace postern
