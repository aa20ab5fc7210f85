#include "http/h2/client_session.h"

#include <gtest/gtest.h>

#include "http/h2/test_client.h"

namespace postern::http::h2 {
namespace {

using Role = Library::Role;

TEST(ClientSession, IsReadyWithTheSettingsOfTheOrigin) {
  Client client;
  client.start();
  std::string ready;
  client.tasks.spawn(store(client.session->ready(client.clock.now() + 5s), ready));
  settle(client.loop);
  EXPECT_EQ(ready, "");
  EXPECT_FALSE(client.session->has_room());
  Library origin(Role::server, client.far,
                 {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 3}, {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}});
  origin.run();
  EXPECT_EQ(ready, "ok");
  EXPECT_TRUE(client.session->has_room());
  EXPECT_TRUE(client.session->takes_websockets());
  EXPECT_EQ(origin.peer_settings[NGHTTP2_SETTINGS_ENABLE_PUSH], 0u);
  EXPECT_EQ(client.buffers.in_use(), 0u);
}

TEST(ClientSession, IsNotReadyForWhatIsNotHttp2) {
  struct Row {
    std::string says;
    std::string outcome;
  };
  for (const Row& row :
       {Row{"HTTP/1.1 400 Bad Request\r\n\r\n", "PST-U005 the origin breaks HTTP/2"}, Row{"", "PST-U003 "},
        Row{"close", "PST-U004 "}, Row{goaway(0, 0), "PST-U005 the origin breaks HTTP/2"}}) {
    Client client;
    client.start();
    std::string ready;
    client.tasks.spawn(store(client.session->ready(client.clock.now() + 5s), ready));
    if (row.says == "close") {
      settle(client.loop);
      client.far.close();
    } else if (!row.says.empty()) {
      client.far.send(row.says);
    }
    advance(client.loop, client.clock, 6s);
    EXPECT_EQ(ready, row.outcome) << row.says;
  }
}

TEST(ClientSession, SendsARequestAndReadsTheResponse) {
  for (const std::size_t max_read : {std::size_t{1}, ~std::size_t{0}}) {
    Client client({.max_read = max_read});
    client.start();
    Library origin(Role::server, client.far);
    origin.run();
    Exchanging a("GET", "/x?y=1");
    a.fields.append("Accept", "*/*");
    a.fields.append("Connection", "X-Hop");
    a.fields.append("Keep-Alive", "5");
    a.added.append("X-Secret", "s");
    a.request.trailers_welcome = true;
    client.begin(a);
    origin.run();
    ASSERT_EQ(origin.streams.size(), 1u);
    EXPECT_EQ(origin.streams[1].status, "GET /x?y=1");
    EXPECT_EQ(origin.streams[1].fields, "[accept|*/*][x-secret|s][te|trailers]");
    EXPECT_TRUE(origin.streams[1].ended);
    origin.respond(1, response("200", {{"server", "o"}, {"content-length", "5"}}), "hello");
    origin.run();
    EXPECT_EQ(a.head, "200 length 5 [server|o][content-length|5]");
    EXPECT_EQ(a.body.data, "hello");
    EXPECT_EQ(a.body.end, "last");
    EXPECT_EQ(client.session->streams(), 0u);
    EXPECT_EQ(client.session->exchanges(), 1u);
    a.tasks.cancel_all();
    a.upstream.reset();
    EXPECT_EQ(client.buffers.in_use(), 0u);
    EXPECT_EQ(client.counters.resets_sent, 0u);
  }
}

TEST(ClientSession, FramingOfResponses) {
  struct Row {
    std::string method;
    Pairs head;
    std::optional<std::string> body;
    std::string seen;
    std::string end;
  };
  const std::vector<Row> rows = {
      {"GET", response("200"), "abc", "200 chunked []", "last abc"},
      {"GET", response("200"), std::nullopt, "200 none []", "end "},
      {"GET", response("200", {{"content-length", "0"}}), std::nullopt, "200 length 0 [content-length|0]", "end "},
      {"GET", response("200", {{"grpc-status", "5"}}), std::nullopt, "200 none [grpc-status|5]", "end "},
      {"GET", response("204"), std::nullopt, "204 none []", "end "},
      {"GET", response("304", {{"content-length", "9"}}), std::nullopt, "304 none announced 9 [content-length|9]",
       "end "},
      {"HEAD", response("200", {{"content-length", "9"}}), std::nullopt, "200 none announced 9 [content-length|9]",
       "end "},
      {"HEAD", response("200"), "", "200 none []", "end "},
  };
  for (const Row& row : rows) {
    Client client;
    client.start();
    Library origin(Role::server, client.far);
    origin.run();
    Exchanging a(row.method, "/");
    client.begin(a);
    origin.run();
    origin.respond(1, row.head, row.body);
    origin.run();
    std::string seen = row.seen;
    if (seen.ends_with(" []")) seen.resize(seen.size() - 2);
    EXPECT_EQ(a.head, seen);
    EXPECT_EQ(a.body.end + " " + a.body.data, row.end) << row.seen;
  }
}

TEST(ClientSession, UploadsAndDownloadsOfAnySize) {
  Client client;
  client.start();
  Library origin(Role::server, client.far);
  origin.run();
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100'000}, std::size_t{3'000'000}}) {
    for (const Framing framing : {Framing::length, Framing::chunked}) {
      Exchanging a("POST", "/");
      a.request.framing = framing;
      a.request.content_length = size;
      a.upload = std::string(size, 'u');
      client.begin(a);
      origin.run();
      Seen& seen = origin.streams.rbegin()->second;
      EXPECT_EQ(seen.body.size(), size);
      EXPECT_TRUE(seen.ended);
      EXPECT_EQ(seen.fields, framing == Framing::length ? "[content-length|" + std::to_string(size) + "]" : "");
      EXPECT_EQ(a.uploaded, "ok");
      origin.respond(origin.streams.rbegin()->first, response("200"), std::string(size, 'd'));
      origin.run();
      EXPECT_EQ(a.body.data.size(), size);
      EXPECT_EQ(client.session->streams(), 0u);
    }
  }
  EXPECT_EQ(client.counters.resets_sent, 0u);
  EXPECT_EQ(nghttp2_session_get_remote_window_size(origin.session) > 500'000, true);
}

TEST(ClientSession, TrailersBothWays) {
  Client client;
  client.start();
  Library origin(Role::server, client.far);
  origin.run();
  Exchanging a("POST", "/");
  a.request.framing = Framing::chunked;
  a.upload = "abc";
  a.trailers.append("X-Sum", "1");
  client.begin(a);
  origin.run();
  EXPECT_EQ(origin.streams[1].trailers, "[x-sum|1]");
  origin.respond(1, response("200"), "", false);
  origin.run();
  origin.more(1, "def", true, {{"grpc-status", "0"}});
  origin.run();
  EXPECT_EQ(a.body.data, "def");
  EXPECT_EQ(a.body.end, "end");
  EXPECT_EQ(a.body.trailers, "[grpc-status|0]");
}

TEST(ClientSession, InterimHeadsComeOneByOne) {
  Client client;
  client.start();
  Library origin(Role::server, client.far);
  origin.run();
  Exchanging a("GET", "/");
  client.begin(a);
  origin.run();
  origin.interim(1, response("103", {{"link", "a"}}));
  origin.interim(1, response("103", {{"link", "b"}}));
  origin.respond(1, response("200"), "x");
  origin.run();
  EXPECT_EQ(a.interim, (std::vector<std::string>{"103 none [link|a]", "103 none [link|b]"}));
  EXPECT_EQ(a.head, "200 chunked ");
  EXPECT_EQ(a.body.data, "x");
}

TEST(ClientSession, HasRoomForAsManyAsTheOriginTakes) {
  Client client;
  client.start();
  Library origin(Role::server, client.far, {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}});
  origin.run();
  Exchanging a("GET", "/a");
  Exchanging b("GET", "/b");
  client.begin(a);
  EXPECT_TRUE(client.session->has_room());
  client.begin(b);
  EXPECT_FALSE(client.session->has_room());
  const int before = client.changes;
  origin.run();
  origin.respond(1, response("200"), "a");
  origin.run();
  EXPECT_TRUE(client.session->has_room());
  EXPECT_EQ(client.changes, before + 1) << "whoever waits for room is told";
  // The origin thinks otherwise now.
  std::unique_ptr<Upstream> opened = client.session->open();
  const nghttp2_settings_entry none = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0};
  nghttp2_submit_settings(origin.session, NGHTTP2_FLAG_NONE, &none, 1);
  origin.run();
  EXPECT_FALSE(client.session->has_room());
  Exchanging c("GET", "/c");
  c.upstream = std::move(opened);
  client.begin(c);
  EXPECT_EQ(c.head, "PST-U004 ");
  EXPECT_EQ(c.retry, Retry::yes);
  origin.respond(3, response("200"), "b");
  origin.run();
  EXPECT_EQ(b.body.data, "b") << "the others go on";
  EXPECT_EQ(client.session->streams(), 0u);
}

TEST(ClientSession, WhatTheOriginDidNotLookAtMayBeTriedAgain) {
  struct Row {
    std::string name;
    std::string says;
    std::string outcome;
    Retry retry;
    bool alive;
  };
  const std::vector<Row> rows = {
      {"refused", rst_stream(1, 7), "PST-U004 ", Retry::yes, true},
      {"goaway below", goaway(0, 0), "PST-U004 ", Retry::yes, false},
      {"goaway with an error, below", goaway(0, 2), "PST-U004 ", Retry::yes, false},
      {"internal error", rst_stream(1, 2), "PST-U004 ", Retry::never, true},
      {"cancel", rst_stream(1, 8), "PST-U004 ", Retry::never, true},
      {"http/1.1 required", rst_stream(1, 13), "PST-U004 ", Retry::never, true},
      {"refused after it began", headers(1, response("200"), false) + rst_stream(1, 7), "200 chunked |PST-U004 ",
       Retry::never, true},
  };
  for (const Row& row : rows) {
    Client client;
    client.greet();
    Exchanging a("GET", "/");
    client.begin(a);
    client.far.send(row.says);
    EXPECT_EQ(a.head + (a.body.end.empty() ? "" : "|" + a.body.end), row.outcome) << row.name;
    if (row.outcome.starts_with("PST")) EXPECT_EQ(a.retry, row.retry) << row.name;
    EXPECT_EQ(client.session->alive(), row.alive) << row.name;
    EXPECT_EQ(client.session->streams(), 0u) << row.name;
  }
}

TEST(ClientSession, ABrokenConnectionFailsEveryStream) {
  for (const bool answered : {false, true}) {
    Client client;
    client.greet();
    Exchanging a("GET", "/a");
    Exchanging b("GET", "/b");
    client.begin(a);
    client.begin(b);
    if (answered) client.far.send(headers(1, response("200"), false) + data(1, "x"));
    client.far.close();
    EXPECT_EQ(a.head, answered ? "200 chunked " : "PST-U004 ");
    if (answered) {
      EXPECT_EQ(a.body.end, "PST-U004 ");
      EXPECT_EQ(a.body.data, "x");
    } else {
      EXPECT_EQ(a.retry, Retry::if_reused);
    }
    EXPECT_EQ(b.head, "PST-U004 ");
    EXPECT_EQ(b.retry, Retry::if_reused);
    EXPECT_FALSE(client.session->alive());
    EXPECT_EQ(client.session->streams(), 0u);
    EXPECT_GE(client.changes, 1);
  }
}

TEST(ClientSession, UpstreamsMayOutliveTheSession) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  Exchanging b("POST", "/b");
  b.request.framing = Framing::chunked;
  b.upload = std::string(1'000'000, 'x');
  client.begin(a);
  client.begin(b);
  Exchanging c("GET", "/c");
  c.upstream = client.session->open();
  client.session.reset();
  settle(client.loop);
  EXPECT_EQ(a.head, "PST-U004 ");
  EXPECT_EQ(b.uploaded, "PST-U004 ");
  client.begin(c);
  EXPECT_EQ(c.head, "PST-U004 ");
}

TEST(ClientSession, GoingAwayLetsStreamsFinish) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  client.begin(a);
  client.far.send(goaway(0x7fffffff, 0));
  EXPECT_FALSE(client.session->alive());
  EXPECT_FALSE(client.session->has_room());
  client.far.send(goaway(1, 0) + headers(1, response("200"), false) + data(1, "abc", true));
  EXPECT_EQ(a.body.data, "abc");
  EXPECT_EQ(a.body.end, "last");
  EXPECT_EQ(client.session->streams(), 0u);
  EXPECT_NE(client.say(""), "");
  EXPECT_TRUE(client.far.finished());
}

TEST(ClientSession, DrainsInOrder) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  client.begin(a);
  client.session->drain();
  EXPECT_FALSE(client.session->alive());
  EXPECT_EQ(client.say(""), "headers 1 :method=GET :scheme=http :authority=o.example :path=/a end");
  EXPECT_EQ(client.say(headers(1, response("200"), false) + data(1, "abc", true)), "goaway 0 0");
  EXPECT_EQ(a.body.data, "abc");
  EXPECT_TRUE(client.far.finished());
}

TEST(ClientSession, AnIdleOneSaysGoodbyeAtOnce) {
  Client client;
  client.greet();
  client.session->drain();
  client.session.reset();  // as a pool does
  EXPECT_EQ(join(client.transcript.read(client.far.receive())), "goaway 0 0");
}

TEST(ClientSession, AnEarlyAnswerStopsTheUpload) {
  Client client;
  client.greet();
  Exchanging a("POST", "/a");
  a.request.framing = Framing::chunked;
  a.upload = std::string(1'000'000, 'x');
  client.begin(a);
  client.far.receive();
  client.far.send(headers(1, response("413"), false) + data(1, "no", true) + rst_stream(1, 0));
  EXPECT_EQ(a.head, "413 chunked ");
  EXPECT_EQ(a.body.data, "no");
  EXPECT_EQ(a.body.end, "last");
  EXPECT_EQ(a.uploaded, "PST-U004 ");
  EXPECT_EQ(client.session->streams(), 0u);
  EXPECT_TRUE(client.session->alive());
}

TEST(ClientSession, WhoIsNotInterestedAnyMoreResetsOneStream) {
  Client client;
  client.start();
  Library origin(Role::server, client.far);
  origin.run();
  const int window = nghttp2_session_get_remote_window_size(origin.session);
  for (int i = 0; i < 30; ++i) {
    Exchanging a("GET", "/a");
    a.reads_body = false;
    client.begin(a);
    origin.run();
    const std::int32_t id = origin.streams.rbegin()->first;
    origin.respond(id, response("200"), std::string(100'000, 'x'));
    origin.run();
    EXPECT_EQ(a.head, "200 chunked ");
    a.tasks.cancel_all();
    a.upstream.reset();
    origin.run();
    EXPECT_TRUE(origin.streams[id].closed.has_value());
  }
  EXPECT_GT(nghttp2_session_get_remote_window_size(origin.session), window / 2) << "what nobody read is given back";
  EXPECT_EQ(client.session->streams(), 0u);
}

TEST(ClientSession, CancelsInTheMiddle) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  Exchanging b("GET", "/b");
  a.reads_body = false;
  client.begin(a);
  client.begin(b);
  client.say("");
  client.say(headers(1, response("200"), false) + data(1, "abc"));
  a.tasks.cancel_all();
  a.upstream.reset();
  EXPECT_EQ(client.say(""), "rst 1 8");
  EXPECT_EQ(client.say(data(1, "more") + headers(3, response("200"), false) + data(3, "b", true)), "");
  EXPECT_EQ(b.body.data, "b");
  EXPECT_EQ(client.session->streams(), 0u);
}

TEST(ClientSession, NotStartedMeansNotSent) {
  Client client;
  client.greet();
  std::unique_ptr<Upstream> opened = client.session->open();
  EXPECT_EQ(client.session->streams(), 1u);
  EXPECT_EQ(client.session->idle_since(), MonoTime::max());
  advance(client.loop, client.clock, 1s);
  opened.reset();
  EXPECT_EQ(client.session->streams(), 0u);
  EXPECT_EQ(client.session->idle_since(), client.clock.now());
  EXPECT_EQ(client.say(""), "");
}

// ---- time ----

TEST(ClientSession, ADeadlineForTheHeadMayMove) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  a.deadline = client.clock.now() + 5s;
  client.begin(a);
  advance(client.loop, client.clock, 4s);
  a.upstream->set_head_deadline(client.clock.now() + 10s);
  advance(client.loop, client.clock, 9s);
  EXPECT_EQ(a.head, "");
  advance(client.loop, client.clock, 2s);
  EXPECT_EQ(a.head, "PST-U003 ");
}

TEST(ClientSession, InterruptEndsEveryWait) {
  Client client;
  client.greet();
  Exchanging head("GET", "/a");
  client.begin(head);
  EXPECT_TRUE(head.upstream->interrupt());
  EXPECT_EQ(head.head, "PST-G004 ");
  EXPECT_FALSE(head.upstream->interrupt());
  Exchanging body("GET", "/b");
  client.begin(body);
  client.far.send(headers(3, response("200"), false));
  EXPECT_TRUE(body.upstream->interrupt());
  EXPECT_EQ(body.body.end, "interrupted");
  Exchanging upload("POST", "/c");
  upload.request.framing = Framing::chunked;
  upload.upload = std::string(100'000, 'x');
  upload.waits_for_head = false;
  client.begin(upload);
  EXPECT_EQ(upload.uploaded, "");
  EXPECT_TRUE(upload.upstream->interrupt());
  EXPECT_EQ(upload.uploaded, "PST-G004 ");
}

TEST(ClientSession, ABodyThatStopsTimesOut) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  client.begin(a);
  client.far.send(headers(1, response("200"), false) + data(1, "abc"));
  for (int i = 0; i < 5; ++i) {
    advance(client.loop, client.clock, 14s);
    client.say(ping());  // it is there, but the body is not
  }
  EXPECT_EQ(a.body.end, "PST-U003 ");
}

TEST(ClientSession, AnUploadThatIsNotTakenTimesOut) {
  Client client;
  client.greet();
  Exchanging a("POST", "/a");
  a.request.framing = Framing::chunked;
  a.upload = std::string(100'000, 'x');
  client.begin(a);
  for (int i = 0; i < 5; ++i) {
    advance(client.loop, client.clock, 14s);
    client.say(ping());
  }
  EXPECT_EQ(a.uploaded, "PST-U003 takes nothing");
}

TEST(ClientSession, AskWhetherASilentOriginIsThere) {
  Client client;
  client.greet();
  advance(client.loop, client.clock, 100s);
  EXPECT_EQ(client.say(""), "") << "not while nobody waits";
  Exchanging a("GET", "/a");
  client.begin(a);
  client.say("");
  const std::string pong = frame(FrameType::ping, kAckFlag, 0, std::string("alive\0\0\0", 8));
  advance(client.loop, client.clock, 9s);
  EXPECT_EQ(client.say(""), "");
  EXPECT_TRUE(client.session->has_room());
  advance(client.loop, client.clock, 2s);
  EXPECT_EQ(client.say(""), "ping");
  EXPECT_FALSE(client.session->has_room()) << "no more requests for who may be gone";
  EXPECT_EQ(client.say(pong), "");
  EXPECT_TRUE(client.session->has_room());
  // Another request is news, once: as long as the origin itself has nothing else to say, servers of gRPC allow two, and
  // then no more than one in five minutes.
  Exchanging b("GET", "/b");
  client.begin(b);
  client.say("");
  advance(client.loop, client.clock, 11s);
  EXPECT_EQ(client.say(""), "ping");
  EXPECT_EQ(client.say(pong), "");
  Exchanging c("GET", "/c");
  client.begin(c);
  client.say("");
  advance(client.loop, client.clock, 300s);
  EXPECT_EQ(client.say(""), "");
  advance(client.loop, client.clock, 11s);
  EXPECT_EQ(client.say(""), "ping");
  EXPECT_EQ(client.say(pong), "");
  // A word of its own, and it is asked as at first.
  client.say(headers(3, response("200"), false));
  advance(client.loop, client.clock, 11s);
  EXPECT_EQ(client.say(""), "ping");
  advance(client.loop, client.clock, 8s);
  EXPECT_EQ(a.head, "");
  advance(client.loop, client.clock, 2s);
  EXPECT_EQ(a.head, "PST-U003 no answer to a PING");
  EXPECT_FALSE(client.session->alive());
}

TEST(ClientSession, WhoDoesNotTakeWhatIsWrittenIsNotSilent) {
  Client client({.capacity = 1000});
  client.greet();
  client.say(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1'000'000}}) + window_update(0, 1'000'000));
  Exchanging a("POST", "/a");
  a.request.framing = Framing::chunked;
  a.upload = std::string(500'000, 'x');
  client.begin(a);
  advance(client.loop, client.clock, 25s);
  EXPECT_TRUE(client.session->alive()) << "a PING would wait behind all that";
  EXPECT_EQ(a.head, "");
}

// Requests without a body go out at the end of the turn; whoever is gone by then was never there.
TEST(ClientSession, WhatIsGivenUpInItsFirstTurnIsNotSent) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  Exchanging b("GET", "/b");
  client.begin_only(a);
  client.begin_only(b);
  a.tasks.cancel_all();
  a.upstream.reset();
  settle(client.loop);
  EXPECT_EQ(client.say(""), "headers 3 :method=GET :scheme=http :authority=o.example :path=/b end");
  EXPECT_EQ(client.session->streams(), 1u);
  client.say(headers(3, response("204"), true));
  EXPECT_TRUE(b.head.starts_with("204")) << b.head;
  EXPECT_EQ(client.session->streams(), 0u);
  EXPECT_TRUE(client.session->alive());
}

TEST(ClientSession, EndsBeforeItsIdentifiersDo) {
  Client client;
  client.limits.max_exchanges = 2;
  client.greet();
  Exchanging a("GET", "/a");
  client.begin(a);
  EXPECT_TRUE(client.session->has_room());
  Exchanging b("GET", "/b");
  client.begin(b);
  EXPECT_FALSE(client.session->has_room());
  EXPECT_FALSE(client.session->alive());
  EXPECT_EQ(client.changes, 1);
  client.say(headers(1, response("200"), true) + headers(3, response("204"), true));
  EXPECT_TRUE(a.head.starts_with("200")) << a.head;
  EXPECT_TRUE(b.head.starts_with("204")) << b.head;
}

TEST(ClientSession, WhatAnotherStreamBroughtDownMayBeTriedAgain) {
  Client client;
  client.greet();
  Exchanging a("GET", "/a");
  Exchanging b("GET", "/b");
  client.begin(a);
  client.begin(b);
  client.say(headers(1, response("200"), false) + settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0xffffffff}}));
  EXPECT_EQ(b.head, "PST-U005 the origin breaks HTTP/2");
  EXPECT_EQ(b.retry, Retry::if_reused);
  EXPECT_TRUE(a.head.starts_with("200")) << a.head;
}

// Whole conversations, ended at every possible turn: by the origin, by who waits, and by the owner of the session.
TEST(ClientSession, MayEndAtAnyTurn) {
  for (const int who : {0, 1, 2}) {
    for (int turns = 0; turns < 60; ++turns) {
      Client client({.capacity = 5000, .max_read = 300});
      client.start();
      client.far.slip_in(settings());
      Exchanging a("POST", "/a");
      a.request.framing = Framing::chunked;
      a.upload = std::string(100'000, 'x');
      Exchanging b("GET", "/b");
      Exchanging c("GET", "/c");
      settle(client.loop);
      client.begin_only(a);
      client.begin_only(b);
      client.begin_only(c);
      client.far.slip_in(headers(1, response("200"), false) + data(1, "x") + headers(3, response("103"), false) +
                         headers(3, response("200"), false) + data(3, std::string(1000, 'y'), true) + rst_stream(1, 0) +
                         rst_stream(5, 7) + goaway(5, 0));
      for (int i = 0; i < turns; ++i) client.loop.run_ready();
      if (who == 0) client.far.abort();
      if (who == 1) a.tasks.cancel_all();
      if (who == 2) client.session.reset();
      settle(client.loop);
      for (Exchanging* const each : {&a, &b, &c}) {
        each->tasks.cancel_all();
        each->upstream.reset();
      }
      client.session.reset();
      EXPECT_EQ(client.buffers.in_use(), 0u);
    }
  }
}

}  // namespace
}  // namespace postern::http::h2
