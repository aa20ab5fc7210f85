#include "policies/client_certificate/client_certificate.h"

#include <gmock/gmock.h>

#include "http/connection_facts.h"
#include "policies/test_support.h"
#include "tls/test_certificates.h"

namespace postern::policies {
namespace {

using http::Exchange;
using std::chrono::hours;
using ::testing::HasSubstr;
using ::testing::Not;
class ClientCertificateTest : public PolicyTest {
 protected:
  ClientCertificateTest() {
    services.authorities = ca.anchors();
    request.common_name = "orders";
    request.uris = {"spiffe://example.com/orders"};
    request.dns_names = {"orders.example.com"};
    request.not_before = clock.wall() - hours(1);
    request.not_after = clock.wall() + hours(1);
  }

  // The client that asks next, on a connection of its own.
  void connect(const tls::TestIdentity& by) {
    handshake = {};
    handshake.peer = tls::make_test_certificate(request, &by).chain;
    handshake.client_certificate = tls::ClientCertificate::presented;
    facts = {};
    facts.tls = &handshake;
  }
  // One request on that connection.
  std::string ask(const Policy& policy, Exchange& exchange,
                  std::initializer_list<std::pair<std::string_view, std::string_view>> headers = {}) {
    fill(exchange, {.headers = headers}, clock);
    exchange.connection = &facts;
    return outcome(policy, exchange);
  }
  std::string ask(const Policy& policy) {
    Exchange exchange;
    return ask(policy, exchange);
  }
  // Why the next request is refused.
  std::string refusal(const Policy& policy) {
    Exchange exchange;
    fill(exchange, {}, clock);
    exchange.connection = &facts;
    const auto flow = run(policy, exchange);
    EXPECT_FALSE(flow.has_value());
    return flow ? "" : std::string(flow.error().detail());
  }
  // The name by which the client is known then, "" if it is not.
  std::string consumer(const Policy& policy) {
    Exchange exchange;
    const std::string result = ask(policy, exchange);
    if (result != "next") return result;
    EXPECT_THAT(exchange.consumer.id, testing::MatchesRegex("certificate:(uri|dns|email|subject):.+"));
    EXPECT_TRUE(exchange.consumer.id.ends_with(exchange.consumer.name));
    EXPECT_EQ(exchange.consumer.key_id, "");
    return std::string(exchange.consumer.name);
  }

  const tls::TestIdentity ca = tls::make_test_ca({.common_name = "Clients"});
  tls::TestCertificate request;
  tls::Handshake handshake;
  http::ConnectionFacts facts;
};

TEST_F(ClientCertificateTest, lets_in_who_is_vouched_for_and_says_who_it_is) {
  const Made made = make_readme_example("client_certificate");
  ASSERT_EQ(made.problems, "");
  connect(ca);
  Exchange exchange;
  EXPECT_EQ(ask(*made.policy, exchange, {{"Accept", "*/*"}}), "next");
  EXPECT_EQ(exchange.consumer.id, "certificate:uri:spiffe://example.com/orders");
  EXPECT_EQ(exchange.consumer.name, "spiffe://example.com/orders");
  EXPECT_EQ(exchange.consumer.key_id, "");
  EXPECT_EQ(made.policy->name(), "client_certificate");
  EXPECT_EQ(find_policy("client_certificate")->authenticates, Authenticates::by_certificate);
}

TEST_F(ClientCertificateTest, nobody_comes_in_without_a_certificate) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  ASSERT_EQ(made.problems, "");
  Exchange unknown;
  fill(unknown, {}, clock);
  EXPECT_EQ(outcome(*made.policy, unknown), "PST-P404") << "no connection is known";
  EXPECT_EQ(ask(*made.policy), "PST-P404") << "in clear";
  facts.tls = &handshake;
  EXPECT_EQ(ask(*made.policy), "PST-P404") << "no certificate";
}

TEST_F(ClientCertificateTest, what_is_worth_nothing_is_refused_with_a_reason_for_the_log) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  const auto refused = [&](const std::string& name) {
    Exchange exchange;
    EXPECT_EQ(ask(*made.policy, exchange), "PST-P405") << name;
    EXPECT_FALSE(exchange.consumer.authenticated()) << name;
    EXPECT_EQ(text_of(exchange.request.headers), "") << name;
    return refusal(*made.policy);
  };
  connect(tls::make_test_ca({.common_name = "Clients"}));  // the same name, another key
  EXPECT_NE(refused("forged"), "");
  connect(tls::make_test_ca({.common_name = "Others"}));
  EXPECT_THAT(refused("foreign"), HasSubstr("(CN=orders)"));
  // One that the authority has signed, but not as an authority.
  connect(tls::make_test_certificate({.common_name = "a leaf"}, &ca));
  EXPECT_NE(refused("signed by a leaf"), "");
  request.extended_key_usage = "serverAuth";
  connect(ca);
  EXPECT_THAT(refused("for servers"), HasSubstr("purpose"));
  request.extended_key_usage = "clientAuth";

  request.not_after = clock.wall() - hours(1);
  request.not_before = clock.wall() - hours(2);
  connect(ca);
  EXPECT_THAT(refused("expired"), HasSubstr("expired"));
  request.not_before = clock.wall() + hours(1);
  request.not_after = clock.wall() + hours(2);
  connect(ca);
  EXPECT_THAT(refused("early"), HasSubstr("not yet valid"));
}

TEST_F(ClientCertificateTest, an_intermediate_comes_with_the_certificate) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  const tls::TestIdentity between = tls::make_test_ca({.common_name = "Department"}, &ca);
  connect(between);
  ASSERT_EQ(handshake.peer.size(), 2U);
  EXPECT_EQ(ask(*made.policy), "next");
  connect(between);
  handshake.peer.pop_back();
  EXPECT_EQ(ask(*made.policy), "PST-P405");
}

TEST_F(ClientCertificateTest, allow_compares_by_type_and_whole) {
  const struct {
    const char* allow;
    const char* expected;
  } cases[] = {
      {"{uri: [\"spiffe://example.com/orders\"]}", "spiffe://example.com/orders"},
      {"{uri: [\"spiffe://example.com/order\"]}", "PST-P405"},
      {"{uri: [\"spiffe://example.com/orders/\"]}", "PST-P405"},
      {"{uri: [\"spiffe://example.com/ORDERS\"]}", "PST-P405"},
      {"{uri: [\"spiffe://example.com/*\"]}", "PST-P405"},
      {"{uri: [orders.example.com]}", "PST-P405"},
      {"{dns: [orders.example.com]}", "orders.example.com"},
      {"{dns: [Orders.Example.COM]}", "orders.example.com"},
      {"{dns: [\"*.example.com\"]}", "orders.example.com"},
      {"{dns: [\"*.Example.com\"]}", "orders.example.com"},
      {"{dns: [example.com]}", "PST-P405"},
      {"{dns: [\"*.com\"]}", "PST-P405"},
      {"{dns: [\"*.orders.example.com\"]}", "PST-P405"},
      {"{dns: [other.example.com, orders.example.com]}", "orders.example.com"},
      {"{dns: [other.example.com], uri: [\"spiffe://example.com/orders\"]}", "spiffe://example.com/orders"},
      {"{email: [orders@example.com]}", "orders@example.com"},
      {"{email: [Orders@example.com]}", "PST-P405"},
      {"{email: [others@example.com], dns: [orders.example.com]}", "orders.example.com"},
      {"{subject: [CN=orders]}", "CN=orders"},
      {"{subject: [CN=order]}", "PST-P405"},
      {"{subject: [orders]}", "PST-P405"},
  };
  request.emails = {"orders@example.com"};
  connect(ca);
  for (const auto& c : cases) {
    const Made made = make("client_certificate", std::string("{ca: /ca.pem, allow: ") + c.allow + "}");
    ASSERT_EQ(made.problems, "") << c.allow;
    EXPECT_EQ(consumer(*made.policy), c.expected) << c.allow;
  }
  const Made made = make("client_certificate", "{ca: /ca.pem, allow: {dns: [other.example.com]}}");
  EXPECT_EQ(refusal(*made.policy), "not among `allow`: CN=orders");
}

TEST_F(ClientCertificateTest, a_certificate_with_a_wildcard_names_nobody) {
  request.dns_names = {"*.example.com"};
  connect(ca);
  EXPECT_EQ(ask(*make("client_certificate", "{ca: /ca.pem, allow: {dns: [\"*.example.com\"]}}").policy), "PST-P405");
  EXPECT_EQ(ask(*make("client_certificate", "{ca: /ca.pem, allow: {dns: [a.example.com]}}").policy), "PST-P405");
}

TEST_F(ClientCertificateTest, without_allow_the_first_name_counts) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  connect(ca);
  EXPECT_EQ(consumer(*made.policy), "spiffe://example.com/orders");
  request.uris.clear();
  connect(ca);
  EXPECT_EQ(consumer(*made.policy), "orders.example.com");
  request.dns_names.clear();
  request.emails = {"orders@example.com"};
  connect(ca);
  EXPECT_EQ(consumer(*made.policy), "orders@example.com");
  request.emails.clear();
  connect(ca);
  EXPECT_EQ(consumer(*made.policy), "CN=orders");
  request.common_name.clear();
  connect(ca);
  EXPECT_EQ(ask(*made.policy), "PST-P405") << "it names nobody";
}

// What stands behind the NUL is for those who stop at it; such a name is no name.
TEST_F(ClientCertificateTest, a_name_with_a_nul_is_not_compared) {
  request.common_name.clear();
  request.uris.clear();
  request.dns_names = {std::string("orders.example.com\0.evil.example", 32)};
  connect(ca);
  EXPECT_EQ(ask(*make("client_certificate", "{ca: /ca.pem, allow: {dns: [orders.example.com]}}").policy), "PST-P405");
  EXPECT_EQ(ask(*make("client_certificate", "{ca: /ca.pem}").policy), "PST-P405");
}

// ---- Client-Cert ---------------------------------------------------------------------------------------------------

TEST_F(ClientCertificateTest, the_origin_gets_the_certificate_and_no_claim_of_the_client) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  const Made silent = make("client_certificate", "{ca: /ca.pem, forward: false}");
  connect(ca);
  const std::string pem = handshake.peer.front()->to_pem();
  std::string base64;
  for (const char c : pem.substr(pem.find('\n'), pem.rfind("-----END") - pem.find('\n'))) {
    if (c != '\n') base64 += c;
  }
  for (int i = 0; i < 2; ++i) {  // the second request finds it remembered
    Exchange exchange;
    EXPECT_EQ(ask(*made.policy, exchange,
                  {{"Client-Cert", ":AAAA:"}, {"client_cert", ":BBBB:"}, {"Client-Cert-Chain", ":CCCC:"}, {"X", "y"}}),
              "next");
    EXPECT_EQ(text_of(exchange.request.headers), "X: y|Client-Cert: :" + base64 + ":");
  }
  Exchange exchange;
  EXPECT_EQ(ask(*silent.policy, exchange, {{"Client-Cert", ":AAAA:"}, {"CLIENT_CERT_CHAIN", ":CCCC:"}}), "next");
  EXPECT_EQ(text_of(exchange.request.headers), "");
  Exchange refused;
  connect(tls::make_test_ca({.common_name = "Others"}));
  EXPECT_EQ(ask(*silent.policy, refused, {{"Client-Cert", ":AAAA:"}}), "PST-P405");
  EXPECT_EQ(text_of(refused.request.headers), "");
  EXPECT_EQ(made.policy->reserved_headers(), (std::vector<std::string_view>{"Client-Cert", "Client-Cert-Chain"}));
  EXPECT_EQ(silent.policy->reserved_headers(), made.policy->reserved_headers()) << "also if it is not forwarded";
}

TEST_F(ClientCertificateTest, every_length_of_a_certificate_is_encoded_whole) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  std::set<std::size_t> remainders;
  for (const char* const name : {"a", "ab", "abc", "abcd", "abcde", "abcdef"}) {
    request.common_name = name;
    connect(ca);
    const std::string der = handshake.peer.front()->to_der();
    remainders.insert(der.size() % 3);
    Exchange exchange;
    ASSERT_EQ(ask(*made.policy, exchange), "next");
    const std::string_view value = exchange.request.headers.find("client-cert")->value;
    ASSERT_EQ(value.size(), 2 + (der.size() + 2) / 3 * 4);
    EXPECT_EQ(value.front(), ':');
    EXPECT_EQ(value.back(), ':');
    EXPECT_EQ(value.find('\0'), std::string_view::npos);
  }
  EXPECT_GE(remainders.size(), 2U);
}

// ---- many requests on one connection -------------------------------------------------------------------------------

TEST_F(ClientCertificateTest, a_certificate_expires_on_a_connection_that_stands) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  connect(ca);
  EXPECT_EQ(ask(*made.policy), "next");
  clock.advance(hours(1) - std::chrono::seconds(1));
  EXPECT_EQ(ask(*made.policy), "next");
  clock.advance(std::chrono::seconds(2));
  EXPECT_EQ(ask(*made.policy), "PST-P405");
  EXPECT_THAT(refusal(*made.policy), HasSubstr("expired"));
}

TEST_F(ClientCertificateTest, a_certificate_comes_into_force_on_a_connection_that_stands) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  request.not_before = clock.wall() + std::chrono::minutes(5);
  connect(ca);
  EXPECT_EQ(ask(*made.policy), "PST-P405");
  clock.advance(std::chrono::minutes(6));
  EXPECT_EQ(ask(*made.policy), "next");
}

TEST_F(ClientCertificateTest, a_verdict_counts_for_its_authorities_only) {
  const Made good = make("client_certificate", "{ca: /ca.pem}");
  const tls::TestIdentity others = tls::make_test_ca({.common_name = "Others"});
  services.authorities = others.anchors();
  const Made bad = make("client_certificate", "{ca: /others.pem}");
  connect(ca);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ask(*good.policy), "next");
    EXPECT_EQ(ask(*bad.policy), "PST-P405");
  }
  // Another connection knows nothing of it.
  connect(others);
  EXPECT_EQ(ask(*good.policy), "PST-P405");
  EXPECT_EQ(ask(*bad.policy), "next");
}

TEST_F(ClientCertificateTest, a_verdict_is_remembered) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  connect(ca);
  EXPECT_EQ(ask(*made.policy), "next");
  const http::ClientVerdict* const known = facts.verdicts.find(services.authorities->id(), clock.wall());
  ASSERT_TRUE(known);
  EXPECT_EQ(known->refusal, "");
  EXPECT_EQ(known->since, clock.wall());
  EXPECT_EQ(known->until, handshake.peer.front()->not_after());
  facts.verdicts.remember({services.authorities->id(), clock.wall(), clock.wall() + hours(1), "as remembered"});
  EXPECT_EQ(refusal(*made.policy), "as remembered");
  EXPECT_FALSE(facts.verdicts.find(services.authorities->id(), clock.wall() - hours(1))) << "a clock that went back";
}

TEST_F(ClientCertificateTest, of_many_authorities_few_verdicts_are_kept) {
  http::ClientVerdicts verdicts;
  const WallTime now = clock.wall();
  for (std::uint64_t id = 1; id <= 6; ++id) verdicts.remember({id, now, now + hours(1), std::to_string(id)});
  for (std::uint64_t id = 1; id <= 6; ++id) EXPECT_EQ(verdicts.find(id, now) != nullptr, id > 2) << id;
  EXPECT_EQ(verdicts.find(6, now)->refusal, "6");
  verdicts.remember({6, now, now + hours(1), "again"});
  EXPECT_EQ(verdicts.find(6, now)->refusal, "again");
  EXPECT_TRUE(verdicts.find(3, now)) << "its place was taken over, no other";
}

// ---- beside other policies -----------------------------------------------------------------------------------------

TEST_F(ClientCertificateTest, whoever_was_authenticated_before_stays_the_consumer) {
  const Made made = make("client_certificate", "{ca: /ca.pem}");
  connect(ca);
  Exchange exchange;
  exchange.consumer = {"acme", "Acme", "k1"};
  EXPECT_EQ(ask(*made.policy, exchange), "next");
  EXPECT_EQ(exchange.consumer.id, "acme");
  EXPECT_THAT(text_of(exchange.request.headers), HasSubstr("Client-Cert: :"));
}

TEST_F(ClientCertificateTest, of_two_both_must_agree_and_the_last_decides_what_is_forwarded) {
  const Made wide = make("client_certificate", "{ca: /ca.pem}");
  const Made narrow = make("client_certificate", "{ca: /ca.pem, forward: false, allow: {dns: [orders.example.com]}}");
  connect(ca);
  Exchange exchange;
  fill(exchange, {}, clock);
  exchange.connection = &facts;
  EXPECT_EQ(outcome(*wide.policy, exchange), "next");
  EXPECT_EQ(outcome(*narrow.policy, exchange), "next");
  EXPECT_EQ(exchange.consumer.name, "spiffe://example.com/orders");
  EXPECT_EQ(text_of(exchange.request.headers), "");
  EXPECT_EQ(outcome(*wide.policy, exchange), "next");
  EXPECT_THAT(text_of(exchange.request.headers), HasSubstr("Client-Cert: :"));
}

TEST_F(ClientCertificateTest, options_that_make_no_sense_are_refused) {
  for (const char* const options : {
           "{}",
           "{ca: clients.pem}",
           "{ca: system}",
           "{ca: \"${file:/ca.pem}\"}",
           "{ca: /ca.pem, allow: {}}",
           "{ca: /ca.pem, allow: [orders.example.com]}",
           "{ca: /ca.pem, allow: {dns: []}}",
           "{ca: /ca.pem, allow: {dns: [192.0.2.1]}}",
           "{ca: /ca.pem, allow: {dns: [\"*\"]}}",
           "{ca: /ca.pem, allow: {dns: [\"*.*.example.com\"]}}",
           "{ca: /ca.pem, allow: {email: [orders]}}",
           "{ca: /ca.pem, allow: {uri: [\"spiffe://a b\"]}}",
           "{ca: /ca.pem, allow: {ip: [192.0.2.1]}}",
           "{ca: /ca.pem, forward: chain}",
       }) {
    EXPECT_NE(make("client_certificate", options).problems, "") << options;
  }
  services.authorities = nullptr;
  EXPECT_THAT(make("client_certificate", "{ca: /ca.pem}").problems, HasSubstr("PST-C054"));
}

}  // namespace
}  // namespace postern::policies
