// Conduct: what one peer of an HTTP/2 connection costs us beyond what it pays for, as one number that decays over time.
// Whoever drives it over the limit is told to calm down (GOAWAY, ENHANCE_YOUR_CALM) and disconnected.
//
// HTTP/2 lets a peer cause work with a few bytes, outside of every window: streams that are opened and reset (rapid
// reset, CVE-2023-44487), or that we are made to reset (MadeYouReset, CVE-2025-8671), PING, SETTINGS, PRIORITY and
// empty DATA frames (CVE-2019-9512 to 9518), CONTINUATION (CVE-2024-27316). Each has a price. What honest peers do much
// of is earned by what they take part in: a completed stream pays for resets, frames that we send pay for PINGs and
// WINDOW_UPDATEs that answer them.
//
// It looks at the frame headers in the byte stream itself, because the library shows none of the frames that it skips.
// Sans-I/O; time comes with the bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "platform/clock.h"

namespace postern::http::h2 {

// Frame types of RFC 9113 6 and RFC 9218 7.1.
enum class FrameType : std::uint8_t {
  data = 0,
  headers = 1,
  priority = 2,
  rst_stream = 3,
  settings = 4,
  push_promise = 5,
  ping = 6,
  goaway = 7,
  window_update = 8,
  continuation = 9,
  priority_update = 16,
};

class Conduct {
 public:
  enum class Of : std::uint8_t { client, origin };
  explicit Conduct(Of whom) noexcept;

  // Looks at `bytes` in the order in which they arrive; call it before anybody acts on them. False: the peer is over
  // its budget, now and for ever.
  [[nodiscard]] bool feed(std::string_view bytes, MonoTime now) noexcept;
  // After the bytes were acted on: charges DATA frames and header blocks that belonged to no stream any more.
  [[nodiscard]] bool settle() noexcept;

  // What the bytes led to.
  void took_data() noexcept { ++data_taken_; }
  void took_head() noexcept { ++heads_taken_; }
  void opened_stream() noexcept;
  // We opened one towards the origin: it may be answered early, reset, or given up by us with its answer on the way,
  // and none of that is the origin's doing. So each pays in advance for what it may bring.
  void opened_by_us() noexcept;
  void completed_stream() noexcept;  // both sides have said all, nobody has reset it
  void refused_stream() noexcept;
  void forced_reset() noexcept;  // we had to reset a stream because of what the peer did on it
  void oversized_head() noexcept;
  void sent_data() noexcept;
  void sent_head() noexcept { ping_earned_ = true; }

  // A header block has begun and is not complete, up to the last byte of its last frame.
  [[nodiscard]] bool in_header_block() const noexcept { return block_open_ || block_bytes_left_; }
  // How many header blocks have begun: tells one that takes long from many that follow each other.
  [[nodiscard]] std::uint64_t header_blocks() const noexcept { return heads_seen_; }
  // How many DATA frames have begun.
  [[nodiscard]] std::uint64_t data_frames() const noexcept { return data_seen_; }
  // A PUSH_PROMISE was seen.
  [[nodiscard]] bool pushed() const noexcept { return pushed_; }
  // Frames seen so far, for who has to share its turn with others.
  [[nodiscard]] std::uint64_t frames() const noexcept { return frames_; }

 private:
  static constexpr std::size_t kFrameHeader = 9;
  void on_frame(std::size_t length, FrameType type, std::uint8_t flags) noexcept;
  void charge(std::uint32_t points) noexcept;

  MonoTime now_{};
  std::int64_t level_ = 0;  // thousandths of a point; below 0: paid in advance
  bool over_ = false;
  bool ping_earned_ = true;
  bool pushed_ = false;
  bool block_open_ = false;        // END_HEADERS has not come
  bool block_bytes_left_ = false;  // inside of the last frame of a block
  std::uint32_t window_updates_earned_;
  std::uint32_t continuations_ = 0;  // of the present block
  std::uint64_t frames_ = 0;
  std::uint64_t data_seen_ = 0;
  std::uint64_t data_taken_ = 0;
  std::uint64_t heads_seen_ = 0;
  std::uint64_t heads_taken_ = 0;
  std::uint64_t vain_data_ = 0;  // charged
  std::uint64_t vain_heads_ = 0;
  std::size_t preface_left_;
  std::size_t payload_left_ = 0;
  std::size_t header_size_ = 0;
  std::array<unsigned char, kFrameHeader> header_{};  // of a frame header that came in pieces
};

}  // namespace postern::http::h2
