// A request's way through the whole gateway and back, byte for byte.
#include "gateway/test_support.h"
#include "platform/turn_budget.h"

namespace postern::gateway {
namespace {

using ::testing::Test;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

class Forwarding : public GatewayTest {
 protected:
  // The head that the gateway sends for `request`, and the connection it came on.
  std::string forwarded(Peer& client, std::string_view request, Peer& origin) {
    client.send(request);
    origin = gateway.accept();
    return stable(origin.receive());
  }
};

TEST_F(Forwarding, a_request_goes_out_with_the_secret_and_its_answer_comes_back) {
  start_simple();
  Peer client = gateway.connect();
  Peer origin;
  EXPECT_EQ(
      forwarded(client,
                "GET /a?b=c HTTP/1.1\r\nHost: api.test\r\nAccept: */*\r\nX-Secret: mine\r\nx_secret: mine\r\n\r\n",
                origin),
      "GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nAccept: */*\r\n"
      "forwarded: for=unknown;host=\"api.test\";proto=http\r\nx-forwarded-proto: http\r\nx-forwarded-host: "
      "api.test\r\nx-forwarded-port: 80\r\nvia: 1.1 postern\r\n"
      "X-Secret: 0123456789abcdef-A-secret\r\n\r\n");
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Origin: yes\r\n\r\nok");
  EXPECT_EQ(stable(client.receive()),
            "HTTP/1.1 200 OK\r\nX-Origin: yes\r\nvia: 1.1 postern\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(client.open());
  EXPECT_TRUE(origin.open());
  EXPECT_EQ(gateway.buffers_in_use(), 0u);
  EXPECT_EQ(gateway.metric("postern_origin_requests_total", "outcome=\"2xx\""), 1);
  EXPECT_EQ(gateway.metric("postern_origin_duration_seconds_count"), 1);
}

TEST_F(Forwarding, a_connection_to_the_origin_is_used_again_by_another_client) {
  start_simple();
  Peer first = gateway.connect();
  Peer second = gateway.connect();
  first.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send(kOk);
  EXPECT_TRUE(first.receive().ends_with("ok"));
  second.send(kGet);
  EXPECT_FALSE(gateway.connected());
  EXPECT_TRUE(origin.receive().starts_with("GET / "));
  origin.send(kOk);
  EXPECT_TRUE(second.receive().ends_with("ok"));
  const std::vector<std::string> records = gateway.records(2);
  EXPECT_NE(records[0].find("\"connect_ms\":0"), std::string::npos) << records[0];
  EXPECT_EQ(records[1].find("connect_ms"), std::string::npos) << records[1];
}

TEST_F(Forwarding, pipelined_requests_are_answered_in_order_and_each_gets_its_own_exchange) {
  start_simple();
  Peer client = gateway.connect();
  client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n");
  Peer origin = gateway.accept();
  EXPECT_TRUE(origin.receive().starts_with("GET /1 "));
  EXPECT_FALSE(gateway.connected()) << "the second waits for the first";
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("\r\n\r\nok"));
  EXPECT_TRUE(origin.receive().starts_with("GET /2 "));
  origin.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
  const std::string rest = client.receive();
  EXPECT_TRUE(rest.starts_with("HTTP/1.1 201 Created\r\n")) << rest;
  EXPECT_NE(rest.find("HTTP/1.1 400 Bad Request\r\n"), std::string::npos) << "without Host: " << rest;
  EXPECT_TRUE(client.finished());
  EXPECT_TRUE(origin.open());
}

struct Bodiless {
  std::string_view request;
  std::string_view answer;
  std::string_view expected;  // as the client gets it
};

TEST_F(Forwarding, responses_without_body_end_with_their_head_and_keep_both_connections) {
  start_simple();
  Peer client = gateway.connect();
  Peer origin;
  for (const auto& [request, answer, expected] : {
           Bodiless{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nvia: 1.1 postern\r\nContent-Length: 1000\r\n\r\n"},
           Bodiless{"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nvia: 1.1 postern\r\n\r\n"},
           Bodiless{kGet, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\nvia: 1.1 postern\r\n\r\n"},
           Bodiless{kGet, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                    "HTTP/1.1 304 Not Modified\r\nvia: 1.1 postern\r\nContent-Length: 7\r\n\r\n"},
       }) {
    client.send(request);
    if (!origin) origin = gateway.accept();
    EXPECT_NE(origin.receive(), "") << answer;
    origin.send(answer);
    EXPECT_EQ(stable(client.receive()), expected);
    EXPECT_TRUE(client.open()) << answer;
    EXPECT_TRUE(origin.open()) << answer;
  }
}

TEST_F(Forwarding, bytes_after_a_response_without_body_cost_the_origin_its_connection) {
  start_simple();
  for (const std::string_view answer :
       {"HTTP/1.1 204 No Content\r\n\r\nextra", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nextra",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}) {
    Peer client = gateway.connect();
    client.send(kGet);
    Peer origin = gateway.accept();
    origin.receive();
    origin.send(answer);
    const std::string got = client.receive();
    EXPECT_EQ(got.find("extra"), std::string::npos) << got;
    EXPECT_EQ(got.find("evil"), std::string::npos) << got;
    EXPECT_TRUE(client.open());
    EXPECT_FALSE(origin.open()) << answer;
  }
}

TEST_F(Forwarding, bodies_pass_with_the_framing_they_came_with) {
  start_simple();
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
  Peer origin = gateway.accept();
  std::string got = origin.receive();
  EXPECT_TRUE(got.ends_with("Content-Length: 5\r\n\r\nhe")) << "what is there is passed on: " << got;
  client.send("llo");
  EXPECT_EQ(origin.receive(), "llo");
  origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n");
  EXPECT_TRUE(client.receive().ends_with("Transfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n"));
  origin.send("3;ext=1\r\nbar\r\n0\r\n\r\n");
  EXPECT_EQ(client.receive(), "3\r\nbar\r\n0\r\n\r\n");

  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  got = origin.receive();
  EXPECT_TRUE(got.ends_with("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")) << got;
  client.send("0\r\n\r\n");
  EXPECT_EQ(origin.receive(), "0\r\n\r\n");
  origin.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
  got = client.receive();
  EXPECT_TRUE(got.ends_with("Transfer-Encoding: chunked\r\n\r\nd\r\nuntil the end\r\n")) << got;
  origin.close();
  EXPECT_EQ(client.receive(), "0\r\n\r\n");
  EXPECT_TRUE(client.open());
}

TEST_F(Forwarding, a_body_that_is_cut_off_is_never_made_to_look_complete) {
  start_simple();
  for (const std::string_view answer : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"}) {
    Peer client = gateway.connect();
    client.send(kGet);
    Peer origin = gateway.accept();
    origin.receive();
    origin.send(answer);
    EXPECT_NE(client.receive().find("half"), std::string::npos);
    origin.close();
    EXPECT_TRUE(client.reset()) << answer;
  }
}

TEST_F(Forwarding, trailers_pass_in_both_directions_without_reserved_names) {
  start_simple();
  Peer client = gateway.connect();
  client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
      "X-Sum: 1\r\nX-Secret: forged\r\nx.secret: forged\r\n\r\n");
  Peer origin = gateway.accept();
  const std::string got = origin.receive();
  EXPECT_TRUE(got.ends_with("1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n")) << got;
  origin.send(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\n"
      "X-Sum: 2\r\nX-Echo: 0123456789abcdef-A-secret\r\n\r\n");
  const std::string answer = client.receive();
  EXPECT_TRUE(answer.ends_with("2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n")) << answer;
  EXPECT_EQ(gateway.metric("postern_reflections_total"), 1);
}

// What an origin merges into the head (RFC 9110 6.5) must not say what the head was cleared of.
TEST_F(Forwarding, a_request_trailer_says_nothing_that_a_field_of_the_head_may_not) {
  start_simple("", "policies: [{request_headers: {set: {X-Tenant: acme}, remove: [X-Debug]}}]\n");
  Peer client = gateway.connect();
  client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
      "X_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Forwarded-Prefix: /admin\r\nx!forwarded!proto: https\r\n"
      "X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /admin\r\nX-Request-Id: forged\r\nx_request_id: forged\r\n"
      "Content_Length: 3\r\nx.tenant: evil\r\nX-Debug: 1\r\nX~Secret: forged\r\nX-Sum: 1\r\n\r\n");
  Peer origin = gateway.accept();
  const std::string got = origin.receive();
  EXPECT_TRUE(got.ends_with("1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n")) << got;
  EXPECT_EQ(gateway.metric("postern_header_strips_total", "reason=\"override\""), 2);
  EXPECT_EQ(gateway.metric("postern_header_strips_total", "reason=\"forwarding\""), 6);
  EXPECT_EQ(gateway.metric("postern_header_strips_total", "reason=\"reserved\""), 3);
}

// RFC 9440: whoever reads Client-Cert believes that a gateway has verified it. No policy of this route speaks of it.
TEST_F(Forwarding, no_client_says_what_certificate_it_has) {
  start_simple();
  Peer client = gateway.connect();
  Peer origin;
  const std::string got = forwarded(client,
                                    "POST / HTTP/1.1\r\nHost: a\r\nClient-Cert: :AAAA:\r\nclient_cert: :AAAA:\r\n"
                                    "CLIENT-CERT-CHAIN: :AAAA:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
                                    "Client-Cert: :AAAA:\r\nClient.Cert.Chain: :AAAA:\r\nX-Sum: 1\r\n\r\n",
                                    origin);
  EXPECT_EQ(got.find("AAAA"), std::string::npos) << got;
  EXPECT_TRUE(got.ends_with("0\r\nX-Sum: 1\r\n\r\n")) << got;
  EXPECT_EQ(gateway.metric("postern_header_strips_total", "reason=\"reserved\""), 5);
  origin.send(kOk);
  client.receive();
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: client-cert\r\n\r\n");
  EXPECT_NE(client.receive().find("PST-R014"), std::string::npos) << "nor what of it is taken off";
}

TEST_F(Forwarding, the_reason_phrase_of_an_origin_reaches_nobody) {
  start_simple();
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 103 0123456789abcdef-A-secret\r\n\r\n");
  EXPECT_EQ(client.receive(), "HTTP/1.1 103 Early Hints\r\n\r\n");
  origin.send("HTTP/1.1 422 0123456789abcdef-A-secret\r\nContent-Length: 0\r\n\r\n");
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 422 Unprocessable Content\r\n"));
}

TEST_F(Forwarding, a_request_that_cannot_be_parsed_takes_nothing_from_the_one_before) {
  start_simple();
  Peer client = gateway.connect();
  Peer origin;
  forwarded(client, "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", origin);
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
  client.receive();
  client.send("GET / HTTP/1.1\r\nHost a\r\n\r\n");
  const std::string answer = client.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << answer;
  EXPECT_TRUE(answer.ends_with("}\n")) << "not the answer to a HEAD: " << answer;
  const std::vector<std::string> records = gateway.records(2);
  EXPECT_NE(records[0].find("\"bytes_in\":5"), std::string::npos) << records[0];
  EXPECT_EQ(records[1].find("\"bytes_in\":5"), std::string::npos) << records[1];
}

TEST_F(Forwarding, nothing_new_begins_while_buffers_are_short) {
  start_simple("", "limits: {max_body_size: unlimited}\n");
  Peer before = gateway.connect();
  before.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
  Peer origin = gateway.accept();
  origin.receive();
  gateway.worker->context().buffers.set_limit(0);
  Peer client = gateway.connect();
  client.send(kGet);
  const std::string answer = client.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_NE(answer.find("PST-G002"), std::string::npos) << answer;
  EXPECT_TRUE(client.finished());
  // What has begun goes on, in small steps.
  std::string body;
  for (int i = 0; i < 10; ++i) {
    before.send(std::string(30000, 'x'));
    body += origin.receive();
    EXPECT_LE(gateway.buffers_in_use(), 32u * 1024);
  }
  EXPECT_EQ(body.size(), 300000u);
  origin.send(kOk);
  EXPECT_TRUE(before.receive().ends_with("ok"));
  gateway.worker->context().buffers.set_limit(1 << 20);
  before.send(kGet);
  EXPECT_FALSE(gateway.connected());
  EXPECT_TRUE(origin.receive().starts_with("GET "));
}

// RFC 4559 6: such credentials are the connection's, so whoever comes next would be that user.
TEST_F(Forwarding, a_connection_that_somebody_logged_in_on_is_nobody_elses) {
  start_simple();
  for (const std::string scheme : {"NTLM", "negotiate"}) {
    Peer client = gateway.connect();
    Peer origin;
    forwarded(client, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: " + scheme + " TlRMTVNTUAAB\r\n\r\n", origin);
    origin.send(kOk);
    EXPECT_TRUE(client.receive().ends_with("ok"));
    EXPECT_TRUE(origin.finished()) << scheme;
  }
  Peer client = gateway.connect();
  Peer origin;
  forwarded(client, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n\r\n", origin);
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  EXPECT_TRUE(origin.open());
}

TEST_F(Forwarding, a_preflight_is_answered_by_the_route_it_asks_about_not_by_a_wider_one) {
  gateway.serve("127.0.0.1:9001");
  gateway.start(
      "origins: {main: {url: \"http://127.0.0.1:9001\"}}\nroutes:\n"
      "  - {match: {path: /orders, methods: [GET, POST]}, origin: main, public: true,\n"
      "     policies: [{cors: {origins: [\"https://app.test\"], methods: [POST]}}]}\n"
      "  - {match: {path: /own, methods: [GET, POST]}, origin: main, public: true,\n"
      "     policies: [{cors: {origins: [\"https://app.test\"], methods: [POST]}}]}\n"
      "  - {match: {path: /own, methods: [OPTIONS]}, respond: {status: 204}, public: true}\n"
      "  - {match: {path: /*}, origin: main, public: true}\n");
  const auto preflight = [](std::string_view path) {
    return "OPTIONS " + std::string(path) +
           " HTTP/1.1\r\nHost: a\r\nOrigin: https://app.test\r\nAccess-Control-Request-Method: POST\r\n\r\n";
  };
  Peer client = gateway.connect();
  client.send(preflight("/orders"));
  const std::string answer = client.receive();
  EXPECT_NE(answer.find("https://app.test"), std::string::npos) << answer;
  EXPECT_FALSE(gateway.connected());
  client.send(preflight("/own"));
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 204 "));
  client.send(preflight("/elsewhere"));
  EXPECT_TRUE(gateway.connected());
}

// A peer that always has more, and somebody who always takes it: the loop gets its turns nevertheless.
TEST(Turns, nobody_keeps_the_loop_to_himself) {
  TestGateway gateway({.capacity = 64 * 1024 * 1024});
  gateway.serve("127.0.0.1:9001");
  gateway.start(
      "limits: {max_body_size: unlimited}\norigins: {main: {url: \"http://127.0.0.1:9001\"}}\nroutes:\n"
      "  - {match: {path: /local}, respond: {status: 204}, public: true}\n"
      "  - {match: {path: /*}, origin: main, public: true}\n");
  const auto turns = [&](const auto& work) {
    const std::uint64_t before = gateway.loop().turn_number();
    work();
    settle(gateway.loop());
    return gateway.loop().turn_number() - before;
  };
  constexpr std::size_t kSize = 16 * 1024 * 1024;
  const std::string length = "Content-Length: " + std::to_string(kSize) + "\r\n\r\n";
  const std::string body(kSize, 'x');
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\n" + length);
  Peer origin = gateway.accept();
  EXPECT_GE(turns([&] { client.send(body); }), kSize / TurnBudget::kBytes);
  EXPECT_GE(origin.receive().size(), kSize);
  origin.send("HTTP/1.1 200 OK\r\n" + length);
  EXPECT_GE(turns([&] { origin.send(body); }), kSize / TurnBudget::kBytes);
  EXPECT_GE(client.receive().size(), kSize);
  std::string requests;
  for (int i = 0; i < 2000; ++i) requests += "GET /local HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_GE(turns([&] { client.send(requests); }), 2000 * TurnBudget::kStep / TurnBudget::kBytes);
}

TEST_F(Forwarding, the_secret_never_comes_back_in_a_head_an_interim_head_or_a_trailer) {
  start_simple();
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Echo: 0123456789abcdef-A-secret\r\n\r\n");
  origin.send(
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Secret: 0123456789abcdef-A-secret\r\n"
      "X-Debug: saw 0123456789abcdef-A-secret!\r\nX-0123456789abcdef-A-secret: name\r\nX-Fine: 1\r\n\r\n");
  EXPECT_EQ(stable(client.receive()),
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            "HTTP/1.1 200 OK\r\nX-Fine: 1\r\nvia: 1.1 postern\r\nContent-Length: 0\r\n\r\n");
  // X-Secret itself goes as a reserved name; the other three are reflections.
  EXPECT_EQ(gateway.metric("postern_reflections_total", "origin=\"main\""), 3);
  EXPECT_NE(gateway.log().find("reflected identity material"), std::string::npos);
  EXPECT_EQ(gateway.log().find("0123456789abcdef-A-secret"), std::string::npos);
}

TEST_F(Forwarding, interim_responses_pass_but_not_to_http_1_0_and_not_for_ever) {
  start_simple();
  Peer client = gateway.connect();
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
  EXPECT_EQ(client.receive(), "HTTP/1.1 102 Processing\r\n\r\n") << "nobody waits for a 100";
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));

  Peer old = gateway.connect();
  old.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
  origin.receive();
  origin.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  EXPECT_EQ(old.receive(), "");
  origin.send(kOk);
  EXPECT_TRUE(old.receive().starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT_TRUE(old.finished());

  client.send(kGet);
  origin.receive();
  std::string flood;
  for (int i = 0; i < 30; ++i) flood += "HTTP/1.1 102 Processing\r\n\r\n";
  origin.send(flood);
  const std::string got = client.receive();
  EXPECT_NE(got.find("HTTP/1.1 502 Bad Gateway\r\n"), std::string::npos) << got;
  EXPECT_NE(got.find("PST-U005"), std::string::npos) << got;
  EXPECT_FALSE(origin.open());
}

TEST_F(Forwarding, expect_continue_is_answered_when_the_origin_stands_ready_and_only_once) {
  start_simple("    retries: {attempts: 2}\n");
  Peer client = gateway.connect();
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  Peer origin = gateway.accept();
  EXPECT_EQ(client.receive(), "HTTP/1.1 100 Continue\r\n\r\n");
  const std::string head = origin.receive();
  EXPECT_EQ(head.find("Expect"), std::string::npos) << head;
  // The origin breaks off before the body: the request is tried again, and the client not told again.
  origin.close();
  Peer second = gateway.accept();
  EXPECT_TRUE(second.receive().starts_with("PUT / "));
  EXPECT_EQ(client.receive(), "");
  client.send("hi");
  EXPECT_EQ(second.receive(), "hi");
  second.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  EXPECT_TRUE(client.open());
}

TEST_F(Forwarding, a_refused_expectation_gets_its_answer_without_the_body) {
  start_simple("", "policies: [{body_limit: {max: 10B}}]\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 413 ")) << got;
  EXPECT_NE(got.find("PST-P413"), std::string::npos) << got;
  EXPECT_TRUE(client.finished());
  EXPECT_FALSE(gateway.connected());
}

TEST_F(Forwarding, an_early_answer_to_an_unfinished_upload_is_passed_on_and_ends_both_connections) {
  start_simple();
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
  const std::string got = client.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 401 ")) << got;
  EXPECT_NE(got.find("Connection: close\r\n"), std::string::npos) << got;
  EXPECT_TRUE(client.finished());
  EXPECT_FALSE(origin.open());
  // What the client still sends is taken for a while, so that it sees the answer and no reset.
  EXPECT_EQ(client.send(std::string(10'000, 'x')), 10'000u);
  EXPECT_FALSE(client.reset());
  client.close();
  gateway.advance(2s);
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(Forwarding, an_answer_that_streams_while_the_upload_goes_on_reaches_the_client) {
  start_simple("", "limits: {body_min_rate: 0B}\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n");
  EXPECT_TRUE(client.receive().ends_with("1\r\nA\r\n"));
  for (int i = 0; i < 3; ++i) {
    // Longer than the time to the first byte: that limit has nothing to do with an answer that has begun.
    gateway.advance(20s);
    client.send("1\r\nb\r\n");
    EXPECT_EQ(origin.receive(), "1\r\nb\r\n");
    gateway.advance(9s);
    origin.send("1\r\nB\r\n");
    EXPECT_EQ(client.receive(), "1\r\nB\r\n");
  }
  client.send("0\r\n\r\n");
  EXPECT_EQ(origin.receive(), "0\r\n\r\n");
  origin.send("0\r\n\r\n");
  EXPECT_EQ(client.receive(), "0\r\n\r\n");
}

TEST_F(Forwarding, a_client_that_breaks_off_its_upload_ends_the_request_at_the_origin) {
  start_simple();
  for (const bool in_order : {false, true}) {
    Peer client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    Peer origin = gateway.accept();
    EXPECT_NE(origin.receive(), "");
    in_order ? client.finish() : client.abort();
    EXPECT_FALSE(origin.open());
    EXPECT_EQ(gateway.endpoints()->front()->in_flight, 0u);
    EXPECT_EQ(gateway.endpoints()->front()->failures, 0u);
    if (!in_order) continue;
    EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 400 ")) << "it may still read";
    EXPECT_TRUE(client.finished());
  }
  const std::vector<std::string> records = gateway.records(2);
  EXPECT_NE(records[0].find("\"status\":0"), std::string::npos) << records[0];
  EXPECT_NE(records[0].find("\"bytes_in\":4"), std::string::npos) << records[0];
  EXPECT_NE(records[0].find("\"error_code\":\"PST-R018\",\"error_side\":\"client\""), std::string::npos) << records[0];
  EXPECT_NE(records[1].find("\"error_code\":\"PST-R003\",\"error_side\":\"client\""), std::string::npos) << records[1];
  EXPECT_EQ(gateway.metric("postern_origin_requests_total", "outcome=\"cancelled\""), 2);
}

TEST_F(Forwarding, an_upload_that_breaks_while_the_client_reads_slowly_is_noticed_when_it_reads_again) {
  TestGateway slow({.capacity = 64});
  slow.serve("127.0.0.1:9001");
  slow.start(simple());
  Peer client = slow.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
  Peer origin = slow.accept();
  origin.receive();
  origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n");
  client.send("malformed chunk");
  // The answer does not fit; the relay waits for the client, not for the origin, when the upload fails.
  std::string got;
  while (client.receive_some(got)) {
  }
  EXPECT_FALSE(origin.open());
  EXPECT_FALSE(client.open());
  EXPECT_EQ(slow.endpoints()->front()->in_flight, 0u);
}

TEST_F(Forwarding, a_body_that_grows_over_the_limit_is_stopped_with_the_code_of_that_limit) {
  gateway.serve("127.0.0.1:9001");
  gateway.start(
      "limits: {max_body_size: 8B}\n"
      "origins: {main: {url: \"http://127.0.0.1:9001\"}}\n"
      "routes:\n"
      "  - {match: {path: /*}, origin: main, public: true}\n"
      "  - {match: {path: /small}, origin: main, public: true, policies: [{body_limit: {max: 4B}}]}\n");
  for (const auto& [path, code] : {std::pair<std::string, std::string>{"/", "PST-R008"}, {"/small", "PST-P413"}}) {
    Peer client = gateway.connect();
    client.send("POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n");
    Peer origin = gateway.accept();
    EXPECT_TRUE(origin.receive().ends_with("4\r\nabcd\r\n"));
    EXPECT_TRUE(client.open());
    client.send("8\r\nefghijkl\r\n");
    const std::string got = client.receive();
    EXPECT_TRUE(got.starts_with("HTTP/1.1 413 ")) << got;
    EXPECT_NE(got.find(code), std::string::npos) << got;
    EXPECT_FALSE(origin.open());
  }
  EXPECT_EQ(gateway.endpoints()->front()->failures, 0u) << "the client's fault is not the origin's";
}

TEST_F(Forwarding, a_problem_says_what_a_client_may_know) {
  start_simple();
  Peer client = gateway.connect();
  client.send("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string got = client.receive();
  const std::string id = gateway.records(1)[0].substr(gateway.records(1)[0].find("\"request_id\":\"") + 14, 32);
  const std::string body = got.substr(got.find("\r\n\r\n") + 4);
  EXPECT_EQ(stable(got.substr(0, got.find("\r\n\r\n") + 4)),
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n");
  EXPECT_TRUE(
      body.starts_with("{\"type\":\"about:blank\",\"title\":\"Request target refused\",\"status\":400,"
                       "\"code\":\"PST-R004\",\"request_id\":\"" +
                       id + "\",\"detail\":\""))
      << body;
  EXPECT_TRUE(client.open()) << "the framing is not in doubt";

  // What the origin did wrong is for the log only.
  client.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("SSH-2.0-OpenSSH\r\n");
  const std::string bad = client.receive();
  EXPECT_TRUE(bad.starts_with("HTTP/1.1 502 Bad Gateway\r\n")) << bad;
  EXPECT_NE(bad.find("\"code\":\"PST-U005\""), std::string::npos) << bad;
  EXPECT_EQ(bad.find("detail"), std::string::npos) << bad;
  EXPECT_EQ(bad.find("127.0.0.1"), std::string::npos) << bad;
}

TEST_F(Forwarding, a_connection_that_ends_idle_leaves_no_record_and_a_broken_head_leaves_one) {
  start_simple();
  Peer idle = gateway.connect();
  idle.close();
  Peer after = gateway.connect();
  after.send("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n");
  after.receive();
  after.send("\r\n");  // as some clients do after a body
  after.finish();
  EXPECT_TRUE(after.finished());
  Peer broken = gateway.connect();
  broken.send("GET / HTTP/1.1\r\nHo");
  broken.finish();
  EXPECT_TRUE(broken.finished()) << "and nobody answers it";
  const std::vector<std::string> records = gateway.records(2);
  EXPECT_NE(records[0].find("PST-R004"), std::string::npos) << records[0];
  EXPECT_NE(records[1].find("PST-R018"), std::string::npos) << records[1];
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(Forwarding, a_half_closed_client_still_gets_its_answer) {
  start_simple();
  Peer client = gateway.connect();
  client.send(kGet);
  client.finish();
  Peer origin = gateway.accept();
  origin.receive();
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  EXPECT_TRUE(client.finished());
}

TEST_F(Forwarding, over_the_connection_limit_a_client_is_told_and_let_go_without_waiting_for_it) {
  start_simple("", "limits: {max_connections: 2}\n");
  Peer first = gateway.connect();
  Peer second = gateway.connect();
  Peer third = gateway.connect();
  const std::string got = third.receive();
  EXPECT_TRUE(got.starts_with("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n")) << got;
  EXPECT_NE(got.find("\"code\":\"PST-R019\""), std::string::npos) << got;
  EXPECT_TRUE(third.finished());
  EXPECT_EQ(gateway.metric("postern_connections"), 2);
  EXPECT_EQ(gateway.metric("postern_errors_total", "PST-R019"), 1);
  first.close();
  Peer fourth = gateway.connect();
  EXPECT_TRUE(fourth.open());
  EXPECT_EQ(gateway.metric("postern_connections"), 2);
}

TEST_F(Forwarding, every_byte_in_its_own_packet_makes_no_difference) {
  for (const MemoryOptions options : {MemoryOptions{.max_read = 1}, MemoryOptions{.capacity = 1, .max_read = 1},
                                      MemoryOptions{.capacity = 7, .max_read = 3}}) {
    TestGateway fragmented(options);
    fragmented.serve("127.0.0.1:9001");
    fragmented.start(simple());
    Peer client = fragmented.connect();
    Peer origin;
    std::string request =
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
    std::string answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\nX-T: 2\r\n\r\n";
    for (int round = 0; round < 2; ++round) {
      std::string seen;
      for (const char c : request) {
        client.send({&c, 1});
        if (!origin) origin = fragmented.try_accept();
        if (origin) seen += origin.receive();
      }
      EXPECT_NE(seen.find("X-Secret: 0123456789abcdef-A-secret\r\n"), std::string::npos) << seen;
      EXPECT_TRUE(seen.ends_with("0\r\nX-T: 1\r\n\r\n")) << seen;
      std::string got;
      for (const char c : answer) {
        origin.send({&c, 1});
        got += client.receive();
      }
      EXPECT_TRUE(got.ends_with("0\r\nX-T: 2\r\n\r\n")) << got;
      EXPECT_TRUE(client.open());
      EXPECT_TRUE(origin.open());
      EXPECT_EQ(fragmented.buffers_in_use(), 0u);
    }
  }
}

}  // namespace
}  // namespace postern::gateway
