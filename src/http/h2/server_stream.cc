#include "http/h2/server_stream.h"

#include <utility>

#include "http/h2/raw_stream.h"
#include "http/h2/session.h"

namespace postern::http::h2 {
namespace {

constexpr Failure kClientGone = {Code::client_closed, Side::client};
constexpr Failure kHeadNotSent = {Code::internal, Side::gateway, Retry::never, "the head of the response is too large"};

HttpStream::Rules rules_of(const ServerLimits& limits) noexcept {
  return {limits.body_idle_timeout,
          limits.body_min_rate,
          limits.write_idle_timeout,
          Code::request_timeout,
          Code::client_closed,
          Code::client_closed,
          Side::client};
}

}  // namespace

// However the handler ends: by returning, by an exception, by being destroyed.
struct ServerStream::Conclusion {
  explicit Conclusion(ServerStream& of) noexcept : stream(of) {}
  Conclusion(const Conclusion&) = delete;
  Conclusion& operator=(const Conclusion&) = delete;
  ~Conclusion() { stream.conclude(); }
  ServerStream& stream;
};

ServerStream::ServerStream(Session& session, Owner& owner, std::int32_t id, const ConnectionFacts& facts,
                           const ServerLimits& limits)
    : HttpStream(session, rules_of(limits)),
      owner_(owner),
      facts_(facts),
      tasks_(session.exceptions()),
      head_(arena()) {
  begin(id);
}

ServerStream::~ServerStream() { tasks_.cancel_all(); }

void ServerStream::handle(RequestHandler& handler) {
  handling_ = true;
  tasks_.spawn(run(handler));
}

Task<void> ServerStream::run(RequestHandler& handler) {
  const Conclusion conclusion(*this);
  static_cast<void>(co_await handler.handle(*this));  // what it says of the connection is said of the stream
  if (tunnel_ && !raw().resets()) static_cast<void>(co_await flush_raw());
}

void ServerStream::abandon() noexcept { tasks_.cancel_all(); }

void ServerStream::conclude() noexcept {
  handling_ = false;
  discard_input();
  // What was written before it broke off goes out before that shows.
  if (is_open() && handed_over() && !sent_all()) session()->push();
  if (!is_open()) return owner_.on_finished(*this);
  if (!sent_all()) {
    // A response that is cut off must not look whole.
    session()->reset(id(), tunnel_ ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR);
  } else if (!received_all()) {
    session()->reset(id(), NGHTTP2_NO_ERROR);  // RFC 9113 8.1: the rest of the request is not needed
  }
}

// ---- told by the session ----

void ServerStream::on_block() {
  FieldBlock& block = has_head_ ? trailer_block() : head_;
  block.begin(has_head_ ? FieldBlock::Kind::trailers : FieldBlock::Kind::head);
  collect_into(block);
}

void ServerStream::on_block_complete(bool end_stream) {
  FieldBlock& block = has_head_ ? trailer_block() : head_;
  block.finish();
  if (block.oversized() || block.path_too_long()) session()->on_oversized_head();
  if (!has_head_) {
    has_head_ = true;
    ends_with_head_ = end_stream;
    if (end_stream) on_end();
    owner_.on_head_complete(*this);
  } else if (block.oversized()) {
    session()->reset(id(), NGHTTP2_ENHANCE_YOUR_CALM);
  } else if (end_stream) {
    on_end();
  }
}

void ServerStream::on_reset(std::uint32_t /*error_code*/) {}

void ServerStream::on_over(std::uint32_t /*error_code*/) {
  close();
  if (!exchanged()) fail(kClientGone);
  if (!handling_) {
    owner_.on_finished(*this);
  } else if (!sent_all()) {
    owner_.on_abandoned(*this);
  }
}

void ServerStream::on_head_not_sent(int /*library_error*/) {
  fail(kHeadNotSent);
  session()->reset(id(), NGHTTP2_INTERNAL_ERROR);
}

// ---- Downstream ----

Task<Result<void>> ServerStream::receive(Exchange& exchange) {
  const std::string_view key = asks_for_websocket(head_) ? owner_.next_websocket_key(arena()) : std::string_view();
  Result<void> made = make_request(head_, ends_with_head_, key, exchange.request, websocket_);
  head_request_ = exchange.request.method == Method::head;
  return made;
}

Task<Result<void>> ServerStream::send_interim(int status, const Headers* headers) {
  if (failure()) return std::unexpected(failure()->error());
  OutgoingFields fields(session()->field_space());
  fields.add_status(status);
  if (headers) fields.add_all(*headers);
  nghttp2_session* const engine = session()->engine();
  static_cast<void>(
      nghttp2_submit_headers(engine, NGHTTP2_FLAG_NONE, id(), nullptr, fields.data(), fields.size(), nullptr));
  return send({}, End::more);
}

Task<Result<void>> ServerStream::send_continue() { return send_interim(100, nullptr); }

Task<Result<void>> ServerStream::send_informational(const ResponseHead& head) {
  return send_interim(head.status, &head.headers);
}

void ServerStream::start(const ResponseHead& head) {
  tunnel_ = websocket_ && head.status == 101;
  bodiless_ = head_request_ || head.status == 204 || head.status == 304;
  const bool empty = head.framing == Framing::none || (head.framing == Framing::length && head.content_length == 0);
  const bool ends = !tunnel_ && (bodiless_ || empty);
  begin_sending(head.framing, head.content_length, ends);
  if (failure()) return;

  OutgoingFields fields(session()->field_space());
  fields.add_status(tunnel_ ? 200 : head.status);
  if (tunnel_) {
    // RFC 8441 5: what RFC 6455 proves with a key, the CONNECT has said.
    for (const Field& field : head.headers) {
      if (field.id == HeaderName::connection || field.id == HeaderName::upgrade ||
          field.id == HeaderName::sec_websocket_accept) {
        continue;
      }
      fields.add(field.name, field.value);
    }
  } else {
    fields.add_all(head.headers);
    const bool announces = head.framing == Framing::length || head.announces_length;
    if (announces && head.status != 204) fields.add_length(head.content_length);
  }
  const nghttp2_data_provider body = Session::body_source();
  static_cast<void>(
      nghttp2_submit_response(session()->engine(), id(), fields.data(), fields.size(), ends ? nullptr : &body));
  if (tunnel_) static_cast<void>(raw());
}

Task<Result<void>> ServerStream::write(std::string_view bytes, End end) {
  return send(bodiless_ ? std::string_view() : bytes, tunnel_ ? End::more : end);
}

Task<Result<void>> ServerStream::finish(const Headers& trailers) {
  // The fields of the request have been copied to where they are used.
  return tunnel_ ? send({}, End::more) : end_sending(trailers, &head_.fields());
}

Stream& ServerStream::raw_stream() noexcept { return raw(); }

}  // namespace postern::http::h2
