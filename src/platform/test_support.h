// For tests of this room and those above: a loop in virtual time, and the far end of an in-memory connection in the
// hands of the test.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "platform/memory_network.h"
#include "platform/task_set.h"

namespace postern {

using namespace std::chrono_literals;

// Runs what is ready; virtual time stands still.
inline void settle(Loop& loop) {
  for (int turn = 0; loop.run_ready(); ++turn) {
    if (turn == 1'000'000) {
      ADD_FAILURE() << "the loop does not come to rest";
      return;
    }
  }
}

// One end of a connection. Nothing is read before the test asks, so a test that does not ask is a slow reader.
class Peer {
 public:
  Peer() = default;
  Peer(Loop& loop, std::unique_ptr<Stream> stream) : loop_(&loop), stream_(std::move(stream)) {}

  // True if there is a connection at all.
  explicit operator bool() const noexcept { return stream_ != nullptr; }

  // Hands over `bytes` as far as the other side takes them; returns how many.
  std::size_t send(std::string_view bytes) {
    if (!stream_) return 0;
    settle(*loop_);
    const std::size_t total = bytes.size();
    for (int stuck = 0; !bytes.empty() && stuck < 2;) {
      iovec part{const_cast<char*>(bytes.data()), bytes.size()};
      const IoResult result = stream_->try_write({&part, 1});
      if (result.status == IoStatus::error) break;
      stuck = result.status == IoStatus::ok ? 0 : stuck + 1;
      bytes.remove_prefix(result.bytes);
      settle(*loop_);
    }
    return total - bytes.size();
  }

  // Hands over `bytes`, which fit, in this turn: the loop has not told anybody yet.
  void slip_in(std::string_view bytes) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    EXPECT_EQ(stream_->try_write({&part, 1}).bytes, bytes.size());
  }

  // Everything that has arrived since the last call, and what arrives because of it.
  std::string receive() {
    std::string out;
    while (receive_some(out)) {
    }
    return out;
  }
  // At most one read's worth: a reader that is slow, but reads.
  bool receive_some(std::string& out) {
    if (!stream_) return false;
    settle(*loop_);
    char chunk[4096];
    const IoResult result = stream_->try_read(chunk);
    if (result.status == IoStatus::eof) finished_ = true;
    if (result.status == IoStatus::error) reset_ = true;
    if (result.status != IoStatus::ok) return false;
    out.append(chunk, result.bytes);
    return true;
  }

  // What the gateway did with its side; both look at what has arrived, and fail the test if that is data.
  bool finished() { return nothing_more() && finished_; }
  bool reset() { return nothing_more() && reset_; }
  bool open() { return nothing_more() && !finished_ && !reset_; }

  void finish() {
    stream_->shutdown_write();
    settle(*loop_);
  }
  void close() {
    stream_.reset();
    settle(*loop_);
  }
  void abort() {
    stream_->reset_on_close();
    close();
  }

 private:
  bool nothing_more() {
    const std::string unexpected = receive();
    EXPECT_EQ(unexpected, "");
    return true;
  }
  Loop* loop_ = nullptr;
  std::unique_ptr<Stream> stream_;
  bool finished_ = false;
  bool reset_ = false;
};

// Lets virtual time pass, to the millisecond, and everything happen that is due by then.
inline void advance(Loop& loop, ManualClock& clock, Duration by) {
  class Alarm final : public Timer {
   public:
    bool rang = false;

   private:
    void on_expired() override { rang = true; }
  } alarm;
  settle(loop);
  loop.arm(alarm, clock.now() + by);
  while (!alarm.rang) loop.run_once();
  settle(loop);
}

// An address at which the test takes connections.
class Door final : public AcceptHandler {
 public:
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress&) override { waiting.push_back(std::move(stream)); }
  std::unique_ptr<Acceptor> acceptor;
  std::deque<std::unique_ptr<Stream>> waiting;
};

// Counts exceptions that left a task: there should be none.
class CountExceptions final : public TaskSet::ErrorHandler {
 public:
  void on_task_exception(std::exception_ptr) noexcept override { ++count; }
  int count = 0;
};

}  // namespace postern
