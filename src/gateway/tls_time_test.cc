// TLS on both sides of a gateway in virtual time: handshakes that stop, connections that rest, keys of tickets that
// grow old, certificates that expire while a connection stands, and those that the gateway renews by itself.
#include "gateway/test_support.h"
#include "tls/test_support.h"

namespace postern::gateway {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const std::string kListener = "192.0.2.1:443";
const std::string kOrigin = "127.0.0.1:9001";

class TlsTime : public ::testing::Test {
 protected:
  // A Peer inside of TLS.
  struct Secured {
    Peer peer;
    tls::TlsStream* tls = nullptr;  // of `peer`, after a handshake that went well
    std::string failure;            // of the handshake; "pending"
    explicit operator bool() const noexcept { return tls != nullptr; }
  };
  Secured shake(std::unique_ptr<tls::TlsStream> stream) {
    std::optional<Result<void>> result;
    TaskSet shaking(errors);
    shaking.spawn(tls::shake(*stream, gateway.loop().now() + 1h, result));
    settle(gateway.loop());
    Secured out;
    out.failure = tls::outcome(result);
    if (!out.failure.empty()) return out;
    out.tls = stream.get();
    out.peer = Peer(gateway.loop(), std::move(stream));
    return out;
  }
  // A client of the listener, with a certificate or a session if it has one.
  Secured connect(std::shared_ptr<const tls::CertifiedKey> certificate = nullptr,
                  std::shared_ptr<tls::SessionSlot> slot = nullptr) {
    if (!client_ || client_->options().certificate != certificate) {
      tls::ClientOptions options = tls::expecting("api.test");
      options.certificate = std::move(certificate);
      client_ = tls::make_client(options);
    }
    return shake(
        tls::ClientContext::connect(client_, gateway.loop(), buffers, gateway.dial(kListener), std::move(slot)));
  }
  // The origin's end of the next connection that the gateway makes.
  Secured accept(const std::shared_ptr<const tls::ServerContext>& context) {
    std::unique_ptr<Stream> stream = gateway.take(kOrigin);
    if (!stream) return {};
    return shake(tls::ServerContext::accept(context, gateway.loop(), buffers, std::move(stream), {}));
  }
  static std::shared_ptr<const tls::ServerContext> origin_context(tls::ServerOptions options) {
    options.offer_h2 = false;
    options.client_certificate_hosts = {""};
    return tls::make_server(options);
  }

  void start(const std::string& yaml) {
    gateway.serve(kOrigin);
    gateway.adopt(TestGateway::configuration(yaml, files));
  }
  static std::string listening(const std::string& more = "") {
    return "listeners: [{address: \"" + kListener + "\", tls: {certificate: /t/site.crt, key: /t/site.key}}]\n" + more;
  }
  static std::string everything_to_origin(const std::string& origin) {
    return "origins:\n  main:\n    url: https://127.0.0.1:9001\n" + origin +
           "routes: [{match: {path: /*}, origin: main, public: true}]\n";
  }
  static std::string trusting(const std::string& more = "") {
    return everything_to_origin("    trust: {ca: /t/ca.pem, names: [origin.test]}\n" + more);
  }
  static std::string with_secret(const std::string& more = "") {
    return trusting("    identity: [{shared_secret: {header: X-Secret, value: \"${file:/s/a}\"}}]\n" + more);
  }
  static constexpr std::string_view kLocal = "routes: [{match: {path: /*}, respond: {status: 204}, public: true}]\n";
  void put(const std::string& name, const tls::TestIdentity& identity) {
    files["/t/" + name + ".crt"] = identity.chain_pem();
    files["/t/" + name + ".key"] = identity.key_pem();
  }
  void SetUp() override {
    put("site", tls::test_site({"api.test"}));
    files["/t/ca.pem"] = tls::test_root().certificate().to_pem();
  }
  void TearDown() override {
    EXPECT_EQ(errors.count, 0);
    EXPECT_EQ(gateway.exceptions, 0);
  }
  static tls::TestIdentity client_until(WallTime end) {
    return tls::make_test_certificate({.common_name = "client", .not_after = end, .extended_key_usage = "clientAuth"},
                                      &tls::test_root());
  }
  static bool says(const std::string& answer, std::string_view what) { return answer.find(what) != std::string::npos; }

  CountExceptions errors;
  BufferPool buffers;  // of the test's ends
  TestGateway gateway;
  std::map<std::string, std::string> files;

 private:
  std::shared_ptr<const tls::ClientContext> client_;
};

// ---- handshakes
// ------------------------------------------------------------------------------------------------------

TEST_F(TlsTime, a_client_that_does_not_go_on_with_its_handshake_is_let_go_after_header_timeout) {
  start(listening("limits: {header_timeout: 10s}\n") + std::string(kLocal));
  // A ClientHello that ends within its first record.
  const std::string half("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
  Peer silent = gateway.connect(kListener);
  Peer stuck = gateway.connect(kListener);
  stuck.send(half);
  Peer drips = gateway.connect(kListener);
  for (std::size_t i = 0; i < 9; ++i) {
    drips.send(half.substr(i, 1));
    gateway.advance(1s);
  }
  gateway.advance(1s - 1ms);
  for (Peer* const peer : {&silent, &stuck, &drips}) EXPECT_TRUE(peer->open());
  EXPECT_EQ(gateway.worker->connections(), 3u);
  gateway.advance(1ms);
  EXPECT_EQ(gateway.worker->connections(), 0u);
  for (Peer* const peer : {&silent, &stuck, &drips}) {
    static_cast<void>(peer->receive());
    EXPECT_FALSE(peer->open());
  }
  EXPECT_EQ(gateway.metric("postern_errors_total", "PST-R020"), 3);
  EXPECT_TRUE(connect()) << "others are served";
}

TEST_F(TlsTime, the_handshake_of_an_origin_has_what_is_left_of_the_connect_timeout) {
  start(listening() + with_secret("    timeouts: {connect: 5s}\n    retries: {attempts: 1}\n"));
  Secured client = connect();
  for (const std::string_view dripped : {"", "\x16\x03\x03\x00"}) {
    client.peer.send(kGet);
    std::unique_ptr<Stream> stream = gateway.take(kOrigin);
    ASSERT_TRUE(stream);
    Peer origin(gateway.loop(), std::move(stream));
    EXPECT_TRUE(origin.receive().starts_with("\x16\x03")) << "nothing but a ClientHello comes first";
    gateway.advance(3s);
    origin.send(dripped);
    gateway.advance(2s - 1ms);
    EXPECT_TRUE(client.peer.open());
    EXPECT_TRUE(origin.open());
    gateway.advance(1ms);
    const std::string answer = client.peer.receive();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 504 ")) << answer;
    EXPECT_TRUE(says(answer, "PST-U002")) << answer;
    EXPECT_EQ(origin.receive().find("GET"), std::string::npos);
    EXPECT_FALSE(origin.open());
  }
}

// ---- connections that rest
// -------------------------------------------------------------------------------------------

TEST_F(TlsTime, a_connection_of_a_client_that_rests_is_closed_in_order_after_idle_timeout) {
  start(listening("limits: {idle_timeout: 75s}\n") + std::string(kLocal));
  Secured fresh = connect();
  ASSERT_TRUE(fresh);
  Secured used = connect();
  gateway.advance(70s);
  used.peer.send(kGet);
  EXPECT_TRUE(used.peer.receive().starts_with("HTTP/1.1 204 "));
  gateway.advance(5s - 1ms);
  EXPECT_TRUE(fresh.peer.open());
  gateway.advance(1ms);
  EXPECT_TRUE(fresh.peer.finished()) << "with close_notify: an end without it would be an error";
  gateway.advance(70s - 1ms);
  EXPECT_TRUE(used.peer.open());
  gateway.advance(1ms);
  EXPECT_TRUE(used.peer.finished());
  EXPECT_EQ(gateway.worker->connections(), 0u);
}

TEST_F(TlsTime, a_connection_to_an_origin_that_rests_is_used_until_its_time_and_then_closed_in_order) {
  start(listening() + with_secret("    pool: {idle_timeout: 30s}\n"));
  const auto context = origin_context(tls::serving(tls::test_site({"origin.test"})));
  Secured client = connect();
  client.peer.send(kGet);
  Secured origin = accept(context);
  ASSERT_TRUE(origin) << origin.failure;
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(origin.peer.receive().starts_with("GET / ")) << i;
    origin.peer.send(kOk);
    EXPECT_TRUE(client.peer.receive().ends_with("ok"));
    gateway.advance(30s - 1ms);
    EXPECT_TRUE(origin.peer.open());
    client.peer.send(kGet);
  }
  EXPECT_TRUE(origin.peer.receive().starts_with("GET / "));
  origin.peer.send(kOk);
  EXPECT_TRUE(client.peer.receive().ends_with("ok"));
  EXPECT_FALSE(gateway.connected(kOrigin)) << "one connection for all of them";
  gateway.advance(30s);
  EXPECT_TRUE(origin.peer.finished());
}

// ---- tickets
// ---------------------------------------------------------------------------------------------------------

TEST_F(TlsTime, a_ticket_is_good_while_its_key_or_the_one_after_it_is_in_use_for_days) {
  const SystemEntropy entropy;
  gateway.tickets = std::make_shared<tls::TicketKeys>(entropy, gateway.clock);
  start(listening() + std::string(kLocal));
  const auto slot = std::make_shared<tls::SessionSlot>();
  // `age`: of the ticket that it comes with.
  const auto resumes_after = [&](Duration age) {
    gateway.advance(age);
    Secured client = connect(nullptr, slot);
    EXPECT_TRUE(client) << client.failure;
    client.peer.send(kGet);  // tickets of TLS 1.3 come behind the handshake
    EXPECT_TRUE(client.peer.receive().starts_with("HTTP/1.1 204 "));
    return client && client.tls->info().resumed;
  };
  constexpr Duration life = tls::TicketKeys::kLifetime;
  EXPECT_FALSE(resumes_after(0s)) << "there is none yet";
  for (int day = 0; day < 3; ++day) {
    for (int hour = 0; hour < 23; ++hour) EXPECT_TRUE(resumes_after(life - 1s)) << day << " " << hour;
    EXPECT_TRUE(resumes_after(1s));
    EXPECT_FALSE(resumes_after(2 * life)) << "both keys of that time are gone";
    EXPECT_TRUE(resumes_after(0s));
  }
  EXPECT_EQ(gateway.metric("postern_tls_handshakes_total", "\"full\""), 4);
  // Nobody comes for days: what was stolen meanwhile opens nothing.
  EXPECT_FALSE(resumes_after(std::chrono::days(5)));
  EXPECT_TRUE(resumes_after(0s));
}

// ---- certificates that expire
// ----------------------------------------------------------------------------------------

TEST_F(TlsTime, a_client_certificate_that_expires_while_its_connection_stands_ends_with_the_next_request) {
  start(listening("limits: {idle_timeout: 2h}\n") +
        "routes: [{match: {path: /*}, respond: {status: 204}, public: true, policies: [{client_certificate: {ca: "
        "/t/ca.pem}}]}]\n");
  const WallTime end = gateway.clock.wall() + 1h;
  Secured client = connect(client_until(end).certified());
  ASSERT_TRUE(client) << client.failure;
  const auto ask = [&] {
    client.peer.send(kGet);
    return client.peer.receive();
  };
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 204 "));
  gateway.advance(1h - 1s);
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 204 "));
  gateway.advance(2s);
  for (int i = 0; i < 2; ++i) {
    const std::string answer = ask();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 403 ")) << answer;
    EXPECT_TRUE(says(answer, "PST-P405")) << answer;
  }
  // Whoever comes with it anew gets no further.
  Secured again = connect(client_until(end).certified());
  if (again) {
    again.peer.send(kGet);
    EXPECT_TRUE(again.peer.receive().starts_with("HTTP/1.1 403 "));
  }
}

TEST_F(TlsTime,
       a_certificate_of_the_gateway_that_expires_takes_no_request_with_it_not_even_on_a_connection_that_stands) {
  put("gateway", client_until(gateway.clock.wall() + 1h));
  start(listening("limits: {idle_timeout: 2h}\n") +
        trusting("    identity: [{mtls: {certificate: /t/gateway.crt, key: /t/gateway.key}}]\n"
                 "    pool: {idle_timeout: 2h}\n    timeouts: {idle: 2h}\n"));
  const auto context = origin_context(tls::serving(tls::test_site({"origin.test"})));
  Secured client = connect();
  client.peer.send(kGet);
  Secured origin = accept(context);
  ASSERT_TRUE(origin) << origin.failure;
  EXPECT_EQ(origin.tls->info().peer.size(), 1u);
  EXPECT_TRUE(origin.peer.receive().starts_with("GET / "));
  origin.peer.send(kOk);
  EXPECT_TRUE(client.peer.receive().ends_with("ok"));
  // One whose answer goes on while the certificate ends.
  Secured slow = connect();
  gateway.advance(1h - 1s);
  slow.peer.send(kGet);
  EXPECT_TRUE(origin.peer.receive().starts_with("GET / "));
  origin.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
  gateway.advance(2s);
  client.peer.send(kGet);
  const std::string answer = client.peer.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_TRUE(says(answer, "PST-U011")) << answer;
  origin.peer.send("half");
  EXPECT_TRUE(slow.peer.receive().ends_with("halfhalf")) << "what was begun in time goes on";
  slow.peer.send(kGet);
  EXPECT_TRUE(says(slow.peer.receive(), "PST-U011"));
  EXPECT_EQ(origin.peer.receive(), "");
  EXPECT_FALSE(gateway.connected(kOrigin));
}

TEST_F(TlsTime, an_origin_whose_certificate_expires_gets_no_new_connection_not_even_a_resumed_one) {
  start(listening("limits: {idle_timeout: 2h}\n") +
        with_secret("    pool: {idle_timeout: 10s}\n    retries: {attempts: 1}\n"));
  const SystemEntropy entropy;
  tls::ServerOptions options = tls::serving(tls::make_test_certificate(
      {.dns_names = {"origin.test"}, .not_after = gateway.clock.wall() + 30min}, &tls::test_root()));
  options.offer_h2 = false;
  const auto context = tls::make_server(options, std::make_shared<tls::TicketKeys>(entropy, gateway.clock));
  Secured client = connect();
  const auto ask = [&](bool resumed) {
    client.peer.send(kGet);
    Secured origin = accept(context);
    EXPECT_TRUE(origin) << origin.failure;
    EXPECT_TRUE(origin.peer.receive().starts_with("GET / "));
    EXPECT_EQ(origin.tls && origin.tls->info().resumed, resumed);
    origin.peer.send(kOk);
    EXPECT_TRUE(client.peer.receive().ends_with("ok"));
    gateway.advance(10s);
    EXPECT_TRUE(origin.peer.finished());
  };
  ask(false);
  ask(true);
  gateway.advance(29min);
  ask(true);
  gateway.advance(1min);
  client.peer.send(kGet);
  const Secured refused = accept(context);
  const std::string answer = client.peer.receive();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  EXPECT_TRUE(says(answer, "PST-U012")) << answer;
}

// ---- managed certificates
// --------------------------------------------------------------------------------------------

TEST_F(TlsTime, a_managed_certificate_is_renewed_at_half_its_life_for_days_and_a_response_runs_through_all_of_it) {
  Result<std::unique_ptr<ManagedCertificates>> made =
      ManagedCertificates::rehearse("/nonexistent/ca", gateway.clock.wall());
  ASSERT_TRUE(made);
  gateway.managed = std::move(*made);
  const std::string yaml = listening("limits: {idle_timeout: 30h, write_idle_timeout: 30h}\n") +
                           everything_to_origin(
                               "    trust: {ca: managed}\n    identity: [{mtls: {managed: true}}]\n"
                               "    pool: {idle_timeout: 30h, max_lifetime: 300h}\n    timeouts: {idle: 30h}\n");
  const auto configuration = TestGateway::configuration(yaml, files);
  ASSERT_TRUE(gateway.managed->provide(*configuration, gateway.clock.wall()));
  gateway.serve(kOrigin);
  gateway.adopt(configuration);
  gateway.managed->in_force();
  const tls::LeafRequest request = tls::server_request("main", {}, {"127.0.0.1"}, gateway.clock.wall());
  const auto site = gateway.managed->authorities().server.issue(request);
  ASSERT_TRUE(site);
  tls::ServerOptions options;
  options.certificates.push_back({{"origin.test"}, {*site}});
  const auto context = origin_context(options);
  const auto clients = tls::TrustAnchors::parse(gateway.managed->authorities().client.certificate().to_pem());
  ASSERT_TRUE(clients);

  std::vector<std::string> shown;
  const auto renew = [&] {
    if (!gateway.managed->renewal_due(*configuration, gateway.clock.wall())) return false;
    EXPECT_TRUE(gateway.managed->provide(*configuration, gateway.clock.wall()));
    EXPECT_TRUE(gateway.managed->renewal_due(*configuration, gateway.clock.wall())) << "until it is in force";
    gateway.adopt(configuration);
    gateway.managed->in_force();
    return true;
  };
  Secured client = connect();
  Secured running = connect();
  running.peer.send(kGet);
  Secured held = accept(context);
  ASSERT_TRUE(held) << held.failure;
  EXPECT_TRUE(held.peer.receive().starts_with("GET / "));
  held.peer.send("HTTP/1.1 200 OK\r\nContent-Length: 120\r\n\r\n");
  EXPECT_TRUE(running.peer.receive().starts_with("HTTP/1.1 200 "));
  Secured origin;
  int renewals = 0;
  for (int hour = 0; hour < 120; ++hour) {
    const bool renewed = renew();
    renewals += renewed ? 1 : 0;
    if (renewed && origin) EXPECT_TRUE(origin.peer.finished()) << "idle, with the certificate before";
    client.peer.send(kGet);
    if (Secured next = accept(context)) {
      EXPECT_TRUE(hour == 0 || renewed) << "a new connection at hour " << hour;
      origin = std::move(next);
      shown.push_back(origin.tls->info().peer.front()->fingerprint());
    }
    ASSERT_TRUE(origin) << origin.failure;
    const auto& chain = origin.tls->info().peer;
    EXPECT_TRUE((*clients)->verify_client(chain, gateway.clock.wall()));
    EXPECT_GE(chain.front()->not_after() - gateway.clock.wall(), 11h) << "early: time to mend what goes wrong";
    EXPECT_TRUE(origin.peer.receive().starts_with("GET / "));
    origin.peer.send(kOk);
    EXPECT_TRUE(client.peer.receive().ends_with("ok"));
    held.peer.send("x");
    EXPECT_EQ(running.peer.receive(), "x");
    gateway.advance(1h);
  }
  EXPECT_EQ(renewals, 9) << "every twelve hours";
  EXPECT_EQ(shown.size(), 10u);
  std::sort(shown.begin(), shown.end());
  EXPECT_EQ(std::unique(shown.begin(), shown.end()), shown.end());
  EXPECT_TRUE(held.peer.finished()) << "the connection of the first certificate takes no request any more";
}

}  // namespace
}  // namespace postern::gateway
