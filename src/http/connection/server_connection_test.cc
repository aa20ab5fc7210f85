#include "http/connection/server_connection.h"

#include <gtest/gtest.h>

#include "http/connection/test_support.h"

namespace postern::http {
namespace {

// A server whose handler reads the request, notes it, and answers as the test says.
struct Server final : World, ServerConnection::Owner, RequestHandler {
  explicit Server(MemoryOptions options = {}) : World(options) {}
  ~Server() { tasks.cancel_all(); }

  void start() {
    connection = std::make_unique<ServerConnection>(loop, buffers, std::move(near), facts, limits, *this);
    tasks.spawn(run());
    settle(loop);
  }

  // How it answers.
  bool reads_body = true;
  bool continues = false;
  int status = 200;
  Framing framing = Framing::length;
  std::string answer;         // "": "METHOD target body" of the request
  std::size_t announced = 0;  // instead of the answer's size
  bool interim = false;
  bool answers_nothing = false;  // a head alone
  Duration thinks_for{0};
  AfterResponse after = AfterResponse::keep_alive;

  // What happened.
  std::vector<std::string> requests;
  std::string failure;   // of reading or writing
  std::string leftover;  // behind a request whose answer was 101
  bool ended = false;
  int aborts = 0;
  MonoTime failed_at{};

  ServerLimits limits;
  ConnectionFacts facts;
  std::unique_ptr<ServerConnection> connection;

 private:
  Task<void> run() {
    co_await connection->serve(*this);
    ended = true;
    connection.reset();
  }
  void on_connection_aborted(ServerConnection&) override { ++aborts; }

  Task<AfterResponse> handle(Downstream& client) override {
    Exchange exchange;
    const Result<void> received = co_await client.receive(exchange);
    const RequestHead& request = exchange.request;
    if (!received) {
      failure = h1::text_of(received.error());
      failed_at = loop.now();
      const AfterResponse closed = co_await respond(client, 400, "refused");
      co_return closed;
    }
    std::string note(request.method_text);
    note.append(" ").append(request.target);
    if (continues && request.expect_continue) {
      const Result<void> told = co_await client.send_continue();
      if (!told) co_return AfterResponse::close;
    }
    if (interim) {
      ResponseHead early;
      early.status = 103;
      early.headers.append("Link", "</a>");
      const Result<void> told = co_await client.send_informational(early);
      if (!told) co_return AfterResponse::close;
    }
    if (reads_body) {
      Collected body;
      co_await collect(client.body(), body, loop);
      if (body.end != "end" && body.end != "last") {
        failure = body.end;
        failed_at = loop.now();
        co_return AfterResponse::close;
      }
      if (!body.data.empty()) note.append(" ").append(body.data).append(body.trailers);
    }
    requests.push_back(note);
    if (thinks_for != Duration(0)) co_await loop.sleep_for(thinks_for);
    const AfterResponse done = co_await respond(client, status, answer.empty() ? note : answer);
    co_return done;
  }

  Task<AfterResponse> respond(Downstream& client, int code, std::string text) {
    if (answers_nothing) text.clear();
    ResponseHead head;
    head.status = code;
    head.framing = framing;
    head.content_length = announced != 0 ? announced : text.size();
    client.start(head);
    if (code == 101) leftover = client.raw_leftover();
    const Result<void> written = co_await client.write(text, announced > text.size() ? End::more : End::last);
    if (!written) failure = h1::text_of(written.error());
    co_return written ? after : AfterResponse::close;
  }
};

std::string response(const std::string& body, const std::string& more = "") {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more + "\r\n" + body;
}
std::string get(const std::string& target, const std::string& lines = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n";
}
std::string post(const std::string& target, const std::string& body, const std::string& lines = "") {
  return "POST " + target + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + lines +
         "\r\n" + body;
}

TEST(ServerConnection, ServesPipelinedRequestsInOrderHoweverTheyAreCut) {
  const std::string bytes =
      get("/1") + post("/2", "hello") +
      "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + get("/4");
  const std::string expected =
      response("GET /1") + response("POST /2 hello") + response("POST /3 abc[X|y]") + response("GET /4");
  for (const std::size_t max_read : {std::size_t{1}, std::size_t{7}, ~std::size_t{0}}) {
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
      Server server({.max_read = max_read});
      server.start();
      server.far.send(bytes.substr(0, cut));
      server.far.send(bytes.substr(cut));
      ASSERT_EQ(server.far.receive(), expected) << cut;
      ASSERT_TRUE(server.far.open());
      ASSERT_EQ(server.requests.size(), 4u);
      ASSERT_EQ(server.buffers.in_use(), 0u) << "an idle connection holds no buffer";
    }
  }
}

TEST(ServerConnection, AnIdleClientIsLeftWithoutAnAnswer) {
  Server server;
  server.start();
  EXPECT_TRUE(server.connection->idle());
  advance(server.loop, server.clock, 74s);
  EXPECT_TRUE(server.far.open());
  advance(server.loop, server.clock, 1s + 1ms);
  EXPECT_TRUE(server.ended);
  EXPECT_TRUE(server.far.finished());
  EXPECT_TRUE(server.requests.empty());
}

TEST(ServerConnection, TheIdleTimeBeginsAnewWithEveryRequest) {
  Server server;
  server.start();
  for (int i = 0; i < 5; ++i) {
    advance(server.loop, server.clock, 74s);
    server.far.send(get("/"));
    EXPECT_EQ(server.far.receive(), response("GET /"));
  }
  advance(server.loop, server.clock, 74s);
  EXPECT_TRUE(server.far.open());
  advance(server.loop, server.clock, 2s);
  EXPECT_TRUE(server.ended);
}

// Slowloris: the deadline is for the whole head, however steadily it drips.
TEST(ServerConnection, AHeadThatDripsIsNotWaitedForLongerThanAllowed) {
  for (const std::string& before : {std::string(), get("/1")}) {
    Server server;
    server.start();
    server.far.send(before);
    server.far.receive();
    const MonoTime began = server.clock.now();
    server.far.send("GET / HTTP/1.1\r\nX: ");
    for (int i = 0; i < 30 && server.failure.empty(); ++i) {
      advance(server.loop, server.clock, 500ms);
      server.far.send("x");
    }
    EXPECT_EQ(server.failure, "PST-R009 ");
    EXPECT_GE(server.failed_at - began, 10s);
    EXPECT_LE(server.failed_at - began, 10s + 1ms);
    EXPECT_TRUE(server.far.receive().starts_with("HTTP/1.1 400 "));
  }
}

TEST(ServerConnection, ABodyThatDripsIsNotWaitedFor) {
  Server server;
  server.start();
  server.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  for (int i = 0; i < 30 && server.failure.empty(); ++i) {
    advance(server.loop, server.clock, 10s);
    server.far.send("x");
  }
  EXPECT_EQ(server.failure, "PST-R009 ");
}

TEST(ServerConnection, AMalformedHeadEndsTheConnectionAndNothingBehindItIsRead) {
  for (const std::string bad :
       {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    for (std::size_t cut = 0; cut < bad.size(); cut += 7) {
      Server server;
      server.start();
      server.far.send(bad.substr(0, cut));
      server.far.send(bad.substr(cut) + get("/smuggled"));
      const std::string answer = server.far.receive();
      EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 Bad Request\r\n")) << answer;
      EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos);
      EXPECT_EQ(answer.find("smuggled"), std::string::npos);
      EXPECT_TRUE(server.requests.empty());
      server.far.close();
      EXPECT_TRUE(server.ended);
    }
  }
}

TEST(ServerConnection, AfterHalfCloseTheAnswerStillComes) {
  Server server;
  server.start();
  server.far.send(post("/", "hello"));
  server.far.finish();
  EXPECT_EQ(server.far.receive(), response("POST / hello"));
  EXPECT_TRUE(server.ended);
  EXPECT_TRUE(server.far.finished());
}

TEST(ServerConnection, AHalfClosedRequestIsNoRequest) {
  for (const std::string bytes :
       {"G", "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell"}) {
    Server server;
    server.start();
    server.far.send(bytes);
    server.far.finish();
    EXPECT_TRUE(server.requests.empty()) << bytes;
    EXPECT_NE(server.failure, "") << bytes;
    EXPECT_TRUE(server.ended);
  }
}

TEST(ServerConnection, TheClientDecidesWhetherTheConnectionStays) {
  const struct {
    std::string request;
    std::string field;
    bool stays;
  } rows[] = {{get("/"), "", true},
              {get("/", "Connection: keep-alive\r\n"), "", true},
              {get("/", "Connection: close\r\n"), "Connection: close\r\n", false},
              {"GET / HTTP/1.0\r\n\r\n", "Connection: close\r\n", false},
              {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "Connection: keep-alive\r\n", true}};
  for (const auto& row : rows) {
    Server server;
    server.start();
    server.far.send(row.request + row.request);
    const std::string one = response("GET /", row.field);
    EXPECT_EQ(server.far.receive(), row.stays ? one + one : one);
    EXPECT_EQ(server.requests.size(), row.stays ? 2u : 1u);
    EXPECT_EQ(server.far.open(), row.stays);
  }
}

TEST(ServerConnection, TheLastAllowedRequestSaysSo) {
  Server server;
  server.limits.max_requests = 2;
  server.start();
  server.far.send(get("/1") + get("/2") + get("/3"));
  EXPECT_EQ(server.far.receive(), response("GET /1") + response("GET /2", "Connection: close\r\n"));
  EXPECT_TRUE(server.far.finished());
}

TEST(ServerConnection, TheHandlerMayCloseAfterAnAnswer) {
  Server server;
  server.after = AfterResponse::close;
  server.start();
  server.far.send(get("/1") + get("/2"));
  EXPECT_EQ(server.far.receive(), response("GET /1"));
  EXPECT_TRUE(server.far.finished());
}

TEST(ServerConnection, DrainingEndsAnIdleConnectionAtOnceAndABusyOneAfterItsAnswer) {
  Server idle;
  idle.start();
  idle.far.send(get("/1"));
  EXPECT_EQ(idle.far.receive(), response("GET /1"));
  idle.connection->drain();
  settle(idle.loop);
  EXPECT_TRUE(idle.ended);
  EXPECT_TRUE(idle.far.finished());

  Server busy;
  busy.start();
  busy.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
  EXPECT_FALSE(busy.connection->idle());
  busy.connection->drain();
  settle(busy.loop);
  EXPECT_FALSE(busy.ended);
  busy.far.send("lo" + get("/next"));
  EXPECT_EQ(busy.far.receive(), response("POST / hello", "Connection: close\r\n"));
  EXPECT_TRUE(busy.far.finished());
}

TEST(ServerConnection, DrainingLosesNoRequestThatIsAlreadyHere) {
  Server server;
  server.start();
  server.far.send(get("/1"));
  EXPECT_EQ(server.far.receive(), response("GET /1"));
  server.far.slip_in(get("/2"));
  server.connection->drain();
  settle(server.loop);
  EXPECT_EQ(server.far.receive(), response("GET /2", "Connection: close\r\n"));
  EXPECT_TRUE(server.ended);
}

TEST(ServerConnection, DrainingGivesAFreshConnectionASecondForItsFirstRequest) {
  for (const bool sends : {true, false}) {
    Server server;
    server.start();
    server.connection->drain();
    settle(server.loop);
    EXPECT_FALSE(server.ended);
    advance(server.loop, server.clock, 999ms);
    EXPECT_FALSE(server.ended);
    if (sends) server.far.send(get("/1"));
    advance(server.loop, server.clock, 1ms);
    EXPECT_TRUE(server.ended);
    EXPECT_EQ(server.far.receive(), sends ? response("GET /1", "Connection: close\r\n") : "");
  }
}

TEST(ServerConnection, AnEarlyAnswerReachesAClientThatStillSends) {
  Server server;
  server.reads_body = false;
  server.start();
  server.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + std::string(60'000, 'x'));
  EXPECT_EQ(server.far.receive(), response("POST /", "Connection: close\r\n"));
  EXPECT_TRUE(server.far.finished()) << "the answer is whole, in order";
  EXPECT_EQ(server.far.send(std::string(40'000, 'x')), 40'000u) << "what it still sends is dropped, not reset";
  EXPECT_FALSE(server.ended);
  EXPECT_FALSE(server.far.reset());
  server.far.close();
  EXPECT_TRUE(server.ended);
}

// CVE-2025-4366: the rest of a body that nobody read must not become the next request.
TEST(ServerConnection, ABodyThatNobodyReadIsNeverARequest) {
  for (const std::string& body : {get("/smuggled"), "0\r\n\r\n" + get("/smuggled")}) {
    Server server;
    server.reads_body = false;
    server.start();
    server.far.send(post("/1", body));
    EXPECT_EQ(server.far.receive(), response("POST /1", "Connection: close\r\n"));
    EXPECT_EQ(server.requests, std::vector<std::string>{"POST /1"});
  }
}

TEST(ServerConnection, AClientThatNeverStopsSendingIsLeftInTheEnd) {
  Server server;
  server.reads_body = false;
  server.start();
  server.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  server.far.receive();
  std::size_t taken = 0;
  for (int i = 0; i < 100 && !server.ended; ++i) taken += server.far.send(std::string(20'000, 'x'));
  EXPECT_TRUE(server.ended);
  EXPECT_LE(taken, 256u * 1024 + 2 * 64 * 1024);

  Server silent;
  silent.reads_body = false;
  silent.start();
  silent.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  silent.far.receive();
  advance(silent.loop, silent.clock, 1s + 990ms);
  EXPECT_FALSE(silent.ended);
  advance(silent.loop, silent.clock, 20ms);
  EXPECT_TRUE(silent.ended);
}

TEST(ServerConnection, ATruncatedResponseIsResetNotEnded) {
  for (const Framing framing : {Framing::length, Framing::chunked, Framing::until_close}) {
    for (const char* version : {"1.0", "1.1"}) {
      Server server;
      server.framing = framing;
      server.answer = "hello";
      server.announced = 10;
      server.after = AfterResponse::close;
      server.start();
      server.far.send("GET / HTTP/" + std::string(version) + "\r\nHost: a\r\n\r\n");
      std::string got;
      while (server.far.receive_some(got)) {
      }
      EXPECT_TRUE(server.ended);
      EXPECT_TRUE(server.far.reset()) << version;
      EXPECT_FALSE(server.far.finished());
    }
  }
}

// The client stops reading in the middle of the last piece: what it has got must not look whole.
TEST(ServerConnection, AResponseThatIsNotTakenIsReset) {
  Server server({.capacity = 100});
  server.framing = Framing::until_close;
  server.answer = std::string(1000, 'x');
  server.start();
  server.far.send("GET / HTTP/1.0\r\n\r\n");
  advance(server.loop, server.clock, 31s);
  EXPECT_EQ(server.failure, "PST-R018 ");
  EXPECT_TRUE(server.ended);
  EXPECT_TRUE(server.far.reset());
}

TEST(ServerConnection, FramesTheBodyAsTheClientsVersionAllows) {
  const struct {
    const char* request;
    Framing framing;
    std::string expected;
    bool stays;
  } rows[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::chunked,
       "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::until_close,
       "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Framing::chunked, "Connection: close\r\n\r\nhello", false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Framing::until_close, "Connection: close\r\n\r\nhello",
       false},
      {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", Framing::length,
       "Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", true},
  };
  for (const auto& row : rows) {
    Server server;
    server.framing = row.framing;
    server.answer = "hello";
    server.start();
    server.far.send(row.request);
    EXPECT_EQ(server.far.receive(), "HTTP/1.1 200 OK\r\n" + row.expected);
    EXPECT_EQ(server.far.open(), row.stays);
  }
}

TEST(ServerConnection, NoBodyBehindAHeadThatCannotHaveOne) {
  const struct {
    const char* method;
    int status;
    Framing framing;
    std::string expected;
  } rows[] = {
      {"HEAD", 200, Framing::length, "200 OK\r\nContent-Length: 5\r\n\r\n"},
      {"HEAD", 200, Framing::chunked, "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"GET", 204, Framing::length, "204 No Content\r\n\r\n"},
      {"GET", 204, Framing::chunked, "204 No Content\r\n\r\n"},
      {"GET", 304, Framing::length, "304 Not Modified\r\nContent-Length: 5\r\n\r\n"},
      {"GET", 304, Framing::chunked, "304 Not Modified\r\n\r\n"},
  };
  for (const auto& row : rows) {
    Server server;
    server.status = row.status;
    server.framing = row.framing;
    server.answer = "hello";
    server.start();
    const std::string request = std::string(row.method) + " / HTTP/1.1\r\nHost: a\r\n\r\n";
    server.far.send(request + request);
    EXPECT_EQ(server.far.receive(), "HTTP/1.1 " + row.expected + "HTTP/1.1 " + row.expected)
        << row.method << row.status;
  }
}

TEST(ServerConnection, ALengthIsAnnouncedWithoutABody) {
  for (const int status : {200, 304}) {
    World world;
    struct Nobody final : ServerConnection::Owner {
      void on_connection_aborted(ServerConnection&) override {}
    } nobody;
    ServerLimits limits;
    ConnectionFacts facts;
    ServerConnection connection(world.loop, world.buffers, std::move(world.near), facts, limits, nobody);
    ResponseHead head;
    head.status = status;
    head.framing = Framing::none;
    head.announces_length = true;
    head.content_length = 7;
    connection.start(head);
    std::string outcome;
    world.tasks.spawn(store(connection.finish({}), outcome));
    EXPECT_NE(world.far.receive().find("Content-Length: 7\r\n\r\n"), std::string::npos);
  }
}

TEST(ServerConnection, AResponseThatEndedWithItsHeadHasNoLength) {
  for (const bool head_request : {false, true}) {
    Server server;
    server.framing = Framing::none;
    server.answers_nothing = true;
    server.start();
    server.far.send(head_request ? "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" : get("/"));
    EXPECT_EQ(server.far.receive(),
              head_request ? "HTTP/1.1 200 OK\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    EXPECT_TRUE(server.far.open());
  }
}

TEST(ServerConnection, InterimResponsesComeBeforeTheFinalOneAndNeverToAnOldClient) {
  Server server;
  server.interim = true;
  server.start();
  server.far.send(get("/"));
  EXPECT_EQ(server.far.receive(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response("GET /"));
  Server old;
  old.interim = true;
  old.start();
  old.far.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(old.far.receive(), response("GET /", "Connection: keep-alive\r\n"));
}

TEST(ServerConnection, AClientThatExpectsItIsToldToContinue) {
  Server server;
  server.continues = true;
  server.start();
  server.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(server.far.receive(), "HTTP/1.1 100 Continue\r\n\r\n");
  server.far.send("hello");
  EXPECT_EQ(server.far.receive(), response("POST / hello"));
}

// An answer without the 100 to a client that expects one: whether the body follows is its choice, so nothing that comes
// may be taken for a request (Expect games).
TEST(ServerConnection, ARefusedExpectationEndsTheConnection) {
  Server server;
  server.reads_body = false;
  server.start();
  server.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(server.far.receive(), response("POST /", "Connection: close\r\n"));
  server.far.send(get("/smuggled"));
  EXPECT_EQ(server.requests.size(), 1u);
}

TEST(ServerConnection, AnUpgradeHandsOutWhatCameBehindTheRequest) {
  Server server;
  server.status = 101;
  server.framing = Framing::none;
  server.after = AfterResponse::close;
  server.start();
  server.far.send(get("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n") + "early frames");
  EXPECT_EQ(server.far.receive(), "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n");
  EXPECT_EQ(server.leftover, "early frames");
}

TEST(ServerConnection, AWaitForTheBodyCanBeInterrupted) {
  Server server;
  server.start();
  server.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
  server.connection->raw_stream().wake_reader(Wake::interrupted);
  settle(server.loop);
  EXPECT_EQ(server.failure, "interrupted");
}

TEST(ServerConnection, TheOwnerIsToldOfAClientThatIsGoneWhileNobodyReads) {
  Server server;
  server.thinks_for = 60s;
  server.start();
  server.far.send(get("/"));
  server.far.abort();
  EXPECT_EQ(server.aborts, 1);
  EXPECT_FALSE(server.ended) << "it is for the owner to end it";
}

TEST(ServerConnection, AReaderSeesByItselfThatTheClientIsGone) {
  Server server;
  server.start();
  server.far.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
  server.far.abort();
  EXPECT_EQ(server.failure, "PST-R018 ");
  EXPECT_TRUE(server.ended);
}

TEST(ServerConnection, LongHeadsGrowTheBufferUpToTheirLimit) {
  Server server;
  server.start();
  const std::string target = "/" + std::string(8000, 't');
  std::string lines;
  for (int i = 0; i < 15; ++i) lines += "X-" + std::to_string(i) + ": " + std::string(2000, 'v') + "\r\n";
  server.far.send(get(target, lines));
  EXPECT_EQ(server.far.receive(), response("GET " + target));
  server.far.send(get("/", lines + lines));
  EXPECT_EQ(server.failure, "PST-R006 fields too large");
  EXPECT_EQ(server.requests.size(), 1u);
}

TEST(ServerConnection, CancellingAtAnyPointLeavesNothingBehind) {
  const std::string bytes = post("/1", "hello") + get("/2");
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Server server({.capacity = 30});
    server.start();
    server.far.send(bytes.substr(0, cut));
    server.tasks.cancel_all();
    server.connection.reset();
    EXPECT_EQ(server.buffers.in_use(), 0u) << cut;
  }
}

}  // namespace
}  // namespace postern::http
