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
  // One that was still to be serialised has not left us, whatever happened: it is as good as refused.
  const bool unsent = is_open() && !nghttp2_session_find_stream(session()->engine(), id());
  close();
  Failure failure = unsent ? kRefused : why;
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
    Result<ResponseFacts> facts = judge_response(block_, method_, end_stream);
    if (!facts) return refuse(arena().copy(facts.error().detail()), NGHTTP2_PROTOCOL_ERROR);
    if (is_interim(facts->status)) {
      if (interim_heads_.size() == ClientConnection::kMaxInterimHeads) {
        return refuse("too many interim responses", NGHTTP2_ENHANCE_YOUR_CALM);
      }
      interim_heads_.push_back(std::make_unique<ResponseHead>());
      make_response(*facts, block_.fields(), *interim_heads_.back());
    } else {
      final_head_ = true;
      if (websocket_ && facts->status < 300) accept_websocket(*facts);
      // A status or a method without a body: whoever reads need not wait for the END_STREAM that may come late.
      if (facts->framing == Framing::none && !tunnel_) end_stream = true;
      final_facts_ = *facts;
    }
  }
  if (end_stream) on_end();
  in_gate().notify();
}

// RFC 8441 5: a 2xx accepts. To those behind it looks like the 101 of RFC 6455, with everything that they check.
void ClientStream::accept_websocket(ResponseFacts& facts) {
  tunnel_ = true;
  facts.status = 101;
  facts.framing = Framing::none;
  Headers& fields = block_.fields();
  fields.append("Connection", "Upgrade", HeaderName::connection);
  fields.append("Upgrade", "websocket", HeaderName::upgrade);
  fields.remove(HeaderName::sec_websocket_accept);
  fields.append("Sec-WebSocket-Accept", arena().copy(websocket_accept(websocket_key_)),
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
  fields.add_constant_name(":method", websocket_ ? "CONNECT" : request.method_text);
  if (websocket_) fields.add_constant_name(":protocol", "websocket");
  fields.add_constant_name(":scheme", out.scheme);
  fields.add_constant_name(":authority", out.host);
  fields.add_constant_name(":path", out.target);
  // RFC 8441 5: there is no key in HTTP/2.
  fields.add_all(request.headers, websocket_ ? HeaderName::sec_websocket_key : HeaderName::other);
  fields.add_secret(out.added);
  if (websocket_) {
    websocket_key_ = arena().copy(request.headers.value(HeaderName::sec_websocket_key));
  } else if (request.framing == Framing::length) {
    fields.add_length(request.content_length);
  }
  if (request.trailers_welcome) fields.add_constant_name("te", "trailers");
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
  return bodiless_ || websocket_ ? flush() : end_sending(trailers, nullptr);
}

// A failure is for receive_head() to tell, which knows whether it is safe to try again.
Task<Result<void>> ClientStream::flush() {
  // If the origin's GOAWAY comes first, the request can be sent elsewhere.
  if (!failure()) session()->push_in_company();
  return Result<void>();
}

bool ClientStream::take_head(ResponseHead& head) {
  if (interim_taken_ < interim_heads_.size()) {
    const ResponseHead& next = *interim_heads_[interim_taken_++];
    make_response({.status = next.status}, next.headers, head);
    return true;
  }
  if (!final_head_ || final_taken_) return false;
  final_taken_ = true;
  make_response(final_facts_, block_.fields(), head);
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
