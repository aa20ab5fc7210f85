#include "platform/loop.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <thread>

#include "platform/buffer.h"
#include "platform/deadline.h"
#include "platform/memory_network.h"
#include "platform/socket_network.h"
#include "platform/task_set.h"

namespace postern {
namespace {

using namespace std::chrono_literals;

class Exceptions final : public TaskSet::ErrorHandler {
 public:
  void on_task_exception(std::exception_ptr) noexcept override { ++count; }
  int count = 0;
};

void run_until_idle(Loop& loop) {
  for (int i = 0; i < 1'000'000 && loop.run_once(); ++i) {
  }
}

Task<int> ready_value() { return 41; }

Task<int> deep(int levels) {
  if (levels == 0) co_return 0;
  const int below = co_await deep(levels - 1);
  co_return below + 1;
}

Task<void> store(Task<int> task, int& out) { out = co_await std::move(task); }

TEST(Task, ReadyValueNeedsNoFrameAndDeepChainsDoNotOverflow) {
  Exceptions errors;
  TaskSet set(errors);
  int out = 0;
  set.spawn(store(ready_value(), out));
  EXPECT_EQ(out, 41);
  set.spawn(store(deep(5'000), out));
  EXPECT_EQ(out, 5'000);
  EXPECT_TRUE(set.empty());
}

Task<void> throws() {
  throw std::runtime_error("bug");
  co_return;
}

TEST(TaskSet, AnExceptionEndsOnlyItsTask) {
  Exceptions errors;
  TaskSet set(errors);
  set.spawn(throws());
  EXPECT_EQ(errors.count, 1);
  EXPECT_TRUE(set.empty());
}

Task<void> sleep_then(Loop& loop, Duration duration, std::string& log, const char* word) {
  co_await loop.sleep_for(duration);
  log += word;
}

TEST(Loop, VirtualTimeJumpsFromTimerToTimer) {
  ManualClock clock;
  Loop loop(clock);
  Exceptions errors;
  TaskSet set(errors);
  std::string log;
  set.spawn(sleep_then(loop, 2h, log, "late "));
  set.spawn(sleep_then(loop, 5ms, log, "early "));
  run_until_idle(loop);
  EXPECT_EQ(log, "early late ");
  EXPECT_TRUE(set.empty());
}

TEST(Loop, PostFromAnotherThreadRunsOnTheLoop) {
  SystemClock clock;
  Loop loop(clock);
  std::thread::id ran_on;
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) loop.post([] {});
    loop.post([&] {
      ran_on = std::this_thread::get_id();
      loop.stop();
    });
  });
  loop.run();
  poster.join();
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

// Sends `bytes` and finishes; reads everything to the end on the other side.
Task<void> send_all(Stream& stream, std::string bytes) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    iovec part{const_cast<char*>(rest.data()), rest.size()};
    const IoResult result = stream.try_write({&part, 1});
    if (result.status == IoStatus::ok) {
      rest.remove_prefix(result.bytes);
    } else if (result.status == IoStatus::would_block) {
      const Wake wake = co_await stream.writable();
      if (wake != Wake::ready) co_return;
    } else {
      co_return;
    }
  }
  stream.shutdown_write();
}

Task<void> receive_all(Stream& stream, std::string& out, IoStatus& end) {
  for (;;) {
    char chunk[1000];
    const IoResult result = stream.try_read(chunk);
    if (result.status == IoStatus::ok) {
      out.append(chunk, result.bytes);
    } else if (result.status == IoStatus::would_block) {
      const Wake wake = co_await stream.readable();
      if (wake != Wake::ready) co_return;
    } else {
      end = result.status;
      co_return;
    }
  }
}

TEST(MemoryNetwork, BytesArriveInOrderThroughBackpressureAndHalfClose) {
  ManualClock clock;
  Loop loop(clock);
  Exceptions errors;
  auto [a, b] = make_memory_pair(loop, {.capacity = 10, .max_read = 3});
  TaskSet set(errors);
  std::string sent;
  for (int i = 0; i < 1000; ++i) sent += std::to_string(i);
  std::string got;
  IoStatus end = IoStatus::ok;
  set.spawn(receive_all(*b, got, end));
  set.spawn(send_all(*a, sent));
  run_until_idle(loop);
  EXPECT_EQ(got, sent);
  EXPECT_EQ(end, IoStatus::eof);
  EXPECT_TRUE(set.empty());
}

Task<void> wait_with_deadline(Loop& loop, Stream& stream, Duration first, Duration extended, Duration& waited) {
  Deadline deadline(loop, stream);
  const MonoTime start = loop.now();
  deadline.set_after(first);
  deadline.set_after(extended);
  const Wake wake = co_await stream.readable();
  EXPECT_EQ(wake, Wake::timed_out);
  EXPECT_TRUE(deadline.expired());
  waited = loop.now() - start;
}

TEST(Deadline, CanBeMovedLaterAndEarlier) {
  ManualClock clock;
  Loop loop(clock);
  Exceptions errors;
  TaskSet set(errors);
  auto [a, b] = make_memory_pair(loop);
  Duration waited{};
  set.spawn(wait_with_deadline(loop, *a, 10ms, 300ms, waited));
  run_until_idle(loop);
  EXPECT_GE(waited, 300ms);
  EXPECT_LE(waited, 301ms);
  set.spawn(wait_with_deadline(loop, *a, 10s, 20ms, waited));
  run_until_idle(loop);
  EXPECT_GE(waited, 20ms);
  EXPECT_LE(waited, 21ms);
}

class KeepStream final : public AcceptHandler {
 public:
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) override {
    streams.push_back(std::move(stream));
    last_peer = peer;
  }
  std::vector<std::unique_ptr<Stream>> streams;
  PeerAddress last_peer;
};

Task<void> connect_and_echo(Network& network, Loop& loop, const SocketAddress& address, KeepStream& server,
                            std::string& log) {
  auto stream = co_await network.connect(loop, address, loop.now() + 5s);
  if (!stream) {
    log += stream.error().to_string();
    co_return;
  }
  co_await send_all(**stream, "hello");
  while (server.streams.empty()) co_await loop.sleep_for(1ms);
  std::string got;
  IoStatus end = IoStatus::ok;
  co_await receive_all(*server.streams[0], got, end);
  log += got;
}

TEST(SocketNetwork, TcpAndUnixConnectionsCarryBytes) {
  SystemClock clock;
  Loop loop(clock);
  SocketNetwork network;
  Exceptions errors;
  const std::string path = "/tmp/postern-loop-test-" + std::to_string(::getpid()) + ".sock";
  for (const std::string& text : {std::string("127.0.0.1:0"), std::string("[::1]:0"), "unix:" + path}) {
    KeepStream server;
    const auto address = parse_socket_address(text);
    ASSERT_TRUE(address);
    auto acceptor = network.listen(loop, *address, server);
    ASSERT_TRUE(acceptor) << acceptor.error().to_string();
    const SocketAddress bound = (*acceptor)->local_address();
    std::string log;
    TaskSet set(errors);
    set.spawn(connect_and_echo(network, loop, bound, server, log));
    while (!set.empty()) loop.run_once();
    EXPECT_EQ(log, "hello") << text;
    EXPECT_EQ(server.last_peer.port != 0, !bound.is_unix());
  }
  std::string log;
  KeepStream server;
  TaskSet set(errors);
  const auto gone = parse_socket_address("unix:" + path);
  set.spawn(connect_and_echo(network, loop, *gone, server, log));
  while (!set.empty()) loop.run_once();
  EXPECT_NE(log.find("PST-U001"), std::string::npos) << log;
}

TEST(SocketAddress, ParsesAndPrintsTheSameForms) {
  for (const char* text : {"127.0.0.1:80", "[::1]:8443", "[2001:db8::1]:0", "unix:/run/x.sock"}) {
    const auto address = parse_socket_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
  }
  for (const char* bad : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "[127.0.0.1]:80",
                          "unix:", "unix:x", "localhost:80", "127.0.0.1:80 ", "1.2.3.4.5:1"}) {
    EXPECT_FALSE(parse_socket_address(bad)) << bad;
  }
}

// Byte by byte beyond the largest block: every byte would copy all that came before.
TEST(Buffer, GrowsByDoubling) {
  BufferPool pool;
  Buffer buffer(pool);
  int blocks = 0;
  for (const char* data = nullptr; buffer.size() < 1'000'000; buffer.commit(1)) {
    const std::span<char> space = buffer.writable();
    space[0] = 'x';
    if (buffer.view().data() != data) ++blocks;
    data = buffer.view().data();
  }
  EXPECT_LE(blocks, 10);
}

TEST(Buffer, GrowsKeepsBytesAndGivesBlocksBack) {
  BufferPool pool;
  {
    Buffer buffer(pool);
    EXPECT_EQ(pool.in_use(), 0u);
    std::string expected;
    for (int i = 0; i < 20'000; ++i) {
      const std::string word = std::to_string(i);
      buffer.append(word);
      expected += word;
      if (i % 3 == 0) {
        buffer.consume(1);
        expected.erase(0, 1);
      }
    }
    EXPECT_TRUE(buffer.view() == expected);
    EXPECT_GE(buffer.capacity(), expected.size());
    Buffer moved = std::move(buffer);
    EXPECT_TRUE(moved.view() == expected);
    moved.consume(moved.size());
    EXPECT_TRUE(moved.empty());
  }
  EXPECT_EQ(pool.in_use(), 0u);
}

// Every suspension point: run a conversation to its n-th wait, then cancel everything. Sanitizers and the pool's count
// say whether anything was left behind or touched after its death.
Task<void> conversation(Loop& loop, Network& network, const SocketAddress& address, BufferPool& pool, int& waits) {
  Buffer buffer(pool);
  ++waits;
  auto stream = co_await network.connect(loop, address, loop.now() + 1s);
  if (!stream) co_return;
  Deadline deadline(loop, **stream);
  deadline.set_after(10s);
  for (int round = 0; round < 3; ++round) {
    ++waits;
    co_await send_all(**stream, std::string(100, 'x'));
    ++waits;
    co_await loop.sleep_for(1ms);
    char chunk[10];
    const IoResult result = (*stream)->try_read(chunk);
    if (result.status != IoStatus::ok) {
      ++waits;
      const Wake wake = co_await (*stream)->readable();
      if (wake != Wake::ready) co_return;
    } else {
      buffer.append({chunk, result.bytes});
    }
  }
}

class EchoServer final : public AcceptHandler {
 public:
  EchoServer(Loop& loop, TaskSet& tasks) : loop_(loop), tasks_(tasks) {}
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress&) override {
    tasks_.spawn(serve(loop_, std::move(stream)));
  }

 private:
  static Task<void> serve(Loop& loop, std::unique_ptr<Stream> stream) {
    for (;;) {
      char chunk[64];
      const IoResult result = stream->try_read(chunk);
      if (result.status == IoStatus::would_block) {
        const Wake wake = co_await stream->readable();
        if (wake != Wake::ready) co_return;
        continue;
      }
      if (result.status != IoStatus::ok) co_return;
      iovec part{chunk, result.bytes};
      static_cast<void>(stream->try_write({&part, 1}));
      co_await loop.sleep_for(1ms);
    }
  }
  Loop& loop_;
  TaskSet& tasks_;
};

TEST(Torture, CancelAtEveryTurnLeavesNothingBehind) {
  const auto address = parse_socket_address("127.0.0.1:1");
  for (std::size_t max_read : {std::size_t{1}, std::size_t{1000}}) {
    bool finished = false;
    int turns = 0;
    for (; !finished; ++turns) {
      ManualClock clock;
      Loop loop(clock);
      Exceptions errors;
      BufferPool pool;
      MemoryNetwork network({.capacity = 7, .max_read = max_read});
      int waits = 0;
      {
        TaskSet server_tasks(errors);
        EchoServer server(loop, server_tasks);
        const auto acceptor = network.listen(loop, *address, server);
        ASSERT_TRUE(acceptor);
        TaskSet set(errors);
        set.spawn(conversation(loop, network, *address, pool, waits));
        set.spawn(conversation(loop, network, *address, pool, waits));
        for (int turn = 0; turn < turns && !set.empty(); ++turn) loop.run_once();
        finished = set.empty();
        set.cancel_all();
        EXPECT_EQ(pool.in_use(), 0u);
        for (int turn = 0; turn < 5; ++turn) loop.run_once();
      }
      for (int turn = 0; turn < 5; ++turn) loop.run_once();
      EXPECT_EQ(errors.count, 0);
      ASSERT_LT(turns, 5000);
    }
    EXPECT_GT(turns, 10);
  }
}

}  // namespace
}  // namespace postern
