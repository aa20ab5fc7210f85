#include "origins/watcher.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "origins/test_support.h"

namespace postern::origins {
namespace {

// Sets one field, and can fail or be counted.
class TestIdentity final : public identity::IdentityMethod {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "test"; }
  [[nodiscard]] std::vector<std::string_view> headers() const override { return {"X-Secret"}; }
  [[nodiscard]] std::vector<std::string_view> secrets() const override { return {"the-secret"}; }
  [[nodiscard]] Task<Result<void>> apply(identity::Attempt& attempt) const override {
    if (broken) return Result<void>(fail(Code::identity_unavailable, Side::gateway));
    attempt.added.append("X-Secret", "the-secret");
    attempt.added.append("X-Signed",
                         attempt.arena.join(attempt.request.method_text, " ", attempt.host, attempt.path_and_query));
    return Result<void>();
  }
  bool broken = false;
};

class WatcherTest : public ::testing::Test {
 protected:
  WatcherTest() : loop(clock) {
    config.name = "main";
    state = std::make_shared<OriginState>(20);
  }
  ~WatcherTest() override {
    watcher.reset();
    ::close(log_fd);
    EXPECT_EQ(errors.count, 0);
  }

  void add(const std::string& url) {
    config::EndpointConfig endpoint;
    if (url.starts_with("/")) {
      endpoint.address.kind = config::Address::Kind::unix_socket;
      endpoint.address.path = url;
      endpoint.authority = "localhost";
    } else {
      const std::size_t colon = url.rfind(':');
      endpoint.address.host = url.substr(0, colon);
      endpoint.address.port = static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1)));
      endpoint.authority = url;
    }
    config.endpoints.push_back(std::move(endpoint));
  }
  void start() {
    watcher.reset();
    std::vector<std::unique_ptr<const identity::IdentityMethod>> methods;
    auto method = std::make_unique<TestIdentity>();
    identity = method.get();
    methods.push_back(std::move(method));
    origin = std::make_shared<Origin>(config, std::move(methods), std::vector<std::string_view>{}, state);
    watcher = std::make_unique<OriginWatcher>(OriginWatcher::Services{loop, network, buffers, resolver, log, errors},
                                              *origin, origin);
    watcher->start();
    settle(loop);
  }
  [[nodiscard]] std::string endpoints() const {
    std::string out;
    for (const auto& endpoint : *state->endpoints()) out += endpoint->address.to_string() + ' ';
    return out;
  }
  [[nodiscard]] const Endpoint& first() const { return *state->endpoints()->front(); }

  void listen(const std::string& address) {
    door.acceptor = std::move(*network.listen(loop, parse_socket_address(address).value(), door));
  }
  Peer probe() {
    settle(loop);
    if (door.waiting.empty()) return {};
    Peer peer(loop, std::move(door.waiting.front()));
    door.waiting.pop_front();
    return peer;
  }
  // Answers the next probe, then waits for the one after it.
  void round(std::string_view answer) {
    Peer peer = probe();
    ASSERT_TRUE(peer);
    EXPECT_NE(peer.receive(), "");
    peer.send(answer);
    peer.close();
    advance(loop, clock, config.health->interval);
  }

  ManualClock clock;
  Loop loop;
  MemoryNetwork network;
  BufferPool buffers;
  FakeResolver resolver;
  CountExceptions errors;
  const int log_fd = ::memfd_create("log", MFD_CLOEXEC);
  observe::Log log{log_fd, clock};
  config::OriginConfig config;
  std::shared_ptr<OriginState> state;
  std::shared_ptr<Origin> origin;
  TestIdentity* identity = nullptr;
  Door door;
  std::unique_ptr<OriginWatcher> watcher;
};

TEST_F(WatcherTest, addresses_and_sockets_need_no_resolution) {
  add("127.0.0.1:9001");
  add("::1:9002");
  add("/run/backend.sock");
  start();
  EXPECT_TRUE(watcher->settled());
  EXPECT_EQ(endpoints(), "127.0.0.1:9001 [::1]:9002 unix:/run/backend.sock ");
  EXPECT_EQ(resolver.asked, 0);
}

TEST_F(WatcherTest, is_settled_when_every_name_was_looked_up_once_with_or_without_success) {
  resolver.silent = true;
  resolver.answers["good.test"] = {"192.0.2.1"};
  add("127.0.0.1:9001");
  add("good.test:80");
  add("good.test:81");
  add("bad.test:80");
  start();
  EXPECT_EQ(resolver.asked, 2) << "a name is asked once, however many ports it has";
  EXPECT_FALSE(watcher->settled());
  EXPECT_EQ(endpoints(), "127.0.0.1:9001 ");
  resolver.speak();
  settle(loop);
  EXPECT_TRUE(watcher->settled());
  EXPECT_EQ(endpoints(), "127.0.0.1:9001 192.0.2.1:80 192.0.2.1:81 ");
}

TEST_F(WatcherTest, asks_again_exactly_when_the_time_to_live_is_over) {
  resolver.answers["backend.test"] = {"192.0.2.1"};
  resolver.ttl = 30s;
  add("backend.test:80");
  start();
  EXPECT_EQ(resolver.asked, 1);
  advance(loop, clock, 30s - 1ms);
  EXPECT_EQ(resolver.asked, 1);
  resolver.ttl = 7s;
  resolver.answers["backend.test"] = {"192.0.2.1", "192.0.2.2"};
  advance(loop, clock, 1ms);
  EXPECT_EQ(resolver.asked, 2);
  EXPECT_EQ(endpoints(), "192.0.2.1:80 192.0.2.2:80 ");
  advance(loop, clock, 7s);
  EXPECT_EQ(resolver.asked, 3);
}

TEST_F(WatcherTest, a_failure_keeps_the_last_addresses_and_is_tried_again_soon) {
  resolver.answers["backend.test"] = {"192.0.2.1"};
  add("backend.test:80");
  start();
  resolver.answers.clear();
  advance(loop, clock, 30s);
  EXPECT_EQ(endpoints(), "192.0.2.1:80 ");
  resolver.answers["backend.test"] = {"192.0.2.9"};
  advance(loop, clock, 5s - 1ms);
  EXPECT_EQ(endpoints(), "192.0.2.1:80 ");
  advance(loop, clock, 1ms);
  EXPECT_EQ(endpoints(), "192.0.2.9:80 ");
}

TEST_F(WatcherTest, an_endpoint_that_stays_is_the_same_object_and_nothing_is_published_for_nothing) {
  resolver.answers["backend.test"] = {"192.0.2.1", "192.0.2.2"};
  add("backend.test:80");
  start();
  const std::uint64_t version = state->version();
  const auto before = state->endpoints();
  advance(loop, clock, 30s);
  EXPECT_EQ(state->version(), version);
  resolver.answers["backend.test"] = {"192.0.2.2", "192.0.2.3"};
  advance(loop, clock, 30s);
  EXPECT_GT(state->version(), version);
  const auto after = state->endpoints();
  ASSERT_EQ(after->size(), 2u);
  EXPECT_EQ((*after)[0], (*before)[1]);
}

TEST_F(WatcherTest, its_successor_begins_with_the_last_answer) {
  resolver.answers["backend.test"] = {"192.0.2.1"};
  add("backend.test:80");
  start();
  const auto before = state->endpoints();
  resolver.silent = true;
  start();
  EXPECT_FALSE(watcher->settled());
  EXPECT_EQ(*state->endpoints(), *before);
}

TEST_F(WatcherTest, an_answer_that_comes_after_its_end_is_nobodys) {
  resolver.silent = true;
  resolver.answers["backend.test"] = {"192.0.2.1"};
  add("backend.test:80");
  start();
  watcher.reset();
  resolver.speak();
  settle(loop);
  EXPECT_EQ(endpoints(), "");
}

// ---- health checks -------------------------------------------------------------------------------------------------

constexpr std::string_view kGood = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
constexpr std::string_view kBad = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

class HealthTest : public WatcherTest {
 protected:
  HealthTest() {
    add("127.0.0.1:9001");
    listen("127.0.0.1:9001");
    config.health = config::HealthConfig{.path = "/health",
                                         .interval = 10s,
                                         .timeout = 2s,
                                         .healthy_threshold = 2,
                                         .unhealthy_threshold = 3,
                                         .expected_status = {}};
  }
};

TEST_F(HealthTest, a_probe_carries_the_identity_and_nothing_of_a_client) {
  start();
  Peer peer = probe();
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer.receive(),
            "GET /health HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: postern-health\r\nX-Secret: the-secret\r\n"
            "X-Signed: GET 127.0.0.1:9001/health\r\nConnection: close\r\n\r\n");
  peer.send(kGood);
  EXPECT_TRUE(peer.finished());
  config.host_mode = config::HostMode::name;
  config.host_name = "orders.internal";
  start();
  peer = probe();
  const std::string named = peer.receive();
  EXPECT_NE(named.find("Host: orders.internal\r\n"), std::string::npos) << named;
  EXPECT_NE(named.find("X-Signed: GET orders.internal/health\r\n"), std::string::npos) << named;
}

TEST_F(HealthTest, thresholds_count_verdicts_in_a_row) {
  start();
  for (const bool expected : {true, true, false}) {
    round(kBad);
    EXPECT_EQ(first().healthy, expected);
  }
  round(kGood);
  EXPECT_FALSE(first().healthy);
  round(kBad);
  round(kGood);
  EXPECT_FALSE(first().healthy) << "not two in a row";
  round(kGood);
  EXPECT_TRUE(first().healthy);
  round(kBad);
  round(kBad);
  round(kGood);
  round(kBad);
  round(kBad);
  EXPECT_TRUE(first().healthy) << "not three in a row";
}

TEST_F(HealthTest, every_way_to_fail_counts) {
  config.health->unhealthy_threshold = 1;
  config.health->healthy_threshold = 1;
  start();
  const auto recover = [&] {
    round(kGood);
    EXPECT_TRUE(first().healthy);
  };
  for (const std::string_view answer :
       {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        "not HTTP at all\r\n\r\n", "HTTP/1.1 200", "HTTP/1.1 101 Switching Protocols\r\n\r\n", ""}) {
    round(answer);
    EXPECT_FALSE(first().healthy) << answer;
    recover();
  }
  identity->broken = true;
  round(kGood);
  Peer peer = probe();
  EXPECT_EQ(peer.receive(), "") << "without identity nothing is sent";
  EXPECT_FALSE(peer.open());
  advance(loop, clock, 10s);
  EXPECT_FALSE(first().healthy);
  identity->broken = false;
  door.acceptor.reset();
  advance(loop, clock, 10s);
  EXPECT_FALSE(first().healthy);
}

TEST_F(HealthTest, a_probe_has_its_time_and_not_more) {
  config.health->unhealthy_threshold = 1;
  start();
  Peer peer = probe();
  EXPECT_NE(peer.receive(), "");
  advance(loop, clock, 1s);
  peer.send("HTTP/1.1 102 Processing\r\n\r\n");  // buys no time
  advance(loop, clock, 1s - 1ms);
  EXPECT_TRUE(first().healthy);
  EXPECT_TRUE(peer.open());
  advance(loop, clock, 1ms);
  EXPECT_FALSE(first().healthy);
  EXPECT_FALSE(peer.open());
  network.black_hole(parse_socket_address("127.0.0.1:9001").value());
  state->endpoints()->front()->healthy = true;
  advance(loop, clock, 8s + 2s - 1ms);
  EXPECT_TRUE(first().healthy);
  advance(loop, clock, 1ms);
  EXPECT_FALSE(first().healthy);
}

TEST_F(HealthTest, only_the_expected_status_will_do) {
  config.health->unhealthy_threshold = 1;
  config.health->healthy_threshold = 1;
  config.health->expected_status = {204, 401};
  start();
  round(kGood);
  EXPECT_FALSE(first().healthy);
  round("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(first().healthy);
}

TEST_F(HealthTest, without_checks_an_old_verdict_does_not_stand_for_ever) {
  config.health->unhealthy_threshold = 1;
  start();
  round(kBad);
  EXPECT_FALSE(first().healthy);
  config.health.reset();
  start();
  EXPECT_TRUE(first().healthy);
}

TEST_F(HealthTest, a_watcher_that_is_replaced_in_the_middle_of_a_probe_leaves_the_endpoint_to_the_next) {
  start();
  Peer old = probe();
  EXPECT_NE(old.receive(), "");
  EXPECT_TRUE(first().being_checked);
  start();
  EXPECT_FALSE(old.open());
  Peer fresh = probe();
  ASSERT_TRUE(fresh) << "the endpoint still counts as being checked";
  fresh.receive();
  fresh.send(kGood);
  EXPECT_FALSE(first().being_checked);
  watcher.reset();
  EXPECT_EQ(buffers.in_use(), 0u);
}

TEST_F(HealthTest, no_probe_is_sent_after_the_permission_to_send_in_clear_has_ended) {
  config.insecure = config::InsecureConfig{"a test", clock.wall() + 15s};
  start();
  round(kGood);
  Peer second = probe();
  ASSERT_TRUE(second);
  second.receive();
  second.send(kGood);
  advance(loop, clock, 10s);
  EXPECT_FALSE(probe());
  advance(loop, clock, 60s);
  EXPECT_FALSE(probe());
  EXPECT_TRUE(first().healthy) << "nobody has judged it";
}

}  // namespace
}  // namespace postern::origins
