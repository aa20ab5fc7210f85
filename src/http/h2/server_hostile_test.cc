// What clients must not do, one row each, and that nobody else suffers from it. After a stream error the neighbours go
// on; after a connection error all that was said before has been answered.
#include <gtest/gtest.h>

#include "http/h2/test_server.h"

namespace postern::http::h2 {
namespace {

struct Row {
  std::string name;
  std::string bytes;     // after the preface
  std::string expected;  // what the server says to them
};

// Without the body of a problem, whose length depends on its wording.
std::string shorten(const std::string& said) {
  std::string out;
  for (std::size_t at = 0; at < said.size();) {
    const std::size_t end = std::min(said.find("; ", at), said.size());
    const std::string line = said.substr(at, end - at);
    if (!line.starts_with("data ")) out += (out.empty() ? "" : "; ") + line;
    at = end + 2;
  }
  return out;
}

std::string repeat(int times, const std::string& bytes) {
  std::string out;
  for (int i = 0; i < times; ++i) out += bytes;
  return out;
}
template <typename Make>
std::string for_streams(std::uint32_t from, int count, Make&& make) {
  std::string out;
  for (int i = 0; i < count; ++i) out += make(from + 2 * static_cast<std::uint32_t>(i));
  return out;
}

// A server with a stream that waits (3) beside what the row does; the service's limits are small.
void check(const Row& row, std::size_t max_read) {
  Server server({.max_read = max_read});
  server.limits.head = {.max_header_count = 10, .max_header_bytes = 1000, .max_target_length = 100};
  server.greet();
  EXPECT_EQ(server.say(headers(99, request("GET", "/wait"))), "") << row.name;
  std::string bytes = row.bytes;
  const std::string said = shorten(server.say(bytes));
  EXPECT_EQ(said, row.expected) << row.name;
  if (row.expected.find("goaway") != std::string::npos) {
    EXPECT_EQ(server.service.running, 0) << row.name;
    EXPECT_TRUE(server.far.finished()) << row.name;
    server.far.close();
    EXPECT_TRUE(server.ended) << row.name;
    EXPECT_EQ(server.buffers.in_use(), 0u) << row.name;
    return;
  }
  server.service.release();
  advance(server.loop, server.clock, 10ms);
  EXPECT_EQ(shorten(server.say("")), "headers 99 :status=200") << row.name;
  EXPECT_EQ(server.say(headers(9999, request("GET", "/none"))), "headers 9999 :status=204 end") << row.name;
  EXPECT_EQ(server.session->streams(), 0u) << row.name;
}

void check_all(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    check(row, ~std::size_t{0});
    check(row, 1);
  }
}

// The attacked stream comes after the neighbour's.
std::string on(std::uint32_t stream, const Pairs& fields, bool end = true) { return headers(stream, fields, end); }

TEST(HostileClient, MalformedHeads) {
  const auto with_field = [](const std::string& name, const std::string& value) {
    return on(101, request("GET", "/", {{name, value}}));
  };
  const std::string malformed = "rst 101 1";
  check_all({
      {"no :method", on(101, {{":scheme", "http"}, {":authority", "a"}, {":path", "/"}}), malformed},
      {"no :scheme", on(101, {{":method", "GET"}, {":authority", "a"}, {":path", "/"}}), malformed},
      {"no :path", on(101, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}}), malformed},
      {"neither :authority nor host", on(101, {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}), malformed},
      {"nothing", on(101, {}), malformed},
      {":path twice",
       on(101, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {":path", "/b"}}),
       malformed},
      {":method twice",
       on(101, {{":method", "GET"}, {":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}}),
       malformed},
      {":authority twice",
       on(101, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":authority", "a"}, {":path", "/"}}),
       malformed},
      {"an unknown pseudo-field",
       on(101, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {":x", "y"}}), malformed},
      {":status in a request",
       on(101, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {":status", "200"}}),
       malformed},
      {"a pseudo-field behind a field",
       on(101, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {"x", "y"}, {":path", "/"}}), malformed},
      {":protocol without CONNECT",
       on(101,
          {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}, {":protocol", "websocket"}}),
       malformed},
      {"a capital in a name", with_field("X-a", "b"), malformed},
      {"a space in a name", with_field("x a", "b"), malformed},
      {"a colon in a name", with_field("x:a", "b"), malformed},
      {"an empty name", with_field("", "b"), malformed},
      {"CR in a name", with_field("x\r", "b"), malformed},
      {"LF in a name", with_field("x\ny: z", "b"), malformed},
      {"NUL in a name", with_field(std::string("x\0", 2), "b"), malformed},
      {"a name beyond ASCII", with_field("x\xc3\xa4", "b"), malformed},
      {"CR in a value", with_field("x", "a\rb"), malformed},
      {"LF in a value", with_field("x", "a\nb: c"), malformed},
      {"NUL in a value", with_field("x", std::string("a\0b", 3)), malformed},
      {"a control character in a value", with_field("x", "a\x01"), malformed},
      {"DEL in a value", with_field("x", "a\x7f"), malformed},
      {"CR LF in the path", on(101, request("GET", "/ HTTP/1.1\r\nX: y")), malformed},
      {"CR LF in the method", on(101, request("GET / HTTP/1.1\r\nX: y", "/")), malformed},
      {"an empty method", on(101, request("", "/")), malformed},
      {"connection", with_field("connection", "close"), malformed},
      {"keep-alive", with_field("keep-alive", "timeout=5"), malformed},
      {"proxy-connection", with_field("proxy-connection", "keep-alive"), malformed},
      {"transfer-encoding", with_field("transfer-encoding", "chunked"), malformed},
      {"upgrade", with_field("upgrade", "websocket"), malformed},
      {"te: gzip", with_field("te", "gzip"), malformed},
      {"te: trailers, gzip", with_field("te", "trailers, gzip"), malformed},
      {"a path without a slash", on(101, request("GET", "x")), malformed},
      {"an absolute path", on(101, request("GET", "http://evil.example/")), malformed},
      {"an empty path", on(101, request("GET", "")), malformed},
      {"an asterisk for a GET", on(101, request("GET", "*")), malformed},
      {"content-length twice", on(101, request("POST", "/", {{"content-length", "1"}, {"content-length", "1"}}), false),
       malformed},
      {"content-length with a sign", on(101, request("POST", "/", {{"content-length", "+1"}}), false), malformed},
      {"content-length as a list", on(101, request("POST", "/", {{"content-length", "1, 1"}}), false), malformed},
      {"content-length that overflows",
       on(101, request("POST", "/", {{"content-length", "99999999999999999999"}}), false), malformed},
      {"content-length and no body", on(101, request("POST", "/", {{"content-length", "5"}})), malformed},
  });
}

TEST(HostileClient, HeadsThatGetAnAnswer) {
  const auto with_field = [](const std::string& name, const std::string& value) {
    return on(101, request("GET", "/", {{name, value}}));
  };
  const std::string bad = "headers 101 :status=400";
  Pairs many;
  for (int i = 0; i < 12; ++i) many.emplace_back("x", "y");
  Pairs crumbs;
  for (int i = 0; i < 12; ++i) crumbs.emplace_back("cookie", "a=b");
  Pairs bomb;
  for (int i = 0; i < 30; ++i) bomb.emplace_back("x", "y");
  check_all({
      {"host is not :authority", with_field("host", "b.example"), bad},
      {"host twice", on(101, request("GET", "/", {{"host", "a.example"}, {"host", "a.example"}})), "rst 101 1"},
      {"host in other letters", with_field("host", "A.EXAMPLE"), "headers 101 :status=200"},
      {"an empty :authority", on(101, {{":method", "GET"}, {":scheme", "http"}, {":authority", ""}, {":path", "/"}}),
       "rst 101 1"},
      {"a scheme that is not HTTP's",
       on(101, {{":method", "GET"}, {":scheme", "ftp"}, {":authority", "a"}, {":path", "/"}}), bad},
      {"a space in the path", on(101, request("GET", "/a b")), "rst 101 1"},
      {"a byte beyond ASCII in the path", on(101, request("GET", "/\xc3\xa4")), bad},
      {"an expectation that nobody knows", with_field("expect", "cake"), "headers 101 :status=417"},
      {"a path too long", on(101, request("GET", "/" + std::string(100, 'x'))), "headers 101 :status=414"},
      {"a path of just that length", on(101, request("GET", "/" + std::string(99, 'x'))), "headers 101 :status=200"},
      {"too many fields", on(101, request("GET", "/", many)), "headers 101 :status=431"},
      {"too many crumbs", on(101, request("GET", "/", crumbs)), "headers 101 :status=431"},
      {"too many bytes", with_field("x", std::string(1000, 'y')), "headers 101 :status=431"},
      {"far too many fields", on(101, request("GET", "/", bomb)), "rst 101 11"},
      {"far too many bytes", with_field("x", std::string(3000, 'y')), "rst 101 11"},
      {"a method of 40 letters", on(101, request(std::string(40, 'M'), "/")), bad},
      {":protocol that is not known",
       on(101,
          {{":method", "CONNECT"},
           {":protocol", "connect-udp"},
           {":scheme", "http"},
           {":authority", "a"},
           {":path", "/"}},
          false),
       "headers 101 :status=501; rst 101 0"},
      {"too much and a body", on(101, request("POST", "/", many), false), "headers 101 :status=431; rst 101 0"},
  });
}

TEST(HostileClient, BodiesThatAreNotAsAnnounced) {
  const Pairs five = request("POST", "/echo", {{"content-length", "5"}});
  check_all({
      {"shorter", on(101, five, false) + data(101, "abc", true), "rst 101 1"},
      {"longer", on(101, five, false) + data(101, "abcdefg", true), "rst 101 1"},
      {"longer in a second frame", on(101, five, false) + data(101, "abcde") + data(101, "f"), "rst 101 1"},
      {"shorter with trailers", on(101, five, false) + data(101, "abc") + on(101, {{"x", "y"}}), "rst 101 1"},
      {"nothing", on(101, five, false) + data(101, "", true), "rst 101 1"},
      {"trailers with a pseudo-field", on(101, request("POST", "/echo"), false) + on(101, {{":path", "/"}}),
       "rst 101 1"},
      {"trailers that do not end", on(101, request("POST", "/echo"), false) + on(101, {{"x", "y"}}, false),
       "rst 101 1"},
      {"trailers with a bad name", on(101, request("POST", "/echo"), false) + on(101, {{"X", "y"}}), "rst 101 1"},
      {"trailers with a connection field", on(101, request("POST", "/echo"), false) + on(101, {{"connection", "y"}}),
       "rst 101 1"},
      {"trailers too large", on(101, request("POST", "/echo"), false) + on(101, {{"x", std::string(1500, 'y')}}),
       "rst 101 11"},
      {"more than the window",
       on(101, request("POST", "/wait"), false) + repeat(17, data(101, std::string(16'384, 'x'))), "rst 101 3"},
      {"the window grows beyond its limit", on(101, request("POST", "/wait"), false) + window_update(101, 0x7fffffff),
       "rst 101 3"},
  });
}

TEST(HostileClient, BrokenConnections) {
  const std::string wait = on(101, request("POST", "/wait"), false);
  check_all({
      {"DATA on stream 0", data(0, "x"), "goaway 99 1"},
      {"DATA on an idle stream", data(201, "x"), "goaway 99 1"},
      {"DATA behind END_STREAM", data(99, "x"), "goaway 99 5"},
      {"HEADERS behind END_STREAM", on(99, {{"x", "y"}}), "goaway 99 5"},
      {"HEADERS on stream 0", on(0, request("GET", "/")), "goaway 99 1"},
      {"HEADERS on an even stream", on(102, request("GET", "/")), "goaway 99 1"},
      {"CONTINUATION for nothing", frame(FrameType::continuation, kEndHeadersFlag, 99, ""), "goaway 99 1"},
      {"a frame inside of a header block", frame(FrameType::headers, 0, 101, hpack(request("GET", "/"))) + ping(),
       "goaway 101 1"},
      {"a block continued on another stream",
       frame(FrameType::headers, 0, 101, "") + frame(FrameType::continuation, 4, 99, ""), "goaway 101 1"},
      {"a frame too large", frame(FrameType::data, 0, 99, std::string(16'385, 'x')), "goaway 99 6"},
      {"PING of another size", frame(FrameType::ping, 0, 0, "1234567"), "goaway 99 6"},
      {"PING on a stream", frame(FrameType::ping, 0, 99, "12345678"), "goaway 99 1"},
      {"SETTINGS of another size", frame(FrameType::settings, 0, 0, "12345"), "goaway 99 6"},
      {"SETTINGS on a stream", frame(FrameType::settings, 0, 99, ""), "goaway 99 1"},
      {"SETTINGS ACK with a payload", frame(FrameType::settings, kAckFlag, 0, "123456"), "goaway 99 6"},
      {"SETTINGS ACK for nothing", settings_ack() + settings_ack(), "goaway 99 1"},
      {"a window beyond its limit", settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0x80000000u}}), "goaway 99 3"},
      {"frames too small", settings({{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16'383}}), "goaway 99 1"},
      {"push of another value", settings({{NGHTTP2_SETTINGS_ENABLE_PUSH, 2}}), "goaway 99 1"},
      {"WINDOW_UPDATE of nothing", window_update(0, 0), "goaway 99 1"},
      {"WINDOW_UPDATE of nothing on a stream", window_update(99, 0), "goaway 99 1"},
      {"WINDOW_UPDATE on an idle stream", window_update(201, 1), "goaway 99 1"},
      {"the connection's window beyond its limit", window_update(0, 0x7fffffff), "goaway 99 3"},
      {"RST_STREAM on an idle stream", rst_stream(201, 8), "goaway 99 1"},
      {"RST_STREAM on stream 0", rst_stream(0, 8), "goaway 99 1"},
      {"RST_STREAM of another size", frame(FrameType::rst_stream, 0, 99, "123"), "goaway 99 6"},
      {"PRIORITY of another size", frame(FrameType::priority, 0, 99, "1234"), "goaway 99 6"},
      {"PUSH_PROMISE",
       frame(FrameType::push_promise, kEndHeadersFlag, 99, big_endian(2, 4) + hpack(request("GET", "/"))),
       "goaway 99 1"},
      {"GOAWAY on a stream", frame(FrameType::goaway, 0, 99, "12345678"), "goaway 99 1"},
      {"padding larger than the frame", frame(FrameType::data, kPaddedFlag, 99, "\xff"), "goaway 99 5"},
      {"padding larger than the head", frame(FrameType::headers, kPaddedFlag | kEndHeadersFlag, 101, "\xff\x82"),
       "goaway 99 1"},
      {"a block that is not HPACK",
       frame(FrameType::headers, kEndHeadersFlag | kEndStreamFlag, 101, "\xff\xff\xff\xff\xff\xff"), "goaway 101 9"},
      {"an index that does not exist", frame(FrameType::headers, kEndHeadersFlag | kEndStreamFlag, 101, "\xfe"),
       "goaway 101 9"},
      {"a table larger than agreed",
       frame(FrameType::headers, kEndHeadersFlag | kEndStreamFlag, 101, "\x3f\xff\xff\xff\x0f"), "goaway 101 9"},
      {"a string longer than the block",
       frame(FrameType::headers, kEndHeadersFlag | kEndStreamFlag, 101, std::string("\0\x7f\xff\x7f", 4)),
       "goaway 101 9"},
      {"more than the connection's window",
       settings_ack() +
           for_streams(101, 4,
                       [](std::uint32_t id) {
                         return on(id, request("POST", "/wait"), false) +
                                repeat(16, data(id, std::string(16'384, 'x')));
                       }) +
           on(201, request("POST", "/wait"), false) + data(201, "x"),
       "goaway 201 3"},
  });
}

TEST(HostileClient, WhatIsNotTheBeginningOfHttp2) {
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), std::string(kPreface) + ping(),
                                   std::string(kPreface) + headers(1, request("GET", "/")),
                                   std::string(kPreface) + settings_ack(), std::string("\0\0\0\0", 4)}) {
    Server server;
    server.start();
    EXPECT_EQ(server.say(bytes), "goaway 0 1");
    EXPECT_TRUE(server.far.finished());
    EXPECT_EQ(server.service.ended, 0);
  }
}

TEST(HostileClient, Floods) {
  const std::string calm = "goaway 99 11";
  const auto unread = [](const std::string& said) { return said.substr(said.rfind("goaway")); };
  const std::vector<Row> rows = {
      {"PING", repeat(200, ping()), calm},
      {"SETTINGS", repeat(50, settings()), calm},
      {"SETTINGS of many entries", repeat(1, settings(std::vector<Setting>(40, {3, 1}))), calm},
      {"PRIORITY", repeat(600, frame(FrameType::priority, 0, 99, std::string("\0\0\0\0\x10", 5))), calm},
      {"PRIORITY_UPDATE", repeat(600, frame(FrameType::priority_update, 0, 0, std::string("\0\0\0\x63u=1", 7))), calm},
      {"frames that nobody knows", repeat(250, frame(99, 0, 0, "x")), calm},
      {"WINDOW_UPDATE", repeat(600, window_update(0, 1)), calm},
      {"GOAWAY", repeat(30, goaway(0, 0)), calm},
      {"empty DATA", on(101, request("POST", "/wait"), false) + repeat(300, data(101, "")), "goaway 101 11"},
      {"CONTINUATION", frame(FrameType::headers, 0, 101, "") + repeat(300, frame(FrameType::continuation, 0, 101, "")),
       calm},
      {"CONTINUATION, slowly enough for the budget",
       frame(FrameType::headers, 0, 101, "") + repeat(20, frame(FrameType::continuation, 0, 101, "")), calm},
      {"rapid reset",
       for_streams(101, 200, [](std::uint32_t id) { return on(id, request("GET", "/wait")) + rst_stream(id, 8); }),
       calm},
      {"RST_STREAM on streams that are over", repeat(300, rst_stream(97, 8)), calm},
      {"DATA on streams that are over", on(101, request("POST", "/early"), false) + repeat(1100, data(101, "x")),
       "goaway 101 11"},
      {"HEADERS on streams that are over",
       for_streams(1, 49, [](std::uint32_t id) { return on(id, request("GET", "/none")); }) +
           for_streams(1, 49, [](std::uint32_t id) { return on(id, request("GET", "/none")); }) +
           for_streams(1, 49, [](std::uint32_t id) { return on(id, request("GET", "/none")); }),
       calm},
      {"made you reset: windows",
       for_streams(101, 100,
                   [](std::uint32_t id) { return on(id, request("GET", "/wait")) + window_update(id, 0x7fffffff); }),
       ""},
      {"made you reset: lengths",
       for_streams(101, 100,
                   [](std::uint32_t id) {
                     return on(id, request("POST", "/wait", {{"content-length", "1"}}), false) + data(id, "xx");
                   }),
       ""},
      {"made you reset: heads", for_streams(101, 100, [](std::uint32_t id) { return on(id, {{"x", "y"}}); }), ""},
      {"heads too large",
       for_streams(
           101, 100,
           [](std::uint32_t id) { return on(id, request("GET", "/", {{"x", std::string(40'000 / 16, 'y')}})); }),
       ""},
  };
  for (const Row& row : rows) {
    Server server;
    server.limits.head.max_header_bytes = 1000;
    server.greet();
    EXPECT_EQ(server.say(headers(99, request("GET", "/wait"))), "") << row.name;
    std::string said;
    // In pieces, so that the server has its say in between, as it would have on a network.
    for (std::size_t at = 0; at < row.bytes.size() && said.find("goaway") == std::string::npos; at += 500) {
      const std::string more = server.say(row.bytes.substr(at, 500));
      if (!more.empty()) said += (said.empty() ? "" : "; ") + more;
    }
    ASSERT_NE(said.find("goaway"), std::string::npos) << row.name << ": " << said;
    if (row.expected.empty()) {
      EXPECT_TRUE(unread(said).ends_with(" 11")) << row.name << ": " << said;
    } else if (row.name == "rapid reset") {
      EXPECT_TRUE(unread(said).ends_with(" 11")) << row.name << ": " << said;
    } else {
      EXPECT_EQ(unread(said), row.expected) << row.name;
    }
    EXPECT_EQ(server.service.running, 0) << row.name;
    EXPECT_EQ(server.counters.floods, row.name == "SETTINGS of many entries" ? 0u : 1u) << row.name;
    EXPECT_EQ(server.counters.goaways_sent[NGHTTP2_ENHANCE_YOUR_CALM], 1u) << row.name;
  }
}

TEST(HostileClient, HandlersOfResetStreamsDoNotPileUp) {
  Server server;
  server.http2.max_concurrent_streams = 20;
  server.greet();
  // All in one turn: nothing is cleared away in between.
  server.far.slip_in(
      for_streams(1, 60, [](std::uint32_t id) { return on(id, request("GET", "/wait")) + rst_stream(id, 8); }));
  settle(server.loop);
  EXPECT_LE(server.service.most_running, 20);
  EXPECT_EQ(server.service.running, 0);
  EXPECT_GE(server.counters.streams_refused, 1u);
  EXPECT_TRUE(server.say(headers(999, request("GET", "/none"))).ends_with("headers 999 :status=204 end"));
}

TEST(HostileClient, MoreStreamsThanAgreed) {
  Server server;
  server.http2.max_concurrent_streams = 3;
  server.greet();
  const std::string four = for_streams(1, 4, [](std::uint32_t id) { return on(id, request("GET", "/wait")); });
  EXPECT_EQ(server.say(four), "rst 7 7") << "it may not know yet";
  EXPECT_EQ(server.service.running, 3);
  EXPECT_EQ(server.say(settings_ack() + headers(9, request("GET", "/wait"))), "goaway 5 1") << "now it knows";
}

// A budget must not end who merely does a lot.
TEST(HostileClient, WhoIsBusyIsNotHostile) {
  Server server;
  server.greet();
  for (std::uint32_t id = 1; id < 6000; id += 2) {
    std::string bytes = headers(id, request("GET", "/bytes/10"));
    if (id % 8 == 1) bytes = headers(id, request("GET", "/wait")) + rst_stream(id, 8);  // every fourth is cancelled
    if (id % 8 != 1) bytes += ping() + window_update(0, 10);
    const std::string said = server.say(bytes);
    ASSERT_EQ(said.find("goaway"), std::string::npos) << id;
  }
}

TEST(HostileClient, AnHpackBombIsNotUnpacked) {
  Server server;
  server.greet();
  // One field of 4000 bytes goes into the table, and is named by one byte many times.
  std::string block = hpack(request("GET", "/"));
  block += std::string("\x40\x01x", 3) + std::string("\x7f\xa1\x1e", 3) + std::string(4000, 'y');
  block += std::string(10'000, '\xbe');
  const std::string said = server.say(frame(FrameType::headers, kEndHeadersFlag | kEndStreamFlag, 1, block));
  EXPECT_EQ(said, "rst 1 11");
  EXPECT_EQ(server.service.ended, 0);
  EXPECT_EQ(server.say(headers(3, request("GET", "/none"))), "headers 3 :status=204 end") << "the table is still right";
}

}  // namespace
}  // namespace postern::http::h2
