#include "jose/base64url.h"

#include <openssl/crypto.h>

#include <array>
#include <cstdint>

namespace postern::jose {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t kForeign = 0x80;

constexpr auto kValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(kForeign);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}();

std::uint32_t byte_at(std::string_view bytes, std::size_t i) { return static_cast<unsigned char>(bytes[i]); }
std::uint32_t value_of(char c) { return kValues[static_cast<unsigned char>(c)]; }

}  // namespace

void append_base64url(std::string& out, std::string_view bytes) {
  std::size_t at = 0;
  const auto digit = [&](std::uint32_t group, int shift) { out += kAlphabet[(group >> shift) & 63]; };
  for (; at + 3 <= bytes.size(); at += 3) {
    const std::uint32_t group = byte_at(bytes, at) << 16 | byte_at(bytes, at + 1) << 8 | byte_at(bytes, at + 2);
    digit(group, 18);
    digit(group, 12);
    digit(group, 6);
    digit(group, 0);
  }
  const std::size_t rest = bytes.size() - at;
  if (rest == 0) return;
  const std::uint32_t group = byte_at(bytes, at) << 16 | (rest == 2 ? byte_at(bytes, at + 1) << 8 : 0);
  digit(group, 18);
  digit(group, 12);
  if (rest == 2) digit(group, 6);
}

std::string to_base64url(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  append_base64url(out, bytes);
  return out;
}

std::optional<std::string> from_base64url(std::string_view text) {
  const std::size_t rest = text.size() % 4;
  if (rest == 1) return std::nullopt;
  std::string out(text.size() / 4 * 3 + (rest == 0 ? 0 : rest - 1), '\0');
  std::size_t written = 0;
  std::uint32_t foreign = 0;
  const auto put = [&](std::uint32_t byte) { out[written++] = static_cast<char>(byte & 0xff); };
  std::size_t at = 0;
  for (; at + 4 <= text.size(); at += 4) {
    const std::uint32_t a = value_of(text[at]), b = value_of(text[at + 1]);
    const std::uint32_t c = value_of(text[at + 2]), d = value_of(text[at + 3]);
    foreign |= a | b | c | d;
    put(a << 2 | b >> 4);
    put(b << 4 | c >> 2);
    put(c << 6 | d);
  }
  if (rest != 0) {
    const std::uint32_t a = value_of(text[at]), b = value_of(text[at + 1]);
    const std::uint32_t c = rest == 3 ? value_of(text[at + 2]) : 0;
    foreign |= a | b | c;
    // RFC 4648 3.5: bits behind the last byte are zero.
    foreign |= (rest == 2 ? b & 15 : c & 3) != 0 ? kForeign : 0u;
    put(a << 2 | b >> 4);
    if (rest == 3) put(b << 4 | c >> 2);
  }
  if ((foreign & kForeign) == 0) return out;
  OPENSSL_cleanse(out.data(), out.size());  // it may have been a damaged key
  return std::nullopt;
}

}  // namespace postern::jose
