#include "http/connection/message_writer.h"

#include <gtest/gtest.h>

#include "http/connection/test_support.h"

namespace postern::http {
namespace {

constexpr MessageWriter::Failure kFailure{Code::origin_timeout, Code::origin_closed, Side::origin};

struct Writer : World {
  explicit Writer(MemoryOptions options = {}) : World(options), writer(loop, buffers, *near, 30s, kFailure) {}
  ~Writer() { tasks.cancel_all(); }

  void begin(Framing framing, std::uint64_t length = 0) {
    writer.head().append("<head>");
    writer.begin_body(framing, length);
  }
  // The outcome once it is there; "" while it goes on.
  std::string& write(std::string_view bytes, End end) {
    outcome.clear();
    tasks.spawn(store(writer.write(bytes, end), outcome));
    return outcome;
  }
  std::string& finish(const Headers& trailers = {}) {
    outcome.clear();
    tasks.spawn(store(writer.finish(trailers), outcome));
    return outcome;
  }

  MessageWriter writer;
  std::string outcome;
};

// Counts what a kernel would be asked.
class CountingStream final : public Stream {
 public:
  IoResult try_read(std::span<char>) override { return {IoStatus::would_block, 0, 0}; }
  IoResult try_write(std::span<const iovec> from) override {
    ++writes;
    std::size_t total = 0;
    for (const iovec& part : from) {
      bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
      total += part.iov_len;
    }
    return {IoStatus::ok, 0, total};
  }
  void shutdown_write() noexcept override {}
  void reset_on_close() noexcept override {}
  void close_in_order() noexcept override {}
  int writes = 0;
  std::string bytes;
};

TEST(MessageWriter, HeadAndFirstBytesLeaveInOneWrite) {
  for (const Framing framing : {Framing::length, Framing::chunked}) {
    for (const std::size_t size : {5u, 1024u, 1025u, 60'000u}) {
      World world;
      CountingStream stream;
      MessageWriter writer(world.loop, world.buffers, stream, 30s, kFailure);
      writer.head().append("<head>");
      writer.begin_body(framing, size);
      EXPECT_EQ(stream.writes, 0) << "the head waits for the body";
      std::string outcome;
      const std::string body(size, 'x');
      world.tasks.spawn(store(writer.write(body, End::last), outcome));
      EXPECT_EQ(outcome, "ok");
      EXPECT_EQ(stream.writes, 1);
      EXPECT_TRUE(writer.complete());
      EXPECT_EQ(writer.body_bytes(), size);
    }
  }
}

TEST(MessageWriter, WritesEachFramingAsTheStandardSays) {
  Headers trailers;
  trailers.append("X", "y");
  trailers.append("Z", "");
  {
    Writer w;
    w.begin(Framing::chunked);
    EXPECT_EQ(w.write("hello", End::more), "ok");
    EXPECT_EQ(w.write("", End::more), "ok") << "an empty chunk would end the body";
    EXPECT_EQ(w.write(std::string(26, 'x'), End::more), "ok");
    EXPECT_FALSE(w.writer.complete());
    EXPECT_EQ(w.finish(trailers), "ok");
    EXPECT_TRUE(w.writer.complete());
    EXPECT_EQ(w.far.receive(), "<head>5\r\nhello\r\n1a\r\n" + std::string(26, 'x') + "\r\n0\r\nX: y\r\nZ: \r\n\r\n");
  }
  {
    Writer w;
    w.begin(Framing::chunked);
    EXPECT_EQ(w.write("hello", End::last), "ok");
    EXPECT_EQ(w.finish(), "ok");
    EXPECT_EQ(w.far.receive(), "<head>5\r\nhello\r\n0\r\n\r\n") << "one end, however often it is asked for";
  }
  {
    Writer w;
    w.begin(Framing::chunked);
    EXPECT_EQ(w.write("", End::last), "ok");
    EXPECT_EQ(w.far.receive(), "<head>0\r\n\r\n");
  }
  {
    Writer w;
    w.begin(Framing::chunked);
    EXPECT_EQ(w.finish(), "ok");
    EXPECT_EQ(w.far.receive(), "<head>0\r\n\r\n");
  }
  {
    Writer w;
    w.begin(Framing::length, 10);
    EXPECT_EQ(w.write("hello", End::more), "ok");
    EXPECT_FALSE(w.writer.complete());
    EXPECT_EQ(w.write("world", End::more), "ok");
    EXPECT_TRUE(w.writer.complete());
    EXPECT_EQ(w.finish(trailers), "ok") << "trailers need chunks";
    EXPECT_EQ(w.far.receive(), "<head>helloworld");
  }
  {
    Writer w;
    w.begin(Framing::until_close);
    EXPECT_EQ(w.write("hello", End::more), "ok");
    EXPECT_FALSE(w.writer.complete());
    EXPECT_EQ(w.finish(trailers), "ok");
    EXPECT_TRUE(w.writer.complete());
    EXPECT_EQ(w.far.receive(), "<head>hello");
  }
  for (const Framing framing : {Framing::none, Framing::length}) {
    Writer w;
    w.begin(framing);
    EXPECT_FALSE(w.writer.complete()) << "the head is still here";
    EXPECT_EQ(w.write("", End::last), "ok");
    EXPECT_TRUE(w.writer.complete());
    EXPECT_EQ(w.far.receive(), "<head>");
  }
}

// CVE-2026-33555, CVE-2026-48743: a length that was announced and not met.
TEST(MessageWriter, ABodyOfAnotherLengthThanAnnouncedIsNeverCompleted) {
  const std::string mismatch = "PST-U004 body does not have the announced length";
  {
    Writer w;
    w.begin(Framing::length, 5);
    EXPECT_EQ(w.write("hello!", End::more), mismatch);
    EXPECT_FALSE(w.writer.complete());
    EXPECT_EQ(w.far.receive(), "");
  }
  {
    Writer w;
    w.begin(Framing::length, 5);
    EXPECT_EQ(w.write("hell", End::last), mismatch);
    EXPECT_FALSE(w.writer.complete());
  }
  {
    Writer w;
    w.begin(Framing::length, 5);
    EXPECT_EQ(w.write("hell", End::more), "ok");
    EXPECT_EQ(w.write("o!", End::last), mismatch);
    EXPECT_EQ(w.finish(), mismatch);
    EXPECT_FALSE(w.writer.complete());
    EXPECT_EQ(w.far.receive(), "<head>hell");
  }
  {
    Writer w;
    w.begin(Framing::none);
    EXPECT_EQ(w.write("hello", End::last), mismatch) << "bytes behind a head without a body would be the next message";
    EXPECT_EQ(w.far.receive(), "");
  }
}

TEST(MessageWriter, TheBytesAreTheSameHoweverLittleThePeerTakes) {
  Headers trailers;
  trailers.append("X", "y");
  const std::string big(3000, 'b');
  const std::string expected = "<head>5\r\nhello\r\nbb8\r\n" + big + "\r\n0\r\nX: y\r\n\r\n";
  for (std::size_t capacity = 1; capacity < 40; ++capacity) {
    Writer w({.capacity = capacity});
    w.begin(Framing::chunked);
    std::string got;
    const auto drain = [&] {
      for (int i = 0; i < 100'000 && w.outcome.empty(); ++i) {
        if (!w.far.receive_some(got)) break;
      }
    };
    for (const std::string& piece : {std::string("hello"), big}) {
      w.write(piece, End::more);
      drain();
      ASSERT_EQ(w.outcome, "ok") << capacity;
    }
    w.finish(trailers);
    drain();
    got += w.far.receive();
    ASSERT_EQ(w.outcome, "ok");
    ASSERT_EQ(got, expected) << capacity;
    ASSERT_TRUE(w.writer.complete());
  }
}

TEST(MessageWriter, AMessageIsIncompleteUntilItsLastByteIsTaken) {
  for (const Framing framing : {Framing::length, Framing::chunked, Framing::until_close}) {
    Writer w({.capacity = 16});
    w.begin(framing, 100);
    const std::string body(100, 'x');
    EXPECT_EQ(w.write(body, End::last), "");
    EXPECT_FALSE(w.writer.complete());
    std::string got;
    while (w.outcome.empty()) {
      EXPECT_FALSE(w.writer.complete());
      ASSERT_TRUE(w.far.receive_some(got));
    }
    EXPECT_TRUE(w.writer.complete());
  }
}

// An early response ends the exchange while the last piece of the request is half written: were the message taken for
// complete, the connection would be used again and the next request be read as the rest of this body.
TEST(MessageWriter, ACancelledWriteLeavesTheMessageIncomplete) {
  for (const Framing framing : {Framing::length, Framing::chunked, Framing::until_close}) {
    for (const bool head_first : {false, true}) {
      Writer w({.capacity = 16});
      w.begin(framing, 100);
      const std::string body(100, 'x');
      if (head_first) {
        w.outcome.clear();
        w.tasks.spawn(store(w.writer.flush(), w.outcome));
        ASSERT_EQ(w.outcome, "ok");
        ASSERT_EQ(w.far.receive(), "<head>");
      }
      w.write(body, End::last);
      ASSERT_EQ(w.outcome, "");
      w.tasks.cancel_all();
      EXPECT_FALSE(w.writer.complete()) << "head sent before: " << head_first;
    }
  }
}

TEST(MessageWriter, APeerThatTakesNothingForTheIdleTimeEndsTheMessage) {
  Writer w({.capacity = 16});
  w.begin(Framing::until_close);
  w.tasks.spawn(store(w.writer.flush(), w.outcome));
  ASSERT_EQ(w.far.receive(), "<head>");
  const std::string body(100, 'x');
  w.write(body, End::last);
  advance(w.loop, w.clock, 29s);
  EXPECT_EQ(w.outcome, "");
  std::string got;
  EXPECT_TRUE(w.far.receive_some(got));  // progress: the time begins anew
  advance(w.loop, w.clock, 29s);
  EXPECT_EQ(w.outcome, "");
  advance(w.loop, w.clock, 1s + 1ms);
  EXPECT_EQ(w.outcome, "PST-U003 ");
  EXPECT_FALSE(w.writer.complete()) << "what was cut off must not look whole";
}

TEST(MessageWriter, APeerThatIsGoneEndsTheMessage) {
  for (const bool in_the_middle : {false, true}) {
    Writer w({.capacity = 16});
    w.begin(Framing::length, 100);
    const std::string body(100, 'x');
    if (!in_the_middle) w.far.abort();
    w.write(body, End::last);
    if (in_the_middle) w.far.abort();
    EXPECT_EQ(w.outcome.substr(0, 8), "PST-U004");
    EXPECT_FALSE(w.writer.complete());
  }
}

TEST(MessageWriter, NothingIsBufferedButTheHead) {
  Writer w({.capacity = 1000});
  w.begin(Framing::length, 1 << 20);
  const std::string megabyte(1 << 20, 'x');
  w.write(megabyte, End::last);
  EXPECT_LE(w.buffers.in_use(), 4096u);
  std::string got;
  while (w.outcome.empty() && w.far.receive_some(got)) got.clear();
  EXPECT_EQ(w.outcome, "ok");
  w.writer.release_buffer();
  EXPECT_EQ(w.buffers.in_use(), 0u);
}

}  // namespace
}  // namespace postern::http
