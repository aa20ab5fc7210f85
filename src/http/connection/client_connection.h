// ClientConnection: one HTTP/1 connection to an origin, used for one exchange after the other. It does not know what an
// origin is; the pool keeps it between exchanges.
#pragma once

#include <memory>

#include "http/connection/body_reader.h"
#include "http/connection/message_writer.h"
#include "http/h1/response_parser.h"
#include "http/upstream.h"
#include "tls/tls_stream.h"

namespace postern::http {

struct ClientTimeouts {
  Duration idle = std::chrono::seconds(60);  // without one byte of the body, in either direction
};

class ClientConnection final : public Upstream {
 public:
  static constexpr unsigned kMaxInterimHeads = 16;  // before one final head; more of them are no answer

  ClientConnection(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> stream, ClientTimeouts timeouts);
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;
  ~ClientConnection() override = default;

  [[nodiscard]] Version version() const noexcept override { return Version::http_1_1; }
  void start(const OutgoingHead& out) override;
  [[nodiscard]] Task<Result<void>> write(std::string_view bytes, End end) override { return writer_.write(bytes, end); }
  [[nodiscard]] Task<Result<void>> finish(const Headers& trailers) override { return writer_.finish(trailers); }
  [[nodiscard]] Task<Result<void>> flush() override { return writer_.flush(); }
  [[nodiscard]] Task<Result<void>> receive_head(Method request_method, ResponseHead& head, MonoTime deadline) override;
  void set_head_deadline(MonoTime deadline) noexcept override;
  [[nodiscard]] BodySource& body() noexcept override { return body_; }
  bool interrupt() noexcept override { return stream_->wake_reader(Wake::interrupted) || writer_.interrupt(); }
  [[nodiscard]] Stream& raw_stream() noexcept override { return *stream_; }
  // For as long as it stays open, an upgraded connection needs none of the blocks that its heads took.
  [[nodiscard]] std::string take_raw_leftover() override;
  // The raw stream keeps nothing back.
  [[nodiscard]] Task<Result<void>> flush_raw() override { return Result<void>(); }

  // For requests that are not an Exchange's.
  [[nodiscard]] MessageWriter& writer() noexcept { return writer_; }

  // The stream is this one: what TLS knows of a failure is told, and others may ask.
  void set_tls(const tls::TlsStream* tls) noexcept { tls_ = tls; }
  [[nodiscard]] const tls::TlsStream* tls() const noexcept { return tls_; }

  // True if the connection may carry another exchange: both messages complete, nothing unexpected received, the origin
  // keeps it open.
  [[nodiscard]] bool end_exchange();

  [[nodiscard]] Stream& stream() noexcept { return *stream_; }
  [[nodiscard]] unsigned exchanges() const noexcept { return exchanges_; }
  [[nodiscard]] MonoTime created() const noexcept { return created_; }

 private:
  [[nodiscard]] Result<h1::Parse> parse(Method request_method, ResponseHead& head);

  std::unique_ptr<Stream> stream_;
  const tls::TlsStream* tls_ = nullptr;
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
