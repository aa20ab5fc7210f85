#include "http/h2/server_session.h"

#include <gtest/gtest.h>

#include "http/h2/test_server.h"

namespace postern::http::h2 {
namespace {

using Role = Library::Role;

TEST(ServerSession, AnswersRequestsHoweverTheyAreCut) {
  for (const std::size_t max_read : {std::size_t{1}, std::size_t{7}, ~std::size_t{0}}) {
    Server server({.max_read = max_read});
    server.start();
    Library client(Role::client, server.far);
    const std::int32_t get = client.get("/hello?x=1", {{"accept", "*/*"}, {"te", "trailers"}});
    const std::int32_t post = client.post("/echo", "some text");
    client.run();
    ASSERT_EQ(server.service.requests.size(), 2u);
    EXPECT_EQ(server.service.requests[0], "GET /hello?x=1 none [Host|a.example][accept|*/*][te|trailers]");
    EXPECT_EQ(server.service.requests[1], "POST /echo chunked [Host|a.example]");
    EXPECT_EQ(client.streams[get].status, "200");
    EXPECT_EQ(client.streams[get].fields, "[server|test][content-length|61]");
    EXPECT_EQ(client.streams[get].body, server.service.requests[0]);
    EXPECT_EQ(client.streams[get].closed, NGHTTP2_NO_ERROR);
    EXPECT_EQ(client.streams[post].body, "some text");
    EXPECT_EQ(client.streams[post].closed, NGHTTP2_NO_ERROR);
    EXPECT_EQ(server.session->streams(), 0u);
    EXPECT_EQ(server.buffers.in_use(), 0u) << "while no stream is open it holds no buffer";
    EXPECT_EQ(server.counters.streams, 2u);
  }
}

TEST(ServerSession, TakesWhatWasReadBefore) {
  Server server;
  server.start(std::string(kPreface) + settings() + headers(1, request("GET", "/none")));
  EXPECT_EQ(server.say(""), "headers 1 :status=204 end");
}

TEST(ServerSession, AnnouncesItsLimits) {
  Server server;
  server.http2.max_concurrent_streams = 7;
  server.http2.stream_window = 70'000;
  server.limits.head.max_header_bytes = 5000;
  server.start();
  Library client(Role::client, server.far);
  client.run();
  EXPECT_EQ(client.peer_settings[NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS], 7u);
  EXPECT_EQ(client.peer_settings[NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE], 70'000u);
  EXPECT_EQ(client.peer_settings[NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE], 5000u);
  EXPECT_EQ(client.peer_settings[NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL], 1u);
  EXPECT_EQ(nghttp2_session_get_remote_window_size(client.session), 1024 * 1024);
}

TEST(ServerSession, AMessageWithoutABodyEndsWithItsHead) {
  Server server;
  server.greet();
  server.transcript.all_fields = true;
  EXPECT_EQ(server.say(headers(1, request("HEAD", "/x"))), "headers 1 :status=200 server=test content-length=29 end");
  EXPECT_EQ(server.say(headers(3, request("GET", "/none"))), "headers 3 :status=204 end");
  EXPECT_EQ(server.say(headers(5, request("GET", "/bytes/0"))), "headers 5 :status=200 content-length=0 end");
  EXPECT_EQ(server.say(headers(7, request("GET", "/bytes/3"))), "headers 7 :status=200 content-length=3; data 7 3 end");
  EXPECT_EQ(server.say(headers(9, request("GET", "/stream/3"))), "headers 9 :status=200; data 9 3 end");
}

TEST(ServerSession, BodiesOfAnySizeBothWays) {
  for (const std::size_t max_read : {std::size_t{1000}, ~std::size_t{0}}) {
    Server server({.max_read = max_read});
    server.start();
    Library client(Role::client, server.far);
    std::string large(3'000'000, 'a');
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + i % 23);
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{16'384}, std::size_t{70'000}, large.size()}) {
      const std::string body = large.substr(0, size);
      const std::int32_t chunked = client.post("/echo", body);
      const std::int32_t counted = client.post("/echo", body, {{"content-length", std::to_string(size)}});
      client.run();
      EXPECT_TRUE(client.streams[chunked].body == body) << size;
      EXPECT_TRUE(client.streams[counted].body == body) << size;
      EXPECT_EQ(client.streams[counted].closed, NGHTTP2_NO_ERROR);
    }
    EXPECT_EQ(server.buffers.in_use(), 0u);
  }
}

TEST(ServerSession, TrailersBothWays) {
  Server server;
  server.start();
  Library client(Role::client, server.far);
  const std::int32_t id = client.request(request("POST", "/echo"), "abc", false);
  client.more(id, "def", true, {{"x-sum", "17"}});
  client.run();
  EXPECT_EQ(client.streams[id].body, "abcdef");
  EXPECT_EQ(client.streams[id].trailers, "[x-trailer|[x-sum|17]]");
  EXPECT_EQ(client.streams[id].closed, NGHTTP2_NO_ERROR);
}

TEST(ServerSession, InterimHeads) {
  Server server;
  server.start();
  Library client(Role::client, server.far);
  const std::int32_t early = client.get("/interim");
  const std::int32_t expecting = client.request(request("POST", "/echo", {{"expect", "100-continue"}}), "", false);
  client.run();
  EXPECT_EQ(client.streams[early].interim, std::vector<std::string>{"103[link|</a>]"});
  EXPECT_EQ(client.streams[early].status, "200");
  EXPECT_EQ(client.streams[expecting].interim, std::vector<std::string>{"100"});
  client.more(expecting, "now", true);
  client.run();
  EXPECT_EQ(client.streams[expecting].body, "now");
}

TEST(ServerSession, CrumbsOfCookiesAreOneField) {
  Server server;
  server.greet();
  server.say(headers(1, request("GET", "/", {{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}, {"cookie", ""}})));
  EXPECT_EQ(server.service.requests[0], "GET / none [Host|a.example][cookie|a=1; b=2; ][x|y]");
}

TEST(ServerSession, APostWithoutABodySaysSo) {
  Server server;
  server.greet();
  server.say(headers(1, request("POST", "/a")) + headers(3, request("DELETE", "/b")));
  EXPECT_EQ(server.service.requests[0], "POST /a length 0 [Host|a.example]");
  EXPECT_EQ(server.service.requests[1], "DELETE /b none [Host|a.example]");
}

TEST(ServerSession, ManyStreamsAtATime) {
  Server server({.capacity = 4096});
  server.start();
  Library client(Role::client, server.far);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 100; ++i) ids.push_back(client.get("/bytes/100000"));
  client.run();
  for (const std::int32_t id : ids) {
    EXPECT_EQ(client.streams[id].body.size(), 100'000u);
    EXPECT_EQ(client.streams[id].closed, NGHTTP2_NO_ERROR);
  }
  EXPECT_EQ(server.service.most_running, 100);
}

TEST(ServerSession, EveryStreamGetsItsShareOfASlowConnection) {
  Server server({.capacity = 4096});
  server.start();
  server.far.send(std::string(kPreface) + settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) +
                  window_update(0, 0x7fff0000));
  for (std::uint32_t id = 1; id < 20; id += 2) server.far.send(headers(id, request("GET", "/stream/10000000")));
  std::map<std::string, std::size_t> got;
  std::size_t total = 0;
  while (total < 2'000'000) {
    std::string bytes;
    ASSERT_TRUE(server.far.receive_some(bytes));
    for (const std::string& line : server.transcript.read(bytes)) {
      if (!line.starts_with("data ")) continue;
      const std::size_t size = std::stoul(line.substr(line.rfind(' ') + 1));
      got[line.substr(5, line.rfind(' ') - 5)] += size;
      total += size;
    }
  }
  EXPECT_EQ(got.size(), 10u);
  for (const auto& [id, bytes] : got) EXPECT_NEAR(static_cast<double>(bytes), 200'000, 60'000) << id;
}

TEST(ServerSession, AnEarlyAnswerStopsTheUpload) {
  Server server;
  server.greet();
  EXPECT_EQ(server.say(headers(1, request("POST", "/early"), false) + data(1, "abc")),
            "headers 1 :status=200; data 1 36 end; rst 1 0");
  EXPECT_EQ(server.session->streams(), 0u);
  // What was on its way does no harm and goes back into the window.
  EXPECT_EQ(server.say(data(1, "def") + headers(3, request("GET", "/none"))), "headers 3 :status=204 end");
}

TEST(ServerSession, AResponseThatIsCutOffDoesNotLookWhole) {
  Server server;
  server.greet();
  EXPECT_EQ(server.say(headers(1, request("GET", "/broken"))), "headers 1 :status=200; data 1 3; rst 1 2");
  EXPECT_EQ(server.say(headers(3, request("GET", "/nothing"))), "rst 3 2");
  EXPECT_EQ(server.say(headers(5, request("GET", "/none"))), "headers 5 :status=204 end") << "the others go on";
}

TEST(ServerSession, AStreamThatIsResetLosesItsHandler) {
  Server server;
  server.greet();
  EXPECT_EQ(server.say(headers(1, request("GET", "/wait")) + headers(3, request("GET", "/wait"))), "");
  EXPECT_EQ(server.service.running, 2);
  EXPECT_EQ(server.say(rst_stream(1, 8)), "");
  EXPECT_EQ(server.service.running, 1);
  EXPECT_EQ(server.session->streams(), 1u);
  EXPECT_EQ(server.counters.resets_received, 1u);
  server.service.release();
  advance(server.loop, server.clock, 10ms);
  EXPECT_EQ(server.say(""), "headers 3 :status=200; data 3 31 end");
}

TEST(ServerSession, AConnectionThatIsCutLosesAllHandlers) {
  for (const bool reset : {false, true}) {
    Server server;
    server.greet();
    server.say(headers(1, request("GET", "/wait")) + headers(3, request("POST", "/echo"), false) +
               headers(5, request("GET", "/bytes/1000000")));
    EXPECT_EQ(server.service.running, 3);
    if (reset) {
      server.far.abort();
    } else {
      server.far.close();
    }
    EXPECT_EQ(server.service.running, 0);
    EXPECT_TRUE(server.ended);
    EXPECT_EQ(server.buffers.in_use(), 0u);
  }
}

TEST(ServerSession, ASlowReaderOfABodyStopsItsSenderAndNobodyElse) {
  Server server;
  server.start();
  Library client(Role::client, server.far);
  const std::int32_t slow = client.post("/wait", std::string(2'000'000, 'x'));
  client.run();
  EXPECT_EQ(nghttp2_session_get_stream_remote_window_size(client.session, slow), 0);
  EXPECT_GT(nghttp2_session_get_remote_window_size(client.session), 700'000);
  EXPECT_LE(server.buffers.in_use(), 300'000u);
  const std::int32_t other = client.post("/echo", std::string(500'000, 'y'));
  client.run();
  EXPECT_EQ(client.streams[other].body.size(), 500'000u);
  server.service.release();
  advance(server.loop, server.clock, 10ms);
  client.run();
  EXPECT_EQ(client.streams[slow].closed, NGHTTP2_NO_ERROR);
  EXPECT_EQ(nghttp2_session_get_remote_window_size(client.session) > 500'000, true) << "nothing of the window is lost";
}

TEST(ServerSession, OutputIsBoundedWhileTheClientTakesNothing) {
  Server server({.capacity = 1000});
  server.start();
  server.far.send(std::string(kPreface) + settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) +
                  window_update(0, 0x7fff0000));
  for (std::uint32_t id = 1; id < 200; id += 2) server.far.send(headers(id, request("GET", "/bytes/1000000")));
  EXPECT_EQ(server.service.running, 100);
  EXPECT_LE(server.buffers.in_use(), 128 * 1024u);
}

// ---- time ----

TEST(ServerSession, AReaderThatTakesNothingLosesItsStreamOnly) {
  Server server;
  server.start();
  server.far.send(std::string(kPreface) + settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}) +
                  headers(1, request("GET", "/bytes/5000")) + headers(3, request("GET", "/none")));
  EXPECT_EQ(server.say(""), "headers 1 :status=200; headers 3 :status=204 end");
  advance(server.loop, server.clock, server.limits.write_idle_timeout - 10ms);
  EXPECT_EQ(server.say(""), "");
  advance(server.loop, server.clock, 20ms);
  EXPECT_EQ(server.say(""), "rst 1 2");
  EXPECT_EQ(server.service.failures, std::vector<std::string>{"PST-R018 takes nothing"});
  EXPECT_EQ(server.say(headers(5, request("GET", "/none"))), "headers 5 :status=204 end");
}

TEST(ServerSession, AWindowThatOpensByTheByteIsNoProgress) {
  Server server;
  server.start();
  server.far.send(std::string(kPreface) + settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}) +
                  headers(1, request("GET", "/bytes/5000")));
  std::string said = server.say("");
  for (int seconds = 0; seconds < 40 && said.find("rst 1 2") == std::string::npos; ++seconds) {
    said = server.say(window_update(1, 10));
    advance(server.loop, server.clock, 1s);
  }
  EXPECT_NE(server.say("") + said, "");
  EXPECT_EQ(server.service.running, 0);
}

TEST(ServerSession, ATransportThatTakesNothingEndsTheConnection) {
  Server server({.capacity = 1000});
  server.start();
  server.far.send(std::string(kPreface) + settings() + headers(1, request("GET", "/bytes/50000")));
  advance(server.loop, server.clock, server.limits.write_idle_timeout - 10ms);
  EXPECT_FALSE(server.ended);
  advance(server.loop, server.clock, 20ms);
  EXPECT_TRUE(server.ended);
  EXPECT_EQ(server.service.running, 0);
}

TEST(ServerSession, ABodyThatStopsIsAnsweredWith408) {
  Server server;
  server.greet();
  server.say(headers(1, request("POST", "/echo"), false) + data(1, "abc"));
  advance(server.loop, server.clock, server.limits.body_idle_timeout - 10ms);
  EXPECT_EQ(server.say(""), "");
  advance(server.loop, server.clock, 20ms);
  EXPECT_EQ(server.service.failures, std::vector<std::string>{"PST-R009 "});
  EXPECT_EQ(server.say(""), "headers 1 :status=400; data 1 9 end; rst 1 0");
}

TEST(ServerSession, ABodyMustKeepItsRate) {
  Server server;
  server.limits.body_min_rate = 1000;
  server.greet();
  server.say(headers(1, request("POST", "/echo"), false));
  for (int seconds = 0; seconds < 60 && server.service.failures.empty(); ++seconds) {
    advance(server.loop, server.clock, 1s);
    server.say(data(1, "0123456789"));
  }
  EXPECT_EQ(server.service.failures, std::vector<std::string>{"PST-R009 "});
}

TEST(ServerSession, AnIdleConnectionIsTakenLeaveOf) {
  Server server;
  server.greet();
  server.say(headers(1, request("GET", "/none")));
  advance(server.loop, server.clock, server.limits.idle_timeout - 10ms);
  EXPECT_EQ(server.say(ping()), "ping ack");
  EXPECT_FALSE(server.ended);
  advance(server.loop, server.clock, 20ms);
  EXPECT_EQ(server.say(""), "goaway 1 0");
  EXPECT_TRUE(server.far.finished());
  server.far.close();
  EXPECT_TRUE(server.ended);
}

TEST(ServerSession, ABusyConnectionIsNotIdle) {
  Server server;
  server.greet();
  server.say(headers(1, request("GET", "/wait")));
  advance(server.loop, server.clock, server.limits.idle_timeout * 3);
  EXPECT_FALSE(server.ended);
  server.service.release();
  advance(server.loop, server.clock, 1s);
  EXPECT_EQ(server.say(""), "headers 1 :status=200; data 1 31 end");
}

TEST(ServerSession, AClientThatNeverSpeaksIsNotWaitedForForLong) {
  for (const std::string& begun : {std::string(), std::string(kPreface.substr(0, 10)), std::string(kPreface)}) {
    Server server;
    server.start(begun);
    advance(server.loop, server.clock, server.limits.header_timeout - 10ms);
    EXPECT_FALSE(server.ended);
    advance(server.loop, server.clock, 2s);
    EXPECT_TRUE(server.ended) << begun;
  }
}

TEST(ServerSession, AHeaderBlockThatDripsEndsTheConnection) {
  Server server;
  server.greet();
  server.say(headers(1, request("GET", "/wait")));
  const std::string block = frame(FrameType::headers, 0, 3, hpack(request("GET", "/"))) +
                            frame(FrameType::continuation, kEndHeadersFlag, 3, hpack({{"a", std::string(100, 'b')}}));
  std::string said;
  for (std::size_t i = 0; i < block.size() && said.empty(); ++i) {
    said = server.say(block.substr(i, 1));
    advance(server.loop, server.clock, 100ms);
    if (said.empty()) said = server.say("");
    if (i > 115) break;
  }
  EXPECT_EQ(said, "goaway 3 11");
  EXPECT_EQ(server.service.running, 0);
}

TEST(ServerSession, ManyHeaderBlocksInARowAreNotOneThatDrips) {
  Server server;
  server.greet();
  std::string bytes;
  for (std::uint32_t id = 1; id < 400; id += 2) bytes += headers(id, request("GET", "/none"));
  // Cut so that every read ends inside of a block.
  const std::size_t step = headers(1, request("GET", "/none")).size();
  std::string said = server.say(bytes.substr(0, step + 20));
  for (std::size_t at = step + 20; at + step < bytes.size(); at += step) {
    said = server.say(bytes.substr(at, step));
    EXPECT_TRUE(said.starts_with("headers")) << said;
    advance(server.loop, server.clock, 100ms);
  }
  EXPECT_FALSE(server.ended);
}

// ---- the end ----

TEST(ServerSession, DrainsWithoutAFailedRequest) {
  Server server;
  server.greet();
  EXPECT_EQ(server.say(headers(1, request("GET", "/wait"))), "");
  server.session->drain();
  EXPECT_EQ(server.say(""), "goaway 2147483647 0; ping");
  EXPECT_EQ(server.say(headers(3, request("GET", "/none"))), "headers 3 :status=204 end") << "not told yet";
  EXPECT_EQ(server.say(frame(FrameType::ping, kAckFlag, 0, std::string("drain\0\0\0", 8))), "goaway 3 0");
  EXPECT_EQ(server.say(headers(5, request("GET", "/none"))), "") << "the client knows to send it elsewhere";
  EXPECT_FALSE(server.ended);
  server.service.release();
  advance(server.loop, server.clock, 10ms);
  EXPECT_EQ(server.say(""), "headers 1 :status=200; data 1 31 end");
  EXPECT_TRUE(server.far.finished());
  advance(server.loop, server.clock, 2s);
  EXPECT_TRUE(server.ended);
}

TEST(ServerSession, DrainsAClientThatDoesNotAnswerPings) {
  Server server;
  server.greet();
  server.session->drain();
  EXPECT_EQ(server.say(""), "goaway 2147483647 0; ping");
  advance(server.loop, server.clock, 990ms);
  EXPECT_EQ(server.say(""), "");
  advance(server.loop, server.clock, 20ms);
  EXPECT_EQ(server.say(""), "goaway 0 0");
  advance(server.loop, server.clock, 2s);
  EXPECT_TRUE(server.ended);
}

TEST(ServerSession, DrainsFromTheBeginning) {
  Server server;
  server.session = std::make_unique<ServerSession>(
      ServerSession::Services{server.loop, server.buffers, server.exceptions, server.service}, std::move(server.near),
      server.facts, server.limits, server.http2);
  server.session->drain();
  server.tasks.spawn(server.session->serve(std::string(kPreface) + settings() + headers(1, request("GET", "/none"))));
  Transcript transcript;
  EXPECT_EQ(join(transcript.read(server.far.receive())), "goaway 2147483647 0; ping; headers 1 :status=204 end");
}

TEST(ServerSession, TheLastRequestOfAConnectionIsServed) {
  Server server;
  server.limits.max_requests = 2;
  server.greet();
  EXPECT_EQ(server.say(headers(1, request("GET", "/none"))), "headers 1 :status=204 end");
  const std::string said = server.say(headers(3, request("GET", "/none")));
  EXPECT_EQ(said, "goaway 2147483647 0; ping; headers 3 :status=204 end");
}

TEST(ServerSession, AClientThatSaysGoodbyeGetsItsAnswers) {
  Server server;
  server.greet();
  EXPECT_EQ(server.say(headers(1, request("GET", "/wait")) + goaway(0, 0)), "");
  server.service.release();
  advance(server.loop, server.clock, 10ms);
  EXPECT_EQ(server.say(""), "headers 1 :status=200; data 1 31 end");
  EXPECT_TRUE(server.far.finished());
}

// Whole conversations, ended at every possible turn: by the client, and by the owner of the session.
TEST(ServerSession, MayEndAtAnyTurn) {
  for (const bool ours : {false, true}) {
    for (int turns = 0; turns < 60; ++turns) {
      Server server({.capacity = 5000, .max_read = 300});
      server.start();
      std::string bytes = std::string(kPreface) + settings();
      bytes += headers(1, request("POST", "/echo"), false) + headers(3, request("GET", "/bytes/20000"));
      bytes += headers(5, request("GET", "/interim")) + data(1, std::string(300, 'x')) +
               headers(7, request("GET", "/broken"));
      bytes += rst_stream(3, 8) + headers(9, request("GET", "/wait")) + data(1, "y", true) + rst_stream(9, 8);
      server.far.slip_in(bytes);
      for (int i = 0; i < turns; ++i) server.loop.run_ready();
      if (ours) {
        server.tasks.cancel_all();
        server.session.reset();
      } else {
        server.far.abort();
      }
      EXPECT_EQ(server.service.running, 0);
      EXPECT_EQ(server.buffers.in_use(), 0u);
    }
  }
}

}  // namespace
}  // namespace postern::http::h2
