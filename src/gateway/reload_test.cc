// Configuration replaced under way: what began goes on as it began, what is new is new, and nothing of an old identity
// is used again.
#include "gateway/test_support.h"

namespace postern::gateway {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr std::string_view kUpgrade =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

std::string with_secret(const std::string& file, const std::string& more = "", const std::string& top = "") {
  return "origins:\n  main:\n    url: http://127.0.0.1:9001\n    identity: [{shared_secret: {header: X-Secret, value: "
         "\"${file:" +
         file + "}\"}}]\n" + more + "routes: [{match: {path: /*}, origin: main, public: true}]\n" + top;
}

class Reload : public GatewayTest {
 protected:
  // A connection to the origin that lies idle.
  Peer idle_connection(Peer& client) {
    client.send(kGet);
    Peer origin = gateway.accept();
    origin.receive();
    origin.send(kOk);
    EXPECT_TRUE(client.receive().ends_with("ok"));
    EXPECT_TRUE(origin.open());
    return origin;
  }
};

TEST_F(Reload, a_request_under_way_ends_on_the_snapshot_it_began_with) {
  start_simple();
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  const std::weak_ptr<const Snapshot> old = gateway.worker->context().current->snapshot;
  gateway.start("routes: [{match: {path: /*}, respond: {status: 410}, public: true}]\n");
  EXPECT_FALSE(old.expired()) << "the request needs it";
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Echo: 0123456789abcdef-A-secret\r\n\r\nok");
  const std::string got = client.receive();
  EXPECT_TRUE(got.ends_with("ok")) << got;
  EXPECT_EQ(got.find("A-secret"), std::string::npos);
  EXPECT_TRUE(old.expired()) << "and nobody else";
  client.send(kGet);
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 410 ")) << "the same connection, the new routes";
}

TEST_F(Reload, an_unchanged_origin_keeps_its_connections_and_takes_over_new_settings) {
  start_simple();
  Peer client = gateway.connect();
  Peer origin = idle_connection(client);
  const auto before = gateway.endpoints()->front();
  gateway.start(simple("    pool: {idle_timeout: 5s}\n    timeouts: {first_byte: 7s}\n"));
  EXPECT_EQ(gateway.endpoints()->front(), before);
  client.send(kGet);
  EXPECT_TRUE(origin.receive().starts_with("GET / "));
  origin.send(kOk);
  client.receive();
  gateway.advance(5s - 1ms);
  EXPECT_TRUE(origin.open());
  gateway.advance(1ms);
  EXPECT_FALSE(origin.open());
  client.send(kGet);
  Peer fresh = gateway.accept();
  gateway.advance(7s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 504 "));
}

// The pools of all origins but the first were taken for unused while the views were made one after the other.
TEST_F(Reload, every_origin_keeps_its_connections_not_only_the_first) {
  const std::string names[] = {"a", "b", "c"};
  const std::string addresses[] = {"127.0.0.1:9001", "127.0.0.1:9002", "127.0.0.1:9003"};
  std::string config = "origins:\n";
  for (int i = 0; i < 3; ++i) {
    gateway.serve(addresses[i]);
    config += "  " + names[i] + ": {url: \"http://" + addresses[i] + "\"}\n";
  }
  config += "routes:\n";
  for (const std::string& name : names)
    config += "  - {match: {path: /" + name + "}, origin: " + name + ", public: true}\n";
  gateway.start(config);
  Peer client = gateway.connect();
  Peer origins[3];
  const auto ask_all = [&] {
    for (int i = 0; i < 3; ++i) {
      client.send("GET /" + names[i] + " HTTP/1.1\r\nHost: a\r\n\r\n");
      if (!origins[i]) origins[i] = gateway.accept(addresses[i]);
      EXPECT_TRUE(origins[i].receive().starts_with("GET /" + names[i])) << "not on the connection that was there";
      origins[i].send(kOk);
      EXPECT_TRUE(client.receive().ends_with("ok"));
      EXPECT_TRUE(origins[i].open()) << names[i];
      EXPECT_EQ(gateway.endpoints(static_cast<std::size_t>(i))->front()->connections, 1u);
    }
  };
  for (int i = 0; i < 3; ++i) ask_all();
  // Nothing of them changes: the connections stay as they are.
  gateway.start("drain: 5s\n" + config);
  for (Peer& origin : origins) EXPECT_TRUE(origin.open());
  for (int i = 0; i < 3; ++i) ask_all();
}

// An endpoint that another configuration does not have, but a request still uses, is the same endpoint when it returns.
TEST_F(Reload, a_pool_that_is_listed_again_keeps_connections_again) {
  start_simple();
  Peer busy = gateway.connect();
  busy.send(kGet);
  Peer held = gateway.accept();
  held.receive();
  const auto state = gateway.snapshot().origins[0].origin->state;
  const auto endpoints = state->endpoints();
  state->publish(std::make_shared<origins::EndpointSet>());
  Peer client = gateway.connect();
  client.send(kGet);
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 502 ")) << "no address at the moment";
  state->publish(endpoints);
  Peer origin = idle_connection(client);
  EXPECT_TRUE(origin.open()) << "kept for the next request";
  EXPECT_EQ(endpoints->front()->connections, 2u);
}

TEST(ReloadOfASlowOrigin, an_exchange_that_still_sends_its_head_ends_within_drain) {
  TestGateway gateway({.capacity = 512});
  gateway.serve("127.0.0.1:9001");
  const auto config = [](const char* secret) {
    return "drain: 1s\norigins: {main: {url: \"http://127.0.0.1:9001\", timeouts: {idle: 60s},\n"
           "  identity: [{shared_secret: {header: X-Secret, value: \"${file:" +
           std::string(secret) + "}\"}}]}}\nroutes: [{match: {path: /*}, origin: main, public: true}]\n";
  };
  gateway.start(config("/s/a"));
  Peer client = gateway.connect();
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + std::string(4000, 'x') + "\r\n\r\n";
  for (std::size_t at = 0; at < request.size(); at += 256) client.send(request.substr(at, 256));
  Peer origin = gateway.accept();  // and it reads nothing
  gateway.start(config("/s/b"));
  gateway.advance(1s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(2ms);
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 503 "));
}

TEST_F(Reload, a_change_of_identity_closes_idle_connections_at_once) {
  gateway.serve("127.0.0.1:9001");
  std::string before = with_secret("/s/a");
  for (const std::string& after : {
           with_secret("/s/b"),
           std::string(
               "origins:\n  main:\n    url: http://127.0.0.1:9001\n    identity: [{shared_secret: {header: "
               "X-Other, value: \"${file:/s/b}\"}}]\nroutes: [{match: {path: /*}, origin: main, public: true}]\n"),
           std::string("origins: {main: {url: \"http://127.0.0.1:9001\"}}\n"
                       "routes: [{match: {path: /*}, origin: main, public: true}]\n"),
       }) {
    SCOPED_TRACE(after);
    gateway.start(before);
    Peer client = gateway.connect();
    Peer origin = idle_connection(client);
    gateway.endpoints()->front()->ejections = 3;
    gateway.start(after);
    EXPECT_TRUE(origin.finished());
    EXPECT_EQ(gateway.endpoints()->front()->ejections, 3u) << "what is known about its health stays";
    client.send(kGet);
    Peer fresh = gateway.accept();
    const std::string head = fresh.receive();
    EXPECT_EQ(head.find("A-secret"), std::string::npos) << head;
    fresh.send(kOk);
    EXPECT_TRUE(client.receive().ends_with("ok"));
    fresh.close();
    client.close();
    before = after;
  }
}

TEST_F(Reload, a_connection_that_was_busy_during_a_change_of_identity_is_not_used_again) {
  gateway.serve("127.0.0.1:9001");
  gateway.start(with_secret("/s/a"));
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  EXPECT_NE(origin.receive().find("A-secret"), std::string::npos);
  gateway.start(with_secret("/s/b"));
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  EXPECT_TRUE(origin.finished()) << "at the end of its exchange";
  client.send(kGet);
  Peer fresh = gateway.accept();
  EXPECT_NE(fresh.receive().find("B-secret"), std::string::npos);
}

TEST_F(Reload, streams_of_an_old_identity_end_within_drain_and_others_do_not) {
  gateway.serve("127.0.0.1:9001");
  gateway.serve("127.0.0.1:9002");
  const std::string other = "  other:\n    url: http://127.0.0.1:9002\n";
  const auto config = [&](const std::string& file) {
    return "drain: 30s\norigins:\n  main:\n    url: http://127.0.0.1:9001\n    identity: [{shared_secret: {header: "
           "X-Secret, value: \"${file:" +
           file +
           "}\"}}]\n    timeouts: {idle: 1h, first_byte: 1h}\n"
           "  other:\n    url: http://127.0.0.1:9002\n    timeouts: {idle: 1h}\n"
           "routes:\n  - {match: {path: /*}, origin: main, public: true}\n"
           "  - {match: {path: /other}, origin: other, public: true}\n";
  };
  gateway.start(config("/s/a"));
  Peer socket = gateway.connect();
  socket.send(kUpgrade);
  Peer upgraded = gateway.accept();
  upgraded.receive();
  upgraded.send(kSwitch);
  socket.receive();
  Peer download = gateway.connect();
  download.send(kGet);
  Peer sender = gateway.accept();
  sender.receive();
  sender.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
  download.receive();
  Peer waiting = gateway.connect();
  waiting.send(kGet);
  Peer silent = gateway.accept();
  silent.receive();
  Peer unaffected = gateway.connect();
  unaffected.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
  Peer stays = gateway.accept("127.0.0.1:9002");
  stays.receive();
  stays.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
  unaffected.receive();

  gateway.start(config("/s/b"));
  gateway.advance(20s);
  gateway.start(config("/s/a"));  // back again: a new generation all the same, and no new lease of life
  gateway.advance(10s - 1ms);
  EXPECT_TRUE(socket.open());
  EXPECT_TRUE(download.open());
  EXPECT_TRUE(waiting.open());
  gateway.advance(1ms);
  EXPECT_FALSE(socket.open());
  EXPECT_TRUE(upgraded.reset());
  EXPECT_TRUE(download.reset());
  EXPECT_FALSE(sender.open());
  const std::string got = waiting.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 503 ")) << got;
  EXPECT_NE(got.find("PST-G001"), std::string::npos) << got;
  EXPECT_TRUE(waiting.open()) << "the client's connection has no identity";
  EXPECT_TRUE(unaffected.open());
  for (const auto& endpoint : *gateway.endpoints()) EXPECT_EQ(endpoint->in_flight, 0u);
}

TEST_F(Reload, a_stream_of_an_origin_that_is_gone_ends_within_drain) {
  gateway.serve("127.0.0.1:9001");
  gateway.start(with_secret("/s/a", "    timeouts: {idle: 1h}\n"));
  Peer socket = gateway.connect();
  socket.send(kUpgrade);
  Peer upgraded = gateway.accept();
  upgraded.receive();
  upgraded.send(kSwitch);
  socket.receive();
  gateway.start("drain: 5s\nroutes: [{match: {path: /*}, respond: {status: 410}, public: true}]\n");
  gateway.advance(5s - 1ms);
  EXPECT_TRUE(socket.open());
  gateway.advance(1ms);
  EXPECT_FALSE(socket.open());
  EXPECT_TRUE(upgraded.reset());
}

TEST_F(Reload, another_address_gets_no_old_connection_and_the_old_one_no_new_request) {
  gateway.serve("127.0.0.1:9001");
  gateway.serve("127.0.0.1:9002");
  gateway.start(simple());
  Peer client = gateway.connect();
  Peer old = idle_connection(client);
  std::string moved = simple();
  moved.replace(moved.find("9001"), 4, "9002");
  // The loops switch before any watcher has run: even then no request goes to the old address.
  const auto snapshot = gateway.build(TestGateway::configuration(moved));
  ASSERT_TRUE(gateway.worker->prepare(snapshot, Worker::Role::first));
  gateway.worker->commit();
  EXPECT_TRUE(old.finished());
  client.send(kGet);
  EXPECT_FALSE(gateway.connected("127.0.0.1:9001"));
  Peer fresh = gateway.accept("127.0.0.1:9002");
  fresh.receive();
  fresh.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
}

TEST_F(Reload, addresses_of_a_name_are_known_before_the_name_server_answers_again) {
  gateway.serve("127.0.0.1:9001");
  gateway.resolver.answers["backend.test"] = {"127.0.0.1"};
  const auto config = [](const std::string& extra) {
    return "origins:\n  main:\n    url: http://backend.test:9001\n" + extra +
           "routes: [{match: {path: /*}, origin: main, public: true}]\n";
  };
  gateway.start(config(""));
  Peer client = gateway.connect();
  Peer origin = idle_connection(client);
  gateway.resolver.answers.clear();
  for (const std::string& extra : {"    retries: {budget_percent: 5}\n", "    timeouts: {connect: 1s}\n"}) {
    gateway.start(config(extra));
    client.send(kGet);
    EXPECT_TRUE(origin.receive().starts_with("GET / ")) << extra;
    origin.send(kOk);
    client.receive();
  }
}

TEST_F(Reload, listeners_that_go_drain_and_listeners_that_come_take_connections) {
  gateway.serve("127.0.0.1:9001");
  const std::string rest =
      "origins: {main: {url: \"http://127.0.0.1:9001\"}}\nroutes: [{match: {path: /*}, origin: main, public: true}]\n";
  gateway.start("listeners: [{address: \"192.0.2.1:80\"}, {address: \"192.0.2.1:81\"}]\n" + rest);
  Peer idle = gateway.connect("192.0.2.1:80");
  Peer busy = gateway.connect("192.0.2.1:80");
  Peer other = gateway.connect("192.0.2.1:81");
  busy.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  EXPECT_EQ(gateway.metric("postern_connections", "listener=\"0\""), 2);
  EXPECT_EQ(gateway.metric("postern_connections", "listener=\"1\""), 1);
  gateway.start("listeners: [{address: \"192.0.2.1:81\"}, {address: \"192.0.2.1:82\"}]\n" + rest);
  EXPECT_TRUE(idle.open()) << "its first request may be on its way";
  gateway.advance(1s);
  EXPECT_TRUE(idle.finished());
  EXPECT_TRUE(other.open());
  EXPECT_EQ(gateway.worker->bound_addresses().size(), 2u);
  origin.send(kOk);
  const std::string got = busy.receive();
  EXPECT_NE(got.find("Connection: close"), std::string::npos) << got;
  EXPECT_TRUE(busy.finished());
  Peer fresh = gateway.connect("192.0.2.1:82");
  EXPECT_TRUE(fresh.open());
  EXPECT_EQ(gateway.metric("postern_connections", "listener=\"0\""), 1) << "81 is the first now";
  EXPECT_EQ(gateway.metric("postern_connections", "listener=\"1\""), 1);
  other.close();
  fresh.close();
  busy.close();
  EXPECT_EQ(gateway.metric("postern_connections"), 0);
}

TEST_F(Reload, an_address_that_cannot_be_had_changes_nothing) {
  gateway.serve("127.0.0.1:9001");
  gateway.serve("192.0.2.1:99");  // somebody else's
  gateway.start(simple());
  Peer idle = gateway.connect();
  Peer client = gateway.connect();
  Peer origin = idle_connection(client);
  const std::uint64_t generation = gateway.worker->generation();
  const auto snapshot = gateway.build(
      TestGateway::configuration("listeners: [{address: \"192.0.2.1:98\"}, {address: \"192.0.2.1:99\"}]\n"
                                 "routes: [{match: {path: /*}, respond: {status: 410}, public: true}]\n"));
  const Result<void> prepared = gateway.worker->prepare(snapshot, Worker::Role::first);
  ASSERT_FALSE(prepared);
  EXPECT_NE(prepared.error().detail().find("192.0.2.1:99"), std::string_view::npos);
  EXPECT_EQ(gateway.worker->generation(), generation);
  EXPECT_EQ(gateway.worker->bound_addresses().size(), 1u);
  EXPECT_TRUE(idle.open());
  EXPECT_TRUE(origin.open());
  client.send(kGet);
  EXPECT_TRUE(origin.receive().starts_with("GET / "));
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  // The address it did get is free again.
  gateway.serve("192.0.2.1:98");
}

TEST_F(Reload, a_lower_limit_counts_connections_that_are_open_already) {
  start_simple("", "limits: {max_connections: 3}\n");
  Peer first = gateway.connect();
  Peer second = gateway.connect();
  gateway.start(simple("", "limits: {max_connections: 2}\n"));
  Peer third = gateway.connect();
  EXPECT_TRUE(third.receive().starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(first.open());
}

TEST_F(Reload, drain_closes_the_idle_lets_the_busy_finish_and_accepts_nobody) {
  start_simple();
  Peer idle = gateway.connect();
  Peer used = gateway.connect();
  Peer origin = idle_connection(used);
  Peer busy = gateway.connect();
  busy.send(kGet);
  EXPECT_TRUE(origin.receive().starts_with("GET / "));
  Peer half = gateway.connect();
  half.send("GET / HTTP/1.1\r\nHo");
  gateway.worker->drain();
  EXPECT_TRUE(used.finished());
  EXPECT_TRUE(idle.open()) << "its first request may be on its way";
  gateway.advance(1s);
  EXPECT_TRUE(idle.finished());
  EXPECT_TRUE(gateway.worker->bound_addresses().empty());
  EXPECT_EQ(gateway.worker->connections(), 2u);
  half.send("st: a\r\n\r\n");
  Peer another = gateway.accept();
  another.receive();
  another.send(kOk);
  EXPECT_NE(half.receive().find("Connection: close\r\n"), std::string::npos);
  origin.send(kOk);
  const std::string got = busy.receive();
  EXPECT_NE(got.find("Connection: close\r\n"), std::string::npos) << got;
  EXPECT_TRUE(got.ends_with("ok"));
  EXPECT_TRUE(busy.finished());
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(Reload, insecure_permission_that_ends_stops_requests_and_probes) {
  gateway.serve("192.0.2.9:80");
  gateway.start(
      "origins:\n  main:\n    url: http://192.0.2.9:80\n    identity: [{shared_secret: {header: X-Secret, value: "
      "\"${file:/s/a}\"}}]\n    insecure: {reason: moving to tls, until: \"2023-11-14\"}\n"
      "    health: {path: /health, interval: 1h}\n"
      "routes: [{match: {path: /*}, origin: main, public: true}]\n");
  Peer probe = gateway.accept("192.0.2.9:80");
  EXPECT_NE(probe.receive().find("A-secret"), std::string::npos);
  probe.send(kOk);
  gateway.advance(1h);
  probe = gateway.accept("192.0.2.9:80");
  probe.send(kOk);
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept("192.0.2.9:80");
  origin.receive();
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  gateway.advance(2h);
  Peer late = gateway.connect();
  late.send(kGet);
  const std::string got = late.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 503 ")) << got;
  EXPECT_NE(got.find("PST-U010"), std::string::npos) << got;
  // Not even a probe carries the secret any more.
  EXPECT_FALSE(gateway.connected("192.0.2.9:80"));
}

}  // namespace
}  // namespace postern::gateway
