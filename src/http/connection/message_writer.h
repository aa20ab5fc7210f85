// MessageWriter: puts one HTTP/1 message at a time on a stream. The head is buffered and leaves together with the first
// body bytes in one system call; the body is not copied. One coroutine at a time writes: the messages of a connection
// follow each other, interim heads included.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"
#include "http/body.h"
#include "http/message.h"
#include "platform/buffer.h"
#include "platform/loop.h"
#include "platform/stream.h"
#include "platform/task.h"

namespace postern::http {

class MessageWriter {
 public:
  struct Failure {
    Code timed_out;  // the peer takes nothing for `idle`
    Code closed;     // the peer is gone
    Side side;
  };

  // All references outlive the writer; `idle` is how long the peer may take nothing.
  MessageWriter(Loop& loop, BufferPool& pool, Stream& stream, Duration idle, Failure failure) noexcept
      : loop_(loop), stream_(stream), idle_(idle), failure_(failure), out_(pool) {}

  // Where the head is serialised; sent by the next write(), finish() or flush().
  [[nodiscard]] Buffer& head() noexcept { return out_; }
  // Framing of the body that follows: length, chunked, until_close, or none.
  void begin_body(Framing framing, std::uint64_t content_length) noexcept;

  // `bytes` are borrowed until the task is done. With End::last the message is complete afterwards.
  [[nodiscard]] Task<Result<void>> write(std::string_view bytes, End end);
  // Completes the message; `trailers` are sent with chunked framing only. Fails if a length was announced and not met.
  [[nodiscard]] Task<Result<void>> finish(const Headers& trailers);
  // Sends what head() holds. If interrupt() ends the wait, the rest stays there and goes out in front of the next
  // write: an interim head that was cut in two is completed first.
  [[nodiscard]] Task<Result<void>> flush();
  // Ends a wait for the peer; the write fails with `cancelled`. True if somebody waited (Stream::wake_writer()).
  bool interrupt() noexcept { return stream_.wake_writer(Wake::interrupted); }

  // True if the message has been taken by the stream to its last byte; not if a write of it failed or was cancelled.
  [[nodiscard]] bool complete() const noexcept { return complete_ && !sending_ && out_.empty(); }
  [[nodiscard]] std::uint64_t body_bytes() const noexcept { return body_bytes_; }
  void release_buffer() noexcept { out_.release(); }

 private:
  static constexpr std::size_t kParts = 4;
  [[nodiscard]] Task<Result<void>> send(std::span<const iovec> parts);
  [[nodiscard]] Task<Result<void>> send_rest(std::array<iovec, kParts> parts, std::size_t count, std::size_t done);
  // The peer took `bytes`; what of them was in front of a body is done with.
  void taken(std::size_t bytes) noexcept { out_.consume(std::min(bytes, out_.size())); }
  [[nodiscard]] Error failed(Code code, int error) const;

  Loop& loop_;
  Stream& stream_;
  Duration idle_;
  Failure failure_;
  Buffer out_;
  Framing framing_ = Framing::none;
  bool complete_ = true;  // nothing is to be written any more
  bool sending_ = false;  // a write has begun and not ended well
  std::uint64_t remaining_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::array<char, 20> chunk_head_{};
};

}  // namespace postern::http
