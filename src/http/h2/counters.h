// Counters: what happened on the HTTP/2 connections of one loop, for its metrics. Numbers that only grow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace postern::http::h2 {

struct Counters {
  // Error codes of RFC 9113 7, and one for all others.
  static constexpr std::size_t kErrorCodes = 15;
  using ByErrorCode = std::array<std::uint64_t, kErrorCodes>;

  std::uint64_t connections = 0;
  std::uint64_t streams = 0;
  std::uint64_t streams_refused = 0;  // not looked at, because too many were open (REFUSED_STREAM sent)
  std::uint64_t resets_received = 0;  // RST_STREAM frames, whatever their code
  std::uint64_t resets_sent = 0;      // likewise
  std::uint64_t floods = 0;           // connections that cost more than they may (conduct.h) and were ended
  ByErrorCode goaways_sent{};         // the last frame of a graceful end included, its announcement not
  ByErrorCode goaways_received{};

  [[nodiscard]] static constexpr std::size_t index(std::uint32_t error_code) noexcept {
    return error_code < kErrorCodes - 1 ? error_code : kErrorCodes - 1;
  }
};

}  // namespace postern::http::h2
