#include "tls/client_context.h"

#include <openssl/err.h>

#include "base/strings.h"
#include "tls/test_support.h"

namespace postern::tls {
namespace {

struct Case {
  std::string_view name;
  TestIdentity site;
  ClientOptions options;
  std::string_view client;  // what the client says; "" is success
  std::string_view server;
};

class ClientContextTest : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(world.pool.in_use(), 0u);
    EXPECT_EQ(ERR_peek_error(), 0u);
  }
  void run(const Case& test, ProtocolVersion version) {
    ClientOptions options = test.options;
    options.max_version = version;
    Ends ends(world);
    const bool connected = ends.connect(make_server(serving(test.site)), make_client(options));
    EXPECT_EQ(connected, test.client.empty()) << test.name;
    EXPECT_TRUE(ends.client_outcome().find(test.client) != std::string::npos || test.client.empty())
        << test.name << ": " << ends.client_outcome();
    if (test.client.empty()) {
      EXPECT_EQ(ends.client_outcome(), "") << test.name;
      EXPECT_EQ(ends.client->info().protocol, version == ProtocolVersion::tls_1_2 ? "TLSv1.2" : "TLSv1.3");
      return;
    }
    EXPECT_EQ(ends.client_result->error().code(), Code::origin_tls_failed);
    EXPECT_EQ(ends.client_result->error().side(), Side::origin);
    EXPECT_EQ(ends.client_result->error().retry(), Retry::yes);
    // TLS 1.3: the server is done before the client's alert comes.
    std::string told = ends.server_outcome();
    if (told.empty()) {
      get(*ends.server);
      told = ends.server->failure();
    }
    EXPECT_NE(told.find(test.server), std::string::npos) << test.name << ": " << told;
    EXPECT_EQ(get(*ends.client), "");
    EXPECT_EQ(put(*ends.client, "secret").status, IoStatus::error) << "nothing goes to whom we do not believe";
  }
  World world;
};

const std::string kNul = std::string("a.example\0.evil.example", 23);

std::vector<Case> verification_cases() {
  const TestIdentity foreign = make_test_ca({.common_name = "foreign root"});
  const TestIdentity intermediate = make_test_ca({.common_name = "intermediate"}, &test_root());
  const TestIdentity no_ca = make_test_certificate({.common_name = "no ca", .key_usage = ""}, &test_root());
  const TestIdentity constrained =
      make_test_ca({.common_name = "constrained", .name_constraints = "permitted;DNS:other.example"}, &test_root());
  const TestIdentity weak_root = make_test_ca({.common_name = "weak root", .key = TestKey::weak_rsa});
  const auto site = [](TestCertificate what, const TestIdentity* issuer = &test_root()) {
    if (what.common_name == "test") what.common_name = "site";
    if (what.dns_names.empty()) what.dns_names = {"a.example"};
    return make_test_certificate(what, issuer);
  };
  const ClientOptions plain = expecting("a.example");
  const auto with = [&](auto change) {
    ClientOptions options = plain;
    change(options);
    return options;
  };
  const TestIdentity good = site({});
  const TestIdentity self_signed = site({}, nullptr);
  const TestIdentity by_intermediate = site({}, &intermediate);
  TestIdentity headless = by_intermediate;
  headless.chain.resize(1);
  TestIdentity swapped = by_intermediate;
  const std::string other_pin = foreign.certificate().spki_pin();
  std::vector<Case> out;
  const auto add = [&](std::string_view name, TestIdentity identity, ClientOptions options,
                       std::string_view client = "", std::string_view server = "") {
    out.push_back({name, std::move(identity), std::move(options), client, server});
  };
  add("sound", good, plain);
  add("rsa", site({.key = TestKey::rsa}), plain);
  add("through an intermediate", by_intermediate, plain);
  add("wildcard", site({.dns_names = {"*.example"}}), with([](auto& o) { o.names = {"a.b.example"}; }),
      "name `a.b.example` is not", "alert bad certificate");
  add("wildcard below two labels", site({.dns_names = {"*.b.example"}}),
      with([](auto& o) { o.names = {"a.b.example"}; }));
  add("wildcard is one label", site({.dns_names = {"*.b.example"}}), with([](auto& o) { o.names = {"x.a.b.example"}; }),
      "name `x.a.b.example` is not among the certificate's names: *.b.example", "alert bad certificate");
  add("partial wildcard", site({.dns_names = {"a*.b.example"}}), with([](auto& o) { o.names = {"ab.b.example"}; }),
      "name `ab.b.example` is not", "alert bad certificate");
  add("upper case and a dot", good, with([](auto& o) { o.names = {"A.Example."}; }));
  add("second name", good, with([](auto& o) { o.names = {"b.example", "a.example"}; }));
  add("wrong name", site({.dns_names = {"b.example", "c.example"}}), plain,
      "name `a.example` is not among the certificate's names: b.example, c.example", "alert bad certificate");
  add("two wrong names", site({.dns_names = {"b.example"}, .ip_addresses = {"192.0.2.1"}}),
      with([](auto& o) { o.names = {"x.example", "192.0.2.9"}; }),
      "name `x.example`, the address are not among the certificate's names: b.example and 1 IP address",
      "alert bad certificate");
  add("common name only", make_test_certificate({.common_name = "a.example"}, &test_root()), plain,
      "name `a.example`: the certificate has no names (subject alternative names)", "alert bad certificate");
  add("nul in a name", site({.dns_names = {kNul}}), plain, "name `a.example`", "alert bad certificate");
  add("address", site({.ip_addresses = {"192.0.2.1"}}), with([](auto& o) { o.names = {"192.0.2.1"}; }));
  add("address of version 6", site({.ip_addresses = {"2001:db8::1"}}),
      with([](auto& o) { o.names = {"2001:db8:0::1"}; }));
  add("wrong address", site({.ip_addresses = {"192.0.2.1"}}), with([](auto& o) { o.names = {"192.0.2.2"}; }),
      "the address is not among the certificate's names: a.example and 1 IP address", "alert bad certificate");
  add("address as a name", site({.dns_names = {"192.0.2.1"}}), with([](auto& o) { o.names = {"192.0.2.1"}; }),
      "the address is not among", "alert bad certificate");
  add("foreign authority", site({}, &foreign), plain, "unable to get local issuer certificate", "alert unknown CA");
  add("self-signed", self_signed, plain, "self-signed certificate", "alert unknown CA");
  add("self-signed and believed", self_signed, with([&](auto& o) { o.anchors = self_signed.anchors(); }));
  add("without its intermediate", headless, plain, "unable to get local issuer certificate", "alert unknown CA");
  add("expired", site({.not_after = WallTime(std::chrono::seconds(1'600'000'000))}), plain,
      "certificate has expired (CN=site", "alert certificate expired");
  add("not yet valid", site({.not_before = WallTime(std::chrono::seconds(1'800'000'000))}), plain,
      "certificate is not yet valid (CN=site", "alert bad certificate");
  add("for clients only", site({.extended_key_usage = "clientAuth"}), plain, "unsuitable certificate purpose",
      "alert unsupported certificate");
  add("issuer is no CA", site({}, &no_ca), plain, "invalid CA certificate", "alert unknown CA");
  add("outside the name constraints", site({}, &constrained), plain, "permitted subtree violation", "alert");
  add("weak key of the root", site({}, &weak_root), with([&](auto& o) { o.anchors = weak_root.anchors(); }),
      "key too weak", "alert");
  add("pin of the leaf", good, with([&](auto& o) { o.pins = {other_pin, good.certificate().spki_pin()}; }));
  add("pin of the root", good, with([&](auto& o) { o.pins = {test_root().certificate().spki_pin()}; }));
  add("pin of the intermediate", by_intermediate,
      with([&](auto& o) { o.pins = {intermediate.certificate().spki_pin()}; }));
  add("wrong pin", good, with([&](auto& o) { o.pins = {other_pin}; }),
      "pin: none of the configured pins is in the chain (leaf is sha256/", "alert bad certificate");
  add("right pin and wrong name", good, with([&](auto& o) {
        o.names = {"b.example"};
        o.pins = {good.certificate().spki_pin()};
      }),
      "name `b.example` is not", "alert bad certificate");
  const auto insecure = [](ClientOptions options) {
    options.verify = false;
    options.anchors = nullptr;
    options.names.clear();
    return options;
  };
  add("not verified", site({}, &foreign), insecure(plain));
  add("not verified, but pinned", self_signed,
      insecure(with([&](auto& o) { o.pins = {self_signed.certificate().spki_pin()}; })));
  add("not verified, and only its say-so is pinned", by_intermediate,
      insecure(with([&](auto& o) { o.pins = {intermediate.certificate().spki_pin()}; })), "pin: none",
      "alert bad certificate");
  return out;
}

TEST_F(ClientContextTest, believes_what_it_should_and_says_why_not) {
  for (const Case& test : verification_cases()) {
    for (const ProtocolVersion version : {ProtocolVersion::tls_1_2, ProtocolVersion::tls_1_3}) run(test, version);
  }
}

TEST_F(ClientContextTest, time_is_that_of_the_loop) {
  const TestIdentity site = make_test_certificate(
      {.dns_names = {"a.example"}, .not_after = world.clock.wall() + std::chrono::hours(1)}, &test_root());
  {
    Ends ends(world);
    EXPECT_TRUE(ends.connect(make_server(serving(site)), make_client(expecting("a.example"))));
  }
  advance(world.loop, world.clock, std::chrono::hours(2));
  Ends ends(world);
  EXPECT_FALSE(ends.connect(make_server(serving(site)), make_client(expecting("a.example"))));
  EXPECT_TRUE(ends.client_outcome().starts_with("certificate has expired")) << ends.client_outcome();
}

TEST_F(ClientContextTest, peer_is_the_verified_chain_and_the_facts_are_told) {
  const TestIdentity intermediate = make_test_ca({.common_name = "intermediate"}, &test_root());
  const TestIdentity site = make_test_certificate({.dns_names = {"a.example"}}, &intermediate);
  Ends ends(world);
  ASSERT_TRUE(ends.connect(make_server(serving(site)), make_client(expecting("a.example"))));
  const Handshake& info = ends.client->info();
  ASSERT_EQ(info.peer.size(), 3u);
  EXPECT_EQ(info.peer[0]->fingerprint(), site.certificate().fingerprint());
  EXPECT_EQ(info.peer[2]->fingerprint(), test_root().certificate().fingerprint());
  EXPECT_EQ(info.protocol, "TLSv1.3");
  EXPECT_EQ(info.cipher, "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(info.server_name, "a.example");
  EXPECT_FALSE(info.resumed);
  EXPECT_EQ(info.client_certificate, ClientCertificate::not_requested);
  EXPECT_TRUE(ends.server->info().peer.empty());
}

TEST_F(ClientContextTest, server_name_is_apart_from_the_name_to_verify_and_never_an_address) {
  const std::tuple<std::string, std::string> table[] = {{"other.example", "other.example"},
                                                        {"Other.Example.", "Other.Example"},
                                                        {"", ""},
                                                        {"192.0.2.1", ""},
                                                        {"2001:db8::1", ""}};
  for (const auto& [sent, arrives] : table) {
    ClientOptions options = expecting("a.example");
    options.server_name = sent;
    Ends ends(world);
    ASSERT_TRUE(ends.connect(make_server(serving(test_site({"a.example"}))), make_client(options)));
    EXPECT_EQ(ends.client->info().server_name, arrives);
    EXPECT_TRUE(iequals(ends.server->info().server_name, arrives));
  }
}

TEST_F(ClientContextTest, options_that_cannot_be_are_refused) {
  const auto refused = [](auto change) {
    ClientOptions options = expecting("a.example");
    change(options);
    const auto made = ClientContext::make(options);
    return made ? "" : std::string(made.error().detail());
  };
  EXPECT_EQ(refused([](auto&) {}), "");
  EXPECT_EQ(refused([](auto& o) { o.anchors = nullptr; }), "TLS to an origin: no authority to believe");
  EXPECT_EQ(refused([](auto& o) { o.names.clear(); }), "TLS to an origin: no name to verify");
  EXPECT_EQ(refused([](auto& o) {
              o.min_version = ProtocolVersion::tls_1_3;
              o.max_version = ProtocolVersion::tls_1_2;
            }),
            "TLS to an origin: no version of TLS is left");
  // OpenSSL would take the first for any subdomain, and the second for any name at all.
  EXPECT_NE(refused([](auto& o) { o.names = {".example"}; }), "");
  EXPECT_NE(refused([](auto& o) { o.names = {""}; }), "");
  EXPECT_NE(refused([](auto& o) { o.names = {"a.example", "a b"}; }), "");
  EXPECT_NE(refused([](auto& o) { o.names = {kNul}; }), "");
  EXPECT_NE(refused([](auto& o) { o.server_name = "a b"; }), "");
  const TestIdentity weak = make_test_certificate({.key = TestKey::weak_rsa});
  EXPECT_EQ(refused([&](auto& o) { o.certificate = weak.certified(); }),
            "certificate CN=test cannot be used: ee key too small");
}

TEST_F(ClientContextTest, protocols_by_alpn) {
  struct Row {
    bool client_h2, client_h1, server_h2;
    Alpn alpn;
    std::string_view client, server;
  };
  const Row table[] = {
      {true, true, true, Alpn::h2, "", ""},
      {true, true, false, Alpn::http_1_1, "", ""},
      {false, true, true, Alpn::http_1_1, "", ""},
      {true, false, true, Alpn::h2, "", ""},
      {false, false, true, Alpn::none, "", ""},
      {true, false, false, Alpn::none, "no protocol in common (ALPN): alert no application protocol",
       "no protocol in common (ALPN)"},
  };
  for (const Row& row : table) {
    ClientOptions options = expecting("a.example");
    options.offer_h2 = row.client_h2;
    options.offer_http_1_1 = row.client_h1;
    ServerOptions server = serving(test_site({"a.example"}));
    server.offer_h2 = row.server_h2;
    Ends ends(world);
    EXPECT_EQ(ends.connect(make_server(server), make_client(options)), row.client.empty());
    EXPECT_EQ(ends.client_outcome(), row.client);
    EXPECT_EQ(ends.server_outcome(), row.server);
    if (!row.client.empty()) continue;
    EXPECT_EQ(ends.client->info().alpn, row.alpn);
    EXPECT_EQ(ends.server->info().alpn, row.alpn);
  }
}

// A client end and a raw server, which does as the test says.
class AgainstRawServer : public ClientContextTest {
 protected:
  void begin(const ClientOptions& options, std::shared_ptr<SessionSlot> slot = nullptr) {
    begin_over(make_memory_pair(world.loop), options, std::move(slot));
  }
  void begin_over(std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> streams, const ClientOptions& options,
                  std::shared_ptr<SessionSlot> slot = nullptr) {
    auto [near, far] = std::move(streams);
    tasks.reset();
    result.reset();
    client = ClientContext::connect(make_client(options), world.loop, world.pool, std::move(near), std::move(slot));
    raw.emplace(world, std::move(far), TLS_server_method());
    raw->use(test_site({"a.example"}));
    tasks.emplace(world.errors);
    tasks->spawn(shake(*client, world.loop.now() + 10s, result));
    settle(world.loop);
  }
  std::unique_ptr<TlsStream> client;
  std::optional<RawPeer> raw;
  std::optional<Result<void>> result;
  std::optional<TaskSet> tasks;
};

int choose_nothing(SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned, void*) {
  return SSL_TLSEXT_ERR_NOACK;
}
int choose_another(SSL*, const unsigned char** out, unsigned char* size, const unsigned char*, unsigned, void*) {
  *out = reinterpret_cast<const unsigned char*>("spdy/3");
  *size = 6;
  return SSL_TLSEXT_ERR_OK;
}

TEST_F(AgainstRawServer, an_origin_that_chooses_no_protocol_speaks_http_1_1) {
  for (const bool only_h2 : {false, true}) {
    ClientOptions options = expecting("a.example");
    options.offer_h2 = true;
    options.offer_http_1_1 = !only_h2;
    begin(options);
    SSL_CTX_set_alpn_select_cb(raw->context(), choose_nothing, nullptr);
    raw->shake(false);
    settle(world.loop);
    EXPECT_EQ(outcome(result), only_h2 ? "no protocol in common (ALPN): the origin chose none" : "");
    if (!only_h2) EXPECT_EQ(client->info().alpn, Alpn::none);
  }
}

TEST_F(AgainstRawServer, a_protocol_that_was_not_offered_is_an_error) {
  begin(expecting("a.example"));
  SSL_CTX_set_alpn_select_cb(raw->context(), choose_another, nullptr);
  raw->shake(false);
  settle(world.loop);
  EXPECT_NE(outcome(result), "");
  EXPECT_NE(outcome(result), "pending");
}

TEST_F(AgainstRawServer, an_origin_without_tls_is_told_apart) {
  for (const std::string_view greeting : {"HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH\r\n", "\r\n"}) {
    begin(expecting("a.example"));
    raw->send(std::string(greeting));
    settle(world.loop);
    EXPECT_EQ(outcome(result), "not TLS: the origin answered in clear");
    EXPECT_EQ(put(*client, "secret").status, IoStatus::error);
  }
}

TEST_F(AgainstRawServer, an_origin_that_hangs_up_is_told_apart) {
  for (const bool reset : {false, true}) {
    begin(expecting("a.example"));
    get(raw->stream());
    if (reset) raw->stream().reset_on_close();
    raw.reset();
    settle(world.loop);
    EXPECT_EQ(outcome(result), reset ? "the origin reset the connection during the handshake"
                                     : "the origin closed the connection during the handshake");
  }
}

TEST_F(AgainstRawServer, an_origin_that_says_nothing_costs_the_deadline) {
  begin(expecting("a.example"));
  advance(world.loop, world.clock, 10s - 1ms);
  EXPECT_EQ(outcome(result), "pending");
  advance(world.loop, world.clock, 1ms);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code(), Code::origin_connect_timeout);
  EXPECT_EQ(result->error().retry(), Retry::yes);
  begin(expecting("a.example"));
  EXPECT_TRUE(client->wake_reader(Wake::interrupted));
  EXPECT_EQ(result->error().code(), Code::cancelled);
}

TEST_F(AgainstRawServer, old_protocols_and_ciphers_are_refused) {
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    begin(expecting("a.example"));
    SSL_CTX_set_security_level(raw->context(), 0);
    SSL_CTX_set_min_proto_version(raw->context(), version);
    SSL_CTX_set_max_proto_version(raw->context(), version);
    raw->shake(false);
    settle(world.loop);
    EXPECT_EQ(outcome(result), "no TLS version in common: alert protocol version");
  }
  for (const char* const cipher :
       {"AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-CCM", "aNULL", "DHE"}) {
    begin(expecting("a.example"));
    SSL_CTX_set_max_proto_version(raw->context(), TLS1_2_VERSION);
    SSL_CTX_set_security_level(raw->context(), 0);
    ASSERT_EQ(SSL_CTX_set_cipher_list(raw->context(), cipher), 1);
    raw->shake(false);
    settle(world.loop);
    EXPECT_EQ(outcome(result), "the origin refused the handshake: alert handshake failure") << cipher;
  }
}

TEST_F(AgainstRawServer, min_version_holds) {
  ClientOptions options = expecting("a.example");
  options.min_version = ProtocolVersion::tls_1_3;
  begin(options);
  SSL_CTX_set_max_proto_version(raw->context(), TLS1_2_VERSION);
  raw->shake(false);
  settle(world.loop);
  EXPECT_EQ(outcome(result), "no TLS version in common: alert protocol version");
}

TEST_F(AgainstRawServer, client_certificates_in_every_state) {
  const TestIdentity ours = make_test_certificate({.common_name = "gateway"}, &test_root());
  struct Row {
    bool asks, demands, have;
    const TestIdentity* believes;
    ClientCertificate state;
    std::string_view failure;  // of the handshake in TLS 1.2
    std::string_view later;    // of the first read in TLS 1.3
  };
  const TestIdentity foreign = make_test_ca({.common_name = "foreign"});
  const Row table[] = {
      {false, false, true, nullptr, ClientCertificate::not_requested, "", ""},
      {true, false, false, &test_root(), ClientCertificate::requested_not_presented, "", ""},
      {true, true, true, &test_root(), ClientCertificate::presented, "", ""},
      {true, true, false, &test_root(), ClientCertificate::requested_not_presented,
       "the origin demands a client certificate: alert handshake failure", "alert: certificate required"},
      {true, true, true, &foreign, ClientCertificate::presented, "the origin refused our certificate: alert unknown CA",
       "alert: unknown CA"},
  };
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const Row& row : table) {
      ClientOptions options = expecting("a.example");
      if (row.have) options.certificate = ours.certified();
      begin(options);
      SSL_CTX_set_max_proto_version(raw->context(), version);
      if (row.asks) {
        SSL_CTX_set_verify(raw->context(), SSL_VERIFY_PEER | (row.demands ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                           nullptr);
        SSL_CTX_set1_cert_store(raw->context(), row.believes->anchors()->store());
        SSL_CTX_add_client_CA(raw->context(), row.believes->certificate().native());
      }
      raw->shake(false);
      ERR_clear_error();
      settle(world.loop);
      if (version == TLS1_2_VERSION) {
        EXPECT_EQ(outcome(result), row.failure);
      } else {
        EXPECT_EQ(outcome(result), "") << "the client is done before the server has looked";
        IoResult end;
        get(*client, &end);
        EXPECT_EQ(end.status, row.later.empty() ? IoStatus::would_block : IoStatus::error);
        EXPECT_EQ(client->failure(), row.later);
      }
      EXPECT_EQ(client->info().client_certificate, row.state);
    }
  }
}

// On the kernel's sockets, which keep what came before a reset.
TEST_F(AgainstRawServer, a_write_that_fails_looks_for_the_alert_first) {
  begin_over(make_socket_pair(world), expecting("a.example"));
  SSL_CTX_set_verify(raw->context(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_set_accept_state(raw->ssl());
  ASSERT_TRUE(until(world.loop, [&] {
    raw->step();
    raw->feed();
    return ERR_peek_error() != 0;
  }));
  ERR_clear_error();
  ASSERT_TRUE(until(world.loop, [&] { return result.has_value(); }));
  ASSERT_EQ(outcome(result), "");
  raw.reset();
  ASSERT_TRUE(until(world.loop, [&] { return put(*client, "request").status == IoStatus::error; }));
  EXPECT_EQ(client->failure(), "alert: certificate required");
}

// SSL_renegotiate() of a server sends a HelloRequest.
TEST_F(AgainstRawServer, an_origin_cannot_renegotiate) {
  ClientOptions options = expecting("a.example");
  options.max_version = ProtocolVersion::tls_1_2;
  begin(options);
  ASSERT_TRUE(raw->shake(false));
  settle(world.loop);
  ASSERT_EQ(outcome(result), "");
  SSL_renegotiate(raw->ssl());
  raw->step();
  settle(world.loop);
  EXPECT_EQ(get(*client), "");
  EXPECT_EQ(raw->read(), "");
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
  ERR_clear_error();
}

}  // namespace
}  // namespace postern::tls
