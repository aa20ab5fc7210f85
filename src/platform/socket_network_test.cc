#include "platform/socket_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>

#include "platform/test_support.h"

namespace postern {
namespace {

class SocketTest : public ::testing::Test {
 protected:
  SocketTest() : loop(clock), tasks(errors) {}

  std::unique_ptr<Acceptor> listen(const std::string& text, AcceptHandler& handler,
                                   Network::Share share = Network::Share::first) {
    auto acceptor = network.listen(loop, parse_socket_address(text).value(), handler, share);
    problem = acceptor ? "" : std::string(acceptor.error().detail());
    return acceptor ? std::move(*acceptor) : nullptr;
  }
  // A plain client socket, connected; the test closes it.
  int connect_raw(const SocketAddress& address) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
    return fd;
  }
  Task<void> connect(SocketAddress address, Duration limit, std::string& out) {
    auto stream = co_await network.connect(loop, address, loop.now() + limit);
    out = stream ? "connected" : stream.error().to_string();
  }
  template <typename Condition>
  void wait(const Condition& condition) {
    const auto guard = std::chrono::steady_clock::now() + 20s;
    while (!condition() && std::chrono::steady_clock::now() < guard) loop.run_ready();
    EXPECT_TRUE(condition());
  }
  std::string path(const char* name) const {
    return ::testing::TempDir() + "postern-socket-test-" + std::to_string(::getpid()) + "-" + name;
  }

  SystemClock clock;
  Loop loop;
  SocketNetwork network;
  CountExceptions errors;
  TaskSet tasks;
  Door door;
  std::string problem;
};

TEST_F(SocketTest, the_first_loop_finds_an_address_that_is_taken_and_the_others_join) {
  const auto first = listen("127.0.0.1:0", door);
  ASSERT_TRUE(first);
  const std::string address = first->local_address().to_string();
  EXPECT_FALSE(listen(address, door)) << "another process would share it silently";
  EXPECT_NE(problem.find(address), std::string::npos) << problem;
  EXPECT_TRUE(listen(address, door, Network::Share::join)) << problem;
}

TEST_F(SocketTest, a_unix_socket_that_is_left_behind_is_replaced_and_a_live_one_is_not) {
  const std::string where = "unix:" + path("stale");
  const int left_behind = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  path("stale").copy(un.sun_path, sizeof un.sun_path - 1);
  ASSERT_EQ(::bind(left_behind, reinterpret_cast<const sockaddr*>(&un), sizeof un), 0);
  ::close(left_behind);  // without unlink, as after a crash
  auto first = listen(where, door);
  ASSERT_TRUE(first) << problem;
  EXPECT_FALSE(listen(where, door));
  EXPECT_NE(problem.find("in use"), std::string::npos) << problem;
  first.reset();
  EXPECT_NE(::access(path("stale").c_str(), F_OK), 0) << "an acceptor that goes takes its path with it";
  // What is no socket is not ours to remove.
  ::close(::open(path("file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_FALSE(listen("unix:" + path("file"), door));
  EXPECT_EQ(::access(path("file").c_str(), F_OK), 0);
  ::unlink(path("file").c_str());
  EXPECT_FALSE(listen("unix:/" + std::string(200, 'x'), door));
  EXPECT_NE(problem.find("too long"), std::string::npos) << problem;
}

TEST_F(SocketTest, more_connections_than_one_turn_takes_are_all_accepted) {
  door.acceptor = listen("127.0.0.1:0", door);
  std::vector<int> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(connect_raw(door.acceptor->local_address()));
  loop.run_ready();
  EXPECT_LE(door.waiting.size(), 64u) << "the others' work is not starved";
  wait([&] { return door.waiting.size() == 200; });
  for (const int fd : clients) ::close(fd);
}

TEST_F(SocketTest, who_has_connected_before_the_acceptor_goes_is_not_reset) {
  door.acceptor = listen("127.0.0.1:0", door);
  std::vector<int> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(connect_raw(door.acceptor->local_address()));
  door.acceptor->accept_pending();
  door.acceptor.reset();
  EXPECT_EQ(door.waiting.size(), clients.size());
  for (const int fd : clients) {
    EXPECT_EQ(::send(fd, "x", 1, MSG_NOSIGNAL), 1);
    ::close(fd);
  }
}

// UBSan looks at memory through a pipe, for which there are no descriptors here: ThreadSanitizer's build has this test.
#if !__has_feature(undefined_behavior_sanitizer)
TEST_F(SocketTest, without_descriptors_the_loop_does_not_spin_and_accepts_when_there_are_some) {
  door.acceptor = listen("127.0.0.1:0", door);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int lowest = ::dup(0);
  ::close(lowest);
  const rlimit tight{static_cast<rlim_t>(lowest) + 1, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const int client = connect_raw(door.acceptor->local_address());  // the last one there is
  EXPECT_EQ(client, lowest);
  int turns = 0;
  const auto end = std::chrono::steady_clock::now() + 200ms;
  while (std::chrono::steady_clock::now() < end) {
    loop.run_once();
    ++turns;
  }
  EXPECT_LT(turns, 50) << "it polls twenty times a second";
  EXPECT_TRUE(door.waiting.empty());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  wait([&] { return door.waiting.size() == 1; });
  ::close(client);
}
#endif

class DestroysItself final : public AcceptHandler {
 public:
  void on_accept(std::unique_ptr<Stream>, const PeerAddress&) override {
    ++accepted;
    acceptor.reset();
  }
  std::unique_ptr<Acceptor> acceptor;
  int accepted = 0;
};

TEST_F(SocketTest, a_handler_may_end_its_acceptor) {
  DestroysItself handler;
  handler.acceptor = listen("127.0.0.1:0", handler);
  const SocketAddress address = handler.acceptor->local_address();
  const int first = connect_raw(address);
  const int second = connect_raw(address);
  wait([&] { return handler.accepted == 1; });
  for (int i = 0; i < 10; ++i) loop.run_ready();
  EXPECT_EQ(handler.accepted, 1);
  ::close(first);
  ::close(second);
}

TEST_F(SocketTest, connecting_fails_with_a_reason_that_says_it_may_be_tried_elsewhere) {
  std::string out;
  SocketAddress nobody;
  {
    const auto acceptor = listen("127.0.0.1:0", door);
    nobody = acceptor->local_address();
  }
  tasks.spawn(connect(nobody, 5s, out));
  wait([&] { return !out.empty(); });
  EXPECT_TRUE(out.starts_with("PST-U001")) << out;
  out.clear();
  tasks.spawn(connect(parse_socket_address("unix:" + path("nowhere")).value(), 5s, out));
  wait([&] { return !out.empty(); });
  EXPECT_TRUE(out.starts_with("PST-U001")) << out;
}

TEST_F(SocketTest, connecting_has_its_time_and_may_be_cancelled) {
  // A listener whose queue is full does not answer: this is how a silent host looks.
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof in;
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&in), size), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&in), &size), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  const SocketAddress address{IpAddress::parse("127.0.0.1").value(), ntohs(in.sin_port), {}};
  const int fills_the_queue = connect_raw(address);
  std::string out;
  tasks.spawn(connect(address, 50ms, out));
  wait([&] { return !out.empty(); });
  EXPECT_TRUE(out.starts_with("PST-U002")) << out;
  out.clear();
  const int lowest = ::dup(0);
  ::close(lowest);
  tasks.spawn(connect(address, 10min, out));
  loop.run_ready();
  tasks.cancel_all();
  const int after = ::dup(0);
  EXPECT_EQ(after, lowest) << "the descriptor is leaked";
  ::close(after);
  ::close(fills_the_queue);
  ::close(listener);
}

TEST_F(SocketTest, a_unix_socket_whose_queue_is_full_is_waited_for) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  path("full").copy(un.sun_path, sizeof un.sun_path - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&un), sizeof un), 0);
  ASSERT_EQ(::listen(listener, 0), 0);
  const SocketAddress address = parse_socket_address("unix:" + path("full")).value();
  std::string first;
  std::string second;
  std::string third;
  tasks.spawn(connect(address, 10min, first));
  EXPECT_EQ(first, "connected");
  tasks.spawn(connect(address, 30ms, second));
  tasks.spawn(connect(address, 10min, third));
  wait([&] { return !second.empty(); });
  EXPECT_TRUE(second.starts_with("PST-U002")) << second;
  EXPECT_EQ(third, "");
  ::close(::accept(listener, nullptr, nullptr));
  wait([&] { return !third.empty(); });
  EXPECT_EQ(third, "connected");
  // Who waits may be cancelled, and its descriptor goes with it.
  const int lowest = ::dup(0);
  ::close(lowest);
  tasks.spawn(connect(address, 10min, first));
  tasks.cancel_all();
  const int after = ::dup(0);
  EXPECT_EQ(after, lowest);
  ::close(after);
  ::close(listener);
  ::unlink(path("full").c_str());
}

TEST_F(SocketTest, peers_have_addresses_of_their_own_family_and_mapped_ones_are_ipv4) {
  for (const char* text : {"127.0.0.1:0", "[::1]:0"}) {
    class Keep final : public AcceptHandler {
     public:
      void on_accept(std::unique_ptr<Stream> accepted, const PeerAddress& from) override {
        stream = std::move(accepted);
        peer = from;
      }
      std::unique_ptr<Stream> stream;
      PeerAddress peer;
    } keep;
    const auto acceptor = listen(text, keep);
    ASSERT_TRUE(acceptor) << problem;
    std::string out;
    tasks.spawn(connect(acceptor->local_address(), 5s, out));
    wait([&] { return keep.stream != nullptr; });
    EXPECT_EQ(keep.peer.ip, acceptor->local_address().ip);
    EXPECT_NE(keep.peer.port, 0);
  }
}

// ---- the loop's registrations ---------------------------------------------------------------------------------------

class Handler final : public Loop::Handler {
 public:
  std::function<void(std::uint32_t)> on_event;

 private:
  void on_events(std::uint32_t events) override { on_event(events); }
};

TEST_F(SocketTest, an_event_of_this_turn_does_not_reach_who_was_removed_in_it) {
  int a[2];
  int b[2];
  ASSERT_EQ(::pipe2(a, O_NONBLOCK | O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(b, O_NONBLOCK | O_CLOEXEC), 0);
  Handler first;
  Handler second;
  int events = 0;
  first.on_event = [&](std::uint32_t) {
    ++events;
    loop.remove_fd(b[0]);
  };
  second.on_event = [&](std::uint32_t) {
    ++events;
    loop.remove_fd(a[0]);
  };
  ASSERT_TRUE(loop.add_fd(a[0], EPOLLIN | EPOLLET, first));
  ASSERT_TRUE(loop.add_fd(b[0], EPOLLIN | EPOLLET, second));
  ASSERT_EQ(::write(a[1], "x", 1), 1);
  ASSERT_EQ(::write(b[1], "x", 1), 1);
  for (int i = 0; i < 5; ++i) loop.run_ready();
  EXPECT_EQ(events, 1) << "whoever came first removed the other";
  loop.remove_fd(a[0]);
  loop.remove_fd(b[0]);
  for (const int fd : {a[0], a[1], b[0], b[1]}) ::close(fd);
}

// A new connection may have the number, and even the address, of the one that ended in the same event.
TEST_F(SocketTest, a_registration_is_told_from_its_successor_with_the_same_number_and_handler) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_NONBLOCK | O_CLOEXEC), 0);
  Handler handler;
  ASSERT_TRUE(loop.add_fd(pipe[0], EPOLLIN, handler));
  const std::uint32_t before = loop.registration(pipe[0]);
  loop.remove_fd(pipe[0]);
  EXPECT_NE(loop.registration(pipe[0]), before);
  ASSERT_TRUE(loop.add_fd(pipe[0], EPOLLIN, handler));
  EXPECT_NE(loop.registration(pipe[0]), before);
  loop.remove_fd(pipe[0]);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

}  // namespace
}  // namespace postern
