#include "http/request_id.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"

namespace postern::http {

RequestIdGenerator::RequestIdGenerator(const Entropy& entropy) {
  std::array<unsigned char, 16> seed{};
  entropy.fill(seed);
  std::memcpy(&loop_, seed.data(), sizeof loop_);
  std::memcpy(&state_, seed.data() + sizeof loop_, sizeof state_);
}

void RequestIdGenerator::next(std::span<char, kSize> out) noexcept {
  // splitmix64: a bijection of a counter, so it does not repeat within a loop.
  std::uint64_t mixed = (state_ += 0x9e3779b97f4a7c15u);
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
  mixed ^= mixed >> 31;
  constexpr std::string_view kHex = "0123456789abcdef";
  for (std::size_t i = 0; i < 16; ++i) {
    out[i] = kHex[(loop_ >> (60 - 4 * i)) & 0xf];
    out[16 + i] = kHex[(mixed >> (60 - 4 * i)) & 0xf];
  }
}

bool is_acceptable_request_id(std::string_view text) noexcept {
  return text.size() >= 8 && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
           return is_alpha(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

}  // namespace postern::http
