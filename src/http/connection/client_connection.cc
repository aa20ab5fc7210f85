#include "http/connection/client_connection.h"

#include <utility>

#include "http/h1/serialize.h"

namespace postern::http {
namespace {

constexpr std::size_t kHeadRead = 16 * 1024;  // most responses fit, head and body, into one read

}  // namespace

ClientConnection::ClientConnection(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> stream,
                                   ClientTimeouts timeouts)
    : stream_(std::move(stream)),
      created_(loop.now()),
      deadline_(loop, *stream_),
      in_(pool),
      body_(pool, *stream_, deadline_, in_, loop,
            {timeouts.idle, 0, Code::origin_timeout, Code::origin_closed, Code::origin_closed, Code::origin_malformed,
             Side::origin}),
      writer_(loop, pool, *stream_, timeouts.idle, {Code::origin_timeout, Code::origin_closed, Side::origin}) {}

Result<h1::Parse> ClientConnection::parse(Method request_method, ResponseHead& head) {
  Result<h1::Parse> parsed = parser_.parse(in_.view(), h1::HeadLimits{}, request_method, head);
  if (parsed && *parsed == h1::Parse::done) {
    head_size_ = parser_.head_size();
    keep_alive_ = keep_alive_ && head.keep_alive;
    body_.begin(head_size_, head.framing, head.content_length);
  }
  return parsed;
}

void ClientConnection::start(const OutgoingHead& out) {
  const RequestHead& request = out.head;
  Buffer& buffer = writer_.head();
  h1::begin_request_head(buffer, request.method_text, out.target);
  h1::write_field(buffer, "Host", out.host);
  h1::write_fields(buffer, request.headers);
  h1::write_fields(buffer, out.added);
  if (out.websocket) {
    buffer.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
  } else if (request.framing == Framing::length) {
    h1::write_content_length(buffer, request.content_length);
  } else if (request.framing == Framing::chunked) {
    buffer.append("Transfer-Encoding: chunked\r\n");
  }
  buffer.append("\r\n");
  writer_.begin_body(request.framing, request.content_length);
}

std::string ClientConnection::take_raw_leftover() {
  std::string leftover(body_.leftover());
  in_.release();
  writer_.release_buffer();
  return leftover;
}

void ClientConnection::set_head_deadline(MonoTime deadline) noexcept {
  if (deadline == MonoTime::max()) {
    deadline_.clear();
  } else {
    deadline_.set(deadline);
  }
}

Task<Result<void>> ClientConnection::receive_head(Method request_method, ResponseHead& head, MonoTime deadline) {
  // An interim head is dropped when the next one is asked for.
  in_.consume(std::exchange(head_size_, 0));
  parser_.reset();
  head.headers.clear();
  set_head_deadline(deadline);
  for (;;) {
    if (!in_.empty()) {
      Result<h1::Parse> parsed = parse(request_method, head);
      if (!parsed) co_return std::unexpected(std::move(parsed.error()));
      if (*parsed == h1::Parse::done) break;
    }
    if (!stream_->may_read()) {
      const Wake wake = co_await stream_->readable();
      if (wake == Wake::timed_out) co_return fail(Code::origin_timeout, Side::origin);
      if (wake == Wake::interrupted) co_return fail(Code::cancelled, Side::gateway);
    }
    const IoResult read = stream_->try_read(in_.writable(in_.empty() ? kHeadRead : 4096));
    if (read.status == IoStatus::ok) {
      in_.commit(read.bytes);
      answering_ = true;
    } else if (read.status != IoStatus::would_block) {
      // In TLS 1.3 an origin refuses a client certificate only after the handshake is done for us (RFC 8446 4.4.2.4).
      if (tls_ && !answering_ && !tls_->failure().empty()) {
        co_return fail(Code::origin_tls_failed, Side::origin, std::string(tls_->failure()));
      }
      co_return fail(Code::origin_closed, Side::origin, answering_ ? Retry::never : Retry::if_reused);
    }
  }
  deadline_.clear();
  if (is_interim(head.status) && ++interim_heads_ > kMaxInterimHeads) {
    co_return fail(Code::origin_malformed, Side::origin, "too many interim responses");
  }
  co_return Result<void>();
}

bool ClientConnection::end_exchange() {
  head_size_ = 0;
  answering_ = false;
  interim_heads_ = 0;
  parser_.reset();
  ++exchanges_;
  const bool whole = writer_.complete() && keep_alive_ && body_.end_message();
  // Bytes beyond the response belong to no request: whoever sent them is confused or hostile.
  if (!whole || !in_.empty()) return false;
  in_.release();
  writer_.release_buffer();
  return true;
}

}  // namespace postern::http
