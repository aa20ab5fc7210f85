#include "tls/server_context.h"

#include <openssl/err.h>

#include <algorithm>

#include "platform/entropy.h"
#include "tls/test_support.h"

namespace postern::tls {
namespace {

class ServerContextTest : public ::testing::Test {
 protected:
  void TearDown() override {
    EXPECT_EQ(world.pool.in_use(), 0u);
    EXPECT_EQ(ERR_peek_error(), 0u);
  }
  // What a client that sends this name, and believes everybody, is shown; "" if it comes to nothing.
  std::string shown_to(const std::shared_ptr<const ServerContext>& context, const std::string& name,
                       MemoryOptions memory = {}) {
    Ends ends(world);
    if (!ends.connect(context, make_client(anybody(name)), nullptr, memory)) return "";
    EXPECT_EQ(ends.server->info().selection, context->select(name));
    return ends.client->info().peer.front()->subject();
  }
  static ClientOptions anybody(const std::string& server_name) {
    ClientOptions options;
    options.verify = false;
    options.server_name = server_name;
    return options;
  }
  // What a client sends first.
  std::string client_hello(const ClientOptions& options) {
    auto [near, far] = make_memory_pair(world.loop);
    auto client = ClientContext::connect(make_client(options), world.loop, world.pool, std::move(near), nullptr);
    std::optional<Result<void>> result;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*client, world.loop.now() + 1s, result));
    settle(world.loop);
    return get(*far);
  }
  // What a server answers to `bytes` before it waits for more, and what becomes of its handshake.
  std::string answer(const std::shared_ptr<const ServerContext>& context, std::string_view bytes, std::string& result,
                     MemoryOptions memory = {}, std::size_t early = 0) {
    auto [near, far] = make_memory_pair(world.loop, memory);
    auto server =
        ServerContext::accept(context, world.loop, world.pool, std::move(near), std::string(bytes.substr(0, early)));
    std::optional<Result<void>> handshake;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*server, world.loop.now() + 1s, handshake));
    Peer peer(world.loop, std::move(far));
    peer.send(bytes.substr(early));
    std::string out = peer.receive();
    result = outcome(handshake);
    name_seen = server->info().server_name;
    return out;
  }
  World world;
  std::string name_seen;
};

ServerOptions three_sites() {
  ServerOptions options;
  options.certificates.push_back({{}, {test_site({"first.example"}).certified()}});
  options.certificates.push_back({{}, {test_site({"api.example.com", "*.api.example.com"}).certified()}});
  options.certificates.push_back({{"*.EXAMPLE.com.", "api.example.com"}, {test_site({"wild"}).certified()}});
  return options;
}

TEST_F(ServerContextTest, certificate_by_name) {
  const auto context = make_server(three_sites());
  const std::pair<std::string, std::string> table[] = {
      {"", "CN=first.example"},
      {"first.example", "CN=first.example"},
      {"unknown.example", "CN=first.example"},
      {"127.0.0.1", "CN=first.example"},
      {"api.example.com", "CN=api.example.com"},
      {"API.Example.COM", "CN=api.example.com"},
      {"api.example.com.", "CN=api.example.com"},
      {"v1.api.example.com", "CN=api.example.com"},
      {"www.example.com", "CN=wild"},
      {"example.com", "CN=first.example"},
      {"a.b.example.com", "CN=first.example"},
  };
  for (const auto& [name, subject] : table) EXPECT_EQ(shown_to(context, name), subject) << name;
}

TEST_F(ServerContextTest, names_with_equal_numbers_are_served_alike) {
  ServerOptions options = three_sites();
  options.client_certificate_hosts = {"*.API.example.com.", "first.example"};
  const auto context = make_server(options);
  EXPECT_EQ(context->select("www.example.com"), context->select("WWW2.example.com."));
  EXPECT_EQ(context->select(""), context->select("unknown.example"));
  EXPECT_EQ(context->select("127.0.0.1"), context->select("[::1]"));
  EXPECT_EQ(context->select("a.api.example.com"), context->select("b.api.example.com"));
  EXPECT_NE(context->select("api.example.com"), context->select("a.api.example.com")) << "asked for one only";
  EXPECT_NE(context->select("first.example"), context->select("unknown.example"));
  EXPECT_NE(context->select("api.example.com"), context->select("www.example.com"));
}

TEST_F(ServerContextTest, whom_to_ask) {
  struct Row {
    std::vector<std::string> hosts;
    std::string name;
    bool asked;
  };
  const Row table[] = {
      {{}, "a.example", false},           {{""}, "a.example", true},           {{""}, "", true},
      {{"a.example"}, "A.example", true}, {{"a.example"}, "", false},          {{"a.example"}, "b.example", false},
      {{"*.example"}, "b.example", true}, {{"*.example"}, "example", false},   {{"192.0.2.1"}, "", true},
      {{"[2001:db8::1]"}, "", true},      {{"192.0.2.1"}, "a.example", false},
  };
  for (const Row& row : table) {
    ServerOptions options = serving(test_site({"a.example"}));
    options.client_certificate_hosts = row.hosts;
    Ends ends(world);
    ASSERT_TRUE(ends.connect(make_server(options), make_client(anybody(row.name))));
    const auto state = row.asked ? ClientCertificate::requested_not_presented : ClientCertificate::not_requested;
    EXPECT_EQ(ends.server->info().client_certificate, state) << row.name;
    EXPECT_EQ(ends.client->info().client_certificate, state) << row.name;
  }
}

TEST_F(ServerContextTest, rsa_and_ecdsa_side_by_side) {
  ServerOptions options;
  options.certificates.push_back(
      {{}, {test_site({"a.example"}, TestKey::rsa).certified(), test_site({"a.example"}).certified()}});
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (const bool ecdsa : {false, true}) {
      auto [near, far] = make_memory_pair(world.loop);
      auto server = ServerContext::accept(make_server(options), world.loop, world.pool, std::move(near), {});
      RawPeer raw(world, std::move(far), TLS_client_method());
      SSL_CTX_set_max_proto_version(raw.context(), version);
      SSL_CTX_set1_sigalgs_list(raw.context(), ecdsa ? "ECDSA+SHA256" : "RSA-PSS+SHA256:RSA+SHA256");
      std::optional<Result<void>> result;
      TaskSet tasks(world.errors);
      tasks.spawn(shake(*server, world.loop.now() + 1s, result));
      EXPECT_TRUE(raw.shake(true));
      EXPECT_EQ(EVP_PKEY_get_base_id(X509_get0_pubkey(SSL_get0_peer_certificate(raw.ssl()))),
                ecdsa ? EVP_PKEY_EC : EVP_PKEY_RSA);
      settle(world.loop);
      EXPECT_EQ(outcome(result), "");
    }
  }
}

TEST_F(ServerContextTest, options_that_cannot_be_are_refused) {
  EXPECT_EQ(ServerContext::make({}, nullptr).error().detail(), "a TLS listener without certificate");
  ServerOptions options;
  options.certificates.push_back({{"a.example"}, {}});
  EXPECT_EQ(ServerContext::make(options, nullptr).error().detail(), "a name set without certificate");
  options.certificates = {{{}, {test_site({"a.example"}).certified(), test_site({"b.example"}).certified()}}};
  EXPECT_EQ(ServerContext::make(options, nullptr).error().detail(),
            "two certificates with keys of the same kind for the same names: CN=b.example");
  options.certificates = {{{}, {test_site({"a.example"}, TestKey::weak_rsa).certified()}}};
  EXPECT_EQ(ServerContext::make(options, nullptr).error().detail(),
            "certificate CN=a.example cannot be used: ee key too small");
}

// The same bytes as records of `size` bytes each: RFC 8446 5.1 lets messages be cut anywhere.
std::string in_records_of(std::string_view record, std::size_t size) {
  std::string out;
  for (std::string_view body = record.substr(5); !body.empty();) {
    const std::string_view piece = body.substr(0, size);
    out.append("\x16\x03\x01", 3);
    out += static_cast<char>(piece.size() >> 8);
    out += static_cast<char>(piece.size() & 0xff);
    out += piece;
    body.remove_prefix(piece.size());
  }
  return out;
}

TEST_F(ServerContextTest, a_client_hello_in_pieces_changes_nothing) {
  ServerOptions options = three_sites();
  options.client_certificate_hosts = {"www.example.com"};
  const auto context = make_server(options);
  const std::string hello = client_hello(anybody("www.example.com"));
  std::string result;
  for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{100}, hello.size()}) {
    for (const std::size_t max_read : {std::size_t{1}, std::size_t{1'000'000}}) {
      for (const std::size_t early : {std::size_t{0}, std::size_t{1}, std::size_t{7}, hello.size()}) {
        const std::string sent = in_records_of(hello, size);
        const std::string got = answer(context, sent, result, {.max_read = max_read}, std::min(early, sent.size()));
        EXPECT_EQ(result, "pending");
        EXPECT_EQ(name_seen, "www.example.com");
        EXPECT_GT(got.size(), 500u) << "a whole flight";
      }
    }
  }
  EXPECT_EQ(shown_to(context, "www.example.com", {.capacity = 1, .max_read = 1}), "CN=wild");
}

TEST_F(ServerContextTest, a_server_name_that_is_none_is_refused_with_an_alert) {
  const auto context = make_server(three_sites());
  const std::string hello = client_hello(anybody("www.example.com"));
  const std::size_t at = hello.find("www.example.com");
  ASSERT_NE(at, std::string::npos);
  std::string result;
  const std::tuple<std::size_t, char, char> table[] = {
      {at + 3, '\0', SSL_AD_UNRECOGNIZED_NAME},  // a NUL in the name
      {at + 3, ' ', SSL_AD_UNRECOGNIZED_NAME},
      {at - 1, 14, SSL_AD_DECODE_ERROR},  // the name ends before the list does
      {at - 3, 1, SSL_AD_DECODE_ERROR},   // not a host name
      {at - 4, 17, SSL_AD_DECODE_ERROR},  // the list ends before the extension does
  };
  for (const auto& [where, byte, alert] : table) {
    std::string bad = hello;
    bad[where] = byte;
    EXPECT_EQ(answer(context, bad, result), std::string("\x15\x03\x03\x00\x02\x02", 6) + alert);
    EXPECT_EQ(result, "malformed server name");
  }
}

TEST_F(ServerContextTest, what_is_no_client_hello_ends_the_handshake) {
  const auto context = make_server(three_sites());
  const std::string hello = client_hello(anybody("www.example.com"));
  std::string result;
  for (const std::string& bytes :
       {std::string("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        std::string("\x80\x2e\x01\x03\x01", 5), std::string(100, '\0'), std::string("\x17\x03\x03\x00\x01x", 6),
        std::string("\x15\x03\x03\x00\x02\x02\x28", 7)}) {
    EXPECT_EQ(answer(context, bytes, result), "") << "nothing is said to who does not speak TLS";
    EXPECT_EQ(result, "not TLS: the client speaks in clear");
  }
  const std::string huge("\x16\x03\x01\xff\xff", 5);
  const std::string endless("\x16\x03\x01\x40\x00\x01\xff\xff\xff", 9);  // a ClientHello of 16 MiB
  const std::string server_hello = in_records_of(std::string("\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", 10), 1);
  for (const std::string& bytes : {huge, endless + std::string(16'380, 'a'), server_hello}) {
    answer(context, bytes, result);
    EXPECT_TRUE(result.starts_with("the client ")) << result;
  }
  std::string empty_records;
  for (int i = 0; i < 100'000; ++i) empty_records.append("\x16\x03\x01\x00\x00", 5);
  answer(context, empty_records, result);
  EXPECT_TRUE(result.starts_with("the client broke the protocol")) << result;
  for (std::size_t cut = 1; cut < hello.size(); cut += 7) {
    EXPECT_EQ(answer(context, hello.substr(0, cut), result), "");
    EXPECT_EQ(result, "pending");
  }
  std::string broken = hello;
  for (std::size_t i = 0; i < hello.size(); i += 3) {
    broken = hello;
    broken[i] = static_cast<char>(broken[i] ^ 0x5a);
    answer(context, broken, result);  // whatever it says: no crash, no hang
    EXPECT_NE(result, "");
  }
}

TEST_F(ServerContextTest, a_handshake_is_bounded) {
  const auto context = make_server(three_sites());
  std::string message("\x16\x03\x01\x00\x00\x01\x01\x86\xa0", 9);  // a ClientHello of 100,000 bytes
  message += std::string(100'000, 'a');
  std::string result;
  EXPECT_EQ(answer(context, in_records_of(message, 1).substr(0, 590'000), result), "");
  EXPECT_EQ(result, "the peer sent too much for a handshake");

  // And its messages.
  ServerOptions options = serving(test_site({"a.example"}));
  options.client_certificate_hosts = {""};
  for (const int count : {1'200, 2'000}) {
    std::vector<std::string> names;
    for (int i = 0; i < count; ++i) names.push_back("fills-a-certificate-" + std::to_string(i) + ".client.example");
    ClientOptions presenting = expecting("a.example");
    presenting.certificate = test_site(names).certified();
    Ends ends(world);
    EXPECT_EQ(ends.connect(make_server(options), make_client(presenting)), count == 1'200);
    EXPECT_EQ(ends.server_outcome(), count == 1'200 ? "" : "the client sent too large a message");
  }
}

TEST_F(ServerContextTest, a_client_that_hangs_up_or_dawdles) {
  for (const int how : {0, 1, 2, 3}) {
    auto [near, far] = make_memory_pair(world.loop);
    auto server = ServerContext::accept(make_server(three_sites()), world.loop, world.pool, std::move(near), {});
    std::optional<Result<void>> result;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*server, world.loop.now() + 5s, result));
    settle(world.loop);
    if (how == 0) far->shutdown_write();
    if (how == 1) far->reset_on_close(), far.reset();
    if (how == 2) server->wake_reader(Wake::interrupted);
    if (how == 3) advance(world.loop, world.clock, 5s);
    settle(world.loop);
    ASSERT_TRUE(result && !*result);
    EXPECT_EQ(result->error().side(), how == 2 ? Side::gateway : Side::client);
    EXPECT_EQ(result->error().code(), how == 2 ? Code::cancelled : Code::tls_handshake_failed);
    const std::string_view texts[] = {"the client closed the connection during the handshake",
                                      "the client reset the connection during the handshake", "",
                                      "not finished in time"};
    EXPECT_EQ(outcome(result), texts[how]);
  }
}

TEST_F(ServerContextTest, no_protocol_in_common_is_an_alert_and_no_alpn_at_all_is_not) {
  const auto context = make_server(three_sites());
  for (const char* const protocols : {"\x06spdy/3", "\x08http/1.0", "\x02hq\x08HTTP/1.1", ""}) {
    auto [near, far] = make_memory_pair(world.loop);
    auto server = ServerContext::accept(context, world.loop, world.pool, std::move(near), {});
    RawPeer raw(world, std::move(far), TLS_client_method());
    SSL_CTX_set_alpn_protos(raw.context(), reinterpret_cast<const unsigned char*>(protocols),
                            static_cast<unsigned>(std::string_view(protocols).size()));
    std::optional<Result<void>> result;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*server, world.loop.now() + 1s, result));
    EXPECT_EQ(raw.shake(true), *protocols == '\0');
    settle(world.loop);
    EXPECT_EQ(outcome(result), *protocols == '\0' ? "" : "no protocol in common (ALPN)");
    EXPECT_EQ(server->info().alpn, Alpn::none);
  }
}

TEST_F(ServerContextTest, weak_protocols_and_ciphers_are_refused) {
  const auto context = make_server(three_sites());
  struct Row {
    int version;
    const char* ciphers;
    std::string_view error;
  };
  const Row table[] = {
      {TLS1_VERSION, "ALL", "no TLS version in common"},
      {TLS1_1_VERSION, "ALL", "no TLS version in common"},
      {TLS1_2_VERSION, "AES128-GCM-SHA256", "no cipher in common"},
      {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", "no cipher in common"},
      {TLS1_2_VERSION, "DHE-RSA-AES128-GCM-SHA256", "no cipher in common"},
      {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-CCM", "no cipher in common"},
      {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", ""},
      {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", ""},
  };
  for (const Row& row : table) {
    auto [near, far] = make_memory_pair(world.loop);
    auto server = ServerContext::accept(context, world.loop, world.pool, std::move(near), {});
    RawPeer raw(world, std::move(far), TLS_client_method());
    SSL_CTX_set_security_level(raw.context(), 0);
    SSL_CTX_set_min_proto_version(raw.context(), row.version);
    SSL_CTX_set_max_proto_version(raw.context(), row.version);
    ASSERT_EQ(SSL_CTX_set_cipher_list(raw.context(), row.ciphers), 1);
    std::optional<Result<void>> result;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*server, world.loop.now() + 1s, result));
    EXPECT_EQ(raw.shake(true), row.error.empty());
    settle(world.loop);
    EXPECT_EQ(outcome(result), row.error) << row.ciphers;
  }
}

TEST_F(ServerContextTest, min_version_holds) {
  ServerOptions options = serving(test_site({"a.example"}));
  ClientOptions old = expecting("a.example");
  old.max_version = ProtocolVersion::tls_1_2;
  {
    Ends ends(world);
    EXPECT_TRUE(ends.connect(make_server(options), make_client(old)));
    EXPECT_EQ(ends.server->info().protocol, "TLSv1.2");
  }
  options.min_version = ProtocolVersion::tls_1_3;
  Ends ends(world);
  EXPECT_FALSE(ends.connect(make_server(options), make_client(old)));
  EXPECT_EQ(ends.server_outcome(), "no TLS version in common");
}

TEST_F(ServerContextTest, a_client_that_does_not_believe_us_says_why) {
  Ends ends(world);
  ClientOptions suspicious = expecting("a.example");
  suspicious.anchors = make_test_ca({.common_name = "foreign"}).anchors();
  EXPECT_FALSE(ends.connect(make_server(serving(test_site({"a.example"}))), make_client(suspicious)));
  EXPECT_EQ(ends.server_outcome(), "the client refused our certificate: alert unknown CA");
}

TEST_F(ServerContextTest, a_hello_retry_request_may_not_bring_another_name) {
  const auto context = make_server(three_sites());
  for (const bool tamper : {false, true}) {
    auto [near, far] = make_memory_pair(world.loop);
    auto server = ServerContext::accept(context, world.loop, world.pool, std::move(near), {});
    RawPeer raw(world, std::move(far), TLS_client_method());
    ASSERT_EQ(SSL_CTX_set1_groups_list(raw.context(), "P-521:P-256"), 1);
    SSL_set_tlsext_host_name(raw.ssl(), "www.example.com");
    SSL_set_connect_state(raw.ssl());
    std::optional<Result<void>> result;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*server, world.loop.now() + 1s, result));
    EXPECT_NE(raw.step(), 1);
    raw.feed();
    SSL_do_handshake(raw.ssl());
    std::string second = raw.take_output();
    const std::size_t at = second.find("www.example.com");
    ASSERT_NE(at, std::string::npos) << "there was a HelloRetryRequest";
    if (tamper) second.replace(at, 3, "api");
    raw.send(second);
    settle(world.loop);
    EXPECT_EQ(outcome(result), tamper ? "two server names" : "pending");
    ERR_clear_error();
  }
}

TEST_F(ServerContextTest, a_client_certificate_is_taken_as_it_is) {
  const TestIdentity foreign_root = make_test_ca({.common_name = "foreign"});
  const TestIdentity middle = make_test_ca({.common_name = "middle"}, &foreign_root);
  const TestIdentity stranger = make_test_certificate({.common_name = "stranger", .not_after = kTestFrom}, &middle);
  for (const ProtocolVersion version : {ProtocolVersion::tls_1_2, ProtocolVersion::tls_1_3}) {
    ServerOptions options = serving(test_site({"a.example"}));
    options.client_certificate_hosts = {"a.example"};
    options.client_authorities = {test_root().anchors()};
    ClientOptions presenting = expecting("a.example");
    presenting.certificate = stranger.certified();
    presenting.max_version = version;
    Ends ends(world);
    ASSERT_TRUE(ends.connect(make_server(options), make_client(presenting)));
    EXPECT_EQ(ends.server->info().client_certificate, ClientCertificate::presented);
    EXPECT_EQ(ends.client->info().client_certificate, ClientCertificate::presented);
    ASSERT_EQ(ends.server->info().peer.size(), 2u);
    EXPECT_EQ(ends.server->info().peer[0]->fingerprint(), stranger.certificate().fingerprint());
    EXPECT_EQ(ends.server->info().peer[1]->fingerprint(), middle.certificate().fingerprint());
    EXPECT_FALSE(options.client_authorities[0]->verify_client(ends.server->info().peer, world.loop.wall()));
    options.client_certificate_hosts.clear();
    Ends not_asked(world);
    ASSERT_TRUE(not_asked.connect(make_server(options), make_client(presenting)));
    EXPECT_EQ(not_asked.server->info().client_certificate, ClientCertificate::not_requested);
    EXPECT_TRUE(not_asked.server->info().peer.empty());
  }
}

TEST_F(ServerContextTest, authorities_are_named_to_the_client) {
  ServerOptions options = serving(test_site({"a.example"}));
  options.client_certificate_hosts = {""};
  for (const bool many : {false, true}) {
    options.client_authorities = {test_root().anchors()};
    if (many) options.client_authorities.assign(1000, make_test_ca({.common_name = std::string(60, 'n')}).anchors());
    auto [near, far] = make_memory_pair(world.loop);
    auto server = ServerContext::accept(make_server(options), world.loop, world.pool, std::move(near), {});
    RawPeer raw(world, std::move(far), TLS_client_method());
    std::optional<Result<void>> result;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*server, world.loop.now() + 1s, result));
    EXPECT_TRUE(raw.shake(true));
    const STACK_OF(X509_NAME)* const names = SSL_get_client_CA_list(raw.ssl());
    EXPECT_EQ(sk_X509_NAME_num(names) > 0, !many) << "too many to name";
  }
}

TEST_F(ServerContextTest, too_long_a_chain_is_refused) {
  TestIdentity client = make_test_certificate({.common_name = "client"}, &test_root());
  while (client.chain.size() <= kMaxChainLength) client.chain.push_back(test_root().chain.front());
  ServerOptions options = serving(test_site({"a.example"}));
  options.client_certificate_hosts = {""};
  ClientOptions presenting = expecting("a.example");
  presenting.certificate = client.certified();
  Ends ends(world);
  EXPECT_FALSE(ends.connect(make_server(options), make_client(presenting)));
  EXPECT_EQ(ends.server_outcome(), "the client sent too long a certificate chain");
}

}  // namespace
}  // namespace postern::tls
