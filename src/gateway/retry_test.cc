// Which failures are tried again, and what an attempt is: identity afresh, another endpoint, within the budget.
#include "gateway/test_support.h"

namespace postern::gateway {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr std::string_view kPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

enum class Act : std::uint8_t {
  refuse,       // no connection
  close,        // takes the request, answers nothing, closes
  abort,        // the same with a reset
  half_head,    // begins an answer, then closes
  malformed,    // answers with what is no HTTP
  unavailable,  // answers 503
};

struct Case {
  const char* name;
  std::string request;
  Act act;
  bool again;
  int status;  // if not tried again
};

// Of connections that were made for the request.
const Case kFresh[] = {
    {"GET, refused", std::string(kGet), Act::refuse, true, 502},
    {"POST, refused: no byte can have arrived", std::string(kPost), Act::refuse, true, 502},
    {"POST with body, refused", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", Act::refuse, true, 502},
    {"GET, closed", std::string(kGet), Act::close, true, 502},
    {"HEAD, reset", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", Act::abort, true, 502},
    {"DELETE, reset", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", Act::abort, true, 502},
    {"POST, closed: it may have been processed", std::string(kPost), Act::close, false, 502},
    {"PATCH, reset", "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", Act::abort, false, 502},
    {"an unknown method, closed", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", Act::close, false, 502},
    {"PUT, body not sent yet", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", Act::close, true, 502},
    {"PUT, body already taken", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", Act::close, false, 502},
    {"GET, answer begun", std::string(kGet), Act::half_head, false, 502},
    {"GET, malformed", std::string(kGet), Act::malformed, false, 502},
    {"GET, an answer is an answer", std::string(kGet), Act::unavailable, false, 503},
};

class Retries : public GatewayTest {
 protected:
  static constexpr const char* kFirst = "127.0.0.1:9001";
  static constexpr const char* kSecond = "127.0.0.1:9002";

  // Two endpoints, the first takes the first request.
  void start_two(const std::string& extra = "") {
    gateway.serve(kFirst);
    gateway.serve(kSecond);
    gateway.start(
        "origins:\n  main:\n    endpoints: [\"http://127.0.0.1:9001\", \"http://127.0.0.1:9002\"]\n"
        "    identity: [{shared_secret: {header: X-Secret, value: \"${file:/s/a}\"}}]\n" +
        extra +
        "routes: [{match: {path: /*, methods: [GET, HEAD, POST, PUT, PATCH, DELETE, BREW]}, origin: main, public: "
        "true}]\n");
  }
  static void play(Act act, Peer& origin) {
    EXPECT_NE(origin.receive(), "");
    switch (act) {
      case Act::refuse: break;
      case Act::close: origin.close(); break;
      case Act::abort: origin.abort(); break;
      case Act::half_head:
        origin.send("HTTP/1.1 200 OK\r\nConten");
        origin.close();
        break;
      case Act::malformed: origin.send("HTTP/1.1 2000 OK\r\n\r\n"); break;
      case Act::unavailable: origin.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"); break;
    }
  }
};

TEST_F(Retries, what_fails_on_a_new_connection_is_tried_again_only_if_it_is_safe) {
  for (const Case& c : kFresh) {
    SCOPED_TRACE(c.name);
    gateway.destroy();
    gateway.make_worker(gateway.network);
    start_two();
    if (c.act == Act::refuse) gateway.refuse(kFirst);
    Peer client = gateway.connect();
    client.send(c.request);
    if (c.act != Act::refuse) {
      Peer first = gateway.accept(kFirst);
      play(c.act, first);
    }
    Peer second = gateway.try_accept(kSecond);
    ASSERT_EQ(static_cast<bool>(second), c.again);
    if (!c.again) {
      const std::string got = client.receive();
      EXPECT_TRUE(got.starts_with("HTTP/1.1 " + std::to_string(c.status) + " ")) << got;
      continue;
    }
    const std::string got = second.receive();
    EXPECT_EQ(got.substr(0, 3), c.request.substr(0, 3));
    // Applied once per attempt: not missing, not twice.
    EXPECT_NE(got.find("X-Secret: 0123456789abcdef-A-secret\r\n"), std::string::npos) << got;
    EXPECT_EQ(got.find("X-Secret"), got.rfind("X-Secret")) << got;
    second.send(c.request.starts_with("HEAD") ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" : kOk);
    if (c.request.starts_with("PUT")) client.send("hi");
    EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 200 OK\r\n"));
    for (const auto& endpoint : *gateway.endpoints()) EXPECT_EQ(endpoint->in_flight, 0u);
  }
}

// What an attempt carries is what is right at its time, not what was right for the first one.
TEST_F(Retries, identity_is_applied_afresh_to_every_attempt) {
  gateway.serve(kFirst);
  gateway.start(
      "origins:\n  main:\n    url: http://127.0.0.1:9001\n    identity: [{shared_secret: {header: X-Secret, value: "
      "\"${file:/s/a}\", next: {value: \"${file:/s/b}\", switch_at: 2023-11-14T22:13:30Z}}}]\n"
      "routes: [{match: {path: /*}, origin: main, public: true}]\n");
  Peer client = gateway.connect();
  client.send(kGet);
  Peer first = gateway.accept();
  EXPECT_NE(first.receive().find("X-Secret: 0123456789abcdef-A-secret\r\n"), std::string::npos);
  gateway.advance(10s - 1ms);
  first.close();
  Peer second = gateway.accept();
  EXPECT_NE(second.receive().find("X-Secret: 0123456789abcdef-A-secret\r\n"), std::string::npos);
  second.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Early: fedcba9876543210-B-secret\r\n\r\n");
  EXPECT_EQ(client.receive().find("B-secret"), std::string::npos) << "the next value is guarded before its time";
  client.send(kGet);
  EXPECT_NE(second.receive(), "");
  gateway.advance(1ms);
  second.close();
  Peer third = gateway.accept();
  EXPECT_NE(third.receive().find("X-Secret: fedcba9876543210-B-secret\r\n"), std::string::npos);
  third.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Late: 0123456789abcdef-A-secret\r\n\r\n");
  EXPECT_EQ(client.receive().find("A-secret"), std::string::npos) << "and the first one after it";
}

// A pooled connection that the origin has closed meanwhile says nothing about the origin: the attempt is free.
TEST_F(Retries, a_pooled_connection_that_turns_out_dead_is_replaced_at_no_cost) {
  start_simple("    retries: {attempts: 1}\n");
  Peer client = gateway.connect();
  Peer origin;
  for (const auto& [request, again] : {std::pair(kGet, true), std::pair(kPost, false)}) {
    SCOPED_TRACE(request);
    client.send(kGet);
    origin = gateway.accept();
    origin.receive();
    origin.send(kOk);
    client.receive();
    // The request crosses the close of the origin.
    client.send(request);
    EXPECT_NE(origin.receive(), "");
    origin.close();
    Peer fresh = gateway.try_accept();
    ASSERT_EQ(static_cast<bool>(fresh), again);
    if (!again) {
      EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 502 "));
      continue;
    }
    EXPECT_TRUE(fresh.receive().starts_with("GET / "));
    fresh.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    EXPECT_TRUE(client.receive().ends_with("ok"));
    // Only one such surprise: the new connection is no reused one, and there are no retries.
    client.send(kGet);
    fresh = gateway.accept();
    fresh.receive();
    fresh.close();
    EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 502 "));
    EXPECT_FALSE(gateway.connected());
  }
  EXPECT_EQ(gateway.endpoints()->front()->connections, 0u);
}

TEST_F(Retries, an_idle_connection_that_the_origin_closed_is_not_even_tried) {
  start_simple("    retries: {attempts: 1}\n");
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send(kOk);
  client.receive();
  EXPECT_EQ(gateway.endpoints()->front()->connections, 1u);
  origin.close();
  EXPECT_EQ(gateway.endpoints()->front()->connections, 0u);
  client.send(kPost);
  Peer fresh = gateway.accept();
  EXPECT_TRUE(fresh.receive().starts_with("POST / "));
}

TEST_F(Retries, an_origin_that_speaks_unasked_loses_its_idle_connection) {
  start_simple();
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send(kOk);
  client.receive();
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
  EXPECT_FALSE(origin.open());
  client.send(kGet);
  Peer fresh = gateway.accept();
  fresh.receive();
  fresh.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
}

TEST_F(Retries, attempts_and_budget_bound_them) {
  start_simple("    retries: {attempts: 3, budget_percent: 10}\n    ejection: {consecutive_failures: 0}\n");
  gateway.refuse("127.0.0.1:9001");
  // Ten retries are in reserve; every request adds a tenth of one.
  Peer client = gateway.connect();
  for (int i = 0; i < 40; ++i) {
    client.send(kGet);
    EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 502 "));
  }
  EXPECT_EQ(gateway.metric("postern_retries_total"), 14);
  EXPECT_EQ(gateway.metric("postern_origin_requests_total", "outcome=\"connect_failed\""), 54);
  EXPECT_EQ(gateway.records(40)[0].find("\"attempts\":3"), gateway.records(40)[0].find("\"attempts\":"));
}

TEST_F(Retries, an_attempt_that_waits_keeps_its_endpoints_when_dns_changes_them) {
  gateway.resolver.answers["backend.test"] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
  for (const char* address : {"127.0.0.1:9001", "127.0.0.2:9001", "127.0.0.3:9001"}) gateway.serve(address);
  gateway.start(
      "origins: {main: {url: \"http://backend.test:9001\", retries: {attempts: 3}, timeouts: {first_byte: 60s}}}\n"
      "routes: [{match: {path: /*}, origin: main, public: true}]\n");
  Peer client = gateway.connect();
  client.send(kGet);
  Peer first = gateway.accept("127.0.0.1:9001");
  first.receive();
  // Now there is one endpoint only; another request makes the loop take notice.
  gateway.resolver.answers["backend.test"] = {"127.0.0.3"};
  gateway.advance(30s);
  Peer other = gateway.connect();
  other.send(kGet);
  Peer third = gateway.accept("127.0.0.3:9001");
  third.receive();
  // The first fails late; what it tries next is what it knew: the second of three.
  first.close();
  Peer second = gateway.accept("127.0.0.2:9001");
  second.receive();
  second.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  // Its endpoint is not listed any more: the connection is not kept.
  EXPECT_FALSE(second.open());
  third.send(kOk);
  EXPECT_TRUE(other.receive().ends_with("ok"));
  EXPECT_TRUE(third.open());
}

TEST_F(Retries, no_endpoint_is_left_after_health_checks_or_before_dns) {
  gateway.start(
      "origins: {main: {url: \"http://nowhere.test:9001\"}}\n"
      "routes: [{match: {path: /*}, origin: main, public: true}]\n");
  Peer client = gateway.connect();
  client.send(kGet);
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 502 ")) << got;
  EXPECT_NE(got.find("PST-U009"), std::string::npos) << got;
  gateway.serve("127.0.0.1:9001");
  gateway.resolver.answers["nowhere.test"] = {"127.0.0.1"};
  gateway.advance(5s);
  gateway.endpoints()->front()->healthy = false;
  client.send(kGet);
  const std::string dead = client.receive();
  EXPECT_TRUE(dead.starts_with("HTTP/1.1 503 ")) << dead;
  EXPECT_NE(dead.find("PST-U006"), std::string::npos) << dead;
}

TEST_F(Retries, the_limit_on_connections_is_the_gateways_own_and_ejects_nobody) {
  start_simple(
      "    timeouts: {connect: 1s}\n    pool: {max_connections: 1}\n    retries: {attempts: 1}\n"
      "    ejection: {consecutive_failures: 1, max_percent: 100}\n");
  Peer first = gateway.connect();
  first.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  Peer second = gateway.connect();
  second.send(kGet);
  gateway.advance(1s - 1ms);
  EXPECT_TRUE(second.open());
  gateway.advance(6ms);  // who waits looks every 5 ms
  const std::string got = second.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 503 ")) << got;
  EXPECT_NE(got.find("PST-U007"), std::string::npos) << got;
  EXPECT_EQ(gateway.endpoints()->front()->failures, 0u);
  // A place that becomes free in time is taken.
  second.send(kGet);
  gateway.advance(500ms);
  origin.send(kOk);
  EXPECT_TRUE(first.receive().ends_with("ok"));
  gateway.advance(5ms);
  EXPECT_TRUE(origin.receive().starts_with("GET / ")) << "the same connection";
  origin.send(kOk);
  EXPECT_TRUE(second.receive().ends_with("ok"));
  EXPECT_EQ(gateway.endpoints()->front()->waiting, 0u);
}

}  // namespace
}  // namespace postern::gateway
