// Every limit on time, at its exact moment: one millisecond before nothing has happened, at the moment it has.
#include "gateway/test_support.h"
#include "http/h2/server_session.h"

namespace postern::gateway {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

class Timeouts : public GatewayTest {
 protected:
  void start_with(const std::string& limits, const std::string& origin = "") {
    start_simple(origin, "limits: {" + limits + "}\n");
  }
};

TEST_F(Timeouts, header_timeout_counts_from_the_first_byte_however_the_rest_drips) {
  start_with("header_timeout: 10s");
  Peer client = gateway.connect();
  gateway.advance(30s);  // idle is another limit
  client.send("GET / HTTP/1.1\r\nX-Drip: ");
  for (int i = 0; i < 9; ++i) {
    gateway.advance(1s);
    client.send("x");
  }
  gateway.advance(1s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 408 Request Timeout\r\n")) << got;
  EXPECT_NE(got.find("PST-R009"), std::string::npos) << got;
  EXPECT_TRUE(client.finished());
}

TEST_F(Timeouts, idle_timeout_closes_without_a_word_before_the_first_request_and_after_each) {
  start_with("idle_timeout: 75s");
  Peer fresh = gateway.connect();
  gateway.advance(75s - 1ms);
  EXPECT_TRUE(fresh.open());
  gateway.advance(1ms);
  EXPECT_TRUE(fresh.finished());

  Peer used = gateway.connect();
  gateway.advance(70s);
  used.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  gateway.advance(20s);  // waiting for an answer is not idle
  origin.send(kOk);
  EXPECT_TRUE(used.receive().ends_with("ok"));
  gateway.advance(75s - 1ms);
  EXPECT_TRUE(used.open());
  gateway.advance(1ms);
  EXPECT_TRUE(used.finished());
  gateway.records(1);
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(Timeouts, body_idle_timeout_starts_anew_with_every_byte) {
  start_with("body_idle_timeout: 30s, body_min_rate: 0B");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
  Peer origin = gateway.accept();
  for (int i = 0; i < 4; ++i) {
    gateway.advance(30s - 1ms);
    client.send("x");
  }
  EXPECT_TRUE(origin.receive().ends_with("xxxx"));
  gateway.advance(30s - 1ms);
  EXPECT_TRUE(client.open());
  EXPECT_TRUE(origin.open());
  gateway.advance(1ms);
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 408 ")) << got;
  EXPECT_TRUE(client.finished());
  EXPECT_FALSE(origin.open());
  EXPECT_EQ(gateway.endpoints()->front()->failures, 0u) << "a slow client is not the origin's fault";
}

TEST_F(Timeouts, a_body_below_its_minimum_rate_ends_at_the_first_byte_after_the_window) {
  start_with("body_idle_timeout: 10s, body_min_rate: 100B");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  Peer origin = gateway.accept();
  for (int i = 0; i < 10; ++i) {  // enough
    gateway.advance(1s);
    client.send(std::string(120, 'x'));
  }
  EXPECT_TRUE(client.open());
  for (int i = 0; i < 9; ++i) {  // not enough
    gateway.advance(1s);
    client.send(std::string(80, 'x'));
    EXPECT_TRUE(client.open()) << i;
  }
  gateway.advance(1s);
  client.send(std::string(80, 'x'));
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 408 "));
}

TEST_F(Timeouts, write_idle_timeout_lets_a_client_go_that_takes_nothing) {
  TestGateway small({.capacity = 1000});
  small.serve("127.0.0.1:9001");
  small.start(simple("", "limits: {write_idle_timeout: 30s}\n"));
  Peer client = small.connect();
  client.send(kGet);
  Peer origin = small.accept();
  origin.receive();
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + std::string(5000, 'x'));
  std::string got;
  for (int i = 0; i < 3; ++i) {  // slow, but reading
    small.advance(30s - 1ms);
    EXPECT_TRUE(client.receive_some(got));
    origin.send(std::string(1000, 'x'));
  }
  small.advance(30s - 1ms);
  EXPECT_EQ(small.worker->connections(), 1u);
  small.advance(1ms);
  EXPECT_EQ(small.worker->connections(), 0u);
  EXPECT_TRUE(client.reset()) << "a part must not look like the whole";
  EXPECT_FALSE(origin.open());
  EXPECT_NE(small.records(1)[0].find("PST-R018"), std::string::npos);
}

TEST_F(Timeouts, connect_timeout) {
  start_with("idle_timeout: 75s", "    timeouts: {connect: 5s}\n    retries: {attempts: 1}\n");
  gateway.network.black_hole(parse_socket_address("127.0.0.1:9001").value());
  Peer client = gateway.connect();
  client.send(kGet);
  gateway.advance(5s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 504 ")) << got;
  EXPECT_NE(got.find("PST-U002"), std::string::npos) << got;
  EXPECT_TRUE(client.open());
  EXPECT_EQ(gateway.endpoints()->front()->connections, 0u);
  EXPECT_EQ(gateway.endpoints()->front()->failures, 1u);
}

TEST_F(Timeouts, first_byte_timeout_counts_from_the_request_and_no_interim_response_extends_it) {
  start_with("idle_timeout: 75s", "    timeouts: {first_byte: 30s}\n");
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  gateway.advance(20s);
  origin.send("HTTP/1.1 102 Processing\r\n\r\n");
  EXPECT_EQ(client.receive(), "HTTP/1.1 102 Processing\r\n\r\n");
  gateway.advance(10s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 504 ")) << got;
  EXPECT_NE(got.find("PST-U003"), std::string::npos) << got;
  EXPECT_FALSE(origin.open());
  EXPECT_TRUE(client.open());
  EXPECT_EQ(gateway.metric("postern_origin_requests_total", "outcome=\"timeout\""), 1);
}

TEST_F(Timeouts, first_byte_timeout_does_not_run_while_the_client_still_sends) {
  start_with("body_idle_timeout: 60s, body_min_rate: 0B", "    timeouts: {first_byte: 30s}\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
  Peer origin = gateway.accept();
  gateway.advance(59s);
  client.send("b");
  gateway.advance(59s);
  EXPECT_TRUE(client.open());
  client.send("c");
  EXPECT_TRUE(origin.receive().ends_with("abc"));
  gateway.advance(30s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 504 "));
}

TEST_F(Timeouts, an_origin_that_takes_nothing_of_an_upload_is_given_up) {
  TestGateway small({.capacity = 1000});
  small.serve("127.0.0.1:9001");
  small.start(simple("    timeouts: {idle: 20s, first_byte: 30s}\n"));
  Peer client = small.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + std::string(5000, 'x'));
  Peer origin = small.accept();
  small.advance(20s - 1ms);
  EXPECT_TRUE(client.open());
  small.advance(1ms);
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 504 ")) << got;
  EXPECT_NE(got.find("PST-U003"), std::string::npos) << got;
  EXPECT_EQ(small.endpoints()->front()->failures, 1u);
}

TEST_F(Timeouts, origin_idle_timeout_cuts_a_response_that_stops) {
  start_with("idle_timeout: 75s", "    timeouts: {idle: 60s}\n");
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1");
  for (int i = 0; i < 3; ++i) {
    gateway.advance(60s - 1ms);
    origin.send("2");
  }
  EXPECT_TRUE(client.receive().ends_with("1222"));
  gateway.advance(60s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  EXPECT_TRUE(client.reset());
  EXPECT_FALSE(origin.open());
  EXPECT_NE(gateway.records(1)[0].find("\"error_code\":\"PST-U003\",\"error_side\":\"origin\""), std::string::npos);
}

TEST_F(Timeouts, an_idle_connection_to_the_origin_is_kept_for_its_time_and_not_longer) {
  start_with("idle_timeout: 75s", "    pool: {idle_timeout: 30s}\n");
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send(kOk);
  client.receive();
  gateway.advance(30s - 1ms);
  EXPECT_TRUE(origin.open());
  gateway.advance(1ms);
  EXPECT_TRUE(origin.finished());
  EXPECT_EQ(gateway.endpoints()->front()->connections, 0u);
}

TEST_F(Timeouts, lingering_after_an_early_answer_ends) {
  start_simple();
  Peer client = gateway.connect();
  client.send("POST /%00 HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 400 "));
  for (int i = 0; i < 4; ++i) {
    gateway.advance(500ms - (i == 3 ? 1ms : 0ms));
    EXPECT_EQ(gateway.worker->connections(), 1u);
    client.send("more");
  }
  gateway.advance(1ms);
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(Timeouts, a_proxy_header_has_the_time_of_a_head) {
  gateway.network.connect_as({IpAddress::parse("198.51.100.7").value(), 1234});
  gateway.start(
      "listeners: [{address: \"192.0.2.1:80\", proxy_protocol: v2, trusted_proxies: [198.51.100.0/24], "
      "limits: {header_timeout: 10s}}]\nroutes: [{match: {path: /*}, respond: {status: 204}, public: true}]\n");
  Peer client = gateway.connect();
  client.send("\r\n\r\n");
  gateway.advance(10s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  EXPECT_FALSE(client.open());
  EXPECT_EQ(gateway.worker->connections(), 0u);

  Peer good = gateway.connect();
  good.send(std::string("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x01\xc0\0\x02\x01\x30\x39\0\x50", 28));
  gateway.advance(60s);
  EXPECT_TRUE(good.open()) << "the limit was for the header only";
  good.send(kGet);
  EXPECT_TRUE(good.receive().starts_with("HTTP/1.1 204 "));
  EXPECT_NE(gateway.records(1)[0].find("\"client\":\"203.0.113.1\""), std::string::npos);

  gateway.network.connect_as({IpAddress::parse("198.51.101.7").value(), 1234});
  Peer stranger = gateway.connect();
  EXPECT_FALSE(stranger.open());
}

// ---- HTTP/2 in clear: who begins, and who does not go on
// -------------------------------------------------------------

class Http2Silence : public GatewayTest {
 protected:
  void SetUp() override {
    gateway.serve("127.0.0.1:9001");
    gateway.start("listeners: [{address: \"192.0.2.1:80\", http2: h2c}]\n" +
                  simple("", "limits: {header_timeout: 10s, idle_timeout: 75s}\n"));
  }
  // Silent since this moment: open until `left` has passed and then closed, whatever is said at the end.
  std::string end_after(Peer& client, Duration left) {
    gateway.advance(left - 1ms);
    EXPECT_EQ(gateway.worker->connections(), 1u) << "before its time";
    gateway.advance(1ms);
    std::string said = client.receive();
    if (said.empty() && gateway.worker->connections() != 0) {  // handed to HTTP/1, which looks at its own timer next
      gateway.advance(1ms);
      said = client.receive();
    }
    // One of HTTP/2 says goodbye and lingers for as long as its peer takes to close.
    if (gateway.worker->connections() != 0) client.close();
    settle(gateway.loop());
    EXPECT_EQ(gateway.worker->connections(), 0u);
    return said;
  }
  static constexpr std::string_view kPreface = http::h2::kPreface;
  static std::string settings() { return std::string("\0\0\0\4\0\0\0\0\0", 9); }
};

TEST_F(Http2Silence, one_that_says_nothing_has_the_idle_timeout) {
  Peer client = gateway.connect();
  EXPECT_EQ(end_after(client, 75s), "");
}

TEST_F(Http2Silence, any_part_of_the_preface_has_the_time_of_a_head) {
  for (std::size_t size = 1; size < kPreface.size(); ++size) {
    Peer client = gateway.connect();
    client.send(kPreface.substr(0, size));
    // Its first line names a version that HTTP/1 does not speak.
    const std::string said = end_after(client, 10s);
    EXPECT_NE(said.find(size < 16 ? "PST-R009" : "PST-R013"), std::string::npos) << size << said;
  }
}

TEST_F(Http2Silence, a_preface_that_drips_has_no_more_time_than_one_that_stops) {
  Peer client = gateway.connect();
  gateway.advance(70s);  // idle is another limit
  for (std::size_t i = 0; i < 10; ++i) {
    client.send(kPreface.substr(i, 1));
    if (i != 9) gateway.advance(1s);
  }
  EXPECT_TRUE(end_after(client, 1s).starts_with("HTTP/1.1 408 "));
}

TEST_F(Http2Silence, what_begins_like_the_preface_and_is_none_is_a_slow_head_from_its_first_byte) {
  Peer client = gateway.connect();
  client.send("P");
  gateway.advance(9s);
  client.send("O");
  EXPECT_TRUE(end_after(client, 1s).starts_with("HTTP/1.1 408 "));
}

TEST_F(Http2Silence, a_preface_without_a_greeting_has_the_time_of_a_head) {
  Peer client = gateway.connect();
  client.send(kPreface);
  static_cast<void>(client.receive());
  end_after(client, 10s);
  Peer half = gateway.connect();
  half.send(std::string(kPreface) + settings().substr(0, 8));
  static_cast<void>(half.receive());
  end_after(half, 10s);
}

TEST_F(Http2Silence, a_greeting_without_a_request_has_the_idle_timeout_and_others_are_served_meanwhile) {
  Peer client = gateway.connect();
  client.send(std::string(kPreface) + settings());
  static_cast<void>(client.receive());
  gateway.advance(70s);
  Peer other = gateway.connect();
  other.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send(kOk);
  EXPECT_TRUE(other.receive().ends_with("ok"));
  other.close();
  const std::string said = end_after(client, 5s);
  EXPECT_NE(said.find(std::string("\7\0\0\0\0\0", 6)), std::string::npos) << "GOAWAY";
}

}  // namespace
}  // namespace postern::gateway
