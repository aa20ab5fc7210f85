// What the two HTTP/2 targets share: how an input becomes what a peer does, and a peer that does it.
//
// An input is a list of actions, one byte each with what belongs to it, so that the fuzzer need not find out lengths:
//
//   0 to 31   FLAGS STREAM SIZE PAYLOAD   a frame of that type (SIZE 255: two more bytes say the size, what is missing
//   of
//                                         the payload is filled up)
//   'T' N     N seconds pass              'X' N    the last frame N more times
//   'R' N     N bytes as they are         'S'      stop or go on reading what the other side says
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "check.h"
#include "platform/buffer.h"
#include "platform/loop.h"
#include "platform/memory_network.h"
#include "platform/task_set.h"

namespace postern::fuzz {

inline std::string h2_frame(unsigned type, unsigned flags, std::uint32_t stream, std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += static_cast<char>((payload.size() >> shift) & 0xffu);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>((stream >> shift) & 0xffu);
  out += payload;
  return out;
}

class NoExceptions final : public TaskSet::ErrorHandler {
 public:
  void on_task_exception(std::exception_ptr) noexcept override { check(false, "no exception leaves a task"); }
};

// The world in which one input is played: virtual time, and the far end of the connection.
class H2World {
 public:
  explicit H2World(std::uint64_t number) {
    MemoryOptions options;
    if (number % 3 == 0) options.max_read = 1 + number / 3 % 40;
    if (number % 5 == 0) options.capacity = 500 + number / 5 % 5000;
    auto [ours, theirs] = make_memory_pair(loop, options);
    near = std::move(ours);
    far = std::move(theirs);
  }
  H2World(const H2World&) = delete;
  H2World& operator=(const H2World&) = delete;

  void settle() {
    for (int turn = 0; loop.run_ready(); ++turn) {
      check(turn < 200'000, "the loop comes to rest");
      if (reading_) read();
    }
  }
  void pass(Duration time) {
    class Alarm final : public Timer {
     public:
      bool rang = false;

     private:
      void on_expired() override { rang = true; }
    } alarm;
    settle();
    loop.arm(alarm, clock.now() + time);
    for (int turn = 0; !alarm.rang; ++turn) {
      check(turn < 200'000, "time passes");
      loop.run_once();
      if (reading_) read();
    }
    settle();
  }
  // As far as the other side takes them.
  void send(std::string_view bytes) {
    for (int stuck = 0; far && !bytes.empty() && stuck < 3;) {
      iovec part{const_cast<char*>(bytes.data()), bytes.size()};
      const IoResult sent = far->try_write({&part, 1});
      if (sent.status == IoStatus::error) return;
      stuck = sent.bytes == 0 ? stuck + 1 : 0;
      bytes.remove_prefix(sent.bytes);
      settle();
    }
  }
  void play(std::string_view input) {
    std::string last;
    const auto take = [&](std::size_t most) {
      const std::string_view taken = input.substr(0, most);
      input.remove_prefix(taken.size());
      return taken;
    };
    const auto number = [&](std::size_t bytes) {
      std::size_t value = 0;
      for (const char c : take(bytes)) value = value << 8 | static_cast<unsigned char>(c);
      return value;
    };
    for (int actions = 0; !input.empty() && actions < 2000; ++actions) {
      const std::size_t action = number(1);
      if (action < 32) {
        const auto flags = static_cast<unsigned>(number(1));
        const auto stream = static_cast<std::uint32_t>(number(1));
        std::size_t size = number(1);
        if (size == 255) size = number(2);
        std::string payload(take(size));
        payload.resize(size, 'x');
        last = h2_frame(static_cast<unsigned>(action), flags, stream, payload);
        send(last);
      } else if (action == 'T') {
        pass(std::chrono::seconds(number(1)));
      } else if (action == 'X') {
        std::string all;
        for (std::size_t times = number(1); times != 0 && all.size() < 100'000; --times) all += last;
        send(all);
      } else if (action == 'R') {
        send(take(number(1)));
      } else if (action == 'S') {
        reading_ = !reading_;
        settle();
      }
    }
  }
  // Takes what the other side has said; it must consist of frames.
  void read() {
    while (far) {
      char bytes[4096];
      const IoResult got = far->try_read(bytes);
      if (got.status != IoStatus::ok) return;
      pending_.append(bytes, got.bytes);
      if (skip_ != 0) {
        const std::size_t skipped = std::min(skip_, pending_.size());
        pending_.erase(0, skipped);
        skip_ -= skipped;
      }
      while (skip_ == 0 && pending_.size() >= 9) {
        const auto byte = [&](std::size_t i) {
          return static_cast<std::size_t>(static_cast<unsigned char>(pending_[i]));
        };
        const std::size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
        check(length <= 16'384, "a frame is no larger than agreed");
        check(byte(3) <= 9, "a frame is of a known type");
        check(frames_ != 0 || byte(3) == 4, "SETTINGS come first");
        if (pending_.size() < 9 + length) break;
        ++frames_;
        pending_.erase(0, 9 + length);
      }
    }
  }
  // What is said first is no frame (the preface of a client).
  void skip(std::size_t bytes) { skip_ = bytes; }
  void close() {
    far.reset();
    settle();
  }

  ManualClock clock;
  Loop loop{clock};
  BufferPool buffers;
  NoExceptions exceptions;
  std::unique_ptr<Stream> near;
  std::unique_ptr<Stream> far;

 private:
  bool reading_ = true;
  std::size_t skip_ = 0;
  std::size_t frames_ = 0;
  std::string pending_;
};

}  // namespace postern::fuzz
