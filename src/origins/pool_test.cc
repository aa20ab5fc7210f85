#include "origins/pool.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "platform/test_support.h"

namespace postern::origins {
namespace {

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

class PoolTest : public ::testing::Test {
 protected:
  PoolTest() : loop(clock), tasks(errors) {
    door.acceptor = std::move(*network.listen(loop, address, door));
    config.pool.idle_timeout = 30s;
    config.timeouts.connect = 5s;
  }
  ~PoolTest() override { EXPECT_EQ(errors.count, 0); }

  std::unique_ptr<EndpointPool> make_pool() {
    return std::make_unique<EndpointPool>(EndpointPool::Services{loop, buffers, network, errors}, endpoint, config,
                                          Transport{});
  }
  using Taken = std::optional<Result<Lease>>;
  static Task<void> take(EndpointPool& pool, Taken& out, bool fresh) {
    Task<Result<Lease>> acquiring = fresh ? pool.connect() : pool.acquire();
    out.emplace(co_await std::move(acquiring));
  }
  void begin(EndpointPool& pool, Taken& out, bool fresh = false) {
    tasks.spawn(take(pool, out, fresh));
    settle(loop);
  }
  Lease acquire(EndpointPool& pool, bool fresh = false) {
    Taken out;
    begin(pool, out, fresh);
    EXPECT_TRUE(out && *out);
    return std::move(**out);
  }
  Peer accept() {
    settle(loop);
    EXPECT_FALSE(door.waiting.empty());
    Peer peer(loop, std::move(door.waiting.front()));
    door.waiting.pop_front();
    return peer;
  }
  static Task<void> exchange(Lease& lease, MonoTime deadline, bool& done) {
    http::RequestHead request;
    request.method_text = "GET";
    const http::Headers nothing;
    lease->start({request, "http", "a", "/", nothing});
    const Result<void> sent = co_await lease->flush();
    EXPECT_TRUE(sent);
    http::ResponseHead head;
    const Result<void> received = co_await lease->receive_head(http::Method::get, head, deadline);
    EXPECT_TRUE(received);
    for (;;) {
      const Result<http::BodyPiece> piece = lease->body().poll();
      if (!piece || piece->kind == http::BodyPiece::Kind::end) break;
      if (piece->kind == http::BodyPiece::Kind::wait) {
        const Wake wake = co_await lease->body().wait();
        if (wake != Wake::ready) co_return;
      }
    }
    done = true;
  }
  // One whole exchange on `lease`, answered by `peer` with `answer`.
  void use(Lease& lease, Peer& peer, std::string_view answer = kOk) {
    bool done = false;
    tasks.spawn(exchange(lease, loop.now() + 10s, done));
    EXPECT_EQ(peer.receive(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    peer.send(answer);
    EXPECT_TRUE(done);
  }
  // A new connection of `pool`, used once and lying idle there.
  Peer idle_connection(EndpointPool& pool) {
    Lease lease = acquire(pool, true);
    Peer peer = accept();
    use(lease, peer);
    pool.give_back(std::move(lease));
    settle(loop);
    return peer;
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
  TaskSet tasks;
};

TEST_F(PoolTest, a_connection_that_comes_back_is_used_again_the_last_one_first) {
  const auto pool = make_pool();
  Lease a = acquire(*pool);
  Peer first = accept();
  Lease b = acquire(*pool);
  Peer second = accept();
  EXPECT_EQ(endpoint->connections, 2u);
  EXPECT_FALSE(a.reused());
  use(a, first);
  use(b, second);
  pool->give_back(std::move(a));
  pool->give_back(std::move(b));
  EXPECT_EQ(pool->idle(), 2u);
  EXPECT_EQ(buffers.in_use(), 0u) << "idle connections hold no buffers";
  Lease again = acquire(*pool);
  EXPECT_TRUE(again.reused());
  EXPECT_TRUE(door.waiting.empty());
  use(again, second);
  pool->give_back(std::move(again));
  EXPECT_EQ(endpoint->connections, 2u);
}

TEST_F(PoolTest, reuse_never_limits_how_many_are_open) {
  const auto pool = make_pool();
  std::vector<Lease> leases;
  for (int i = 0; i < 100; ++i) leases.push_back(acquire(*pool));
  EXPECT_EQ(endpoint->connections, 100u);
  leases.clear();
  EXPECT_EQ(endpoint->connections, 0u);
}

TEST_F(PoolTest, what_is_not_clean_is_not_kept) {
  const auto pool = make_pool();
  for (const std::string_view answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and more"}) {
    Lease lease = acquire(*pool);
    Peer peer = accept();
    use(lease, peer, answer);
    pool->give_back(std::move(lease));
    EXPECT_EQ(pool->idle(), 0u) << answer;
    EXPECT_FALSE(peer.open()) << answer;
  }
  // Never used at all, or in the middle of a message.
  Lease unfinished = acquire(*pool);
  Peer peer = accept();
  bool done = false;
  tasks.spawn(exchange(unfinished, loop.now() + 10s, done));
  peer.receive();
  peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  tasks.cancel_all();
  pool->give_back(std::move(unfinished));
  EXPECT_EQ(pool->idle(), 0u);
  EXPECT_EQ(endpoint->connections, 0u);
}

TEST_F(PoolTest, keeps_max_idle_and_no_more) {
  config.pool.max_idle = 2;
  const auto pool = make_pool();
  std::vector<Peer> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(idle_connection(*pool));
  EXPECT_EQ(pool->idle(), 2u);
  EXPECT_EQ(endpoint->connections, 2u);
  EXPECT_TRUE(peers[0].open());
  EXPECT_TRUE(peers[1].open());
  EXPECT_TRUE(peers[2].finished());
  config.pool.max_idle = 0;
  const auto none = make_pool();
  Peer peer = idle_connection(*none);
  EXPECT_TRUE(peer.finished());
}

TEST_F(PoolTest, idle_connections_expire_each_at_its_time) {
  const auto pool = make_pool();
  Peer first = idle_connection(*pool);
  advance(loop, clock, 10s);
  Peer second = idle_connection(*pool);
  advance(loop, clock, 20s - 1ms);
  EXPECT_TRUE(first.open());
  advance(loop, clock, 1ms);
  EXPECT_TRUE(first.finished());
  EXPECT_TRUE(second.open());
  advance(loop, clock, 10s);
  EXPECT_TRUE(second.finished());
  EXPECT_EQ(endpoint->connections, 0u);
}

TEST_F(PoolTest, a_connection_is_not_used_beyond_its_lifetime) {
  config.pool.max_lifetime = 1min;
  const auto pool = make_pool();
  Peer old = idle_connection(*pool);
  for (int i = 0; i < 2; ++i) {
    advance(loop, clock, 20s);
    Lease lease = acquire(*pool);
    EXPECT_TRUE(lease.reused());
    use(lease, old);
    pool->give_back(std::move(lease));
  }
  advance(loop, clock, 20s);
  Lease lease = acquire(*pool);
  EXPECT_FALSE(lease.reused());
  EXPECT_TRUE(old.finished());
  EXPECT_EQ(endpoint->connections, 1u);
}

TEST_F(PoolTest, an_idle_connection_leaves_when_the_origin_closes_resets_or_speaks) {
  const auto pool = make_pool();
  for (int how = 0; how < 3; ++how) {
    Peer peer = idle_connection(*pool);
    EXPECT_EQ(pool->idle(), 1u);
    if (how == 0) peer.close();
    if (how == 1) peer.abort();
    if (how == 2) peer.send("HTTP/1.1 408 Request Timeout\r\n\r\n");
    EXPECT_EQ(pool->idle(), 0u) << how;
    EXPECT_EQ(endpoint->connections, 0u) << how;
  }
}

// The close comes together with the response: no event tells of it any more.
TEST_F(PoolTest, a_connection_that_died_before_it_became_idle_is_found_out_when_it_is_taken) {
  const auto pool = make_pool();
  Lease lease = acquire(*pool, true);
  Peer peer = accept();
  bool done = false;
  tasks.spawn(exchange(lease, loop.now() + 10s, done));
  peer.receive();
  peer.send(kOk);
  peer.finish();
  EXPECT_TRUE(done);
  pool->give_back(std::move(lease));
  Lease next = acquire(*pool);
  EXPECT_FALSE(next.reused());
  EXPECT_TRUE(accept().open());
  EXPECT_EQ(endpoint->connections, 1u);
}

TEST_F(PoolTest, the_second_attempt_after_a_dead_connection_opens_a_new_one) {
  const auto pool = make_pool();
  Peer idle = idle_connection(*pool);
  Lease lease = acquire(*pool, true);
  EXPECT_FALSE(lease.reused());
  EXPECT_EQ(pool->idle(), 1u);
}

TEST_F(PoolTest, connects_within_its_time_or_says_why_not) {
  const auto pool = make_pool();
  door.acceptor.reset();
  Taken out;
  begin(*pool, out);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->error().code(), Code::origin_connect_failed);
  EXPECT_EQ(out->error().retry(), Retry::yes);
  network.black_hole(address);
  out.reset();
  begin(*pool, out);
  advance(loop, clock, 5s - 1ms);
  EXPECT_FALSE(out);
  advance(loop, clock, 1ms);
  ASSERT_TRUE(out);
  EXPECT_EQ(out->error().code(), Code::origin_connect_timeout);
  EXPECT_EQ(out->error().side(), Side::origin);
  EXPECT_EQ(endpoint->connections, 0u);
}

TEST_F(PoolTest, under_max_connections_who_comes_too_late_waits_for_a_place) {
  config.pool.max_connections = 2;
  const auto pool = make_pool();
  Lease a = acquire(*pool);
  Peer first = accept();
  Lease b = acquire(*pool);
  Taken waiting;
  begin(*pool, waiting);
  EXPECT_FALSE(waiting);
  EXPECT_EQ(endpoint->waiting, 1u);
  // A connection that comes back goes to who waits.
  use(a, first);
  pool->give_back(std::move(a));
  advance(loop, clock, 5ms);
  ASSERT_TRUE(waiting && *waiting);
  EXPECT_TRUE((*waiting)->reused());
  EXPECT_EQ(endpoint->waiting, 0u);
  // A place that is freed is taken, too.
  Taken next;
  begin(*pool, next);
  b.close();
  advance(loop, clock, 5ms);
  ASSERT_TRUE(next && *next);
  EXPECT_FALSE((*next)->reused());
  EXPECT_EQ(endpoint->connections, 2u);
}

TEST_F(PoolTest, who_waits_is_served_in_order_and_nobody_overtakes) {
  config.pool.max_connections = 1;
  const auto pool = make_pool();
  Lease lease = acquire(*pool);
  Peer peer = accept();
  Taken out[3];
  for (Taken& waiting : out) begin(*pool, waiting);
  for (int i = 0; i < 3; ++i) {
    // No time passes: whoever is first is told at once, and one who asks only now comes behind.
    use(lease, peer);
    pool->give_back(std::move(lease));
    settle(loop);
    for (int k = 0; k < 3; ++k) EXPECT_EQ(out[k].has_value(), k <= i) << i << k;
    ASSERT_TRUE(out[i] && *out[i]);
    EXPECT_TRUE((*out[i])->reused());
    lease = std::move(**out[i]);
  }
  Taken late;
  begin(*pool, late);
  Taken later;
  begin(*pool, later);
  lease.close();
  advance(loop, clock, 5ms);
  EXPECT_TRUE(late && *late);
  EXPECT_FALSE(later);
  tasks.cancel_all();
}

// Two loops: what one gives up for the other is not taken back by its own next request.
TEST_F(PoolTest, a_place_that_is_given_up_goes_to_the_loop_that_waits) {
  config.pool.max_connections = 1;
  const auto here = make_pool();
  const auto there = make_pool();
  Lease lease = acquire(*here);
  Peer peer = accept();
  Taken waiting;
  begin(*there, waiting);
  use(lease, peer);
  here->give_back(std::move(lease));
  Taken next;
  begin(*here, next);
  EXPECT_FALSE(next) << "somebody else is first";
  advance(loop, clock, 5ms);
  EXPECT_TRUE(waiting && *waiting);
  EXPECT_FALSE(next);
  tasks.cancel_all();
}

TEST_F(PoolTest, who_waits_too_long_is_told_that_the_gateway_has_a_limit) {
  config.pool.max_connections = 1;
  config.timeouts.connect = 1s;
  const auto pool = make_pool();
  Lease lease = acquire(*pool);
  Taken waiting;
  begin(*pool, waiting);
  advance(loop, clock, 1s - 1ms);
  EXPECT_FALSE(waiting);
  advance(loop, clock, 1ms + 5ms);
  ASSERT_TRUE(waiting);
  EXPECT_EQ(waiting->error().code(), Code::origin_overloaded);
  EXPECT_EQ(waiting->error().side(), Side::gateway) << "not the origin's fault";
  EXPECT_EQ(waiting->error().retry(), Retry::yes);
  EXPECT_EQ(endpoint->connections, 1u);
  EXPECT_EQ(endpoint->waiting, 0u);
}

TEST_F(PoolTest, who_waits_and_is_cancelled_leaves_no_trace) {
  config.pool.max_connections = 1;
  const auto pool = make_pool();
  Lease lease = acquire(*pool);
  Taken waiting;
  begin(*pool, waiting);
  tasks.cancel_all();
  EXPECT_EQ(endpoint->waiting, 0u);
  EXPECT_EQ(endpoint->connections, 1u);
  lease.close();
  network.black_hole(address);
  begin(*pool, waiting);
  EXPECT_EQ(endpoint->connections, 1u) << "the place is claimed before the connection stands";
  tasks.cancel_all();
  EXPECT_EQ(endpoint->connections, 0u);
}

// Two pools of one endpoint: what two loops have.
TEST_F(PoolTest, an_idle_connection_of_another_loop_gives_up_its_place) {
  config.pool.max_connections = 1;
  const auto here = make_pool();
  const auto there = make_pool();
  Peer idle = idle_connection(*there);
  EXPECT_EQ(endpoint->connections, 1u);
  Taken out;
  begin(*here, out);
  advance(loop, clock, 10ms);
  ASSERT_TRUE(out && *out) << "the other loop keeps what nobody uses";
  EXPECT_TRUE(idle.finished());
  EXPECT_EQ(endpoint->connections, 1u);
  // One that is busy there comes back while somebody waits here: it is not kept.
  Taken second;
  begin(*there, second);
  Peer peer = accept();
  use(**out, peer);
  here->give_back(std::move(**out));
  EXPECT_EQ(here->idle(), 0u);
  advance(loop, clock, 5ms);
  EXPECT_TRUE(second && *second);
}

TEST_F(PoolTest, a_retired_pool_keeps_nothing_until_it_is_configured_again) {
  const auto pool = make_pool();
  Peer idle = idle_connection(*pool);
  Lease busy = acquire(*pool, true);
  Peer peer = accept();
  pool->retire();
  EXPECT_TRUE(idle.finished());
  EXPECT_TRUE(peer.open()) << "what is under way goes on";
  use(busy, peer);
  pool->give_back(std::move(busy));
  EXPECT_TRUE(peer.finished());
  EXPECT_EQ(endpoint->connections, 0u);
  pool->configure(config, {});
  Peer kept = idle_connection(*pool);
  EXPECT_TRUE(kept.open());
}

TEST_F(PoolTest, settings_are_copied_so_the_configuration_may_go) {
  auto other = std::make_unique<config::OriginConfig>();
  other->pool.idle_timeout = 3s;
  other->timeouts.connect = 2s;
  const auto pool = make_pool();
  pool->configure(*other, {});
  other.reset();
  Peer idle = idle_connection(*pool);
  advance(loop, clock, 3s);
  EXPECT_TRUE(idle.finished());
  network.black_hole(address);
  Taken out;
  begin(*pool, out);
  advance(loop, clock, 2s);
  EXPECT_TRUE(out);
}

TEST_F(PoolTest, its_end_closes_what_is_idle) {
  auto pool = make_pool();
  Peer idle = idle_connection(*pool);
  pool.reset();
  EXPECT_TRUE(idle.finished());
  EXPECT_EQ(endpoint->connections, 0u);
}

TEST(PlaceBoard, asks_all_but_the_asking_and_nobody_who_withdrew) {
  PlaceBoard board;
  const int pools[3] = {};
  std::string asked;
  board.enlist(&pools[0], [&] { asked += '0'; });
  board.enlist(&pools[1], [&] { asked += '1'; });
  board.enlist(&pools[2], [&] { asked += '2'; });
  board.ask(&pools[1]);
  EXPECT_EQ(asked, "02");
  board.withdraw(&pools[0]);
  board.ask(&pools[1]);
  EXPECT_EQ(asked, "022");
}

TEST(PlaceBoard, nobody_is_asked_after_withdrawing_whatever_the_thread) {
  PlaceBoard board;
  std::atomic<int> asked{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        // Lives only while it is enlisted, like a pool and its loop.
        auto alive = std::make_unique<std::atomic<int>>(0);
        board.enlist(alive.get(), [&asked, mine = alive.get()] {
          ++*mine;
          ++asked;
        });
        board.ask(&board);
        board.withdraw(alive.get());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(asked, 1500) << "each by its own thread at least";
}

}  // namespace
}  // namespace postern::origins
