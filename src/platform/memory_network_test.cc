// The twin of the kernel's sockets must behave like them, or tests on it prove nothing.
#include "platform/memory_network.h"

#include <gtest/gtest.h>

#include <string>

#include "platform/socket_network.h"
#include "platform/test_support.h"

namespace postern {
namespace {

// The same checks on both kinds of streams.
class Streams : public ::testing::TestWithParam<const char*> {
 protected:
  Streams() : loop(real() ? static_cast<Clock&>(system) : static_cast<Clock&>(manual)), tasks(errors) {
    const SocketAddress address = parse_socket_address("127.0.0.1:0").value();
    Door door;
    door.acceptor = std::move(*network().listen(loop, address, door));
    tasks.spawn(connect(network(), loop, door.acceptor->local_address(), near));
    wait([&] { return near && !door.waiting.empty(); });
    far = std::move(door.waiting.front());
  }
  static Task<void> connect(Network& network, Loop& loop, SocketAddress address, std::unique_ptr<Stream>& out) {
    auto stream = co_await network.connect(loop, address, loop.now() + 10s);
    EXPECT_TRUE(stream);
    if (stream) out = std::move(*stream);
  }
  [[nodiscard]] bool real() const { return std::string_view(GetParam()) == "sockets"; }
  Network& network() { return real() ? static_cast<Network&>(sockets) : static_cast<Network&>(memory); }
  // Turns until it is true; on sockets the other side's packets take a moment.
  template <typename Condition>
  void wait(const Condition& condition) {
    bool met = condition();  // asked once per turn: asking may change things
    for (int turn = 0; turn < 1'000'000 && !met; ++turn) {
      loop.run_ready();
      met = condition();
    }
    EXPECT_TRUE(met);
  }
  IoStatus write(Stream& stream, std::string_view bytes) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    return stream.try_write({&part, 1}).status;
  }
  // Reads until there is no more for the moment; sets `end` if there never will be.
  std::string read(Stream& stream, IoStatus* end = nullptr) {
    std::string out;
    for (;;) {
      char chunk[100];
      const IoResult result = stream.try_read(chunk);
      if (result.status != IoStatus::ok) {
        if (end) *end = result.status;
        return out;
      }
      out.append(chunk, result.bytes);
    }
  }
  class Listener final : public Stream::AbortListener {
   public:
    int aborts = 0;

   private:
    void on_abort() override { ++aborts; }
  };

  ManualClock manual;
  SystemClock system;
  MemoryNetwork memory;
  SocketNetwork sockets;
  Loop loop;
  CountExceptions errors;
  TaskSet tasks;
  std::unique_ptr<Stream> near;
  std::unique_ptr<Stream> far;
};

TEST_P(Streams, half_close_is_read_as_the_end_and_the_other_direction_goes_on) {
  EXPECT_EQ(write(*near, "last"), IoStatus::ok);
  near->shutdown_write();
  IoStatus end = IoStatus::ok;
  std::string got;
  wait([&] { return got += read(*far, &end), end == IoStatus::eof; });
  EXPECT_EQ(got, "last");
  EXPECT_EQ(write(*far, "answer"), IoStatus::ok);
  got.clear();
  wait([&] { return got += read(*near), got == "answer"; });
  EXPECT_EQ(write(*near, "more"), IoStatus::error) << "after the end";
}

TEST_P(Streams, closing_in_order_is_an_end_and_closing_with_unread_bytes_a_reset) {
  IoStatus end = IoStatus::ok;
  EXPECT_EQ(write(*near, "unread"), IoStatus::ok);
  if (real()) {
    wait([&] { return far->may_read(); });
  } else {
    settle(loop);
  }
  far.reset();
  wait([&] { return static_cast<void>(read(*near, &end)), end == IoStatus::error; });
}

TEST_P(Streams, an_orderly_close_is_an_end_for_the_reader_and_a_reset_for_the_writer) {
  far.reset();
  IoStatus end = IoStatus::ok;
  wait([&] { return static_cast<void>(read(*near, &end)), end == IoStatus::eof; });
  EXPECT_EQ(write(*near, "into the void"), IoStatus::ok) << "the first write cannot know";
  wait([&] { return write(*near, "more") == IoStatus::error; });
}

TEST_P(Streams, reset_on_close_tells_the_listener_and_can_be_taken_back) {
  Listener listener;
  near->set_abort_listener(&listener);
  far->reset_on_close();
  far.reset();
  wait([&] { return listener.aborts != 0; });
  IoStatus end = IoStatus::ok;
  read(*near, &end);
  EXPECT_EQ(end, IoStatus::error);
}

TEST_P(Streams, taking_the_reset_back_closes_in_order) {
  far->reset_on_close();
  far->close_in_order();
  EXPECT_EQ(write(*far, "all of it"), IoStatus::ok);
  far.reset();
  IoStatus end = IoStatus::ok;
  std::string got;
  wait([&] { return got += read(*near, &end), end == IoStatus::eof; });
  EXPECT_EQ(got, "all of it");
}

// Both directions have ended in order, but what the peer sent still lies unread: no reason to call it off.
TEST_P(Streams, an_end_in_both_directions_is_no_abort) {
  Listener listener;
  near->set_abort_listener(&listener);
  near->shutdown_write();
  EXPECT_EQ(write(*far, "unread"), IoStatus::ok);
  far->shutdown_write();
  wait([&] { return near->may_read(); });
  for (int turn = 0; turn < 100; ++turn) loop.run_ready();
  EXPECT_EQ(listener.aborts, 0);
  IoStatus end = IoStatus::ok;
  EXPECT_EQ(read(*near, &end), "unread");
  EXPECT_EQ(end, IoStatus::eof);
  far->reset_on_close();
  far.reset();
}

Task<void> read_one(std::unique_ptr<Stream>& stream, std::string& log) {
  const Wake wake = co_await stream->readable();
  log += wake == Wake::ready ? "read " : "other ";
  stream.reset();  // from inside its own wake-up
  log += "gone ";
}

TEST_P(Streams, a_waiter_may_destroy_the_stream_that_woke_it) {
  std::string log;
  Listener listener;
  near->set_abort_listener(&listener);
  char nothing[10];
  while (near->try_read(nothing).status != IoStatus::would_block) loop.run_ready();
  tasks.spawn(read_one(near, log));
  far->reset_on_close();
  far.reset();  // readable, writable and aborted, all in one event
  wait([&] { return log == "read gone "; });
  EXPECT_EQ(listener.aborts, 0);
  loop.run_ready();
}

Task<void> write_one(Stream& stream, std::string& log) {
  const Wake wake = co_await stream.writable();
  log += wake == Wake::ready ? "writable " : "other ";
}

TEST_P(Streams, a_reset_wakes_whoever_waits_to_write) {
  std::string log;
  while (write(*near, std::string(100'000, 'x')) == IoStatus::ok) {
  }
  tasks.spawn(write_one(*near, log));
  EXPECT_EQ(log, "");
  far->reset_on_close();
  far.reset();
  wait([&] { return log == "writable "; });
  EXPECT_EQ(write(*near, "x"), IoStatus::error);
}

class Calls final : public Stream::WriteWatch {
 public:
  int count = 0;

 private:
  void on_wake(Wake /*wake*/) override { ++count; }
};

TEST_P(Streams, a_watch_is_called_each_time_the_stream_takes_more_until_it_is_taken_off) {
  const auto fill = [&] {
    while (write(*near, std::string(100'000, 'x')) == IoStatus::ok) {
    }
  };
  fill();
  for (int turn = 0; turn < 100; ++turn) loop.run_ready();
  Calls calls;
  calls.watch(*near);
  for (const int times : {1, 2}) {
    EXPECT_LT(calls.count, times);
    wait([&] { return read(*far), calls.count >= times; });
    fill();
  }
  calls.unwatch();
  const int before = calls.count;
  for (int turn = 0; turn < 1'000; ++turn) {
    read(*far);
    loop.run_ready();
  }
  EXPECT_EQ(calls.count, before);
  EXPECT_EQ(write(*near, "x"), IoStatus::ok);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Streams, ::testing::Values("memory", "sockets"));

class MemoryNetworkTest : public ::testing::Test {
 protected:
  MemoryNetworkTest() : loop(clock), tasks(errors) {}
  Task<void> connect(SocketAddress address, MonoTime deadline, std::string& out) {
    auto stream = co_await network.connect(loop, address, deadline);
    out = stream ? "connected" : stream.error().to_string();
  }
  ManualClock clock;
  Loop loop;
  MemoryNetwork network;
  CountExceptions errors;
  TaskSet tasks;
};

TEST_F(MemoryNetworkTest, an_address_is_one_acceptors_until_it_goes) {
  const SocketAddress address = parse_socket_address("192.0.2.1:80").value();
  Door door;
  door.acceptor = std::move(*network.listen(loop, address, door));
  EXPECT_FALSE(network.listen(loop, address, door));
  std::string out;
  tasks.spawn(connect(address, loop.now() + 1s, out));
  EXPECT_EQ(out, "") << "a connect is never immediate";
  settle(loop);
  EXPECT_EQ(out, "connected");
  door.acceptor.reset();
  tasks.spawn(connect(address, loop.now() + 1s, out));
  settle(loop);
  EXPECT_TRUE(out.starts_with("PST-U001")) << out;
}

TEST_F(MemoryNetworkTest, a_black_hole_takes_the_whole_time) {
  const SocketAddress address = parse_socket_address("192.0.2.1:80").value();
  network.black_hole(address);
  std::string out;
  tasks.spawn(connect(address, loop.now() + 3s, out));
  advance(loop, clock, 3s - 1ms);
  EXPECT_EQ(out, "");
  advance(loop, clock, 1ms);
  EXPECT_TRUE(out.starts_with("PST-U002")) << out;
}

}  // namespace
}  // namespace postern
