// Origins whose identity signs the body: it is whole before an endpoint is chosen, it is bounded like every other, and
// each attempt has it again.
#include "gateway/test_support.h"
#include "signature/webhook_hmac.h"

namespace postern::gateway {
namespace {

constexpr std::string_view kSecret = "a secret of thirty-two bytes, or more";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// What an origin got, taken apart.
struct Got {
  explicit Got(std::string bytes) : all(std::move(bytes)) {
    const std::size_t end = all.find("\r\n\r\n");
    if (end == std::string::npos) return;
    head = all.substr(0, end + 2);
    body = all.substr(end + 4);
  }
  [[nodiscard]] std::string field(const std::string& name) const {
    const std::size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "(none)";
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
  std::string all;
  std::string head;
  std::string body;
};

class WholeBody : public GatewayTest {
 protected:
  void start_hmac(const std::string& options = "", const std::string& origin = "", const std::string& top = "") {
    gateway.serve("127.0.0.1:9001");
    gateway.adopt(configuration(options, origin, top));
  }
  static std::shared_ptr<const config::Config> configuration(const std::string& options, const std::string& origin,
                                                             const std::string& top) {
    return TestGateway::configuration(
        "origins:\n  main:\n    url: http://127.0.0.1:9001\n"
        "    identity: [{hmac: {form: stripe, header: X-Signature, secret: \"${file:/s/hmac}\"" +
            options + "}}]\n" + origin + "routes: [{name: all, match: {path: /*}, origin: main, public: true}]\n" + top,
        {{"/s/hmac", std::string(kSecret)}});
  }
  // Whether the origin would believe it.
  [[nodiscard]] bool verifies(const Got& got) const {
    signature::WebhookKeys keys;
    EXPECT_TRUE(keys.add(kSecret));
    return signature::verify_stripe_signature(got.field("X-Signature"), got.body, keys, gateway.clock.wall())
        .has_value();
  }
};

TEST_F(WholeBody, the_origin_hears_nothing_before_the_body_is_whole) {
  start_hmac();
  Peer client = gateway.connect();
  client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  EXPECT_FALSE(gateway.connected());
  client.send("world");
  Peer origin = gateway.accept();
  const Got got(origin.receive());
  EXPECT_TRUE(got.head.starts_with("POST /x HTTP/1.1\r\n")) << got.all;
  EXPECT_EQ(got.field("Content-Length"), "10");
  EXPECT_EQ(got.body, "helloworld");
  EXPECT_TRUE(verifies(got)) << got.head;
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
  EXPECT_EQ(gateway.endpoints()->front()->in_flight, 0u);
}

TEST_F(WholeBody, requests_without_one_are_signed_and_go_at_once) {
  start_hmac();
  Peer client = gateway.connect();
  Peer origin;
  for (const std::string request : {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
                                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
                                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    client.send(request);
    if (!origin) origin = gateway.accept();
    const Got got(origin.receive());
    EXPECT_EQ(got.body, "") << got.all;
    EXPECT_EQ(got.field("Content-Length"), request.starts_with("POST") ? "0" : "(none)") << got.all;
    EXPECT_EQ(got.field("Transfer-Encoding"), "(none)");
    EXPECT_TRUE(verifies(got)) << got.all;
    origin.send(kOk);
    EXPECT_TRUE(client.receive().ends_with("ok"));
  }
}

TEST_F(WholeBody, what_the_client_says_of_itself_in_those_fields_does_not_arrive) {
  start_hmac();
  Peer client = gateway.connect();
  client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nX-Signature: t=1,v1=00\r\nx_signature: t=1,v1=00\r\nWebhook-Id: mine\r\n"
      "Content-Length: 2\r\n\r\nhi");
  Peer origin = gateway.accept();
  const Got got(origin.receive());
  EXPECT_EQ(got.all.find("v1=00"), std::string::npos) << got.all;
  EXPECT_EQ(got.field("Webhook-Id"), "(none)");
  EXPECT_TRUE(verifies(got));
}

TEST_F(WholeBody, a_chunked_body_gets_its_length_unless_trailers_follow_it) {
  start_hmac();
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n");
  EXPECT_FALSE(gateway.connected());
  client.send("0\r\n\r\n");
  Peer origin = gateway.accept();
  const Got plain(origin.receive());
  EXPECT_EQ(plain.field("Content-Length"), "7") << plain.all;
  EXPECT_EQ(plain.field("Transfer-Encoding"), "(none)");
  EXPECT_EQ(plain.body, "abcdefg");
  EXPECT_TRUE(verifies(plain));
  origin.send(kOk);
  client.receive();

  client.send("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  client.send("4\r\ndefg\r\n0\r\nX-Sum: 7\r\nX-Signature: t=1,v1=00\r\n\r\n");
  Got trailed(origin.receive());
  EXPECT_EQ(trailed.field("Transfer-Encoding"), "chunked") << trailed.all;
  EXPECT_EQ(trailed.body, "7\r\nabcdefg\r\n0\r\nX-Sum: 7\r\n\r\n");
  trailed.body = "abcdefg";
  EXPECT_TRUE(verifies(trailed));
}

TEST_F(WholeBody, over_the_limit_is_413_and_costs_the_origin_nothing) {
  start_hmac(", max_body: 8B");
  const struct {
    const char* name;
    std::string request;
    bool fits;
  } cases[] = {
      {"announced, exactly", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n12345678", true},
      {"announced, one more", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", false},
      {"chunked, exactly", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n0\r\n\r\n",
       true},
      {"chunked, one more",
       "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n1\r\n9\r\n", false},
  };
  for (const auto& each : cases) {
    Peer client = gateway.connect();
    client.send(each.request);
    Peer origin = gateway.try_accept();
    EXPECT_EQ(static_cast<bool>(origin), each.fits) << each.name;
    if (each.fits) {
      const Got got(origin.receive());
      EXPECT_TRUE(verifies(got)) << each.name << got.all;
      origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
      EXPECT_TRUE(client.receive().ends_with("ok"));
      continue;
    }
    const std::string answer = client.receive();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 ")) << each.name << answer;
    EXPECT_NE(answer.find("PST-R413"), std::string::npos) << each.name << answer;
  }
}

TEST_F(WholeBody, the_limit_of_the_listener_holds_as_well) {
  start_hmac("", "", "limits: {max_body_size: 4B}\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n");
  const std::string answer = client.receive();
  EXPECT_NE(answer.find("PST-R008"), std::string::npos) << answer;
  EXPECT_FALSE(gateway.connected());
}

TEST_F(WholeBody, a_client_that_waits_for_100_is_told_unless_its_body_is_too_long) {
  start_hmac(", max_body: 8B");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.receive(), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_FALSE(gateway.connected());
  client.send("hi");
  Peer origin = gateway.accept();
  EXPECT_TRUE(verifies(Got(origin.receive())));
  origin.send(kOk);
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 200 ")) << "and not told again";

  client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 413 "));
}

TEST_F(WholeBody, a_client_that_stops_sending_is_told_so_and_holds_nothing) {
  start_hmac("", "", "limits: {body_idle_timeout: 10s, body_min_rate: 0B}\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  gateway.advance(10s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(1ms);
  const std::string answer = client.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 408 ")) << answer;
  EXPECT_FALSE(gateway.connected());
  EXPECT_TRUE(client.finished());
  client.close();
  EXPECT_EQ(gateway.buffers_in_use(), 0u);
}

TEST_F(WholeBody, a_client_that_drips_below_the_minimum_rate_ends) {
  start_hmac("", "", "limits: {body_idle_timeout: 10s, body_min_rate: 100B}\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  for (int i = 0; i < 11; ++i) {
    gateway.advance(1s);
    client.send("x");
  }
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 408 "));
  EXPECT_FALSE(gateway.connected());
}

TEST_F(WholeBody, a_client_that_goes_takes_its_body_with_it) {
  start_hmac();
  for (const bool abort : {false, true}) {
    Peer client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    if (abort) client.abort();
    client.close();
    EXPECT_FALSE(gateway.connected());
  }
  EXPECT_EQ(gateway.buffers_in_use(), 0u);
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(WholeBody, the_gateway_may_end_while_it_waits_for_one) {
  start_hmac();
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  gateway.destroy();
}

// What does not stay within the time to drain is cut off, and told why.
TEST_F(WholeBody, another_identity_does_not_wait_for_ever) {
  start_hmac("", "", "drain: 20s\nlimits: {body_idle_timeout: 60s, body_min_rate: 0B}\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  gateway.adopt(configuration(", max_body: 2MiB", "", "drain: 20s\nlimits: {body_idle_timeout: 60s}\n"));
  gateway.advance(20s - 1ms);
  EXPECT_TRUE(client.open());
  gateway.advance(2ms);
  const std::string answer = client.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_FALSE(gateway.connected());
}

TEST_F(WholeBody, every_attempt_has_it_all_and_a_signature_of_its_own) {
  start_hmac("", "    retries: {attempts: 3}\n");
  Peer client = gateway.connect();
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  std::string before;
  for (int i = 0; i < 2; ++i) {
    Peer origin = gateway.accept();
    const Got got(origin.receive());
    EXPECT_EQ(got.body, "hello");
    EXPECT_TRUE(verifies(got));
    EXPECT_NE(got.field("X-Signature"), before);
    before = got.field("X-Signature");
    gateway.advance(1s);
    origin.abort();
  }
  Peer origin = gateway.accept();
  const Got got(origin.receive());
  EXPECT_TRUE(verifies(got)) << got.all;
  origin.send(kOk);
  EXPECT_TRUE(client.receive().ends_with("ok"));
}

// As ever: that the body is there does not make it safe to send it twice.
TEST_F(WholeBody, a_post_that_may_have_been_processed_is_not_sent_again) {
  start_hmac("", "    retries: {attempts: 3}\n");
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  Peer origin = gateway.accept();
  EXPECT_TRUE(verifies(Got(origin.receive())));
  origin.abort();
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 502 "));
  EXPECT_FALSE(gateway.connected());
}

TEST_F(WholeBody, a_large_one_arrives_byte_for_byte_and_is_given_back) {
  start_hmac(", max_body: 2MiB");
  std::string body;
  for (unsigned i = 0; body.size() < (std::size_t{1} << 20) + 17; ++i) body += std::to_string(i * 2654435761U);
  Peer client = gateway.connect();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  Peer origin = gateway.accept();
  const Got got(origin.receive());
  EXPECT_EQ(got.body.size(), body.size());
  EXPECT_TRUE(got.body == body);
  EXPECT_TRUE(verifies(got));
  EXPECT_GT(gateway.buffers_in_use(), body.size()) << "counted while it may be needed again";
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok");
  client.receive();
  EXPECT_LT(gateway.buffers_in_use(), std::size_t{128} << 10) << "and gone when the answer has begun";
  origin.send("...");
  EXPECT_TRUE(client.receive().ends_with("..."));
}

TEST_F(WholeBody, an_early_answer_is_passed_on_while_the_body_is_still_being_sent) {
  TestGateway slow({.capacity = 4096});
  slow.serve("127.0.0.1:9001");
  slow.adopt(configuration("", "", ""));
  Peer client = slow.connect();
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + std::string(300000, 'x'));
  Peer origin = slow.accept();
  origin.send("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno");
  const std::string answer = client.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 409 ")) << answer;
  client.close();
  origin.close();
  EXPECT_EQ(slow.buffers_in_use(), 0u);
}

TEST_F(WholeBody, when_memory_is_short_a_large_one_is_refused_and_a_small_one_is_not) {
  start_hmac();
  Peer small = gateway.connect();
  small.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  Peer large = gateway.connect();
  large.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + std::string(200000, 'x'));
  gateway.worker->context().buffers.set_limit(std::size_t{64} << 10);
  large.send(std::string(100000, 'x'));
  const std::string answer = large.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_NE(answer.find("PST-G002"), std::string::npos) << answer;
  large.close();
  small.send("world");
  Peer origin = gateway.accept();
  EXPECT_TRUE(verifies(Got(origin.receive())));
}

TEST_F(WholeBody, a_handshake_has_none_and_what_follows_is_not_signed) {
  start_hmac();
  Peer client = gateway.connect();
  client.send(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  Peer origin = gateway.accept();
  const Got got(origin.receive());
  EXPECT_TRUE(verifies(got)) << got.all;
  origin.send(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 101 "));
  client.send("frames");
  EXPECT_EQ(origin.receive(), "frames");
}

// ---- fields that an identity keeps from its origin
// -------------------------------------------------------------------

TEST_F(WholeBody, aws_fields_of_a_client_do_not_come_to_an_origin_that_would_obey_them) {
  gateway.serve("127.0.0.1:9001");
  gateway.serve("127.0.0.1:9002");
  gateway.adopt(TestGateway::configuration(
      "origins:\n  main:\n    url: http://127.0.0.1:9001\n    identity: [{aws_sigv4: {region: eu-central-1, service: "
      "s3, pass: [X-Amz-Meta-Owner], credentials: {access_key_id: AKIAIOSFODNN7EXAMPLE, secret_access_key: "
      "\"${file:/s/a}\"}}}]\n  other: {url: \"http://127.0.0.1:9002\", identity: [{shared_secret: {header: X-Secret, "
      "value: \"${file:/s/b}\"}}]}\n"
      "routes: [{name: all, match: {path: /*}, origin: main, public: true}, {match: {path: /other}, origin: other, "
      "public: true}]\n"));
  const std::string fields =
      "Host: a\r\nX-Amz-Acl: public-read\r\nx_amz_tagging: a=b\r\nX-Amz-Meta-Owner: me\r\nX-Amz-Date: 1\r\n"
      "Authorization: Basic Zm9v\r\nContent-Type: text/plain\r\n";
  Peer client = gateway.connect();
  client.send("PUT /key HTTP/1.1\r\n" + fields + "TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
  client.send("0\r\nX-Amz-Acl: public-read\r\n\r\n");
  Peer origin = gateway.accept();
  const Got got(origin.receive());
  EXPECT_EQ(got.all.find("public-read"), std::string::npos) << got.all;
  EXPECT_EQ(got.all.find("x_amz_tagging"), std::string::npos) << got.all;
  EXPECT_EQ(got.all.find("Basic"), std::string::npos) << got.all;
  EXPECT_EQ(got.field("X-Amz-Meta-Owner"), "me");
  const std::string authorization = got.field("authorization");
  EXPECT_NE(authorization.find("SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-owner,"),
            std::string::npos)
      << authorization;
  Peer another = gateway.connect();
  another.send("GET /other HTTP/1.1\r\n" + fields + "\r\n");
  Peer other = gateway.accept("127.0.0.1:9002");
  const Got passed(other.receive());
  EXPECT_EQ(passed.field("X-Amz-Acl"), "public-read") << "only on the way to that origin";
  EXPECT_EQ(passed.field("Authorization"), "Basic Zm9v");
}

}  // namespace
}  // namespace postern::gateway
