// Both ends ours: what one session says, the other must understand, however it is cut into reads.
#include <gtest/gtest.h>

#include "http/h2/test_client.h"
#include "http/h2/test_server.h"

namespace postern::http::h2 {
namespace {

// A client of World's near end, and a server on the far one.
struct Pair final : ClientSession::Owner {
  explicit Pair(MemoryOptions options = {}) {
    auto [ours, theirs] = make_memory_pair(loop, options);
    server =
        std::make_unique<ServerSession>(ServerSession::Services{loop, buffers, exceptions, service, &server_counters},
                                        std::move(ours), facts, server_limits, Limits{});
    client = std::make_unique<ClientSession>(ClientSession::Services{loop, buffers, exceptions, &client_counters},
                                             std::move(theirs), ClientTimeouts{}, Limits{}, *this);
    tasks.spawn(server->serve(""));
    client->start();
    settle(loop);
    EXPECT_TRUE(client->has_room());
  }
  ~Pair() {
    client.reset();
    settle(loop);
    EXPECT_TRUE(tasks.empty()) << "the server ends with its client";
    server.reset();
    EXPECT_EQ(exceptions.count, 0);
    EXPECT_EQ(buffers.in_use(), 0u);
  }
  void begin(Exchanging& exchange) {
    exchange.upstream = client->open();
    exchange.upstream->start(
        {exchange.request, "http", "o.example", exchange.target, exchange.added, exchange.websocket});
    exchange.tasks.spawn(Client::send(exchange));
    exchange.tasks.spawn(Client::receive(exchange, loop));
  }

  ManualClock clock;
  Loop loop{clock};
  BufferPool buffers;
  CountExceptions exceptions;
  TaskSet tasks{exceptions};
  ServerLimits server_limits;
  ConnectionFacts facts;
  Service service{loop};
  Counters server_counters;
  Counters client_counters;
  std::unique_ptr<ServerSession> server;
  std::unique_ptr<ClientSession> client;

 private:
  void on_session_changed(ClientSession& /*session*/) override {}
};

TEST(Http2Pair, ManyExchangesAtATime) {
  for (const MemoryOptions options : {MemoryOptions{}, MemoryOptions{.capacity = 3000, .max_read = 1},
                                      MemoryOptions{.capacity = 200, .max_read = 50}}) {
    Pair pair(options);
    std::vector<std::unique_ptr<Exchanging>> all;
    for (std::size_t i = 0; i < 60; ++i) {
      const char* const paths[] = {"/echo", "/bytes/30000", "/stream/20000", "/none", "/interim", "/early"};
      all.push_back(std::make_unique<Exchanging>(i % 2 == 0 ? "POST" : "GET", paths[i % std::size(paths)]));
      Exchanging& exchange = *all.back();
      if (i % 2 == 0) {
        exchange.upload = std::string(i * 500, 'u');
        exchange.request.framing = i % 4 == 0 ? Framing::chunked : Framing::length;
        exchange.request.content_length = exchange.upload.size();
        if (i % 4 == 0) exchange.trailers.append("X-Sum", "1");
      }
      pair.begin(exchange);
    }
    settle(pair.loop);
    for (const auto& each : all) {
      const Exchanging& exchange = *each;
      EXPECT_TRUE(exchange.head.starts_with(exchange.target == "/none" ? "204" : "200"))
          << exchange.target << exchange.head;
      EXPECT_TRUE(exchange.body.end == "end" || exchange.body.end == "last") << exchange.target << exchange.body.end;
      if (exchange.target == "/echo") EXPECT_EQ(exchange.body.data, exchange.upload);
      if (exchange.target == "/bytes/30000") EXPECT_EQ(exchange.body.data.size(), 30'000u);
      if (exchange.target == "/stream/20000") EXPECT_EQ(exchange.body.data.size(), 20'000u);
      if (exchange.target == "/interim") EXPECT_EQ(exchange.interim.size(), 1u);
    }
    EXPECT_EQ(pair.client->streams(), 0u);
    EXPECT_EQ(pair.server->streams(), 0u);
    all.clear();
    pair.client->drain();
    settle(pair.loop);
  }
}

TEST(Http2Pair, ADrainingServerFailsNobody) {
  Pair pair;
  std::vector<std::unique_ptr<Exchanging>> all;
  int started = 0;
  for (int turn = 0; turn < 200; ++turn) {
    if (pair.client->has_room()) {
      all.push_back(std::make_unique<Exchanging>("GET", "/bytes/5000"));
      pair.begin(*all.back());
      ++started;
    }
    if (turn == 20) pair.server->drain();
    pair.loop.run_ready();
  }
  settle(pair.loop);
  EXPECT_GE(started, 20);
  std::size_t overtaken = 0;
  for (const auto& each : all) {
    // Asked for in the turn in which the GOAWAY came, and not sent.
    if (each->retry == Retry::yes) {
      ++overtaken;
    } else {
      EXPECT_EQ(each->body.data.size(), 5000u) << each->head;
    }
  }
  EXPECT_LE(overtaken, 1u);
  EXPECT_FALSE(pair.client->alive());
  advance(pair.loop, pair.clock, 2s);
  all.clear();
}

TEST(Http2Pair, WhoeverCancelsLeavesNothingBehind) {
  Pair pair({.capacity = 5000, .max_read = 700});
  for (int turns = 0; turns < 40; ++turns) {
    Exchanging upload("POST", "/echo");
    upload.request.framing = Framing::chunked;
    upload.upload = std::string(50'000, 'u');
    Exchanging download("GET", "/bytes/100000");
    pair.begin(upload);
    pair.begin(download);
    for (int i = 0; i < turns; ++i) pair.loop.run_ready();
    upload.tasks.cancel_all();
    upload.upstream.reset();
    settle(pair.loop);
    EXPECT_EQ(download.body.data.size(), 100'000u) << turns;
    EXPECT_EQ(pair.client->streams(), 0u);
    EXPECT_EQ(pair.server->streams(), 0u);
    advance(pair.loop, pair.clock, 1s);  // to be forgiven
  }
  EXPECT_TRUE(pair.client->alive());
  EXPECT_EQ(pair.server_counters.floods, 0u);
}

}  // namespace
}  // namespace postern::http::h2
