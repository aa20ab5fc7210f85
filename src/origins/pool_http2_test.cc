// The pool of an origin that speaks HTTP/2: sessions, shared by exchanges. What a session does is tested in http/h2/.
#include <gtest/gtest.h>

#include <optional>

#include "http/h2/test_support.h"
#include "origins/pool.h"
#include "platform/test_support.h"

namespace postern::origins {
namespace {

using http::h2::Library;

class Http2PoolTest : public ::testing::Test {
 protected:
  Http2PoolTest() : loop(clock), tasks(errors) {
    door.acceptor = std::move(*network.listen(loop, address, door));
    config.http2 = config::OriginHttp2::always;
    config.pool.idle_timeout = 30s;
    config.timeouts.connect = 5s;
    pool = std::make_unique<EndpointPool>(EndpointPool::Services{loop, buffers, network, errors}, endpoint, config,
                                          Transport{.tls = nullptr, .unshared = nullptr, .http2 = config.http2});
  }
  ~Http2PoolTest() override { EXPECT_EQ(errors.count, 0); }

  // An origin at the far end of the next connection.
  Library& origin(std::uint32_t streams = 100) {
    settle(loop);
    EXPECT_FALSE(door.waiting.empty());
    peers.push_back(std::make_unique<Peer>(loop, std::move(door.waiting.front())));
    door.waiting.pop_front();
    origins.push_back(
        std::make_unique<Library>(Library::Role::server, *peers.back(),
                                  std::vector<http::h2::Setting>{{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams}}));
    origins.back()->run();
    settle(loop);
    return *origins.back();
  }
  using Taken = std::optional<Result<Lease>>;
  static Task<void> take(EndpointPool& from, Taken& out) { out.emplace(co_await from.acquire()); }
  void begin(Taken& out) {
    tasks.spawn(take(*pool, out));
    settle(loop);
  }
  static bool good(const Taken& taken) { return taken && *taken; }
  static Task<void> ask(Lease& lease, int& status) {
    http::RequestHead request;
    request.method_text = "GET";
    request.method = http::Method::get;
    const http::Headers nothing;
    lease->start({request, "http", "a", "/", nothing});
    const Result<void> sent = co_await lease->flush();
    EXPECT_TRUE(sent);
    http::ResponseHead head;
    const Result<void> received = co_await lease->receive_head(http::Method::get, head, MonoTime::max());
    status = received ? head.status : -1;
  }

  ManualClock clock;
  Loop loop;
  CountExceptions errors;
  BufferPool buffers;
  MemoryNetwork network;
  const SocketAddress address = parse_socket_address("127.0.0.1:9001").value();
  const std::shared_ptr<Endpoint> endpoint = std::make_shared<Endpoint>(address, "127.0.0.1:9001");
  Door door;
  config::OriginConfig config;
  std::unique_ptr<EndpointPool> pool;
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<std::unique_ptr<Library>> origins;
  TaskSet tasks;
};

TEST_F(Http2PoolTest, who_comes_while_a_session_is_set_up_shares_it) {
  std::vector<Taken> taken(20);
  for (Taken& one : taken) begin(one);
  EXPECT_EQ(door.waiting.size(), 1u);
  origin();
  for (const Taken& one : taken) EXPECT_TRUE(good(one));
  EXPECT_TRUE(door.waiting.empty());
  EXPECT_EQ(pool->sessions(), 1u);
  EXPECT_EQ(endpoint->connections, 1u);
  EXPECT_FALSE((*taken[0])->reused());
}

TEST_F(Http2PoolTest, a_request_is_answered_on_its_stream) {
  Taken taken;
  begin(taken);
  Library& server = origin();
  ASSERT_TRUE(good(taken));
  int status = 0;
  tasks.spawn(ask(**taken, status));
  settle(loop);
  server.run();
  server.respond(1, http::h2::response("204"));
  server.run();
  settle(loop);
  EXPECT_EQ(status, 204);
  pool->give_back(std::move(**taken));
  taken.reset();
  Taken again;
  begin(again);
  ASSERT_TRUE(good(again));
  EXPECT_TRUE((*again)->reused());
  EXPECT_EQ(pool->sessions(), 1u);
}

TEST_F(Http2PoolTest, a_full_session_is_no_limit) {
  std::vector<Taken> taken(5);
  for (Taken& one : taken) begin(one);
  origin(2);
  EXPECT_EQ(std::count_if(taken.begin(), taken.end(), good), 2);
  EXPECT_EQ(door.waiting.size(), 1u) << "one more is set up for all who wait";
  origin(100);
  EXPECT_EQ(std::count_if(taken.begin(), taken.end(), good), 5);
  EXPECT_EQ(pool->sessions(), 2u);
}

TEST_F(Http2PoolTest, max_connections_counts_sessions_and_a_stream_that_ends_makes_room) {
  config.pool.max_connections = 1;
  pool->configure(config, {.tls = nullptr, .unshared = nullptr, .http2 = config.http2});
  Taken first;
  begin(first);
  origin(1);
  ASSERT_TRUE(good(first));
  Taken second;
  begin(second);
  EXPECT_FALSE(second);
  EXPECT_TRUE(door.waiting.empty());
  first.reset();
  advance(loop, clock, 100ms);
  EXPECT_TRUE(good(second));
  Taken third;
  begin(third);
  advance(loop, clock, 6s);
  ASSERT_TRUE(third);
  ASSERT_FALSE(*third);
  EXPECT_EQ(third->error().code(), Code::origin_overloaded);
}

TEST_F(Http2PoolTest, one_that_cannot_be_set_up_fails_for_who_made_it_and_the_next_one_tries) {
  std::vector<Taken> taken(2);
  for (Taken& one : taken) begin(one);
  ASSERT_EQ(door.waiting.size(), 1u);
  door.waiting.clear();  // closes it
  settle(loop);
  ASSERT_TRUE(taken[0]);
  ASSERT_FALSE(*taken[0]);
  EXPECT_EQ(taken[0]->error().retry(), Retry::yes);
  EXPECT_FALSE(taken[1]);
  origin();
  EXPECT_TRUE(good(taken[1]));
  EXPECT_EQ(endpoint->connections, 1u);
}

TEST_F(Http2PoolTest, an_origin_that_says_nothing_is_given_up_in_time) {
  std::vector<Taken> taken(2);
  for (Taken& one : taken) begin(one);
  advance(loop, clock, 11s);
  for (const Taken& one : taken) {
    ASSERT_TRUE(one);
    EXPECT_FALSE(*one);
  }
  EXPECT_EQ(endpoint->connections, 0u);
}

TEST_F(Http2PoolTest, an_origin_that_allows_no_stream_gets_no_second_connection_and_may_change_its_mind) {
  std::vector<Taken> taken(3);
  for (Taken& one : taken) begin(one);
  origin(0);
  EXPECT_EQ(std::count_if(taken.begin(), taken.end(), good), 0);
  EXPECT_TRUE(door.waiting.empty());
  peers[0]->send(http::h2::settings({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100}}));
  settle(loop);
  EXPECT_EQ(std::count_if(taken.begin(), taken.end(), good), 3);
  EXPECT_EQ(pool->sessions(), 1u);
}

TEST_F(Http2PoolTest, an_origin_that_never_allows_a_stream_is_given_up_in_time) {
  Taken taken;
  begin(taken);
  origin(0);
  advance(loop, clock, 6s);
  ASSERT_TRUE(taken);
  ASSERT_FALSE(*taken);
  EXPECT_EQ(taken->error().code(), Code::origin_connect_timeout);
  EXPECT_EQ(taken->error().retry(), Retry::never);
  advance(loop, clock, 2s);
  EXPECT_EQ(pool->sessions(), 0u);
  EXPECT_EQ(endpoint->connections, 0u);
}

TEST_F(Http2PoolTest, an_idle_session_is_closed_and_a_used_one_stays) {
  Taken taken;
  begin(taken);
  origin();
  ASSERT_TRUE(good(taken));
  advance(loop, clock, 9s);  // less than after which it would be asked whether it is there
  EXPECT_EQ(pool->sessions(), 1u);
  taken.reset();
  advance(loop, clock, 29s);
  EXPECT_EQ(pool->sessions(), 1u);
  advance(loop, clock, 5s);
  EXPECT_EQ(pool->sessions(), 0u);
  EXPECT_EQ(endpoint->connections, 0u);
}

// Behind a connection that turned out to be dead, the others from that time may be, too.
TEST_F(Http2PoolTest, who_needs_a_fresh_session_gets_one_and_shares_that) {
  Taken first;
  begin(first);
  origin();
  ASSERT_TRUE(good(first));
  advance(loop, clock, 1s);
  const MonoTime since = clock.now();
  const auto take_fresh = [](EndpointPool& from, MonoTime when, Taken& out) -> Task<void> {
    out.emplace(co_await from.connect(Want::any, when));
  };
  Taken fresh;
  Taken another;
  tasks.spawn(take_fresh(*pool, since, fresh));
  tasks.spawn(take_fresh(*pool, since, another));
  settle(loop);
  EXPECT_FALSE(fresh);
  EXPECT_EQ(door.waiting.size(), 1u);
  origin();
  EXPECT_TRUE(good(fresh));
  EXPECT_TRUE(good(another));
  EXPECT_TRUE(door.waiting.empty());
  EXPECT_EQ(pool->sessions(), 2u);
}

TEST_F(Http2PoolTest, after_goaway_requests_go_elsewhere_and_the_last_one_ends_the_session) {
  Taken first;
  begin(first);
  Library& server = origin();
  ASSERT_TRUE(good(first));
  int status = 0;
  tasks.spawn(ask(**first, status));
  settle(loop);
  server.run();
  peers[0]->send(http::h2::goaway(1, NGHTTP2_NO_ERROR));
  settle(loop);
  Taken second;
  begin(second);
  EXPECT_FALSE(second);
  origin();
  EXPECT_TRUE(good(second));
  server.respond(1, http::h2::response("200"));
  server.run();
  settle(loop);
  EXPECT_EQ(status, 200);
  first.reset();
  advance(loop, clock, 3s);
  EXPECT_EQ(pool->sessions(), 1u);
}

TEST_F(Http2PoolTest, a_pool_that_is_retired_lets_streams_end_and_takes_no_new_session_for_long) {
  Taken taken;
  begin(taken);
  origin();
  ASSERT_TRUE(good(taken));
  pool->retire();
  advance(loop, clock, 3s);
  EXPECT_EQ(pool->sessions(), 1u);
  taken.reset();
  advance(loop, clock, 3s);
  EXPECT_EQ(pool->sessions(), 0u);
}

TEST_F(Http2PoolTest, a_pool_may_go_before_its_streams) {
  Taken taken;
  begin(taken);
  origin();
  ASSERT_TRUE(good(taken));
  int status = 0;
  tasks.spawn(ask(**taken, status));
  settle(loop);
  pool.reset();
  settle(loop);
  EXPECT_EQ(status, -1);
}

}  // namespace
}  // namespace postern::origins
