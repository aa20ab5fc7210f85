// BodyReader: takes one HTTP/1 body at a time off a stream, after a head that stays pinned in its buffer.
//
// Bytes that arrived together with the head are delivered from the head's buffer; later ones go into a second buffer,
// so that views into the head stay valid until the exchange is over.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "http/body.h"
#include "http/h1/chunked.h"
#include "http/message.h"
#include "platform/buffer.h"
#include "platform/deadline.h"
#include "platform/stream.h"

namespace postern::http {

class BodyReader final : public BodySource {
 public:
  struct Rules {
    Duration idle;               // without one byte
    std::uint64_t min_rate = 0;  // bytes per second, over every `idle` spent waiting for them; 0: off
    Code timed_out;              // no progress in time
    Code closed;                 // the connection broke in the middle
    Code truncated;              // the peer ended it in order, but in the middle
    Code malformed;              // chunked coding broken
    Side side;
  };

  // All references outlive the reader. `head` holds the pinned head.
  BodyReader(BufferPool& pool, Stream& stream, Deadline& deadline, Buffer& head, Loop& loop, Rules rules) noexcept
      : stream_(stream), deadline_(deadline), head_(head), loop_(loop), rules_(rules), body_(pool) {}

  // A body follows the first `head_size` bytes of the head buffer.
  void begin(std::size_t head_size, Framing framing, std::uint64_t content_length);

  [[nodiscard]] Result<BodyPiece> poll() override;
  [[nodiscard]] Task<Wake> wait() override;
  [[nodiscard]] bool complete() const noexcept override { return complete_; }
  [[nodiscard]] const Headers& trailers() const noexcept override { return decoder_.trailers(); }
  [[nodiscard]] std::uint64_t received() const noexcept override { return received_; }

  // Ends the exchange: what was received beyond the body (a pipelined request) is left alone in the head buffer.
  // Returns false if the body is not complete; then nothing more can be read from the connection as HTTP.
  [[nodiscard]] bool end_message();
  // Everything received beyond what was delivered, for an upgraded connection.
  [[nodiscard]] std::string_view leftover() const noexcept;

 private:
  [[nodiscard]] std::string_view available() const noexcept;
  void consume(std::size_t bytes) noexcept;
  [[nodiscard]] Result<BodyPiece> next_chunked();
  [[nodiscard]] std::string_view gather(std::string_view data);
  [[nodiscard]] bool keeps_rate() noexcept;
  [[nodiscard]] Error failed(Code code) const { return {code, rules_.side}; }
  [[nodiscard]] Error malformed(const Error& flaw) const {
    return {rules_.malformed, rules_.side, std::string(flaw.detail())};
  }

  Stream& stream_;
  Deadline& deadline_;
  Buffer& head_;
  Loop& loop_;
  Rules rules_;
  Buffer body_;
  std::size_t head_used_ = 0;  // bytes of head_ that are head or delivered body
  std::size_t pending_ = 0;    // of the last piece; consumed at the next poll()
  Framing framing_ = Framing::none;
  bool complete_ = true;
  bool timed_out_ = false;
  bool filled_ = false;        // the last read filled its space: the next one may be larger
  std::optional<Error> flaw_;  // found behind the last piece; told at the next poll()
  std::uint64_t remaining_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t received_at_mark_ = 0;  // for min_rate
  Duration waited_{0};  // for the peer, since the mark: a consumer that takes its time is not the peer's fault
  h1::ChunkedDecoder decoder_;
};

}  // namespace postern::http
