// What a writer leaves to the end of the turn: that it goes out, that nobody waits for it, and what happens if
// something comes in between.
#include <gtest/gtest.h>

#include "http/h2/test_client.h"
#include "http/h2/test_server.h"
#include "platform/event.h"

namespace postern::http::h2 {
namespace {

using Role = Library::Role;

// Answers when it is told to: with `pieces`, each of them once the one before was taken, then with `trailers`.
class Answers final : public RequestHandler {
 public:
  explicit Answers(Loop& loop) : go(loop), pause(loop) {}

  [[nodiscard]] Task<AfterResponse> handle(Downstream& client) override {
    Exchange exchange;
    const Result<void> received = co_await client.receive(exchange);
    EXPECT_TRUE(received);
    if (waits) co_await go.wait();
    ResponseHead head;
    head.status = 200;
    head.framing = Framing::chunked;
    client.start(head);
    for (std::string piece : pieces) {  // a copy of its own, which goes when the write is done
      const Result<void> written = co_await client.write(piece, End::more);
      if (!written) {
        said = h1::text_of(written.error());
        co_return AfterResponse::close;
      }
      sent.push_back(client.sent());
      if (pauses) co_await pause.wait();
    }
    if (breaks_off) co_return AfterResponse::close;
    Headers fields;
    const std::string value = trailer;
    if (!value.empty()) fields.append("grpc-status", value);
    const Result<void> finished = co_await client.finish(fields);
    said = finished ? "ok" : h1::text_of(finished.error());
    sent.push_back(client.sent());
    co_return AfterResponse::keep_alive;
  }

  Event go;
  Event pause;
  bool waits = true;
  bool pauses = false;
  bool breaks_off = false;
  std::vector<std::string> pieces = {"hello"};
  std::string trailer;
  std::string said;                 // of the end: "ok" or the error
  std::vector<std::uint64_t> sent;  // after each write
};

struct Scene final : World {
  Scene() = default;
  ~Scene() { tasks.cancel_all(); }

  void greet(const std::vector<Setting>& theirs = {}) {
    session = std::make_unique<ServerSession>(ServerSession::Services{loop, buffers, exceptions, handler, &counters},
                                              std::move(near), facts, limits, http2);
    tasks.spawn(serve());
    EXPECT_EQ(say(std::string(kPreface) + settings(theirs)), "");
  }
  std::string say(std::string_view bytes) {
    far.send(bytes);
    return join(transcript.read(far.receive()));
  }
  // The handler answers, and before what it said goes out the client says `bytes`.
  std::string answer_and(std::string_view bytes) {
    handler.go.set();
    far.slip_in(bytes);
    return join(transcript.read(far.receive()));
  }

  ServerLimits limits;
  Limits http2;
  ConnectionFacts facts;
  Counters counters;
  Answers handler{loop};
  Transcript transcript;
  std::unique_ptr<ServerSession> session;

 private:
  Task<void> serve() {
    co_await session->serve({});
    session.reset();
  }
};

const std::string kNoWindow = settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}});

// ---- to a client ----

TEST(HandOver, AnAnswerIsOneFrameWithItsEnd) {
  Scene scene;
  scene.greet();
  EXPECT_EQ(scene.say(headers(1, request("GET", "/"))), "");
  EXPECT_EQ(scene.answer_and(""), "headers 1 :status=200; data 1 5 end");
  EXPECT_EQ(scene.handler.said, "ok");
  EXPECT_EQ(scene.handler.sent, (std::vector<std::uint64_t>{5, 5})) << "counted when handed over, and once";
  EXPECT_EQ(scene.session->streams(), 0u);
}

TEST(HandOver, TrailersOutliveTheirWriter) {
  Scene scene;
  scene.handler.trailer = "a value that is too long for the string to hold it itself";
  scene.transcript.all_fields = true;
  scene.greet();
  scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(scene.answer_and(""),
            "headers 1 :status=200; data 1 5; headers 1 grpc-status=" + scene.handler.trailer + " end");
}

TEST(HandOver, LargeTrailersAreWaitedFor) {
  Scene scene;
  scene.handler.trailer = std::string(2000, 'x');
  scene.greet();
  scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(scene.answer_and(kNoWindow), "headers 1 :status=200; data 1 5; headers 1 end");
  EXPECT_EQ(scene.handler.said, "ok");
}

TEST(HandOver, PiecesOfOneTurnStayInOrder) {
  Scene scene;
  scene.handler.pieces = {"abc", "", "de", std::string(3000, 'f'), "g"};
  scene.greet();
  scene.handler.waits = false;
  const std::string said = scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(said, "headers 1 :status=200; data 1 3; data 1 2; data 1 3000; data 1 1 end");
  EXPECT_EQ(scene.handler.sent, (std::vector<std::uint64_t>{3, 3, 5, 3005, 3006, 3006}));
}

// Copies stay as long as the stream does: a stream that goes on and on must not pile them up.
TEST(HandOver, OnlySoMuchOfAStream) {
  for (const std::size_t before : {std::size_t{1023}, std::size_t{1024}}) {
    Scene scene;
    scene.handler.pieces = {std::string(before, 'x'), "y"};
    scene.handler.pauses = true;
    scene.greet();
    scene.say(headers(1, request("GET", "/")));
    EXPECT_EQ(scene.answer_and(""), "headers 1 :status=200; data 1 " + std::to_string(before));
    scene.handler.pauses = false;
    scene.handler.pause.set();
    EXPECT_EQ(scene.say(""), before == 1023 ? "data 1 1 end" : "data 1 1; data 1 0 end")
        << "with its end, or before it";
    EXPECT_EQ(scene.handler.said, "ok");
  }
}

TEST(HandOver, NotMoreThanTheWindowOfTheStream) {
  Scene scene;
  scene.greet({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 4}});
  scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(scene.answer_and(""), "headers 1 :status=200; data 1 4");
  EXPECT_EQ(scene.handler.said, "") << "it waits";
  advance(scene.loop, scene.clock, scene.limits.write_idle_timeout);
  EXPECT_EQ(scene.handler.said, "PST-R018 takes nothing");
  EXPECT_EQ(scene.say(""), "rst 1 2");
}

TEST(HandOver, NotMoreThanTheWindowOfTheConnection) {
  Server server;
  server.greet();
  std::string all;
  for (std::uint32_t i = 0; i < 70; ++i) all += headers(2 * i + 1, request("GET", "/bytes/1000"));
  server.say(all);
  EXPECT_EQ(server.service.running, 70 - 65) << "65,535 bytes are 65 of them, however many are answered in one turn";
  server.say(window_update(0, 10'000));
  EXPECT_EQ(server.service.running, 0);
  EXPECT_EQ(server.session->streams(), 0u);
}

TEST(HandOver, NotMoreThanTheOutputHolds) {
  Server server({.capacity = 1000});
  server.http2.max_output = 8000;
  server.greet();
  // Nobody reads what is answered.
  for (std::uint32_t i = 0; i < 20; ++i) server.far.send(headers(2 * i + 1, request("GET", "/bytes/1000")));
  EXPECT_GT(server.service.running, 10);
  advance(server.loop, server.clock, server.limits.write_idle_timeout);
  EXPECT_EQ(server.service.running, 0) << "and not for ever";
  EXPECT_TRUE(server.ended);
}

TEST(HandOver, NothingWhereNothingGoesOut) {
  for (const bool answers_first : {true, false}) {
    Scene scene;
    scene.greet();
    scene.say(headers(1, request("GET", "/")));
    std::string flood;
    for (int i = 0; i < 300; ++i) flood += ping();
    if (answers_first) {
      EXPECT_EQ(scene.answer_and(flood), "goaway 1 11");
      EXPECT_EQ(scene.handler.said, "ok");
    } else {
      scene.far.slip_in(flood);
      EXPECT_EQ(scene.answer_and(""), "goaway 1 11");
      EXPECT_NE(scene.handler.said, "ok") << "its answer is not taken for sent";
    }
    EXPECT_EQ(scene.session->streams(), 0u);
    EXPECT_TRUE(scene.far.finished());
  }
}

TEST(HandOver, AnUnfinishedRequestIsNotCutOffBeforeItsAnswer) {
  Scene scene;
  scene.greet();
  scene.say(headers(1, request("POST", "/"), false) + data(1, "abc"));
  EXPECT_EQ(scene.answer_and(""), "headers 1 :status=200; data 1 5; data 1 0 end; rst 1 0");
  EXPECT_EQ(scene.session->streams(), 0u);
}

TEST(HandOver, WhatWasWrittenGoesOutBeforeItBreaksOff) {
  Scene scene;
  scene.handler.breaks_off = true;
  scene.greet();
  scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(scene.answer_and(""), "headers 1 :status=200; data 1 5; rst 1 2");
}

TEST(HandOver, TheClientMayGiveUpInBetween) {
  for (const bool reads : {false, true}) {
    Scene scene;
    scene.handler.pauses = reads;  // somewhere in the middle
    scene.greet();
    scene.say(headers(1, request("GET", "/")));
    EXPECT_EQ(scene.answer_and(rst_stream(1, 8)), "");
    EXPECT_EQ(scene.session->streams(), 0u);
    EXPECT_EQ(scene.say(ping()), "ping ack");
  }
}

TEST(HandOver, TheConnectionMayEndInBetween) {
  Scene scene;
  scene.greet();
  scene.say(headers(1, request("GET", "/")));
  scene.handler.go.set();
  scene.far.abort();
  EXPECT_TRUE(scene.done());
  EXPECT_EQ(scene.buffers.in_use(), 0u);
}

// A smaller window is the client's right, and what was handed over before has no writer any more who waits for it.
TEST(HandOver, WhatIsHeldBackGoesOutWhenTheWindowOpens) {
  Scene scene;
  scene.handler.trailer = "0";
  scene.greet();
  scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(scene.answer_and(kNoWindow), "headers 1 :status=200");
  EXPECT_EQ(scene.handler.said, "ok");
  EXPECT_EQ(scene.session->streams(), 1u);
  advance(scene.loop, scene.clock, scene.limits.write_idle_timeout - 1s);
  EXPECT_EQ(scene.say(window_update(1, 3)), "data 1 3");
  EXPECT_EQ(scene.say(window_update(1, 3)), "data 1 2; headers 1 end");
  EXPECT_EQ(scene.session->streams(), 0u);
  advance(scene.loop, scene.clock, 10s);
  EXPECT_EQ(scene.say(ping()), "ping ack") << "nothing is left to be cut off";
}

TEST(HandOver, WhatIsHeldBackIsCutOffInTime) {
  Scene scene;
  scene.greet();
  scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(scene.answer_and(kNoWindow), "headers 1 :status=200");
  advance(scene.loop, scene.clock, 10s);
  // Whoever holds something back gets nothing more in advance.
  scene.handler.said.clear();
  EXPECT_EQ(scene.say(headers(3, request("GET", "/")) + window_update(3, 100)), "");
  EXPECT_EQ(scene.answer_and(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}})),
            "headers 3 :status=200; data 3 5; data 3 0 end");
  advance(scene.loop, scene.clock, scene.limits.write_idle_timeout - 11s);
  EXPECT_EQ(scene.say(""), "");
  advance(scene.loop, scene.clock, 2s);
  EXPECT_EQ(scene.say(""), "rst 1 2");
  EXPECT_EQ(scene.session->streams(), 0u);
  EXPECT_EQ(scene.say(ping()), "ping ack");
}

TEST(HandOver, ADrainWaitsForWhatIsHeldBack) {
  Scene scene;
  scene.greet();
  scene.say(headers(1, request("GET", "/")));
  EXPECT_EQ(scene.answer_and(kNoWindow), "headers 1 :status=200");
  scene.session->drain();
  EXPECT_EQ(scene.say(""), "goaway 2147483647 0; ping");
  EXPECT_EQ(scene.say(frame(FrameType::ping, kAckFlag, 0, std::string_view("drain\0\0\0", 8))), "goaway 1 0");
  EXPECT_FALSE(scene.done());
  EXPECT_EQ(scene.say(window_update(1, 100)), "data 1 5 end");
  EXPECT_TRUE(scene.far.finished());
}

// ---- to an origin ----

struct Upload : Exchanging {
  explicit Upload(std::string bytes, Framing framing = Framing::length) : Exchanging("POST", "/") {
    upload = std::move(bytes);
    request.framing = framing;
    request.content_length = upload.size();
  }
};

TEST(HandOver, ARequestOutlivesItsWriter) {
  Client client;
  client.start();
  Library origin(Role::server, client.far);
  origin.run();
  Upload exchange("abc");
  client.begin_only(exchange);
  EXPECT_EQ(exchange.uploaded, "ok");
  exchange.upload.assign("xyz");
  origin.run();
  EXPECT_EQ(origin.streams[1].body, "abc");
  EXPECT_TRUE(origin.streams[1].ended);
}

TEST(HandOver, ARequestThatGoesOnIsNotHandedOver) {
  Client client;
  client.greet();
  client.say(kNoWindow);
  Upload exchange("abc", Framing::chunked);
  client.begin(exchange);
  EXPECT_EQ(exchange.uploaded, "") << "its writer waits, so that a slow origin slows its client down";
  EXPECT_EQ(client.say(window_update(1, 10)),
            "headers 1 :method=POST :scheme=http :authority=o.example :path=/; data 1 3; data 1 0 end");
  EXPECT_EQ(exchange.uploaded, "ok");
}

TEST(HandOver, ARequestThatTheOriginDoesNotTakeHasTheDeadlineOfItsAnswer) {
  Client client;
  client.greet();
  client.say(kNoWindow);
  {
    Upload exchange("abc");
    exchange.deadline = client.loop.now() + 5s;
    client.begin(exchange);
    EXPECT_EQ(exchange.uploaded, "ok");
    EXPECT_EQ(client.say(""), "headers 1 :method=POST :scheme=http :authority=o.example :path=/");
    advance(client.loop, client.clock, 5s);
    EXPECT_EQ(exchange.head, "PST-U003 ");
  }
  EXPECT_EQ(client.say(""), "rst 1 8");
  EXPECT_EQ(client.session->streams(), 0u);
}

TEST(HandOver, ARequestThatIsGivenUpInItsTurnIsNotSent) {
  Client client;
  client.greet();
  {
    Upload exchange("abc");
    client.begin_only(exchange);
    EXPECT_EQ(exchange.uploaded, "ok");
  }
  EXPECT_EQ(client.say(""), "");
  EXPECT_EQ(client.session->streams(), 0u);
}

TEST(HandOver, AnEarlyAnswerDoesNotWaitForTheRequest) {
  Client client;
  client.greet();
  client.say(kNoWindow);
  Upload exchange("abc");
  client.begin(exchange);
  client.say(headers(1, response("413"), true));
  EXPECT_EQ(exchange.head, "413 none ");
  EXPECT_EQ(exchange.body.end, "end");
  exchange.upstream.reset();
  EXPECT_EQ(client.say(""), "rst 1 8") << "half a request must not look whole";
}

// It says so: the origin has not seen the request, which can be sent elsewhere, whatever its method is.
TEST(HandOver, TheOriginMayGoAwayInBetween) {
  for (const bool closes : {true, false}) {
    Client client;
    client.greet();
    Upload exchange("abc");
    // In this order: the session reads first, and is to serialise after that.
    client.far.slip_in(goaway(0, 0));
    client.begin_only(exchange);
    if (closes) client.far.finish();
    settle(client.loop);
    EXPECT_EQ(exchange.uploaded, "ok");
    EXPECT_EQ(exchange.head, "PST-U004 ");
    EXPECT_EQ(exchange.retry, Retry::yes) << closes;
  }
}

// Without a word: the session has serialised before it sees the end, and nobody knows what the origin has read.
TEST(HandOver, AnEndWithoutAWordMayComeAfterTheRequest) {
  Client client;
  client.greet();
  Upload exchange("abc");
  client.far.slip_in(ping());
  client.begin_only(exchange);
  client.far.finish();
  settle(client.loop);
  EXPECT_EQ(exchange.uploaded, "ok");
  EXPECT_EQ(exchange.head, "PST-U004 ");
  EXPECT_EQ(exchange.retry, Retry::if_reused);
}

TEST(HandOver, ARequestThatWasSentMayHaveBeenSeen) {
  Client client;
  client.greet();
  Upload exchange("abc");
  client.begin(exchange);
  client.far.finish();
  EXPECT_EQ(exchange.head, "PST-U004 ");
  EXPECT_EQ(exchange.retry, Retry::if_reused);
}

}  // namespace
}  // namespace postern::http::h2
