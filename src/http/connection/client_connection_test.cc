#include "http/connection/client_connection.h"

#include <gtest/gtest.h>

#include "http/connection/test_support.h"
#include "http/h1/serialize.h"

namespace postern::http {
namespace {

// One exchange with an origin that the test plays.
struct Client : World {
  explicit Client(MemoryOptions options = {})
      : World(options), connection(loop, buffers, std::move(near), ClientTimeouts{60s}) {}
  ~Client() { tasks.cancel_all(); }

  void send_request() {
    h1::begin_request_head(connection.writer().head(), "GET", "/");
    connection.writer().head().append("\r\n");
    connection.writer().begin_body(Framing::none, 0);
    tasks.spawn(store(connection.writer().flush(), sent));
    settle(loop);
    EXPECT_EQ(sent, "ok");
  }
  // The next head, and with a final one its body.
  void receive(Method method = Method::get, Duration timeout = 10s) {
    got = {};
    error = {};
    tasks.spawn(run(method, loop.now() + timeout));
    settle(loop);
  }
  // A whole exchange: request, answer, body.
  void exchange(std::string_view answer, Method method = Method::get) {
    send_request();
    far.receive();
    receive(method);
    far.send(answer);
  }

  ClientConnection connection;
  std::string sent;
  ResponseHead head;
  std::string decision;  // of the last head: "200" or the error
  Collected got;
  std::unique_ptr<Error> error;
  MonoTime decided{};

 private:
  Task<void> run(Method method, MonoTime deadline) {
    decision.clear();
    const Result<void> received = co_await connection.receive_head(method, head, deadline);
    decided = loop.now();
    decision = received ? std::to_string(head.status) : h1::text_of(received.error());
    if (!received)
      error = std::make_unique<Error>(received.error().code(), received.error().side(), received.error().retry());
    if (received && head.status >= 200) co_await collect(connection.body(), got, loop);
  }
};

struct Answer {
  std::string wire;
  std::string data;
  Method method = Method::get;
};

std::vector<Answer> answers() {
  return {{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n", "hello!"},
          {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
          {"HTTP/1.1 204 No Content\r\n\r\n", ""},
          {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""},
          {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", Method::head},
          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "", Method::head},
          {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", "hello"}};
}

TEST(ClientConnection, ReadsTheSameAnswerHoweverItIsCutAndMayBeUsedAgain) {
  for (const Answer& answer : answers()) {
    for (const std::size_t max_read : {std::size_t{1}, ~std::size_t{0}}) {
      for (std::size_t cut = 0; cut <= answer.wire.size(); ++cut) {
        Client client({.max_read = max_read});
        for (int round = 0; round < 2; ++round) {
          client.exchange(answer.wire.substr(0, cut), answer.method);
          client.far.send(answer.wire.substr(cut));
          ASSERT_EQ(client.decision, answer.wire.substr(9, 3)) << answer.wire << " cut at " << cut;
          ASSERT_EQ(client.got.data, answer.data) << answer.wire << " cut at " << cut;
          ASSERT_NE(client.got.end, "");
          ASSERT_TRUE(client.connection.end_exchange()) << answer.wire << " cut at " << cut;
          ASSERT_EQ(client.buffers.in_use(), 0u) << "an idle connection holds no buffer";
        }
        ASSERT_EQ(client.connection.exchanges(), 2u);
      }
    }
  }
}

TEST(ClientConnection, AnAnswerUntilCloseIsTheLast) {
  Client client;
  client.exchange("HTTP/1.1 200 OK\r\n\r\nhel");
  client.far.send("lo");
  EXPECT_EQ(client.got.end, "");
  client.far.finish();
  EXPECT_EQ(client.got.data, "hello");
  EXPECT_EQ(client.got.end, "end");
  EXPECT_FALSE(client.connection.end_exchange());
}

TEST(ClientConnection, AnOriginThatWantsToCloseIsNotUsedAgain) {
  for (const char* wire :
       {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 x\r\nConnection: x, Close\r\n\r\n"}) {
    Client client;
    client.exchange(wire);
    EXPECT_FALSE(client.connection.end_exchange()) << wire;
  }
  // Also if only an interim response said so.
  Client client;
  client.exchange("HTTP/1.1 103 x\r\nConnection: close\r\n\r\n");
  client.receive();
  client.far.send("HTTP/1.1 204 x\r\n\r\n");
  EXPECT_EQ(client.decision, "204");
  EXPECT_FALSE(client.connection.end_exchange());
}

TEST(ClientConnection, BytesBehindAnAnswerEndTheConnection) {
  for (const Answer& answer : answers()) {
    for (const char* extra : {"x", "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"}) {
      Client client;
      client.exchange(answer.wire + extra, answer.method);
      EXPECT_EQ(client.got.data, answer.data);
      EXPECT_FALSE(client.connection.end_exchange()) << answer.wire << extra;
    }
  }
}

// CVE-2024-33452 and kin: bytes behind the answer to HEAD would be the next response.
TEST(ClientConnection, ABodyBehindHeadEndsTheConnection) {
  Client client;
  client.exchange("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Method::head);
  EXPECT_EQ(client.decision, "200");
  EXPECT_EQ(client.got.data, "");
  EXPECT_FALSE(client.connection.end_exchange());
}

TEST(ClientConnection, AnAnswerThatWasNotReadToItsEndEndsTheConnection) {
  Client client;
  client.exchange("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
  EXPECT_EQ(client.got.data, "hello");
  EXPECT_EQ(client.got.end, "");
  EXPECT_FALSE(client.connection.end_exchange());
}

TEST(ClientConnection, ARequestThatWasNotWrittenToItsEndEndsTheConnection) {
  const std::string answer = "HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n";
  {
    Client client;  // more of the body was to come
    h1::begin_request_head(client.connection.writer().head(), "POST", "/");
    client.connection.writer().head().append("Content-Length: 100\r\n\r\n");
    client.connection.writer().begin_body(Framing::length, 100);
    client.tasks.spawn(store(client.connection.writer().write("hello", End::more), client.sent));
    client.far.receive();
    client.receive();
    client.far.send(answer);
    EXPECT_EQ(client.decision, "413");
    EXPECT_FALSE(client.connection.end_exchange());
  }
  {
    Client client({.capacity = 50});  // the last piece was on its way, and is given up
    h1::begin_request_head(client.connection.writer().head(), "POST", "/");
    client.connection.writer().head().append("Content-Length: 100\r\n\r\n");
    client.connection.writer().begin_body(Framing::length, 100);
    const std::string body(100, 'x');
    client.tasks.spawn(store(client.connection.writer().flush(), client.sent));
    client.far.receive();
    client.tasks.spawn(store(client.connection.writer().write(body, End::last), client.sent = ""));
    client.far.send(answer);
    settle(client.loop);
    ASSERT_EQ(client.sent, "");
    client.tasks.cancel_all();
    client.receive();
    ASSERT_EQ(client.decision, "413");
    EXPECT_FALSE(client.connection.end_exchange());
  }
}

TEST(ClientConnection, InterimHeadsComeOneByOne) {
  const std::string wire =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
      "5\r\n\r\nhello";
  for (std::size_t cut = 0; cut <= wire.size(); ++cut) {
    Client client;
    client.send_request();
    client.far.receive();
    client.far.send(wire.substr(0, cut));
    for (const char* expected : {"100", "103", "200"}) {
      client.receive();
      if (client.decision.empty()) client.far.send(wire.substr(cut));
      ASSERT_EQ(client.decision, expected) << cut;
      if (client.head.status == 103) EXPECT_EQ(h1::text_of(client.head.headers), "[Link|</a>]");
    }
    if (client.got.end.empty()) client.far.send(wire.substr(cut));
    ASSERT_EQ(client.got.data, "hello") << cut;
    ASSERT_EQ(h1::text_of(client.head.headers), "[Content-Length|5]");
    ASSERT_TRUE(client.connection.end_exchange());
  }
}

TEST(ClientConnection, WaitsForAHeadAsLongAsAllowed) {
  Client client;
  client.send_request();
  const MonoTime began = client.clock.now();
  client.receive(Method::get, 3s);
  client.far.send("HTTP/1.1 200 ");
  for (int i = 0; i < 10 && client.decision.empty(); ++i) {
    advance(client.loop, client.clock, 500ms);
    client.far.send("x");
  }
  EXPECT_EQ(client.decision, "PST-U003 ");
  EXPECT_EQ(client.error->side(), Side::origin);
  EXPECT_GE(client.decided - began, 3s);
  EXPECT_LE(client.decided - began, 3s + 1ms);
}

TEST(ClientConnection, AnUploadThatMakesProgressMovesTheDeadline) {
  Client client;
  client.send_request();
  client.receive(Method::get, 3s);
  for (int i = 0; i < 5; ++i) {
    advance(client.loop, client.clock, 2s);
    client.connection.set_head_deadline(client.loop.now() + 3s);
  }
  EXPECT_EQ(client.decision, "");
  advance(client.loop, client.clock, 3s + 2ms);
  EXPECT_EQ(client.decision, "PST-U003 ");
}

TEST(ClientConnection, SilenceInTheBodyEndsAfterTheIdleTime) {
  Client client;
  client.exchange("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel");
  advance(client.loop, client.clock, 59s);
  EXPECT_EQ(client.got.end, "");
  advance(client.loop, client.clock, 1s + 2ms);
  EXPECT_EQ(client.got.end, "PST-U003 ");
  EXPECT_FALSE(client.connection.end_exchange());
}

TEST(ClientConnection, AConnectionThatDiedSilentlyMayBeRetriedIfItWasReused) {
  for (const bool abort : {false, true}) {
    Client client;
    client.send_request();
    client.far.receive();
    client.receive();
    if (abort) {
      client.far.abort();
    } else {
      client.far.finish();
    }
    EXPECT_EQ(client.decision, "PST-U004 ");
    EXPECT_EQ(client.error->retry(), Retry::if_reused);
  }
}

TEST(ClientConnection, AnAnswerThatBegunIsNoReasonToRetry) {
  for (const char* begun : {"H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"}) {
    Client client;
    client.exchange(begun);
    client.far.finish();
    EXPECT_EQ(client.decision, "PST-U004 ") << begun;
    EXPECT_EQ(client.error->retry(), Retry::never) << begun;
  }
}

TEST(ClientConnection, AnInterimAnswerIsAnAnswerThatBegun) {
  Client client;
  client.exchange("HTTP/1.1 103 Early Hints\r\n\r\n");
  EXPECT_EQ(client.decision, "103");
  client.receive();
  client.far.finish();
  EXPECT_EQ(client.decision, "PST-U004 ");
  EXPECT_EQ(client.error->retry(), Retry::never);
}

TEST(ClientConnection, AfterAWholeExchangeTheNextOneBeginsAnew) {
  Client client;
  client.exchange("HTTP/1.1 103 x\r\n\r\n");
  client.receive();
  client.far.send("HTTP/1.1 204 x\r\n\r\n");
  ASSERT_TRUE(client.connection.end_exchange());
  client.send_request();
  client.far.receive();
  client.receive();
  client.far.finish();
  EXPECT_EQ(client.error->retry(), Retry::if_reused);
}

TEST(ClientConnection, MalformedAnswersAreTheOriginsFault) {
  for (const char* wire :
       {"<html>", "HTTP/1.1 200 OK\nX: y\n\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    Client client;
    client.exchange(wire);
    EXPECT_EQ(client.decision.substr(0, 8), "PST-U005") << wire;
    EXPECT_EQ(client.error->side(), Side::origin);
    EXPECT_EQ(client.error->retry(), Retry::never);
  }
}

TEST(ClientConnection, AGiantHeadIsGivenUpAtItsLimit) {
  Client client;
  client.send_request();
  client.far.receive();
  client.receive();
  client.far.send("HTTP/1.1 200 OK\r\n");
  std::size_t sent = 0;
  while (client.decision.empty() && sent < 1'000'000) sent += client.far.send("X: " + std::string(1000, 'x') + "\r\n");
  EXPECT_EQ(client.decision, "PST-U005 fields too large");
  EXPECT_LE(client.buffers.in_use(), 2 * BufferPool::kLargest);
}

TEST(ClientConnection, AWaitForTheHeadCanBeInterrupted) {
  Client client;
  client.send_request();
  client.receive();
  client.connection.interrupt();
  settle(client.loop);
  EXPECT_EQ(client.decision, "PST-G004 ");
}

TEST(ClientConnection, AnUpgradeHandsOutWhatCameBehindTheHead) {
  Client client;
  client.send_request();
  client.far.receive();
  client.receive();
  client.far.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst frame");
  EXPECT_EQ(client.decision, "101");
  EXPECT_EQ(client.connection.take_raw_leftover(), "first frame");
}

}  // namespace
}  // namespace postern::http
