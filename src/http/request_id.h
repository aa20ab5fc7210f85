// Request ids: 32 hexadecimal digits, unique across loops and restarts (64 random bits of the loop, a counter mixed
// with 64 more). They identify, they do not authenticate.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "platform/entropy.h"

namespace postern::http {

class RequestIdGenerator {
 public:
  static constexpr std::size_t kSize = 32;

  explicit RequestIdGenerator(const Entropy& entropy);
  void next(std::span<char, kSize> out) noexcept;

 private:
  std::uint64_t loop_ = 0;
  std::uint64_t state_ = 0;
};

// What a trusted proxy may hand on: 8 to 128 of [A-Za-z0-9._-].
[[nodiscard]] bool is_acceptable_request_id(std::string_view text) noexcept;

}  // namespace postern::http
