#include "http/connection/body_reader.h"

#include <gtest/gtest.h>

#include "http/connection/test_support.h"

namespace postern::http {
namespace {

constexpr BodyReader::Rules kRules{
    30s, 256, Code::request_timeout, Code::client_closed, Code::bad_framing, Code::bad_framing, Side::client};
constexpr std::string_view kHead = "<head>";

struct Reader : World {
  explicit Reader(MemoryOptions options = {}, BodyReader::Rules rules = kRules)
      : World(options), deadline(loop, *near), body(buffers, *near, deadline, head, loop, rules) {}
  ~Reader() { tasks.cancel_all(); }

  // `already` came together with the head.
  void begin(std::string_view already, Framing framing, std::uint64_t length = 0) {
    head.append(kHead);
    head.append(already);
    body.begin(kHead.size(), framing, length);
    tasks.spawn(collect(body, out, loop));
  }
  // What the next message would be read from: what was received, and what still comes.
  std::string rest() {
    std::string text(head.view());
    char chunk[64];
    for (;;) {
      settle(loop);
      const IoResult read = near->try_read(chunk);
      if (read.status != IoStatus::ok) return text;
      text.append(chunk, read.bytes);
    }
  }

  Buffer head{buffers};
  Deadline deadline;
  BodyReader body;
  Collected out;
};

struct Message {
  const char* name;
  Framing framing;
  std::string wire;
  std::string data;
  std::string trailers = {};
  std::uint64_t length = 0;
};

std::vector<Message> messages() {
  return {{"length", Framing::length, "hello, world", "hello, world", "", 12},
          {"one byte", Framing::length, "!", "!", "", 1},
          {"length of nothing", Framing::length, "", ""},
          {"none", Framing::none, "", ""},
          {"chunked", Framing::chunked, "5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n", "hello, world"},
          {"chunked with trailers", Framing::chunked, "c\r\nhello, world\r\n0\r\nX: y\r\nZ: w\r\n\r\n", "hello, world",
           "[X|y][Z|w]"},
          {"chunked of nothing", Framing::chunked, "0\r\n\r\n", ""}};
}

TEST(BodyReader, DeliversTheSameHoweverTheBytesCome) {
  const std::string next = "GET /next";
  for (const Message& message : messages()) {
    const std::string all = message.wire + next;
    for (const std::size_t max_read : {std::size_t{1}, std::size_t{3}, ~std::size_t{0}}) {
      for (std::size_t cut = 0; cut <= all.size(); ++cut) {
        Reader reader({.max_read = max_read});
        reader.begin(std::string_view(all).substr(0, cut), message.framing, message.length);
        settle(reader.loop);
        reader.far.send(std::string_view(all).substr(cut));
        settle(reader.loop);
        ASSERT_EQ(reader.out.data, message.data) << message.name << " cut at " << cut;
        ASSERT_NE(reader.out.end, "") << message.name << " cut at " << cut;
        ASSERT_EQ(reader.out.trailers, message.trailers);
        ASSERT_EQ(reader.body.received(), message.data.size());
        ASSERT_TRUE(reader.body.complete());
        ASSERT_TRUE(reader.body.end_message());
        ASSERT_EQ(reader.rest(), next) << message.name << " cut at " << cut;
      }
    }
  }
}

TEST(BodyReader, ManyBodiesInARowUseOneConnection) {
  Reader reader;
  std::string wire;
  for (int i = 0; i < 3; ++i) {
    for (const Message& message : messages()) {
      reader.head.append(wire.empty() ? kHead : "");
      wire += message.wire + std::string(kHead);
    }
  }
  reader.head.clear();
  reader.far.send(std::string(kHead) + wire);
  for (int i = 0; i < 3; ++i) {
    for (const Message& message : messages()) {
      char chunk[1000];
      if (reader.head.size() < kHead.size()) {
        const IoResult read = reader.near->try_read(chunk);
        ASSERT_EQ(read.status, IoStatus::ok);
        reader.head.append({chunk, read.bytes});
      }
      ASSERT_TRUE(reader.head.view().starts_with(kHead)) << message.name;
      reader.out = {};
      reader.body.begin(kHead.size(), message.framing, message.length);
      reader.tasks.spawn(collect(reader.body, reader.out, reader.loop));
      settle(reader.loop);
      ASSERT_EQ(reader.out.data, message.data);
      ASSERT_EQ(reader.out.trailers, message.trailers) << "trailers of another message";
      ASSERT_TRUE(reader.body.end_message());
    }
  }
  EXPECT_EQ(reader.head.view(), kHead);
}

TEST(BodyReader, UntilCloseEndsWithTheConnection) {
  Reader reader;
  reader.begin("he", Framing::until_close);
  settle(reader.loop);
  EXPECT_EQ(reader.out.data, "he");
  reader.far.send("llo");
  reader.far.finish();
  EXPECT_EQ(reader.out.data, "hello");
  EXPECT_EQ(reader.out.end, "end");
}

TEST(BodyReader, AResetIsNoEnd) {
  Reader reader;
  reader.begin("hello", Framing::until_close);
  settle(reader.loop);
  reader.far.abort();
  EXPECT_EQ(reader.out.end, "PST-R018 ");
  EXPECT_FALSE(reader.body.end_message());
}

TEST(BodyReader, AConnectionThatEndsInTheMiddleIsTruncation) {
  for (const Message& message : messages()) {
    for (std::size_t cut = 0; cut < message.wire.size(); ++cut) {
      for (const bool reset : {false, true}) {
        Reader reader;
        reader.begin("", message.framing, message.length);
        reader.far.send(message.wire.substr(0, cut));
        if (reset) {
          reader.far.abort();
        } else {
          reader.far.finish();
        }
        ASSERT_EQ(reader.out.end, reset ? "PST-R018 " : "PST-R003 the body ended too early")
            << message.name << ' ' << cut;
        ASSERT_FALSE(reader.body.complete());
        ASSERT_FALSE(reader.body.end_message());
      }
    }
  }
}

TEST(BodyReader, BrokenChunksAreTheFaultOfTheSideThatSentThem) {
  BodyReader::Rules rules = kRules;
  rules.malformed = Code::origin_malformed;
  rules.side = Side::origin;
  Reader reader({}, rules);
  reader.begin("5\r\nhello\r\n+5\r\n", Framing::chunked);
  settle(reader.loop);
  EXPECT_EQ(reader.out.data, "hello");
  EXPECT_EQ(reader.out.end, "PST-U005 malformed chunk size");
}

TEST(BodyReader, AnErrorBehindTheLastDataIsNotLost) {
  Reader reader;
  reader.begin("5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", Framing::chunked);
  settle(reader.loop);
  EXPECT_EQ(reader.out.data, "hello");
  EXPECT_EQ(reader.out.end, "PST-R003 a field that must not be a trailer");
  Reader missing;
  missing.begin("5\r\nhello0\r\n\r\n", Framing::chunked);
  settle(missing.loop);
  EXPECT_EQ(missing.out.end, "PST-R003 no CRLF after chunk data");
}

TEST(BodyReader, SaysThatAPieceIsTheLastOnlyIfNothingFollows) {
  const struct {
    Framing framing;
    std::uint64_t length;
    std::string_view bytes;
    bool last;
  } rows[] = {{Framing::length, 5, "hello", true},
              {Framing::length, 6, "hello", false},
              {Framing::chunked, 0, "5\r\nhello\r\n0\r\n\r\n", true},
              {Framing::chunked, 0, "5\r\nhello\r\n0\r\n\r", false},
              {Framing::chunked, 0, "5\r\nhello\r\n0\r\nX: y\r\n\r\n", false},
              {Framing::chunked, 0, "5\r\nhello\r\n0;x\r\n\r\n", true},
              {Framing::chunked, 0, "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", true},
              {Framing::chunked, 0, "3\r\nhel\r\n2\r\nlo\r\n5", false},
              {Framing::chunked, 0, "6\r\nhello", false},
              {Framing::until_close, 0, "hello", false}};
  for (const auto& row : rows) {
    Reader reader;
    reader.head.append(kHead);
    reader.head.append(row.bytes);
    reader.body.begin(kHead.size(), row.framing, row.length);
    const Result<BodyPiece> piece = reader.body.poll();
    ASSERT_TRUE(piece.has_value());
    EXPECT_EQ(piece->bytes, "hello") << row.bytes;
    EXPECT_EQ(piece->last, row.last) << row.bytes;
  }
}

TEST(BodyReader, SmallChunksThatHaveArrivedAreOnePiece) {
  std::string wire;
  for (int i = 0; i < 1000; ++i) wire += "1;ext=\"x\"\r\n" + std::string(1, static_cast<char>('a' + i % 26)) + "\r\n";
  const std::string large(8000, 'L');
  wire += "1f40\r\n" + large + "\r\n";
  wire += "1\r\nz\r\n0\r\nX: y\r\n\r\n";
  Reader reader;
  reader.head.append(kHead);
  reader.head.append(wire);
  reader.body.begin(kHead.size(), Framing::chunked, 0);
  Result<BodyPiece> piece = reader.body.poll();
  ASSERT_TRUE(piece.has_value());
  EXPECT_EQ(piece->bytes.size(), 9000u);
  EXPECT_EQ(piece->bytes.substr(24, 4), "yzab");
  EXPECT_EQ(piece->bytes.substr(1000), large);
  EXPECT_EQ(reader.body.received(), 9000u);
  piece = reader.body.poll();
  ASSERT_TRUE(piece.has_value());
  EXPECT_EQ(piece->bytes, "z");
  EXPECT_FALSE(piece->last) << "trailers follow";
  piece = reader.body.poll();
  ASSERT_TRUE(piece.has_value());
  EXPECT_EQ(piece->kind, BodyPiece::Kind::end);
  EXPECT_EQ(reader.body.trailers().size(), 1u);
}

TEST(BodyReader, NothingIsReadBeforeSomebodyAsks) {
  Reader reader({.capacity = 1000});
  reader.head.append(kHead);
  reader.body.begin(kHead.size(), Framing::length, 1'000'000);
  const std::string megabyte(1'000'000, 'x');
  EXPECT_EQ(reader.far.send(megabyte), 1000u);
  Result<BodyPiece> piece = reader.body.poll();
  ASSERT_TRUE(piece.has_value());
  EXPECT_EQ(piece->bytes.size(), 1000u);
  EXPECT_EQ(reader.far.send(megabyte), 1000u);
  EXPECT_EQ(reader.far.send(megabyte), 0u);
}

TEST(BodyReader, ALongBodyNeedsNoMoreThanOneBlock) {
  Reader reader({.capacity = 1 << 20});
  constexpr std::size_t kPiece = 200'000;
  constexpr std::size_t kPieces = 100;
  reader.begin("", Framing::length, kPiece * kPieces);
  std::size_t most = 0;
  for (std::size_t i = 0; i < kPieces; ++i) {
    reader.far.send(std::string(kPiece, 'x'));
    most = std::max(most, reader.buffers.in_use());
    reader.out.data.clear();
  }
  EXPECT_EQ(reader.out.end, "last");
  EXPECT_LE(most, 4096 + BufferPool::kLargest);
  EXPECT_TRUE(reader.body.end_message());
  EXPECT_EQ(reader.buffers.in_use(), 0u) << "an idle connection holds no buffer";
}

TEST(BodyReader, LeftoverIsWhatCameBeyondWhatWasDelivered) {
  Reader reader;
  reader.head.append(std::string(kHead) + "early frames");
  reader.body.begin(kHead.size(), Framing::none, 0);
  EXPECT_EQ(reader.body.leftover(), "early frames");
  Reader with_body;
  with_body.head.append(std::string(kHead) + "hellorest");
  with_body.body.begin(kHead.size(), Framing::length, 5);
  EXPECT_EQ(with_body.body.poll()->bytes, "hello");
  EXPECT_EQ(with_body.body.leftover(), "rest");
}

TEST(BodyReader, AnIncompleteBodyEndsTheConnection) {
  Reader reader;
  reader.head.append(std::string(kHead) + "hel");
  reader.body.begin(kHead.size(), Framing::length, 5);
  EXPECT_FALSE(reader.body.end_message());
  EXPECT_EQ(reader.body.poll()->bytes, "hel");
  EXPECT_FALSE(reader.body.end_message());
}

TEST(BodyReader, SilenceEndsAfterTheIdleTime) {
  Reader reader;
  const MonoTime began = reader.clock.now();
  reader.begin("hel", Framing::length, 5);
  advance(reader.loop, reader.clock, 29s + 999ms);
  EXPECT_EQ(reader.out.end, "");
  advance(reader.loop, reader.clock, 2ms);
  EXPECT_EQ(reader.out.end, "PST-R009 ");
  EXPECT_LE(reader.out.ended - began, 30s + 2ms);
}

TEST(BodyReader, EveryByteStartsTheIdleTimeAgain) {
  BodyReader::Rules rules = kRules;
  rules.min_rate = 0;
  Reader reader({}, rules);
  reader.begin("", Framing::length, 100);
  for (int i = 0; i < 99; ++i) {
    advance(reader.loop, reader.clock, 29s);
    reader.far.send("x");
  }
  EXPECT_EQ(reader.out.end, "");
  advance(reader.loop, reader.clock, 29s);
  reader.far.send("x");
  EXPECT_EQ(reader.out.end, "last");
}

// Slowloris in the body: a byte now and then is progress, but not enough.
TEST(BodyReader, AByteNowAndThenIsTooSlow) {
  for (const Framing framing : {Framing::length, Framing::chunked}) {
    Reader reader;
    const MonoTime began = reader.clock.now();
    reader.begin("", framing, 1'000'000);
    for (int i = 0; i < 20 && reader.out.end.empty(); ++i) {
      advance(reader.loop, reader.clock, 5s);
      reader.far.send(framing == Framing::length ? "x" : "1\r\nx\r\n");
    }
    EXPECT_EQ(reader.out.end, "PST-R009 ");
    EXPECT_LE(reader.out.ended - began, 36s);
  }
}

TEST(BodyReader, ChunkHeadersWithoutDataAreNoProgress) {
  Reader reader;
  reader.begin("5;", Framing::chunked);
  int sent = 0;
  for (; sent < 200 && reader.out.end.empty(); ++sent) {
    advance(reader.loop, reader.clock, 1s);
    reader.far.send("extension-without-end");  // 21 bytes a second of nothing
  }
  EXPECT_EQ(reader.out.end, "PST-R009 ");
  EXPECT_LE(sent, 62);
}

TEST(BodyReader, TheLeastRateIsEnough) {
  Reader reader;
  reader.begin("", Framing::length, 256 * 300 + 1);
  for (int i = 0; i < 300; ++i) {
    reader.far.send(std::string(256, 'x'));
    advance(reader.loop, reader.clock, 1s);
  }
  EXPECT_EQ(reader.out.end, "");
  reader.far.send("x");
  EXPECT_EQ(reader.out.end, "last");
}

TEST(BodyReader, WhatComesAtTheEndOfTheWindowCounts) {
  Reader reader;  // 256 bytes per second over 30 seconds
  reader.begin("", Framing::length, 256 * 30 + 1);
  for (int i = 0; i < 29; ++i) advance(reader.loop, reader.clock, 1s);
  reader.far.send("x");
  advance(reader.loop, reader.clock, 1s);
  reader.far.send(std::string(256 * 30 - 1, 'x'));
  EXPECT_EQ(reader.out.end, "");
  reader.far.send("x");
  EXPECT_EQ(reader.out.end, "last");
}

TEST(BodyReader, ASlowConsumerIsNotTheFaultOfTheSender) {
  Reader reader;
  reader.head.append(kHead);
  reader.body.begin(kHead.size(), Framing::length, 1000);
  reader.far.send("x");
  ASSERT_EQ(reader.body.poll()->bytes, "x");
  // For ten minutes nobody asks for more: the origin takes nothing. Then the consumer goes on and has to wait a moment.
  advance(reader.loop, reader.clock, 600s);
  reader.tasks.spawn(collect(reader.body, reader.out, reader.loop));
  settle(reader.loop);
  advance(reader.loop, reader.clock, 10ms);
  reader.far.send(std::string(999, 'x'));
  EXPECT_EQ(reader.out.end, "last");
}

TEST(BodyReader, AWaitCanBeInterrupted) {
  Reader reader;
  reader.begin("hel", Framing::length, 5);
  settle(reader.loop);
  reader.near->wake_reader(Wake::interrupted);
  settle(reader.loop);
  EXPECT_EQ(reader.out.end, "interrupted");
}

TEST(BodyReader, CancellingAWaitLeavesNothingBehind) {
  Reader reader;
  reader.begin("hel", Framing::length, 5);
  settle(reader.loop);
  reader.tasks.cancel_all();
  reader.far.send("lo");
  advance(reader.loop, reader.clock, 120s);
  EXPECT_EQ(reader.out.end, "");
  reader.tasks.spawn(collect(reader.body, reader.out, reader.loop));
  settle(reader.loop);
  EXPECT_EQ(reader.out.data, "hello");
}

}  // namespace
}  // namespace postern::http
