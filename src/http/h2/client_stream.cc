#include "http/h2/client_stream.h"

#include <utility>

#include "http/connection/client_connection.h"
#include "http/h2/raw_stream.h"
#include "http/h2/session.h"
#include "http/websocket.h"

namespace postern::http::h2 {
namespace {

constexpr Failure kRefused = {Code::origin_closed, Side::origin, Retry::yes};
constexpr Failure kReset = {Code::origin_closed, Side::origin};
constexpr Failure kBroken = {Code::origin_malformed, Side::origin, Retry::never, "the response breaks HTTP/2"};
constexpr Failure kTooLarge = {Code::internal, Side::gateway, Retry::never, "the head of the request is too large"};

HttpStream::Rules rules_of(Duration idle) noexcept {
  return {idle, 0, idle, Code::origin_timeout, Code::origin_timeout, Code::origin_closed, Side::origin};
}

}  // namespace

ClientStream::ClientStream(Session& session, Owner& owner, Duration idle)
    : HttpStream(session, rules_of(idle)), owner_(owner), block_(arena()) {}

ClientStream::~ClientStream() {
  if (!session()) return;
  if (!submitted_) owner_.on_given_up();
  // What was received and not read must not be missing from the connection's window.
  discard_input();
  // An end that was written goes out if it can at once; nobody is left to wait for it.
  if (tunnel_ && is_open() && !raw().resets()) session()->push();
  if (!is_open()) return;
  session()->forget_stream(id());
  session()->reset(id(), NGHTTP2_CANCEL);
}

void ClientStream::session_gone(const Failure& why) noexcept {
  close();
  Failure failure = why;
  if (answering_ && failure.retry == Retry::if_reused) failure.retry = Retry::never;
  fail(failure);
  detach();
}

// ---- told by the session ----

void ClientStream::on_block() {
  answering_ = true;
  FieldBlock& block = final_head_ ? trailer_block() : block_;
  block.begin(final_head_ ? FieldBlock::Kind::trailers : FieldBlock::Kind::head);
  collect_into(block);
}

void ClientStream::on_block_complete(bool end_stream) {
  FieldBlock& block = final_head_ ? trailer_block() : block_;
  block.finish();
  if (block.oversized()) {
    session()->on_oversized_head();
    return refuse(h1::describe(h1::Flaw::too_large), NGHTTP2_ENHANCE_YOUR_CALM);
  }
  if (!final_head_) {
    auto head = std::make_unique<ResponseHead>();
    const Result<void> made = make_response(block_, method_, end_stream, *head);
    if (!made) return refuse(arena().copy(made.error().detail()), NGHTTP2_PROTOCOL_ERROR);
    if (is_interim(head->status)) {
      if (++interim_heads_ > ClientConnection::kMaxInterimHeads) {
        return refuse("too many interim responses", NGHTTP2_ENHANCE_YOUR_CALM);
      }
    } else {
      final_head_ = true;
      if (websocket_ && head->status < 300) accept_websocket(*head);
      // A status or a method without a body: whoever reads need not wait for the END_STREAM that may come late.
      if (head->framing == Framing::none && !tunnel_) end_stream = true;
    }
    heads_.push_back(std::move(head));
  }
  if (end_stream) on_end();
  in_gate().notify();
}

// RFC 8441 5: a 2xx accepts. To those behind it looks like the 101 of RFC 6455, with everything that they check.
void ClientStream::accept_websocket(ResponseHead& head) {
  tunnel_ = true;
  head.status = 101;
  head.framing = Framing::none;
  head.headers.append("Connection", "Upgrade", HeaderName::connection);
  head.headers.append("Upgrade", "websocket", HeaderName::upgrade);
  head.headers.remove(HeaderName::sec_websocket_accept);
  head.headers.append("Sec-WebSocket-Accept", arena().copy(websocket_accept(websocket_key_)),
                      HeaderName::sec_websocket_accept);
}

void ClientStream::refuse(std::string_view rule, std::uint32_t error_code) {
  fail({Code::origin_malformed, Side::origin, Retry::never, rule});
  session()->reset(id(), error_code);
}

void ClientStream::on_reset(std::uint32_t /*error_code*/) { reset_by_origin_ = true; }

void ClientStream::on_over(std::uint32_t error_code) {
  close();
  if (exchanged()) return;
  // REFUSED_STREAM: said by the origin, or a GOAWAY that did not count this stream, or it was never sent (RFC
  // 9113 8.7).
  if (error_code == NGHTTP2_REFUSED_STREAM && !answering_) {
    fail(kRefused);
  } else if (reset_by_origin_ || received_all()) {
    fail(kReset);  // with a complete response that concerns the rest of the request only (RFC 9113 8.1)
  } else {
    fail(kBroken);
  }
}

void ClientStream::on_head_not_sent(int library_error) {
  if (library_error == NGHTTP2_ERR_FRAME_SIZE_ERROR) fail(kTooLarge);
}

// ---- Upstream ----

void ClientStream::start(const OutgoingHead& out) {
  const RequestHead& request = out.head;
  method_ = request.method;
  websocket_ = out.websocket;
  const bool empty =
      request.framing == Framing::none || (request.framing == Framing::length && request.content_length == 0);
  bodiless_ = !websocket_ && empty;
  begin_sending(websocket_ ? Framing::chunked : request.framing, request.content_length, bodiless_);
  if (failure()) return;
  submitted_ = true;
  if (!owner_.on_start()) return fail(kRefused);

  OutgoingFields fields(session()->field_space());
  fields.add(":method", websocket_ ? "CONNECT" : request.method_text);
  if (websocket_) fields.add(":protocol", "websocket");
  fields.add(":scheme", out.scheme);
  fields.add(":authority", out.host);
  fields.add(":path", out.target);
  // RFC 8441 5: there is no key in HTTP/2.
  fields.add_all(request.headers, websocket_ ? HeaderName::sec_websocket_key : HeaderName::other);
  fields.add_secret(out.added);
  if (websocket_) {
    websocket_key_ = arena().copy(request.headers.value(HeaderName::sec_websocket_key));
  } else if (request.framing == Framing::length) {
    fields.add_length(request.content_length);
  }
  if (request.trailers_welcome) fields.add("te", "trailers");
  const nghttp2_data_provider body = Session::body_source();
  const std::int32_t stream = nghttp2_submit_request(session()->engine(), nullptr, fields.data(), fields.size(),
                                                     bodiless_ ? nullptr : &body, static_cast<HttpStream*>(this));
  if (stream < 0) {
    owner_.on_given_up();
    return fail(kRefused);
  }
  session()->on_opened_by_us();
  begin(stream);
  if (websocket_) static_cast<void>(raw());
}

Task<Result<void>> ClientStream::finish(const Headers& trailers) {
  return bodiless_ || websocket_ ? flush() : end_sending(trailers);
}

// A failure is for receive_head() to tell, which knows whether it is safe to try again.
Task<Result<void>> ClientStream::flush() {
  if (!failure()) session()->push();
  return Result<void>();
}

bool ClientStream::take_head(ResponseHead& head) {
  if (heads_taken_ == heads_.size()) return false;
  const ResponseHead& next = *heads_[heads_taken_++];
  head.status = next.status;
  head.version = next.version;
  head.framing = next.framing;
  head.keep_alive = true;
  head.announces_length = next.announces_length;
  head.content_length = next.content_length;
  head.reason = {};
  head.headers.clear();
  for (const Field& field : next.headers) head.headers.append(field.name, field.value, field.id);
  return true;
}

Task<Result<void>> ClientStream::receive_head(Method /*request_method*/, ResponseHead& head, MonoTime deadline) {
  if (take_head(head)) return Result<void>();
  if (failure()) return std::unexpected(failure()->error());
  return wait_for_head(head, deadline);
}

Task<Result<void>> ClientStream::wait_for_head(ResponseHead& head, MonoTime deadline) {
  in_gate().set_deadline(deadline);
  for (;;) {
    const Wake wake = co_await in_gate().wait_on();
    if (take_head(head)) co_return Result<void>();
    if (failure()) co_return std::unexpected(failure()->error());
    if (wake == Wake::interrupted) co_return postern::fail(Code::cancelled, Side::gateway);
    if (wake == Wake::timed_out) co_return postern::fail(Code::origin_timeout, Side::origin);
  }
}

Stream& ClientStream::raw_stream() noexcept { return raw(); }

}  // namespace postern::http::h2
