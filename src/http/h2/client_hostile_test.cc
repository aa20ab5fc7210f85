// What origins must not do, one row each. A stream that goes wrong takes no other with it; a connection that goes wrong
// fails all its streams, as the origin's fault.
#include <gtest/gtest.h>

#include "http/h2/test_client.h"

namespace postern::http::h2 {
namespace {

struct Row {
  std::string name;
  std::string bytes;    // in answer to a request on stream 1; another one waits on stream 3
  std::string outcome;  // of stream 1: its head, or error, and the end of its body
  std::string said;     // by us
  bool alive = true;
};

std::string repeat(int times, const std::string& bytes) {
  std::string out;
  for (int i = 0; i < times; ++i) out += bytes;
  return out;
}

void check(const Row& row, std::size_t max_read) {
  Client client({.max_read = max_read});
  client.greet();
  Exchanging a("GET", "/a");
  Exchanging b("GET", "/b");
  client.begin(a);
  client.begin(b);
  client.say("");
  const std::string said = client.say(row.bytes);
  EXPECT_EQ(said, row.said) << row.name;
  EXPECT_EQ(a.head + (a.body.end.empty() ? "" : " | " + a.body.end), row.outcome) << row.name;
  EXPECT_EQ(client.session->alive(), row.alive) << row.name;
  if (row.alive) {
    client.say(headers(3, response("200"), false) + data(3, "b", true));
    EXPECT_EQ(b.body.data, "b") << row.name;
    EXPECT_EQ(client.session->streams(), 0u) << row.name;
  } else {
    EXPECT_EQ(b.head, "PST-U005 the origin breaks HTTP/2") << row.name;
    EXPECT_EQ(b.retry, Retry::never);
    EXPECT_EQ(client.session->streams(), 0u) << row.name;
  }
}

void check_all(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    check(row, ~std::size_t{0});
    check(row, 1);
  }
}

std::string head(const Pairs& fields, bool end = false) { return headers(1, fields, end); }

TEST(HostileOrigin, MalformedHeads) {
  const std::string broken = "PST-U005 the response breaks HTTP/2";
  const auto with = [](const std::string& name, const std::string& value) {
    return head(response("200", {{name, value}}));
  };
  Pairs many;
  for (int i = 0; i < 101; ++i) many.emplace_back("x", "y");
  Pairs bomb;
  for (int i = 0; i < 300; ++i) bomb.emplace_back("x", "y");
  check_all({
      {"no :status", head({{"x", "y"}}), broken, "rst 1 1"},
      {":status twice", head({{":status", "200"}, {":status", "200"}}), broken, "rst 1 1"},
      {":status of two digits", head({{":status", "20"}}), broken, "rst 1 1"},
      {":status of four digits", head({{":status", "2000"}}), broken, "rst 1 1"},
      {":status that is no number", head({{":status", "2x0"}}), broken, "rst 1 1"},
      {":status 600", head({{":status", "600"}}), "PST-U005 status code out of range", "rst 1 1"},
      {":status 099", head({{":status", "099"}}), "PST-U005 status code out of range", "rst 1 1"},
      {":status 101", head({{":status", "101"}}), broken, "rst 1 1"},
      {"another pseudo-field", head({{":status", "200"}, {":path", "/"}}), broken, "rst 1 1"},
      {"a pseudo-field behind a field", head({{"x", "y"}, {":status", "200"}}), broken, "rst 1 1"},
      {"a capital in a name", with("X-a", "b"), broken, "rst 1 1"},
      {"LF in a name", with("x\ny", "b"), broken, "rst 1 1"},
      {"an empty name", with("", "b"), broken, "rst 1 1"},
      {"CR LF in a value", with("x", "a\r\nb: c"), broken, "rst 1 1"},
      {"NUL in a value", with("x", std::string("a\0", 2)), broken, "rst 1 1"},
      {"connection", with("connection", "close"), broken, "rst 1 1"},
      {"transfer-encoding", with("transfer-encoding", "chunked"), broken, "rst 1 1"},
      {"upgrade", with("upgrade", "h2c"), broken, "rst 1 1"},
      {"keep-alive", with("keep-alive", "x"), broken, "rst 1 1"},
      {"content-length twice", head(response("200", {{"content-length", "1"}, {"content-length", "1"}})), broken,
       "rst 1 1"},
      {"content-length with a sign", with("content-length", "+1"), broken, "rst 1 1"},
      {"too many fields", head(response("200", many)), "PST-U005 fields too large", "rst 1 11"},
      {"as much as may be", head(response("200", {{"x", std::string(14'000, 'y')}}), true),
       "200 none [x|" + std::string(14'000, 'y') + "] | end", ""},
      {"too many bytes",
       frame(FrameType::headers, 0, 1, hpack(response("200", {{"x", std::string(14'000, 'y')}}))) +
           frame(FrameType::continuation, 0, 1, hpack({{"x", std::string(14'000, 'y')}})) +
           frame(FrameType::continuation, kEndHeadersFlag, 1, hpack({{"x", std::string(14'000, 'y')}})),
       "PST-U005 fields too large", "rst 1 11"},
      {"far too many fields", head(response("200", bomb)), broken, "rst 1 11"},
      {"an interim head that ends", head(response("103"), true), broken, "rst 1 1"},
      {"an interim head with a length", head(response("103", {{"content-length", "5"}})), broken, "rst 1 1"},
      {"interim heads without an end", repeat(17, head(response("103"))), "PST-U005 too many interim responses",
       "rst 1 11"},
      {"interim heads of any size", repeat(12, headers(1, response("103", {{"x", std::string(12'000, 'y')}}), false)),
       broken, "rst 1 11"},
  });
}

TEST(HostileOrigin, BodiesThatAreNotAsAnnounced) {
  const std::string five = head(response("200", {{"content-length", "5"}}));
  const std::string read = "200 length 5 [content-length|5] | PST-U005 the response breaks HTTP/2";
  check_all({
      {"shorter", five + data(1, "abc", true), read, "rst 1 1"},
      {"longer", five + data(1, "abcdefg", true), read, "rst 1 1"},
      {"longer in a second frame", five + data(1, "abcd") + data(1, "ef"), read, "rst 1 1"},
      {"reset in the middle", five + data(1, "abc") + rst_stream(1, 0), "200 length 5 [content-length|5] | PST-U004 ",
       ""},
      {"trailers with a pseudo-field", head(response("200")) + head({{":status", "200"}}, true),
       "200 chunked  | PST-U005 the response breaks HTTP/2", "rst 1 1"},
      {"trailers that do not end", head(response("200")) + head({{"x", "y"}}),
       "200 chunked  | PST-U005 the response breaks HTTP/2", "rst 1 1"},
      {"a length and nothing", head(response("200", {{"content-length", "5"}}), true),
       "PST-U005 the response breaks HTTP/2", "rst 1 1"},
      {"DATA with a 204", head(response("204")) + data(1, "x"), "204 none  | end", "rst 1 1"},
      {"more than the window",
       settings_ack() + head(response("200")) + repeat(200, data(1, std::string(16'384, 'x'))).substr(0, 0) +
           data(1, "", true),
       "200 chunked  | end", ""},
  });
}

TEST(HostileOrigin, BrokenConnections) {
  const std::string lost = "PST-U005 the origin breaks HTTP/2";
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"DATA on stream 0", data(0, "x")},
      {"DATA before HEADERS", data(1, "x")},
      {"DATA on an idle stream", data(101, "x")},
      {"HEADERS on an idle stream", headers(101, response("200"))},
      {"HEADERS on a stream of its own", headers(2, response("200"))},
      {"CONTINUATION for nothing", frame(FrameType::continuation, kEndHeadersFlag, 1, "")},
      {"a frame inside of a header block", frame(FrameType::headers, 0, 1, hpack(response("200"))) + ping()},
      {"a frame too large", frame(FrameType::data, 0, 1, std::string(16'385, 'x'))},
      {"a push", frame(FrameType::push_promise, kEndHeadersFlag, 1, big_endian(2, 4) + hpack(request("GET", "/")))},
      {"a push after all was settled", settings_ack() + frame(FrameType::push_promise, kEndHeadersFlag, 1,
                                                              big_endian(2, 4) + hpack(request("GET", "/")))},
      {"SETTINGS that enable push", settings({{NGHTTP2_SETTINGS_ENABLE_PUSH, 1}})},
      {"a window beyond its limit", settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x80000000u}})},
      {"WINDOW_UPDATE of nothing", window_update(0, 0)},
      {"the connection's window beyond its limit", window_update(0, 0x7fffffff)},
      {"RST_STREAM on an idle stream", rst_stream(101, 8)},
      {"a GOAWAY that counts up", goaway(3, 0) + goaway(5, 0)},
      {"a GOAWAY on a stream", frame(FrameType::goaway, 0, 1, "12345678")},
      {"a block that is not HPACK", frame(FrameType::headers, kEndHeadersFlag, 1, "\xff\xff\xff\xff\xff\xff")},
      {"HTTP/1", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
      {"PING", repeat(200, ping())},
      {"SETTINGS", repeat(50, settings())},
      {"SETTINGS that open and close the window",
       repeat(25, settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1}}) +
                      settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}))},
      {"PRIORITY", repeat(600, frame(FrameType::priority, 0, 1, std::string("\0\0\0\0\x10", 5)))},
      {"frames that nobody knows", repeat(250, frame(99, 0, 0, "x"))},
      {"WINDOW_UPDATE", repeat(600, window_update(0, 1))},
      {"CONTINUATION", frame(FrameType::headers, 0, 1, "") + repeat(300, frame(FrameType::continuation, 0, 1, ""))},
      {"empty DATA", head(response("200")) + repeat(300, data(1, ""))},
      {"DATA on a stream that is over", head(response("200"), true) + repeat(1100, data(1, "x"))},
      {"RST_STREAM", repeat(200, rst_stream(1, 8))},
      {"GOAWAY", repeat(30, goaway(3, 0))},
  };
  for (const auto& [name, bytes] : rows) {
    for (const std::size_t max_read : {std::size_t{1}, ~std::size_t{0}}) {
      Client client({.max_read = max_read});
      client.greet();
      Exchanging a("GET", "/a");
      Exchanging b("GET", "/b");
      client.begin(a);
      client.begin(b);
      client.say("");
      const std::string said = client.say(bytes);
      EXPECT_NE(said.find("goaway 0 "), std::string::npos) << name << ": " << said;
      EXPECT_FALSE(client.session->alive()) << name;
      EXPECT_EQ(b.head, lost) << name;
      EXPECT_EQ(client.session->streams(), 0u) << name;
      EXPECT_TRUE(client.far.finished()) << name;
    }
  }
}

TEST(HostileOrigin, NobodyCanBeMadeToWaitForEver) {
  // GOAWAY that counts our stream, SETTINGS without room, windows of nothing, and silence.
  Client client;
  client.greet();
  Exchanging a("POST", "/a");
  a.request.framing = Framing::chunked;
  a.upload = std::string(100'000, 'x');
  a.deadline = client.clock.now() + 10s;
  client.begin(a);
  client.say(settings({{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0}}) +
             goaway(1, 0));
  advance(client.loop, client.clock, 11s);
  EXPECT_EQ(a.head, "PST-U003 ");
  a.tasks.cancel_all();
  a.upstream.reset();
  settle(client.loop);
  EXPECT_EQ(client.session->streams(), 0u);
  EXPECT_TRUE(client.say("").ends_with("rst 1 8"));
}

TEST(HostileOrigin, AHeaderBlockThatDrips) {
  Client client;
  client.timeouts.idle = 10s;
  client.greet();
  Exchanging a("GET", "/a");
  client.begin(a);
  client.say("");
  const std::string block = headers(1, response("200", {{"x", std::string(200, 'y')}}));
  client.say(block.substr(0, 20));
  for (std::size_t at = 20; at < 40 && a.head.empty(); ++at) {
    advance(client.loop, client.clock, 1s);
    client.say(block.substr(at, 1));
  }
  EXPECT_EQ(a.head, "PST-U003 a header block does not end");
  EXPECT_FALSE(client.session->alive());
}

TEST(HostileOrigin, OutputIsBoundedWhileTheOriginTakesNothing) {
  Client client({.capacity = 1000});
  client.start();
  client.far.send(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x7fffffff}}) + window_update(0, 0x7fff0000));
  std::vector<std::unique_ptr<Exchanging>> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(std::make_unique<Exchanging>("POST", "/"));
    all.back()->request.framing = Framing::chunked;
    all.back()->upload = std::string(100'000, 'x');
    client.begin(*all.back());
  }
  EXPECT_LE(client.buffers.in_use(), 128 * 1024u);
  advance(client.loop, client.clock, 61s);
  EXPECT_EQ(all[0]->head, "PST-U003 the origin takes nothing");
}

TEST(HostileOrigin, WhatNobodyReadsIsNotTakenFromTheOthers) {
  Client client;
  client.greet();
  client.say(settings_ack());
  Exchanging unread("GET", "/a");
  unread.reads_body = false;
  Exchanging other("GET", "/b");
  client.begin(unread);
  client.begin(other);
  client.say("");
  client.far.send(headers(1, response("200"), false) + repeat(16, data(1, std::string(16'384, 'x'))));
  EXPECT_LE(client.buffers.in_use(), 600'000u);
  client.far.send(headers(3, response("200"), false) + repeat(16, data(3, std::string(16'384, 'y'))) +
                  data(3, "", true));
  EXPECT_EQ(other.body.data.size(), 262'144u);
  // One byte more than the window.
  EXPECT_EQ(client.say(data(1, "x")), "rst 1 3");
}

}  // namespace
}  // namespace postern::http::h2
