// Resumption, from both sides: what saves a handshake must never save a check.
#include <openssl/err.h>

#include <atomic>
#include <functional>
#include <thread>

#include "platform/entropy.h"
#include "tls/test_support.h"
#include "tls/ticket_keys.h"

namespace postern::tls {
namespace {

TEST(TicketKeys, a_key_encrypts_for_one_lifetime_and_decrypts_for_two) {
  ManualClock clock;
  SystemEntropy entropy;
  TicketKeys keys(entropy, clock);
  const auto first = keys.current();
  clock.advance(TicketKeys::kLifetime - 1ns);
  EXPECT_EQ(keys.current(), first);
  clock.advance(1ns);
  const auto second = keys.current();
  EXPECT_NE(second, first);
  EXPECT_NE(second->name, first->name);
  EXPECT_EQ(keys.find(first->name.data()), first);
  EXPECT_EQ(keys.find(second->name.data()), second);
  clock.advance(TicketKeys::kLifetime - 1ns);
  EXPECT_EQ(keys.find(first->name.data()), first);
  clock.advance(1ns);
  EXPECT_EQ(keys.find(first->name.data()), nullptr);
  EXPECT_EQ(keys.find(second->name.data()), second) << "nobody has asked for a new one";
  const TicketKeys::Key another(entropy, clock.now());
  EXPECT_EQ(keys.find(another.name.data()), nullptr);
}

TEST(TicketKeys, nobody_comes_for_a_long_time) {
  ManualClock clock;
  SystemEntropy entropy;
  TicketKeys keys(entropy, clock);
  const auto first = keys.current();
  clock.advance(2 * TicketKeys::kLifetime);
  EXPECT_EQ(keys.find(first->name.data()), nullptr);
  EXPECT_NE(keys.current(), first);
}

// Goes on by itself, so that keys rotate under the threads.
class Racing final : public Clock {
 public:
  [[nodiscard]] MonoTime now() const noexcept override { return MonoTime(std::chrono::minutes(++minutes_)); }
  [[nodiscard]] WallTime wall() const noexcept override { return {}; }

 private:
  mutable std::atomic<int> minutes_{0};
};

TEST(TicketKeys, many_loops_share_them) {
  Racing clock;
  SystemEntropy entropy;
  TicketKeys keys(entropy, clock);
  std::vector<std::thread> threads;
  std::atomic<int> found{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 5'000; ++n) {
        const auto key = keys.current();
        const auto again = keys.find(key->name.data());
        EXPECT_TRUE(!again || again == key);
        if (again) ++found;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(found, 10'000);
}

class Resumption : public ::testing::TestWithParam<ProtocolVersion> {
 protected:
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u); }
  // One connection, with what comes after the handshake. Whether it was resumed; the test fails if it did not stand.
  bool resumed(const std::shared_ptr<const ServerContext>& server, const std::shared_ptr<const ClientContext>& client) {
    ends.emplace(world);
    EXPECT_TRUE(ends->connect(server, client, slot)) << ends->client_outcome() << "; " << ends->server_outcome();
    EXPECT_EQ(get(*ends->client), "");
    EXPECT_EQ(put(*ends->client, "request").status, IoStatus::ok);
    settle(world.loop);
    EXPECT_EQ(get(*ends->server), "request");
    EXPECT_EQ(ends->client->info().resumed, ends->server->info().resumed);
    return ends->client->info().resumed;
  }
  [[nodiscard]] ServerOptions served() const { return serving(site); }
  [[nodiscard]] ClientOptions expected() const {
    ClientOptions options = expecting("a.example");
    options.max_version = GetParam();
    return options;
  }
  std::shared_ptr<const ServerContext> server(const ServerOptions& options) { return make_server(options, tickets); }

  World world;
  SystemEntropy entropy;
  std::shared_ptr<TicketKeys> tickets = std::make_shared<TicketKeys>(entropy, world.clock);
  TestIdentity site = test_site({"a.example", "b.example"});
  std::shared_ptr<SessionSlot> slot = std::make_shared<SessionSlot>();
  std::optional<Ends> ends;
};

TEST_P(Resumption, again_and_again_with_what_was_verified) {
  const auto listener = server(served());
  const auto origin = make_client(expected());
  EXPECT_FALSE(resumed(listener, origin));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(slot->session);
    EXPECT_TRUE(resumed(listener, origin)) << i;
    ASSERT_EQ(ends->client->info().peer.size(), 2u);
    EXPECT_EQ(ends->client->info().peer[0]->fingerprint(), site.certificate().fingerprint());
    EXPECT_EQ(ends->server->info().server_name, "a.example");
  }
  EXPECT_TRUE(resumed(server(served()), origin)) << "another loop's context with the same keys";
}

TEST_P(Resumption, a_connection_that_breaks_spoils_no_session) {
  const auto listener = server(served());
  const auto origin = make_client(expected());
  EXPECT_FALSE(resumed(listener, origin));
  ends->client->reset_on_close();
  ends->server->reset_on_close();
  ends.reset();
  EXPECT_TRUE(resumed(listener, origin));
}

TEST_P(Resumption, keys_rotate) {
  const auto listener = server(served());
  const auto origin = make_client(expected());
  EXPECT_FALSE(resumed(listener, origin));
  advance(world.loop, world.clock, TicketKeys::kLifetime);
  EXPECT_TRUE(resumed(listener, origin)) << "the old key still decrypts";
  advance(world.loop, world.clock, TicketKeys::kLifetime);
  EXPECT_TRUE(resumed(listener, origin)) << "the last ticket is under the new key";
  advance(world.loop, world.clock, 2 * TicketKeys::kLifetime);
  EXPECT_FALSE(resumed(listener, origin));
}

TEST_P(Resumption, without_keys_there_is_none) {
  const auto listener = make_server(served(), nullptr);
  const auto origin = make_client(expected());
  EXPECT_FALSE(resumed(listener, origin));
  EXPECT_FALSE(resumed(listener, origin));
}

TEST_P(Resumption, ends_where_the_server_trusts_otherwise) {
  const TestIdentity other_ca = make_test_ca({.common_name = "other"});
  struct Row {
    std::string_view what;
    std::function<void(ServerOptions&)> change;
    bool resumed;
  };
  const Row table[] = {
      {"nothing", [](auto&) {}, true},
      {"a renewed certificate", [](auto& o) { o = serving(test_site({"a.example", "b.example"})); }, true},
      {"other names", [](auto& o) { o.certificates[0].names = {"a.example"}; }, false},
      {"now asks this name", [](auto& o) { o.client_certificate_hosts = {"a.example"}; }, false},
      {"now asks everybody", [](auto& o) { o.client_certificate_hosts = {""}; }, false},
      {"now asks another name", [](auto& o) { o.client_certificate_hosts = {"b.example"}; }, true},
      {"other authorities", [&](auto& o) { o.client_authorities = {other_ca.anchors()}; }, false},
      {"another set before it",
       [](auto& o) {
         o.certificates.insert(o.certificates.begin(), serving(test_site({"c.example"})).certificates[0]);
       },
       true},
      {"another set for this name",
       [](auto& o) {
         o.certificates[0].names = {"b.example"};
         o.certificates.push_back({{"a.example"}, {test_site({"a.example"}).certified()}});
       },
       false},
  };
  for (const Row& row : table) {
    slot = std::make_shared<SessionSlot>();
    const auto origin = make_client(expected());
    EXPECT_FALSE(resumed(server(served()), origin));
    ServerOptions changed = served();
    row.change(changed);
    EXPECT_EQ(resumed(server(changed), origin), row.resumed) << row.what;
  }
}

TEST_P(Resumption, a_ticket_for_one_name_opens_no_other) {
  ServerOptions options = served();
  options.certificates[0].names = {"a.example"};
  options.certificates.push_back({{"b.example"}, {site.certified()}});
  const auto listener = server(options);
  EXPECT_FALSE(resumed(listener, make_client(expected())));
  ClientOptions other = expected();
  other.server_name = "b.example";
  const auto cheating = make_client(other);
  slot->context = cheating;  // as a client would that does not care
  EXPECT_FALSE(resumed(listener, cheating));
}

TEST_P(Resumption, who_presented_a_certificate_gets_no_ticket) {
  ServerOptions options = served();
  options.client_certificate_hosts = {"a.example"};
  ClientOptions presenting = expected();
  presenting.certificate = make_test_certificate({.common_name = "client"}, &test_root()).certified();
  const auto listener = server(options);
  const auto origin = make_client(presenting);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(resumed(listener, origin));
    EXPECT_EQ(ends->server->info().client_certificate, ClientCertificate::presented);
    EXPECT_EQ(ends->server->info().peer.size(), 1u);
    EXPECT_FALSE(GetParam() == ProtocolVersion::tls_1_3 && slot->session);
  }
  const auto without = make_client(expected());
  slot = std::make_shared<SessionSlot>();
  EXPECT_FALSE(resumed(listener, without));
  EXPECT_TRUE(resumed(listener, without)) << "who has none is not asked each time";
  EXPECT_EQ(ends->client->info().client_certificate, ClientCertificate::requested_not_presented);
}

TEST_P(Resumption, a_session_belongs_to_its_context) {
  const auto listener = server(served());
  EXPECT_FALSE(resumed(listener, make_client(expected())));
  ASSERT_TRUE(slot->session);
  EXPECT_FALSE(resumed(listener, make_client(expected()))) << "the same options, but another context";
}

TEST_P(Resumption, a_session_does_not_outlive_the_certificates_it_was_made_with) {
  for (const bool leaf_dies : {true, false}) {
    const WallTime soon = world.clock.wall() + std::chrono::minutes(30);
    const TestIdentity middle =
        make_test_ca({.common_name = "middle", .not_after = leaf_dies ? kTestUntil : soon}, &test_root());
    const TestIdentity dying =
        make_test_certificate({.dns_names = {"a.example"}, .not_after = leaf_dies ? soon : kTestUntil}, &middle);
    slot = std::make_shared<SessionSlot>();
    ServerOptions options = serving(dying);
    options.certificates[0].names = {"a.example"};
    const auto origin = make_client(expected());
    EXPECT_FALSE(resumed(server(options), origin));
    ServerOptions renewed = serving(site);
    renewed.certificates[0].names = {"a.example"};
    EXPECT_TRUE(resumed(server(renewed), origin));
    EXPECT_EQ(ends->client->info().peer[0]->fingerprint(), dying.certificate().fingerprint());
    advance(world.loop, world.clock, std::chrono::minutes(31));
    EXPECT_FALSE(resumed(server(renewed), origin));
  }
}

INSTANTIATE_TEST_SUITE_P(Both, Resumption, ::testing::Values(ProtocolVersion::tls_1_2, ProtocolVersion::tls_1_3),
                         [](const auto& version) {
                           return version.param == ProtocolVersion::tls_1_2 ? "tls_1_2" : "tls_1_3";
                         });

}  // namespace
}  // namespace postern::tls
