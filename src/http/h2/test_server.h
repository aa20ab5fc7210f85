// For tests: a server whose requests say in their path what is to happen.
#pragma once

#include "base/strings.h"
#include "http/downstream.h"
#include "http/h2/server_session.h"
#include "http/h2/test_support.h"

namespace postern::http::h2 {

// ---- the service ----

// What a request wants is its path: /echo, /bytes/N (length known), /stream/N (not known), /wait (until release()),
// /early (answers without reading), /none (204), /interim, /trailers, /broken, /nothing, /ws. Anything else is answered
// with what was understood of the request.
class Service final : public RequestHandler {
 public:
  explicit Service(Loop& loop) : loop_(loop) {}

  [[nodiscard]] Task<AfterResponse> handle(Downstream& client) override {
    const Running counted(*this);
    Exchange exchange;
    const Result<void> received = co_await client.receive(exchange);
    const RequestHead& request = exchange.request;
    std::string note = std::string(request.method_text) + " " + std::string(request.target);
    if (!received) {
      failures.push_back(h1::text_of(received.error()));
      const Result<void> told = co_await answer(client, info(received.error().code()).status, failures.back(), {});
      co_return told ? AfterResponse::keep_alive : AfterResponse::close;
    }
    requests.push_back(note + " " + std::string(h1::text_of(request.framing)) +
                       (request.framing == Framing::length ? " " + std::to_string(request.content_length) : "") + " " +
                       h1::text_of(request.headers));
    const std::string_view target = request.target;
    if (request.expect_continue) {
      const Result<void> told = co_await client.send_continue();
      if (!told) co_return AfterResponse::close;
    }
    if (target == "/nothing") co_return AfterResponse::close;
    if (target == "/ws" && request.headers.find(HeaderName::upgrade)) {
      const AfterResponse over = co_await converse(client, request);
      co_return over;
    }
    if (target == "/wait") {
      while (!released_) co_await loop_.sleep_for(std::chrono::milliseconds(1));
    }
    if (target == "/none") {
      ResponseHead head;
      head.status = 204;
      client.start(head);
      const Result<void> finished = co_await client.finish({});
      co_return finished ? AfterResponse::keep_alive : AfterResponse::close;
    }
    if (target == "/interim") {
      ResponseHead early;
      early.status = 103;
      early.headers.append("Link", "</a>");
      const Result<void> told = co_await client.send_informational(early);
      if (!told) co_return AfterResponse::close;
    }
    if (target == "/broken") {
      ResponseHead head;
      head.status = 200;
      head.framing = Framing::length;
      head.content_length = 10;
      client.start(head);
      const Result<void> written = co_await client.write("abc", End::more);
      static_cast<void>(written);
      co_return AfterResponse::close;
    }
    if (target.starts_with("/bytes/") || target.starts_with("/stream/")) {
      const AfterResponse sent = co_await produce(client, target);
      co_return sent;
    }
    std::string body = requests.back();
    std::string trailers;
    if (target != "/early" && target != "/hoard") {
      Collected collected;
      co_await collect(client.body(), collected, loop_);
      if (collected.end != "end" && collected.end != "last") {
        failures.push_back(collected.end);
        const Result<void> told = co_await answer(client, 400, collected.end, {});
        co_return told ? AfterResponse::keep_alive : AfterResponse::close;
      }
      if (target == "/echo") body = collected.data;
      trailers = collected.trailers;
    }
    const Result<void> answered =
        co_await answer(client, 200, body, target == "/trailers" ? "x-sum" : std::string(trailers));
    if (!answered) failures.push_back(h1::text_of(answered.error()));
    co_return answered ? AfterResponse::keep_alive : AfterResponse::close;
  }

  void release() { released_ = true; }

  std::vector<std::string> requests;
  std::vector<std::string> failures;  // errors of receiving, reading and writing
  int running = 0;
  int most_running = 0;
  int ended = 0;  // however

 private:
  struct Running {
    explicit Running(Service& of) : service(of) {
      service.most_running = std::max(service.most_running, ++service.running);
    }
    ~Running() {
      --service.running;
      ++service.ended;
    }
    Service& service;
  };

  // `trailers`: "" is none, else one field whose value this is.
  [[nodiscard]] Task<Result<void>> answer(Downstream& client, int status, std::string body, std::string trailers) {
    ResponseHead head;
    head.status = status;
    head.headers.append("Server", "test");
    head.headers.append("Connection", "keep-alive");
    if (trailers.empty()) {
      head.framing = Framing::length;
      head.content_length = body.size();
      client.start(head);
      co_return co_await client.write(body, End::last);
    }
    head.framing = Framing::chunked;
    client.start(head);
    const Result<void> written = co_await client.write(body, End::more);
    if (!written) co_return fail(written.error().code(), written.error().side());
    Headers fields;
    fields.append("X-Trailer", trailers);
    co_return co_await client.finish(fields);
  }

  [[nodiscard]] Task<AfterResponse> produce(Downstream& client, std::string_view target) {
    const std::optional<std::uint64_t> wanted = parse_decimal(target.substr(target.rfind('/') + 1));
    std::size_t left = std::min<std::size_t>(wanted.value_or(0), 10'000'000);
    ResponseHead head;
    head.status = 200;
    head.framing = target.starts_with("/bytes/") ? Framing::length : Framing::chunked;
    head.content_length = left;
    client.start(head);
    std::string block(40'000, 'x');
    while (left != 0) {
      const std::size_t size = std::min(left, block.size());
      left -= size;
      const End end = left == 0 ? End::last : End::more;
      const Result<void> written = co_await client.write(std::string_view(block).substr(0, size), end);
      if (!written) {
        failures.push_back(h1::text_of(written.error()));
        co_return AfterResponse::close;
      }
    }
    const Result<void> finished = co_await client.finish({});
    co_return finished ? AfterResponse::keep_alive : AfterResponse::close;
  }

  // Accepts a WebSocket and sends back what it gets.
  [[nodiscard]] Task<AfterResponse> converse(Downstream& client, const RequestHead& request);

  Loop& loop_;
  bool released_ = false;
};

inline Task<AfterResponse> Service::converse(Downstream& client, const RequestHead& request) {
  ResponseHead head;
  head.status = 101;
  head.headers.append(HeaderName::upgrade, "websocket");
  const std::string accept = "accepted " + std::string(request.headers.value(HeaderName::sec_websocket_key));
  head.headers.append(HeaderName::sec_websocket_accept, accept);
  client.start(head);
  const Result<void> told = co_await client.finish({});
  if (!told) co_return AfterResponse::close;
  Stream& stream = client.raw_stream();
  stream.reset_on_close();
  for (;;) {
    char bytes[1000];
    const IoResult got = stream.try_read(bytes);
    if (got.status == IoStatus::would_block) {
      const Wake wake = co_await stream.readable();
      static_cast<void>(wake);
      continue;
    }
    if (got.status != IoStatus::ok) {
      if (got.status == IoStatus::eof) {
        stream.close_in_order();
        stream.shutdown_write();
      }
      failures.push_back(got.status == IoStatus::eof ? "ws ended" : "ws failed");
      co_return AfterResponse::keep_alive;
    }
    std::string_view left(bytes, got.bytes);
    while (!left.empty()) {
      iovec part{const_cast<char*>(left.data()), left.size()};
      const IoResult sent = stream.try_write({&part, 1});
      if (sent.status == IoStatus::would_block) {
        const Wake wake = co_await stream.writable();
        static_cast<void>(wake);
        continue;
      }
      if (sent.status != IoStatus::ok) co_return AfterResponse::close;
      left.remove_prefix(sent.bytes);
    }
  }
}

// ---- a server with that service ----

struct Server : World {
  explicit Server(MemoryOptions options = {}) : World(options) {}
  ~Server() { tasks.cancel_all(); }

  void start(std::string early = {}) {
    session = std::make_unique<ServerSession>(ServerSession::Services{loop, buffers, exceptions, service, &counters},
                                              std::move(near), facts, limits, http2);
    tasks.spawn(serve(std::move(early)));
    settle(loop);
  }
  // Raw frames to the server; what it says to them.
  std::string say(std::string_view bytes) {
    far.send(bytes);
    return join(transcript.read(far.receive()));
  }
  // The beginning of every conversation in raw frames.
  void greet() {
    start();
    const std::string said = say(std::string(kPreface) + settings());
    EXPECT_EQ(said, "");
  }

  ServerLimits limits;
  Limits http2;
  ConnectionFacts facts;
  Counters counters;
  Service service{loop};
  Transcript transcript;
  std::unique_ptr<ServerSession> session;
  bool ended = false;

 private:
  Task<void> serve(std::string early) {
    co_await session->serve(std::move(early));
    ended = true;
    session.reset();
  }
};
}  // namespace postern::http::h2
