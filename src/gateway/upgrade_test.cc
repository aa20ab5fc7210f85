// WebSocket: bytes pass only after the origin's matching 101, then both ways, until both sides have ended.
#include "gateway/test_support.h"

namespace postern::gateway {
namespace {

constexpr std::string_view kUpgrade =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
constexpr std::string_view kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

class Upgrade : public GatewayTest {
 protected:
  void open(TestGateway& on) {
    client = on.connect();
    client.send(kUpgrade);
    origin = on.accept();
    head = origin.receive();
    origin.send(kSwitch);
    answer = client.receive();
  }
  void open(const std::string& extra = "", const std::string& top = "") {
    start_simple(extra, top);
    open(gateway);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n")) << answer;
  }
  Peer client;
  Peer origin;
  std::string head;
  std::string answer;
};

TEST_F(Upgrade, passes_with_identity_and_then_carries_bytes_both_ways) {
  open();
  EXPECT_NE(head.find("Connection: Upgrade\r\nUpgrade: websocket\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("X-Secret: 0123456789abcdef-A-secret\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), std::string::npos) << head;
  EXPECT_NE(answer.find("Connection: Upgrade\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), std::string::npos) << answer;
  client.send("from client");
  EXPECT_EQ(origin.receive(), "from client");
  origin.send("from origin!");
  EXPECT_EQ(client.receive(), "from origin!");
  EXPECT_LE(gateway.buffers_in_use(), 8192u) << "while nothing moves: the request's head, and what the 101 left";
  client.close();
  origin.close();
  EXPECT_EQ(gateway.worker->connections(), 0u);
  EXPECT_EQ(gateway.endpoints()->front()->connections, 0u);
  const std::string record = gateway.records(1)[0];
  EXPECT_NE(record.find("\"status\":101"), std::string::npos) << record;
  EXPECT_NE(record.find("\"bytes_in\":11,\"bytes_out\":12"), std::string::npos) << record;
}

TEST_F(Upgrade, what_comes_right_behind_the_heads_is_not_lost_and_not_early) {
  start_simple();
  client = gateway.connect();
  client.send(std::string(kUpgrade) + "eager");
  origin = gateway.accept();
  EXPECT_TRUE(origin.receive().ends_with("\r\n\r\n")) << "no byte before the 101";
  origin.send(std::string(kSwitch) + "hello");
  EXPECT_TRUE(client.receive().ends_with("\r\n\r\nhello"));
  EXPECT_EQ(origin.receive(), "eager");
}

TEST_F(Upgrade, half_close_is_passed_on_and_the_other_direction_goes_on) {
  open();
  client.send("last words");
  client.finish();
  EXPECT_EQ(origin.receive(), "last words");
  EXPECT_TRUE(origin.finished());
  origin.send("still here");
  EXPECT_EQ(client.receive(), "still here");
  origin.finish();
  EXPECT_TRUE(client.finished());
  EXPECT_EQ(gateway.worker->connections(), 0u);
  EXPECT_EQ(gateway.records(1)[0].find("error"), std::string::npos);
}

// The last bytes lie in the origin's receive queue when the splice ends: a reset would throw them away.
TEST_F(Upgrade, an_orderly_end_delivers_everything) {
  open();
  origin.finish();
  client.send("the last message");
  client.finish();
  EXPECT_EQ(origin.receive(), "the last message");
  EXPECT_TRUE(origin.finished());
}

TEST_F(Upgrade, a_reset_on_one_side_resets_the_other) {
  open();
  client.abort();
  EXPECT_TRUE(origin.reset());
  EXPECT_EQ(gateway.worker->connections(), 0u);
  EXPECT_NE(gateway.records(1)[0].find("PST-R018"), std::string::npos);

  open(gateway);
  origin.abort();
  EXPECT_FALSE(client.open());
  client.close();
  EXPECT_EQ(gateway.worker->connections(), 0u);
  EXPECT_EQ(gateway.endpoints()->front()->connections, 0u);
  EXPECT_NE(gateway.records(2)[1].find("\"error_code\":\"PST-U004\",\"error_side\":\"origin\""), std::string::npos);
}

TEST_F(Upgrade, a_client_that_resets_after_half_close_is_noticed) {
  open();
  client.finish();
  EXPECT_TRUE(origin.finished());
  client.abort();
  EXPECT_TRUE(origin.reset());
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(Upgrade, silence_in_both_directions_ends_it_and_noise_in_one_does_not) {
  open("    timeouts: {idle: 60s}\n");
  for (int i = 0; i < 3; ++i) {
    gateway.advance(60s - 1ms);
    origin.send("tick");
    EXPECT_EQ(client.receive(), "tick");
  }
  gateway.advance(60s - 1ms);
  EXPECT_TRUE(client.open());
  EXPECT_TRUE(origin.open());
  gateway.advance(1ms);
  EXPECT_FALSE(client.open());
  EXPECT_TRUE(origin.reset());
  EXPECT_NE(gateway.records(1)[0].find("PST-U003"), std::string::npos);
}

TEST_F(Upgrade, a_side_that_takes_nothing_is_given_up_after_the_idle_time) {
  TestGateway small({.capacity = 512});
  small.serve("127.0.0.1:9001");
  small.start(simple("    timeouts: {idle: 60s}\n"));
  open(small);
  const std::size_t taken = client.send(std::string(100'000, 'x'));
  EXPECT_LT(taken, 70'000u) << "backpressure";
  small.advance(60s - 1ms);
  EXPECT_FALSE(client.reset());
  small.advance(1ms);
  EXPECT_TRUE(origin.reset());
  client.abort();
  EXPECT_EQ(small.worker->connections(), 0u);
  EXPECT_EQ(small.buffers_in_use(), 0u);
}

struct Wrong {
  const char* name;
  std::string answer;
  const char* code;
};

TEST_F(Upgrade, a_101_that_does_not_match_is_an_error_and_no_pipe) {
  start_simple();
  const std::string accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
  for (const auto& [name, bytes, code] :
       {Wrong{"no Upgrade", "HTTP/1.1 101 X\r\nConnection: Upgrade\r\n" + accept + "\r\n", "PST-U008"},
        Wrong{"wrong key",
              "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
              "PST-U008"},
        Wrong{"other protocol", "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n" + accept + "\r\n",
              "PST-U008"}}) {
    SCOPED_TRACE(name);
    client = gateway.connect();
    client.send(kUpgrade);
    origin = gateway.accept();
    origin.receive();
    origin.send(bytes);
    const std::string got = client.receive();
    EXPECT_TRUE(got.starts_with("HTTP/1.1 502 ")) << got;
    EXPECT_NE(got.find(code), std::string::npos) << got;
    EXPECT_FALSE(origin.open());
  }
  client = gateway.connect();
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  origin = gateway.accept();
  origin.receive();
  origin.send(kSwitch);
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 502 ")) << "101 that nobody asked for";
}

TEST_F(Upgrade, an_origin_that_declines_answers_as_usual) {
  start_simple();
  client = gateway.connect();
  client.send(kUpgrade);
  origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_TRUE(client.receive().ends_with("no"));
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(origin.receive().starts_with("GET / HTTP/1.1\r\n")) << "still HTTP on both sides";
}

TEST_F(Upgrade, other_upgrades_never_reach_the_origin) {
  start_simple();
  for (const std::string_view fields :
       {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"}) {
    client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\nsmuggled");
    const std::string got = client.receive();
    EXPECT_TRUE(got.starts_with("HTTP/1.1 400 ")) << got;
    EXPECT_NE(got.find("PST-R011"), std::string::npos) << got;
    EXPECT_TRUE(client.finished());
    EXPECT_FALSE(gateway.connected());
  }
}

}  // namespace
}  // namespace postern::gateway
