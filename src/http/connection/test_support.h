// For the tests of this folder: a loop in virtual time, and one connection whose far end is in the hands of the test.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "http/body.h"
#include "http/h1/test_support.h"
#include "platform/buffer.h"
#include "platform/loop.h"
#include "platform/task_set.h"
#include "platform/test_support.h"

namespace postern::http {

struct World {
  explicit World(MemoryOptions options = {}) {
    auto [ours, theirs] = make_memory_pair(loop, options);
    near = std::move(ours);
    far = Peer(loop, std::move(theirs));
  }
  // Whoever waits on the stream goes before it.
  ~World() {
    tasks.cancel_all();
    EXPECT_EQ(exceptions.count, 0);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  ManualClock clock;
  Loop loop{clock};
  BufferPool buffers;
  std::unique_ptr<Stream> near;  // moved into whatever is tested, or used by it
  Peer far;
  CountExceptions exceptions;
  TaskSet tasks{exceptions};

  [[nodiscard]] bool done() const noexcept { return tasks.empty(); }
};

// What a body gave.
struct Collected {
  std::string data;
  std::string end;  // "end", "last", "interrupted" or the error; "" while it goes on
  std::string trailers;
  MonoTime ended{};
};

inline Task<void> collect(BodySource& body, Collected& out, Loop& loop) {
  for (;;) {
    Result<BodyPiece> piece = body.poll();
    if (!piece) {
      out.end = h1::text_of(piece.error());
      break;
    }
    if (piece->kind == BodyPiece::Kind::wait) {
      const Wake wake = co_await body.wait();
      if (wake != Wake::interrupted) continue;
      out.end = "interrupted";
      break;
    }
    out.data.append(piece->bytes);
    if (piece->kind == BodyPiece::Kind::end || piece->last) {
      out.end = piece->last ? "last" : "end";
      out.trailers = h1::text_of(body.trailers());
      break;
    }
  }
  out.ended = loop.now();
}

inline Task<void> store(Task<Result<void>> task, std::string& out) {
  const Result<void> result = co_await std::move(task);
  out = result ? "ok" : h1::text_of(result.error());
}

}  // namespace postern::http
