#include "http/connection/server_connection.h"

#include <algorithm>

#include "http/h1/serialize.h"
#include "platform/turn_budget.h"

namespace postern::http {
namespace {

constexpr std::size_t kMaxDiscarded = 256 * 1024;  // bytes read and dropped before closing on an unfinished upload
constexpr auto kLingerTime = std::chrono::seconds(2);
constexpr auto kFirstRequestWhileDraining = std::chrono::seconds(1);

}  // namespace

ServerConnection::ServerConnection(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> stream,
                                   const ConnectionFacts& facts, const ServerLimits& limits, Owner& owner)
    : loop_(loop),
      limits_(limits),
      owner_(owner),
      stream_(std::move(stream)),
      facts_(facts),
      deadline_(loop, *stream_),
      pool_(pool),
      in_(pool) {
  stream_->set_abort_listener(this);
}

ServerConnection::Messages::Messages(ServerConnection& of)
    : body(of.pool_, *of.stream_, of.deadline_, of.in_, of.loop_,
           {of.limits_.body_idle_timeout, of.limits_.body_min_rate, Code::request_timeout, Code::client_closed,
            Code::bad_framing, Code::bad_framing, Side::client}),
      writer(of.loop_, of.pool_, *of.stream_, of.limits_.write_idle_timeout,
             {Code::client_closed, Code::client_closed, Side::client}) {}

Task<void> ServerConnection::serve(RequestHandler& handler) {
  TurnBudget budget(loop_);
  for (;;) {
    const bool arrived = co_await wait_for_request();
    if (!arrived) co_return;
    const AfterResponse after = co_await handler.handle(*this);
    if (after == AfterResponse::close || !keep_alive_ || !messages().writer.complete()) break;
    if (!messages().body.end_message()) break;
    if (draining_) break;
    forget_messages();
    // Requests that are answered at once can be sent without end, too.
    budget.step(0);
    if (budget.spent()) co_await loop_.yield();
  }
  co_await linger();
}

// What the next request is answered with, and what is logged of it, must not come from this one if it cannot be parsed.
void ServerConnection::forget_messages() {
  messages_.reset();
  head_request_ = http_1_0_ = bodiless_ = false;
  head_began_ = MonoTime::max();
}

// False if the client left, or stayed silent too long, before the first byte of a request.
Task<bool> ServerConnection::wait_for_request() {
  state_ = State::idle;
  bool waited = false;
  bool last_look = false;
  while (in_.empty()) {
    if (!stream_->may_read()) {
      if (last_look) co_return false;
      waited = true;
      deadline_.set_after(draining_ ? kFirstRequestWhileDraining : limits_.idle_timeout);
      const Wake wake = co_await stream_->readable();
      // A request may have come in the same moment as the end of waiting: one more look, so that it is not lost.
      last_look = wake != Wake::ready;
    }
    const IoResult read = stream_->try_read(in_.writable());
    if (read.status == IoStatus::ok) {
      in_.commit(read.bytes);
    } else if (read.status == IoStatus::would_block) {
      in_.release();
    } else {
      co_return false;
    }
  }
  if (waited) deadline_.clear();
  state_ = State::busy;
  ++requests_;
  keep_alive_ = requests_ < limits_.max_requests && !draining_;
  co_return true;
}

Result<h1::Parse> ServerConnection::parse(Exchange& exchange) {
  Result<h1::Parse> parsed = messages().parser.parse(in_.view(), limits_.head, exchange.request);
  if (parsed && *parsed == h1::Parse::done) {
    const RequestHead& request = exchange.request;
    messages().body.begin(messages().parser.head_size(), request.framing, request.content_length);
    head_request_ = request.method == Method::head;
    http_1_0_ = request.version == Version::http_1_0;
    keep_alive_ = keep_alive_ && request.keep_alive;
  }
  return parsed;
}

Task<Result<void>> ServerConnection::receive(Exchange& exchange) {
  const Result<h1::Parse> parsed = parse(exchange);
  if (parsed && *parsed == h1::Parse::need_more) return receive_more(exchange);
  if (parsed) return Result<void>();
  keep_alive_ = false;
  return std::unexpected(Error(parsed.error().code(), parsed.error().side(), std::string(parsed.error().detail())));
}

Task<Result<void>> ServerConnection::receive_more(Exchange& exchange) {
  // One deadline for the whole head, however slowly it drips.
  deadline_.set(std::min(loop_.now(), head_began_) + limits_.header_timeout);
  for (;;) {
    const IoResult read = stream_->try_read(in_.writable());
    if (read.status == IoStatus::would_block) {
      const Wake wake = co_await stream_->readable();
      if (wake == Wake::timed_out) {
        keep_alive_ = false;
        co_return fail(Code::request_timeout, Side::client);
      }
      if (wake != Wake::ready) co_return fail(Code::draining, Side::gateway);
      continue;
    }
    if (read.status != IoStatus::ok) {
      keep_alive_ = false;
      co_return fail(Code::client_closed, Side::client);
    }
    in_.commit(read.bytes);
    Result<h1::Parse> parsed = parse(exchange);
    if (!parsed) {
      keep_alive_ = false;
      co_return std::unexpected(std::move(parsed.error()));
    }
    if (*parsed == h1::Parse::done) {
      deadline_.clear();
      co_return Result<void>();
    }
  }
}

Task<Result<void>> ServerConnection::send_continue() {
  messages().writer.head().append("HTTP/1.1 100 Continue\r\n\r\n");
  return messages().writer.flush();
}

Task<Result<void>> ServerConnection::send_informational(const ResponseHead& head) {
  if (http_1_0_) return Result<void>();  // RFC 9110 15.2: a 1.0 client cannot take one
  h1::write_response_head(messages().writer.head(), head.status, head.reason, head.headers);
  return messages().writer.flush();
}

void ServerConnection::start(const ResponseHead& head) {
  Buffer& out = messages().writer.head();
  // A request body that is still on its way would be read as the next request.
  if (!messages().body.complete()) keep_alive_ = false;
  if (draining_) keep_alive_ = false;
  Framing framing = head.framing;
  if (framing == Framing::until_close) framing = http_1_0_ ? Framing::until_close : Framing::chunked;
  if (framing == Framing::chunked && http_1_0_) framing = Framing::until_close;
  if (framing == Framing::until_close) keep_alive_ = false;
  h1::begin_response_head(out, head.status, head.reason);
  h1::write_fields(out, head.headers);
  const bool bodiless = head_request_ || head.status < 200 || head.status == 204 || head.status == 304;
  // HTTP/2 ends a response with its head without saying a length; here the client would wait for more.
  const bool empty = framing == Framing::none && !bodiless && !head.announces_length;
  const bool announce = framing == Framing::length || head.announces_length || empty;
  if (announce && head.status != 204 && head.status >= 200) {
    h1::write_content_length(out, empty ? 0 : head.content_length);
  } else if (framing == Framing::chunked && head.status >= 200 && head.status != 204 && head.status != 304) {
    out.append("Transfer-Encoding: chunked\r\n");
  }
  if (head.status == 101) {
    out.append("Connection: Upgrade\r\n");
  } else if (!keep_alive_) {
    out.append("Connection: close\r\n");
  } else if (http_1_0_) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
  bodiless_ = bodiless;
  messages().writer.begin_body(bodiless ? Framing::none : framing, head.content_length);
}

Task<Result<void>> ServerConnection::write(std::string_view bytes, End end) {
  if (bodiless_) bytes = {};
  return messages().writer.write(bytes, end);
}

Task<Result<void>> ServerConnection::finish(const Headers& trailers) { return messages().writer.finish(trailers); }

// Closes so that the client gets the whole response: closing with unread input would reset the connection and could
// destroy what is still on its way (RFC 9112 9.6).
Task<void> ServerConnection::linger() {
  state_ = State::closing;
  if (!messages().writer.complete()) {
    stream_->reset_on_close();  // a truncated response must not look complete
    co_return;
  }
  // Nothing unread, nothing expected: an ordinary close is safe and saves a turn.
  if (messages().body.complete() && messages().body.leftover().empty() && !stream_->may_read()) co_return;
  stream_->shutdown_write();
  deadline_.set_after(kLingerTime);
  in_.clear();
  std::size_t discarded = 0;
  while (discarded < kMaxDiscarded) {
    const IoResult read = stream_->try_read(in_.writable());
    if (read.status == IoStatus::ok) {
      discarded += read.bytes;
    } else if (read.status == IoStatus::would_block) {
      const Wake wake = co_await stream_->readable();
      if (wake != Wake::ready) co_return;
    } else {
      co_return;
    }
  }
}

void ServerConnection::drain() noexcept {
  draining_ = true;
  if (state_ != State::idle) return;
  if (requests_ == 0) {
    deadline_.set_after(kFirstRequestWhileDraining);
  } else {
    stream_->wake_reader(Wake::interrupted);
  }
}

}  // namespace postern::http
