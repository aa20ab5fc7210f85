// RawStream: an HTTP/2 stream after an accepted extended CONNECT (RFC 8441) as a plain byte stream: what is written
// goes into DATA frames, the end is END_STREAM, and reset_on_close() means RST_STREAM (CANCEL) in place of it.
//
// Unlike the body of a message, what is written is copied: up to kMaxOutput bytes wait here for the window. It lives as
// long as its HttpStream, and waiters are woken at the end of the turn.
#pragma once

#include "http/h2/http_stream.h"
#include "platform/stream.h"

namespace postern::http::h2 {

class RawStream final : public Stream, Loop::Deferred {
 public:
  static constexpr std::size_t kMaxOutput = 32 * 1024;

  explicit RawStream(HttpStream& stream);

  [[nodiscard]] IoResult try_read(std::span<char> into) override;
  [[nodiscard]] IoResult try_write(std::span<const iovec> from) override;
  void shutdown_write() noexcept override;
  void reset_on_close() noexcept override { resets_ = true; }
  void close_in_order() noexcept override { resets_ = false; }

  // ---- for HttpStream ----
  [[nodiscard]] std::string_view output() const noexcept { return output_.view(); }
  void on_sent(std::size_t bytes) noexcept;
  // Something has come, gone or failed.
  void notify() noexcept;
  // Whether an end that nobody asked for has to look like a reset.
  [[nodiscard]] bool resets() const noexcept { return resets_; }

 private:
  void run_deferred() override;

  HttpStream& stream_;
  Buffer output_;
  bool resets_ = false;
  bool abort_told_ = false;
};

}  // namespace postern::http::h2
