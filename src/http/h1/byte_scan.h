// Byte classes of HTTP/1 and the loops that skip over them, 16 bytes at a time where the processor can. Each skip_*
// returns the first byte in [at, end) that is not of the class, or `end`; nothing at or after `end` is read.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#if defined(__SSSE3__)
#include <tmmintrin.h>
#endif

namespace postern::http::h1 {

inline constexpr std::string_view kTokenBytes =  // RFC 9110 5.6.2 tchar
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

inline constexpr auto kTokenTable = [] {
  std::array<bool, 256> table{};
  for (const char c : kTokenBytes) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

[[nodiscard]] constexpr bool is_token_byte(char c) noexcept { return kTokenTable[static_cast<unsigned char>(c)]; }
// RFC 9110 5.5: field-vchar (obs-text included), SP and HTAB; no other control character.
[[nodiscard]] constexpr bool is_value_byte(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}
// Visible ASCII: what a request-target may hold at most.
[[nodiscard]] constexpr bool is_visible_byte(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return byte > 0x20 && byte < 0x7f;
}

#if defined(__SSSE3__)
namespace detail {

// A byte is a tchar if the bit for its high nibble is set in the entry for its low nibble; one shuffle looks up 16.
inline constexpr auto kTokenByLowNibble = [] {
  std::array<std::uint8_t, 16> table{};
  for (const char c : kTokenBytes) {
    const auto byte = static_cast<unsigned char>(c);
    table[byte & 15u] = static_cast<std::uint8_t>(table[byte & 15u] | (1u << (byte >> 4u)));
  }
  return table;
}();
inline constexpr std::array<std::uint8_t, 16> kBitOfHighNibble = {1, 2, 4, 8, 16, 32, 64, 128};  // none from 0x80 on

inline __m128i load(const void* at) noexcept { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }

struct NotToken {
  static int mask(__m128i bytes) noexcept {
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i low = _mm_shuffle_epi8(load(kTokenByLowNibble.data()), _mm_and_si128(bytes, nibble));
    const __m128i high =
        _mm_shuffle_epi8(load(kBitOfHighNibble.data()), _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(low, high), _mm_setzero_si128()));
  }
};

struct NotValue {
  static int mask(__m128i bytes) noexcept {
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
  }
};

struct NotVisible {
  static int mask(__m128i bytes) noexcept {
    const __m128i above_space = _mm_cmpgt_epi8(bytes, _mm_set1_epi8(0x20));  // signed: 0x80 and above are below
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return _mm_movemask_epi8(_mm_andnot_si128(del, above_space)) ^ 0xffff;
  }
};

}  // namespace detail
#endif

template <typename Outside, bool (*kInside)(char) noexcept>
[[nodiscard]] inline const char* skip_bytes(const char* at, const char* end) noexcept {
#if defined(__SSSE3__)
  for (; end - at >= 16; at += 16) {
    const int outside = Outside::mask(detail::load(at));
    if (outside != 0) return at + __builtin_ctz(static_cast<unsigned>(outside));
  }
#endif
  while (at != end && kInside(*at)) ++at;
  return at;
}

#if !defined(__SSSE3__)
namespace detail {
struct NotToken {};
struct NotValue {};
struct NotVisible {};
}  // namespace detail
#endif

[[nodiscard]] inline const char* skip_token(const char* at, const char* end) noexcept {
  return skip_bytes<detail::NotToken, is_token_byte>(at, end);
}
[[nodiscard]] inline const char* skip_value(const char* at, const char* end) noexcept {
  return skip_bytes<detail::NotValue, is_value_byte>(at, end);
}
[[nodiscard]] inline const char* skip_visible(const char* at, const char* end) noexcept {
  return skip_bytes<detail::NotVisible, is_visible_byte>(at, end);
}

}  // namespace postern::http::h1
