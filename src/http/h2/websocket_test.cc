// WebSockets over HTTP/2 (RFC 8441): as the handler of a client, and as who asks an origin, see them.
#include "http/websocket.h"

#include <gtest/gtest.h>

#include "http/h2/test_client.h"
#include "http/h2/test_server.h"

namespace postern::http::h2 {
namespace {

Pairs connect(const Pairs& more = {}) {
  Pairs out = {{":method", "CONNECT"},
               {":protocol", "websocket"},
               {":scheme", "https"},
               {":authority", "a.example"},
               {":path", "/ws"}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

TEST(WebSocketServer, AnExtendedConnectIsTheHandshakeOfHttp1) {
  Server server;
  server.greet();
  server.transcript.all_fields = true;
  EXPECT_EQ(
      server.say(headers(
          1, connect({{"sec-websocket-protocol", "chat"}, {"origin", "o"}, {"sec-websocket-key", "theirs"}}), false)),
      "headers 1 :status=200");
  const std::string seen = server.service.requests[0];
  const std::string before =
      "GET /ws none [Host|a.example][sec-websocket-protocol|chat][origin|o][Connection|Upgrade]"
      "[Upgrade|websocket][Sec-WebSocket-Key|";
  EXPECT_TRUE(seen.starts_with(before)) << seen;
  EXPECT_TRUE(seen.ends_with("][Sec-WebSocket-Version|13]")) << seen;
  RequestHead request;
  request.method = Method::get;
  request.version = Version::http_2;
  const std::string key = seen.substr(before.size(), 24);
  request.headers.append("Sec-WebSocket-Key", key);
  request.headers.append("Sec-WebSocket-Version", "13");
  EXPECT_TRUE(check_websocket_request(request).has_value()) << key;
  server.say(headers(3, connect(), false));
  EXPECT_EQ(server.service.requests[1].find(key), std::string::npos) << "each has its own";
}

TEST(WebSocketServer, BytesGoBothWaysUntilBothEnd) {
  Server server;
  server.greet();
  server.say(headers(1, connect(), false));
  EXPECT_EQ(server.say(data(1, "hello")), "data 1 5");
  EXPECT_EQ(server.say(data(1, "again") + data(1, "and again")), "data 1 14");
  EXPECT_EQ(server.say(data(1, "end", true)), "data 1 3; data 1 0 end");
  EXPECT_EQ(server.service.failures, std::vector<std::string>{"ws ended"});
  EXPECT_EQ(server.session->streams(), 0u);
  EXPECT_EQ(server.buffers.in_use(), 0u);
}

TEST(WebSocketServer, TheLastBytesAreNotLostToAClosedWindow) {
  Server server;
  server.start();
  server.far.send(std::string(kPreface) + settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 4}}) +
                  headers(1, connect(), false) + data(1, "hello", true));
  EXPECT_EQ(server.say(""), "headers 1 :status=200; data 1 4");
  EXPECT_EQ(server.say(window_update(1, 100)), "data 1 1 end");
  EXPECT_EQ(server.session->streams(), 0u);
}

TEST(WebSocketServer, AnIdleOneHoldsNoBufferAndOutlivesIdleTimeouts) {
  Server server;
  server.greet();
  server.say(headers(1, connect(), false) + data(1, "hello"));
  advance(server.loop, server.clock, 24h);
  EXPECT_EQ(server.buffers.in_use(), 0u);
  EXPECT_EQ(server.say(data(1, "x")), "data 1 1");
}

TEST(WebSocketServer, AResetIsAnErrorForWhoReads) {
  Server server;
  server.greet();
  server.say(headers(1, connect(), false));
  EXPECT_EQ(server.say(rst_stream(1, 8)), "");
  EXPECT_EQ(server.service.running, 0);
}

TEST(WebSocketServer, WhatEndsTooEarlyIsReset) {
  Server server;
  server.greet();
  server.say(headers(1, connect(), false) + data(1, "x"));
  server.session->drain();
  server.say("");
  server.tasks.cancel_all();  // the gateway gives up waiting
  server.session.reset();
  EXPECT_TRUE(server.far.finished() || server.far.reset());
}

TEST(WebSocketServer, BackpressureReachesBothEnds) {
  Server server({.capacity = 10'000});
  server.start();
  Library client(Library::Role::client, server.far, {}, false);
  const std::int32_t id = client.request(connect(), std::string(1'000'000, 'x'), false);
  client.run();
  // The client reads nothing: its window is full, then ours is.
  EXPECT_EQ(client.streams[id].body.size(), 65'535u);
  EXPECT_LE(server.buffers.in_use(), 400'000u);
  for (int i = 0; i < 1000 && client.streams[id].body.size() < 1'000'000; ++i) {
    nghttp2_submit_window_update(client.session, NGHTTP2_FLAG_NONE, id, 30'000);
    nghttp2_submit_window_update(client.session, NGHTTP2_FLAG_NONE, 0, 30'000);
    client.run();
  }
  EXPECT_EQ(client.streams[id].body.size(), 1'000'000u);
}

TEST(WebSocketServer, Refusals) {
  Server server;
  server.greet();
  EXPECT_EQ(server.say(headers(1, connect({{"content-length", "5"}}), false)),
            "headers 1 :status=400; data 1 36 end; rst 1 0");
  // A handler that answers anything but 101 answers an ordinary response.
  Pairs elsewhere = connect();
  elsewhere.back().second = "/early";
  EXPECT_TRUE(server.say(headers(3, elsewhere, false)).starts_with("headers 3 :status=200; data 3"));
}

// ---- towards an origin ----

struct Handshake {
  explicit Handshake(Exchanging& exchange) {
    exchange.websocket = true;
    exchange.fields.append("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    exchange.fields.append("Sec-WebSocket-Version", "13");
    exchange.fields.append("Sec-WebSocket-Protocol", "chat");
  }
};

TEST(WebSocketClient, AsksByExtendedConnectAndSeesA101) {
  Client client;
  client.greet();
  client.transcript.all_fields = true;
  Exchanging a("GET", "/ws");
  const Handshake handshake(a);
  client.begin(a);
  EXPECT_EQ(client.say(""),
            "headers 1 :method=CONNECT :protocol=websocket :scheme=http :authority=o.example :path=/ws "
            "sec-websocket-version=13 sec-websocket-protocol=chat");
  a.reads_body = false;
  client.say(headers(1, response("200", {{"sec-websocket-protocol", "chat"}}), false));
  EXPECT_EQ(a.head,
            "101 none [sec-websocket-protocol|chat][Connection|Upgrade][Upgrade|websocket]"
            "[Sec-WebSocket-Accept|s3pPLMBiTxaQ9kYGzzhZRbK+xOo=]");
  EXPECT_TRUE(check_websocket_response(a.request, a.response).has_value());
  EXPECT_EQ(a.upstream->take_raw_leftover(), "");

  Stream& stream = a.upstream->raw_stream();
  stream.reset_on_close();  // if it is cut off; the end that was said counts
  iovec part{const_cast<char*>("hello"), 5};
  EXPECT_EQ(stream.try_write({&part, 1}).bytes, 5u);
  EXPECT_EQ(client.say(""), "data 1 5");
  char bytes[100];
  EXPECT_EQ(stream.try_read(bytes).status, IoStatus::would_block);
  EXPECT_FALSE(stream.may_read());
  client.say(data(1, "there"));
  EXPECT_TRUE(stream.may_read());
  EXPECT_EQ(stream.try_read(bytes).bytes, 5u);
  stream.shutdown_write();
  EXPECT_EQ(client.say(""), "data 1 0 end");
  client.say(data(1, "", true));
  EXPECT_EQ(stream.try_read(bytes).status, IoStatus::eof);
  EXPECT_EQ(client.session->streams(), 0u);
}

TEST(WebSocketClient, TheLastBytesWaitForTheWindow) {
  Client client;
  client.greet();
  client.say(settings({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 5}}));
  Exchanging a("GET", "/ws");
  const Handshake handshake(a);
  a.reads_body = false;
  client.begin(a);
  client.say(headers(1, response("200"), false));
  Stream& stream = a.upstream->raw_stream();
  iovec part{const_cast<char*>("hello world"), 11};
  EXPECT_EQ(stream.try_write({&part, 1}).bytes, 11u);
  stream.shutdown_write();
  EXPECT_EQ(client.say(""), "data 1 5");
  std::string flushed;
  client.tasks.spawn(store(a.upstream->flush_raw(), flushed));
  settle(client.loop);
  EXPECT_EQ(flushed, "");
  EXPECT_EQ(client.say(window_update(1, 100)), "data 1 6 end");
  EXPECT_EQ(flushed, "ok");

  // An origin that takes nothing any more does not hold it for ever.
  Exchanging b("GET", "/ws");
  const Handshake another(b);
  b.reads_body = false;
  client.begin(b);
  client.say(headers(3, response("200"), false));
  EXPECT_EQ(b.upstream->raw_stream().try_write({&part, 1}).bytes, 11u);
  b.upstream->raw_stream().shutdown_write();
  client.say("");
  std::string never;
  client.tasks.spawn(store(b.upstream->flush_raw(), never));
  for (int i = 0; i < 40 && never.empty(); ++i) {
    advance(client.loop, client.clock, 4s);
    client.say(ping());  // the origin is there
  }
  EXPECT_EQ(never.substr(0, 8), "PST-U003");
}

TEST(WebSocketClient, WhatIsNotAcceptedIsAResponse) {
  Client client;
  client.greet();
  Exchanging a("GET", "/ws");
  const Handshake handshake(a);
  client.begin(a);
  client.say(headers(1, response("403", {{"content-length", "2"}}), false) + data(1, "no", true));
  EXPECT_EQ(a.head, "403 length 2 [content-length|2]");
  EXPECT_EQ(a.body.data, "no");
  a.upstream.reset();
  EXPECT_EQ(client.say(""), "rst 1 8") << "our side was open";
}

TEST(WebSocketClient, EndingItEarlyResetsTheStream) {
  Client client;
  client.greet();
  Exchanging a("GET", "/ws");
  const Handshake handshake(a);
  a.reads_body = false;
  client.begin(a);
  client.say(headers(1, response("200"), false));
  a.upstream.reset();
  EXPECT_EQ(client.say(""), "rst 1 8");
  Exchanging b("GET", "/ws");
  const Handshake another(b);
  b.reads_body = false;
  client.begin(b);
  client.say(headers(3, response("200"), false) + rst_stream(3, 8));
  char bytes[100];
  EXPECT_EQ(b.upstream->raw_stream().try_read(bytes).status, IoStatus::error);
  iovec part{const_cast<char*>("hello"), 5};
  EXPECT_EQ(b.upstream->raw_stream().try_write({&part, 1}).status, IoStatus::error);
}

}  // namespace
}  // namespace postern::http::h2
