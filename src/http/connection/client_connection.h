// ClientConnection: one HTTP/1 connection to an origin, used for one exchange after the other. It does not know what an
// origin is; the pool keeps it between exchanges.
#pragma once

#include <memory>

#include "http/connection/body_reader.h"
#include "http/connection/message_writer.h"
#include "http/h1/response_parser.h"

namespace postern::http {

struct ClientTimeouts {
  Duration idle = std::chrono::seconds(60);  // without one byte of the body, in either direction
};

class ClientConnection {
 public:
  static constexpr unsigned kMaxInterimHeads = 16;  // before one final head; more of them are no answer

  ClientConnection(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> stream, ClientTimeouts timeouts);
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;
  ~ClientConnection() = default;

  // Request head and body.
  [[nodiscard]] MessageWriter& writer() noexcept { return writer_; }

  // Reads the next head, interim or final; `head`'s views stay valid until the next receive_head() or end_exchange().
  // Fails with origin_timeout at `deadline`, origin_closed (Retry::if_reused if no byte of any response came), or
  // origin_malformed, also at one interim head too many. Ends early with `cancelled` if interrupt() is called.
  [[nodiscard]] Task<Result<void>> receive_head(Method request_method, ResponseHead& head, MonoTime deadline);
  // The final response's body; after receive_head().
  [[nodiscard]] BodyReader& body() noexcept { return body_; }

  // Moves the deadline of a receive_head() that waits; MonoTime::max() is none.
  void set_head_deadline(MonoTime deadline) noexcept;
  // Ends a wait for the peer, in receive_head(), the body or the writer. True if somebody waited; then the exchange may
  // be over by now.
  bool interrupt() noexcept { return stream_->wake_reader(Wake::interrupted) || writer_.interrupt(); }

  // True if the connection may carry another exchange: both messages complete, nothing unexpected received, the origin
  // keeps it open.
  [[nodiscard]] bool end_exchange();

  [[nodiscard]] Stream& stream() noexcept { return *stream_; }
  [[nodiscard]] std::string_view raw_leftover() const noexcept { return body_.leftover(); }
  // After an upgrade: what was received is somewhere else, and no head is read or written any more.
  void release_buffers() noexcept {
    in_.release();
    writer_.release_buffer();
  }
  [[nodiscard]] unsigned exchanges() const noexcept { return exchanges_; }
  [[nodiscard]] MonoTime created() const noexcept { return created_; }
  void abort_on_close() noexcept { stream_->reset_on_close(); }

 private:
  [[nodiscard]] Result<h1::Parse> parse(Method request_method, ResponseHead& head);

  std::unique_ptr<Stream> stream_;
  MonoTime created_;
  Deadline deadline_;
  Buffer in_;
  h1::ResponseParser parser_;
  BodyReader body_;
  MessageWriter writer_;
  std::size_t head_size_ = 0;  // of an interim head that is still in front of in_
  bool answering_ = false;     // a byte of the response, interim ones included, has come
  bool keep_alive_ = true;
  unsigned interim_heads_ = 0;  // of this exchange
  unsigned exchanges_ = 0;
};

}  // namespace postern::http
