// For tests: a client session, and exchanges on it.
#pragma once

#include "http/h2/client_session.h"
#include "http/h2/test_support.h"
#include "http/upstream.h"

namespace postern::http::h2 {

// ---- a client, and exchanges on it ----

// One exchange as a test wants it, and what became of it.
struct Exchanging {
  Exchanging(std::string_view method, std::string_view path) : target(path) {
    request.method_text = method;
    request.method = method_of(method);
    request.target = target;
    request.version = Version::http_2;
  }
  RequestHead request;
  std::string target;
  Headers& fields = request.headers;
  Headers added;
  Headers trailers;
  std::string upload;  // as request.framing says
  bool websocket = false;
  bool waits_for_head = true;
  bool reads_body = true;
  MonoTime deadline = MonoTime::max();

  std::unique_ptr<Upstream> upstream;
  std::string uploaded;  // "ok" or the error
  std::vector<std::string> interim;
  std::string head;  // "200 length 5 [fields]" or the error
  Retry retry = Retry::never;
  Collected body;
  ResponseHead response;

  CountExceptions exceptions;
  TaskSet tasks{exceptions};  // last: they use the rest
};

struct Client final : World, ClientSession::Owner {
  explicit Client(MemoryOptions options = {}) : World(options) {}
  ~Client() { tasks.cancel_all(); }

  void start() {
    session = std::make_unique<ClientSession>(ClientSession::Services{loop, buffers, exceptions, &counters},
                                              std::move(near), timeouts, limits, *this);
    session->start();
    settle(loop);
  }
  // The beginning of every conversation in raw frames.
  void greet() {
    start();
    std::string preface = far.receive();
    EXPECT_TRUE(preface.starts_with(kPreface));
    preface.erase(0, kPreface.size());
    EXPECT_EQ(join(transcript.read(preface)), "");
    EXPECT_EQ(say(settings()), "");
  }
  std::string say(std::string_view bytes) {
    far.send(bytes);
    return join(transcript.read(far.receive()));
  }
  void begin_only(Exchanging& exchange) {
    if (!exchange.upstream) exchange.upstream = session->open();
    exchange.upstream->start(
        {exchange.request, "http", "o.example", exchange.target, exchange.added, exchange.websocket});
    exchange.tasks.spawn(send(exchange));
    if (exchange.waits_for_head) exchange.tasks.spawn(receive(exchange, loop));
  }
  void begin(Exchanging& exchange) {
    begin_only(exchange);
    settle(loop);
  }

  ClientTimeouts timeouts;
  Limits limits;
  Counters counters;
  Transcript transcript;
  int changes = 0;
  std::unique_ptr<ClientSession> session;

  static Task<void> send(Exchanging& exchange) {
    const bool has_body = exchange.request.framing != Framing::none;
    Result<void> sent;
    if (has_body && !exchange.upload.empty()) sent = co_await exchange.upstream->write(exchange.upload, End::more);
    if (sent)
      sent = has_body ? co_await exchange.upstream->finish(exchange.trailers) : co_await exchange.upstream->flush();
    exchange.uploaded = sent ? "ok" : h1::text_of(sent.error());
  }
  static Task<void> receive(Exchanging& exchange, Loop& loop) {
    ResponseHead& head = exchange.response;
    for (;;) {
      const Result<void> got =
          co_await exchange.upstream->receive_head(exchange.request.method, head, exchange.deadline);
      if (!got) {
        exchange.head = h1::text_of(got.error());
        exchange.retry = got.error().retry();
        co_return;
      }
      std::string text = std::to_string(head.status) + " " + std::string(h1::text_of(head.framing));
      if (head.announces_length) text += " announced";
      if (head.content_length != 0 || head.framing == Framing::length)
        text += " " + std::to_string(head.content_length);
      text += " " + h1::text_of(head.headers);
      if (!is_interim(head.status)) {
        exchange.head = text;
        break;
      }
      exchange.interim.push_back(text);
    }
    if (exchange.reads_body) co_await collect(exchange.upstream->body(), exchange.body, loop);
  }

 private:
  void on_session_changed(ClientSession& /*session*/) override { ++changes; }
};
}  // namespace postern::http::h2
