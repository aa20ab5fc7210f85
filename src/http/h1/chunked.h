// ChunkedDecoder: the chunked transfer coding (RFC 9112 section 7), strictly. Sans-I/O: give it what has arrived, drop
// `consumed` bytes, call again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/headers.h"

namespace postern::http::h1 {

class ChunkedDecoder {
 public:
  static constexpr std::size_t kMaxLine = 4096;             // a chunk header with its extensions, CRLF included
  static constexpr std::size_t kMaxExtensions = 64 * 1024;  // all extensions of one body
  static constexpr std::size_t kMaxTrailers = 16 * 1024;    // the trailer section with its empty line
  static constexpr std::size_t kMaxTrailerCount = 64;

  struct Step {
    enum class Kind : std::uint8_t { need_more, data, end };
    Kind kind = Kind::need_more;
    std::size_t consumed = 0;  // to drop from the front; with data it covers `data`
    std::string_view data;     // lies inside the bytes given
  };

  // bad_framing, Side::client, with a constant detail; the caller knows whose message it is. After the end or an error
  // only reset() may follow.
  [[nodiscard]] Result<Step> next(std::string_view bytes);
  // Trailer fields after the end; valid until reset().
  [[nodiscard]] const Headers& trailers() const noexcept;
  void reset() noexcept;

 private:
  enum class State : std::uint8_t { size, data, data_end, trailer };
  struct Trailers {
    std::string text;  // the lines are kept here, so that they outlive the receive buffer
    Headers fields;
  };
  [[nodiscard]] Result<Step> read_size(std::string_view bytes);
  [[nodiscard]] Result<Step> read_trailer(std::string_view bytes);
  [[nodiscard]] std::size_t find_lf(std::string_view bytes, std::size_t limit) noexcept;
  void publish_trailers();

  State state_ = State::size;
  std::uint32_t scanned_ = 0;       // no LF in so many bytes of an unfinished line
  std::uint32_t extensions_ = 0;    // bytes so far
  std::uint32_t trailer_size_ = 0;  // bytes so far
  std::uint32_t trailer_count_ = 0;
  std::uint64_t remaining_ = 0;  // of the chunk's data
  // Few messages have trailers: idle connections do not pay for them.
  std::unique_ptr<Trailers> trailers_;
};

}  // namespace postern::http::h1
