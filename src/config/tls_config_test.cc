// What is written about TLS and HTTP/2 arrives, what is not has the defaults of the schema, and what time and a reload
// make of certificates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "config/certificates.h"
#include "config/test_certificates.h"

namespace postern::config {
namespace {

using std::chrono::days;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

class TlsConfigTest : public testing::Test {
 protected:
  TlsConfigTest() { TestFiles::add_to(world); }

  static std::string document(const std::string& listener, const std::string& origin = "url: https://orders.internal",
                              const std::string& route = "public: true") {
    return "version: 1\nlisteners:\n  - address: 127.0.0.1:8443\n    " + listener + "\norigins:\n  o:\n    " + origin +
           "\nroutes:\n  - match: {path: /}\n    origin: o\n    " + route + "\n";
  }
  static std::string with_tls(const std::string& options) { return document("tls: {" + options + "}"); }
  static std::string https(const std::string& options) {
    return document("http2: auto", "url: https://orders.internal\n    " + options);
  }

  std::shared_ptr<const Config> load(const std::string& text) {
    Diagnostics diagnostics("postern.yaml");
    auto config = world.load(text, diagnostics);
    EXPECT_TRUE(config) << diagnostics.to_text() << text;
    said = diagnostics.to_text();
    return config;
  }
  // What is said about a text that is refused.
  std::string refusal(const std::string& text) {
    Diagnostics diagnostics("postern.yaml");
    EXPECT_FALSE(world.load(text, diagnostics)) << text;
    return diagnostics.to_text();
  }
  void replace(const std::string& name, const TestFiles::Pem& pair) {
    world.files.values["/tls/" + name + ".pem"] = pair.chain;
    world.files.values["/tls/" + name + ".key"] = pair.key;
  }
  static TestFiles::Pem fresh(TestFiles::Use use, Duration age, Duration left) {
    return TestFiles::get().issue(use, {"api.example.com"}, kTestNow - age, kTestNow + left);
  }

  World world;
  std::string said;  // by the last load()
};

const std::string kApi = "certificate: /tls/api.pem, key: /tls/api.key";

TEST_F(TlsConfigTest, OneCertificateServesItsNames) {
  const auto config = load(with_tls(kApi));
  const ListenerTlsConfig& tls = *config->listeners[0].tls;
  ASSERT_EQ(tls.certificates.size(), 1U);
  EXPECT_EQ(tls.certificates[0].files.certificate, "/tls/api.pem");
  EXPECT_EQ(tls.certificates[0].files.key, "/tls/api.key");
  ASSERT_TRUE(tls.certificates[0].files.pair);
  EXPECT_EQ(tls.certificates[0].files.pair->leaf().to_pem(), world.files.values["/tls/api.pem"]);
  EXPECT_THAT(tls.certificates[0].names, ElementsAre("api.example.com", "*.api.example.com"));
  EXPECT_THAT(tls.self_signed, IsEmpty());
  // The defaults of the schema.
  EXPECT_EQ(tls.min_version, tls::ProtocolVersion::tls_1_2);
  EXPECT_TRUE(tls.session_tickets);
}

TEST_F(TlsConfigTest, SeveralCertificatesKeepTheirOrderAndNames) {
  const auto config =
      load(with_tls("min_version: \"1.3\", session_tickets: false, certificates: [{certificate: /tls/other.pem, key: "
                    "/tls/other.key}, {" +
                    kApi + ", names: [API.example.com, x.api.example.com]}]"));
  const ListenerTlsConfig& tls = *config->listeners[0].tls;
  ASSERT_EQ(tls.certificates.size(), 2U);
  EXPECT_THAT(tls.certificates[0].names, ElementsAre("other.example.com"));
  EXPECT_THAT(tls.certificates[1].names, ElementsAre("api.example.com", "x.api.example.com"));
  EXPECT_EQ(tls.min_version, tls::ProtocolVersion::tls_1_3);
  EXPECT_FALSE(tls.session_tickets);
  const auto defaults = load(with_tls(kApi + ", min_version: \"1.2\", session_tickets: true"));
  EXPECT_EQ(defaults->listeners[0].tls->min_version, tls::ProtocolVersion::tls_1_2);
  EXPECT_TRUE(defaults->listeners[0].tls->session_tickets);
}

TEST_F(TlsConfigTest, ASelfSignedCertificateIsMadeAndStaysTheSame) {
  const std::string text = with_tls("self_signed: [Dev.localhost, 127.0.0.1, \"::1\"]");
  const auto config = load(text);
  const ListenerTlsConfig& made = *config->listeners[0].tls;
  EXPECT_THAT(made.self_signed, ElementsAre("dev.localhost", "127.0.0.1", "::1"));
  ASSERT_EQ(made.certificates.size(), 1U);
  EXPECT_THAT(made.certificates[0].names, ElementsAre("dev.localhost"));
  EXPECT_EQ(made.certificates[0].files.certificate, "");
  const tls::Certificate& leaf = made.certificates[0].files.pair->leaf();
  EXPECT_THAT(leaf.dns_names(), ElementsAre("dev.localhost"));
  EXPECT_EQ(leaf.ip_addresses().size(), 2U);
  EXPECT_LE(leaf.not_before(), kTestNow);
  EXPECT_GE(leaf.not_after(), kTestNow + days(300));
  EXPECT_THAT(said, HasSubstr("PST-C053"));

  world.in_force = config.get();
  EXPECT_EQ(load(text)->listeners[0].tls->certificates[0].files.pair, made.certificates[0].files.pair);
  const auto other = load(with_tls("self_signed: [localhost]"));
  EXPECT_NE(other->listeners[0].tls->certificates[0].files.pair, made.certificates[0].files.pair);
}

TEST_F(TlsConfigTest, ListenersWithoutTls) {
  EXPECT_EQ(load(document("http2: h2c"))->listeners[0].http2, ListenerHttp2::h2c);
  EXPECT_EQ(load(document("http2: never"))->listeners[0].http2, ListenerHttp2::never);
  EXPECT_EQ(load(document("http2: auto"))->listeners[0].http2, ListenerHttp2::automatic);
  EXPECT_EQ(load(document("redirect_to_https: true"))->listeners[0].redirect_to_https, 443);
  EXPECT_EQ(load(document("redirect_to_https: {port: 8443}"))->listeners[0].redirect_to_https, 8443);
  EXPECT_FALSE(load(document("redirect_to_https: false"))->listeners[0].redirects());
  const auto limited = load(document("http2: h2c\n    limits: {max_concurrent_streams: 7}"));
  EXPECT_EQ(limited->listeners[0].limits.max_concurrent_streams, 7U);
  EXPECT_EQ(limited->limits.max_concurrent_streams, 128U);
}

TEST_F(TlsConfigTest, AnHttpsOriginIsVerifiedByTheSystemAndItsHost) {
  const auto config = load(document("http2: auto", "endpoints: [\"https://A.internal:443/\", \"https://b:8443\"]"));
  const OriginConfig& origin = config->origins[0];
  EXPECT_TRUE(origin.tls);
  EXPECT_EQ(origin.endpoints[0].address.port, 443);
  EXPECT_EQ(origin.endpoints[0].authority, "a.internal");
  EXPECT_EQ(origin.endpoints[1].address.port, 8443);
  EXPECT_EQ(origin.endpoints[1].authority, "b:8443");
  EXPECT_EQ(origin.trust.ca, TrustConfig::Ca::system);
  EXPECT_TRUE(origin.trust.anchors);
  EXPECT_THAT(origin.trust.names, IsEmpty());
  EXPECT_THAT(origin.trust.pins, IsEmpty());
  EXPECT_EQ(origin.trust.server_name, "");
  EXPECT_EQ(origin.trust.min_version, tls::ProtocolVersion::tls_1_2);
  EXPECT_EQ(origin.http2, OriginHttp2::automatic);
  const auto bare = load(document("http2: auto", "url: https://orders.internal"));
  EXPECT_EQ(bare->origins[0].endpoints[0].address.port, 443);
  const auto clear = load(document("http2: auto", "url: http://orders.internal:443"));
  EXPECT_FALSE(clear->origins[0].tls);
  EXPECT_EQ(clear->origins[0].endpoints[0].authority, "orders.internal:443") << "not the usual port of http";
}

TEST_F(TlsConfigTest, TrustAsWritten) {
  const std::string a = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  const std::string b = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";
  const auto config =
      load(https("trust: {ca: /tls/ca.pem, names: [Orders.Example.com, 192.0.2.1], server_name: SNI.example, "
                 "min_version: \"1.3\", pins: [sha256/" +
                 a + ", sha256/" + b + "]}\n    http2: always"));
  const OriginConfig& origin = config->origins[0];
  EXPECT_EQ(origin.trust.ca, TrustConfig::Ca::file);
  EXPECT_EQ(origin.trust.ca_path, "/tls/ca.pem");
  ASSERT_TRUE(origin.trust.anchors);
  EXPECT_EQ(origin.trust.anchors->certificates().size(), 1U);
  EXPECT_THAT(origin.trust.names, ElementsAre("orders.example.com", "192.0.2.1"));
  EXPECT_EQ(origin.trust.server_name, "sni.example");
  EXPECT_EQ(origin.trust.min_version, tls::ProtocolVersion::tls_1_3);
  EXPECT_THAT(origin.trust.pins, ElementsAre(a, b));
  EXPECT_EQ(origin.http2, OriginHttp2::always);

  const auto managed = load(https("trust: {ca: managed}\n    http2: never"));
  EXPECT_EQ(managed->origins[0].trust.ca, TrustConfig::Ca::managed);
  EXPECT_FALSE(managed->origins[0].trust.anchors);
  EXPECT_EQ(managed->origins[0].http2, OriginHttp2::never);

  const auto insecure = load(https("insecure: {reason: comes next week, until: 2026-12-01}"));
  EXPECT_FALSE(insecure->origins[0].trust.anchors);
  EXPECT_TRUE(insecure->origins[0].insecure);
}

TEST_F(TlsConfigTest, OneFileIsOneSetOfAuthorities) {
  const auto config = load(
      "version: 1\nlisteners: [{address: \"127.0.0.1:1\"}]\norigins:\n"
      "  a: {url: \"https://a\", trust: {ca: /tls/ca.pem}}\n"
      "  b: {url: \"https://b\", trust: {ca: /tls/ca.pem}}\n"
      "  c: {url: \"https://c\"}\n  d: {url: \"https://d\"}\n"
      "  e: {url: \"https://e\", trust: {ca: /tls/clients-ca.pem}}\n"
      "routes: [{match: {path: /}, respond: {status: 200}, public: true}]\n");
  const auto anchors = [&](std::size_t i) { return config->origins[i].trust.anchors; };
  EXPECT_EQ(anchors(0), anchors(1));
  EXPECT_EQ(anchors(2), anchors(3));
  EXPECT_NE(anchors(0), anchors(2));
  EXPECT_NE(anchors(0), anchors(4));
}

TEST_F(TlsConfigTest, MtlsAsWritten) {
  const auto files =
      load(https("trust: {ca: /tls/ca.pem}\n    identity: [{mtls: {certificate: /tls/client.pem, key: "
                 "/tls/client.key}}]"));
  ASSERT_EQ(files->origins[0].identity.size(), 1U);
  EXPECT_EQ(files->origins[0].identity[0].method, "mtls");
  const auto& mtls = std::get<MtlsConfig>(files->origins[0].identity[0].config);
  EXPECT_FALSE(mtls.managed);
  EXPECT_EQ(mtls.files.certificate, "/tls/client.pem");
  EXPECT_EQ(mtls.files.key, "/tls/client.key");
  EXPECT_EQ(mtls.files.pair->leaf().to_pem(), world.files.values["/tls/client.pem"]);
  EXPECT_THAT(reserved_headers(*files), IsEmpty());

  const auto managed = load(https("identity: [{mtls: {managed: true}}]"));
  EXPECT_TRUE(std::get<MtlsConfig>(managed->origins[0].identity[0].config).managed);
  EXPECT_FALSE(std::get<MtlsConfig>(managed->origins[0].identity[0].config).files.pair);
}

TEST_F(TlsConfigTest, ClientCertificateBringsItsAuthorities) {
  const auto config = load(document("tls: {" + kApi + "}", "url: http://127.0.0.1:1",
                                    "policies: [{client_certificate: {ca: /tls/clients-ca.pem}}]"));
  ASSERT_TRUE(config->routes[0].policies[0].authorities);
  EXPECT_EQ(config->routes[0].policies[0].authorities->certificates()[0]->to_pem(),
            world.files.values["/tls/clients-ca.pem"]);
}

// ---- time, and what runs -------------------------------------------------------------------------------------------

TEST_F(TlsConfigTest, AnExpiredCertificateDoesNotStopTheStart) {
  for (const char* const name : {"expired", "early"}) {
    const std::string text = with_tls(std::string("certificate: /tls/") + name + ".pem, key: /tls/" + name + ".key");
    world.outdated = OutdatedCertificate::error;
    EXPECT_THAT(refusal(text), HasSubstr("PST-C051"));
    world.outdated = OutdatedCertificate::warning;
    load(text);
    EXPECT_THAT(said, HasSubstr("postern.yaml:4:24 warning listeners[0].tls.certificate: `CN=")) << name;
    EXPECT_THAT(said, HasSubstr("PST-C051"));
  }
  const std::string client = https(
      "identity: [{mtls: {certificate: /tls/client-expired.pem, key: "
      "/tls/client-expired.key}}]\n    trust: {ca: /tls/old-ca.pem}");
  load(client);
  world.outdated = OutdatedCertificate::error;
  EXPECT_THAT(refusal(client), HasSubstr("PST-C051"));
}

TEST_F(TlsConfigTest, TimeAloneDoesNotStopWhatRuns) {
  const std::string text =
      document("tls: {certificate: /tls/expired.pem, key: /tls/expired.key}",
               "url: https://a\n    trust: {ca: /tls/old-ca.pem}\n    identity: [{mtls: {certificate: "
               "/tls/client-expired.pem, key: /tls/client-expired.key}}]",
               "policies: [{client_certificate: {ca: /tls/old-ca.pem}}]");
  world.outdated = OutdatedCertificate::warning;
  const auto before = load(text);
  world.outdated = OutdatedCertificate::error;
  world.in_force = before.get();
  const auto after = load(text);
  EXPECT_THAT(said, HasSubstr("warning listeners[0].tls.certificate"));
  EXPECT_THAT(said, HasSubstr("warning origins.o.identity[0].mtls.certificate"));
  EXPECT_THAT(said, HasSubstr("warning origins.o.trust.ca"));
  EXPECT_THAT(describe_changes(*before, *after), IsEmpty());

  // Another one that has expired, too, is new: the one before stays.
  replace("expired", fresh(TestFiles::Use::server, days(90), -days(1)));
  EXPECT_THAT(refusal(text), HasSubstr("postern.yaml:4:24 listeners[0].tls.certificate"));
}

TEST_F(TlsConfigTest, APairThatCannotBeUsedAnyMoreIsKeptIfItRunsFromTheseFiles) {
  const std::string mtls = "identity: [{mtls: {certificate: /tls/client.pem, key: /tls/client.key}}]";
  const auto text = [&](const std::string& listener) {
    return document("tls: {" + listener + "}", "url: https://a\n    " + mtls);
  };
  const auto pair = [](const Config& c) { return c.listeners[0].tls->certificates[0].files.pair; };
  const auto client = [](const Config& c) { return std::get<MtlsConfig>(c.origins[0].identity[0].config).files.pair; };
  const auto before = load(text(kApi));
  const auto chain = world.files.values["/tls/api.pem"];
  world.in_force = before.get();
  std::string kept;
  for (const std::string bad : {"", "no PEM", "half"}) {
    world.files.values["/tls/api.pem"] = bad == "half" ? chain.substr(0, chain.size() / 2) : bad;
    world.kept = nullptr;
    EXPECT_THAT(refusal(text(kApi)), HasSubstr("listeners[0].tls.certificate")) << bad;
    world.kept = &kept;
    kept.clear();
    replace("client", fresh(TestFiles::Use::client, days(1), days(300)));
    const auto after = load(text(kApi));
    EXPECT_EQ(pair(*after), pair(*before)) << bad;
    EXPECT_NE(client(*after), client(*before)) << "the other one is renewed";
    EXPECT_THAT(kept, HasSubstr("listeners[0].tls.certificate"));
    EXPECT_THAT(kept, HasSubstr("PST-C050"));
    EXPECT_THAT(said, HasSubstr("warning listeners[0].tls.certificate"));
    // What runs came from other files, or there is something else wrong.
    world.files.values["/tls/elsewhere.pem"] = world.files.values["/tls/api.pem"];
    EXPECT_THAT(refusal(text("certificate: /tls/elsewhere.pem, key: /tls/api.key")), HasSubstr("elsewhere"));
    EXPECT_THAT(refusal(text(kApi + ", min_version: \"1.1\"")), HasSubstr("min_version"));
  }
}

TEST_F(TlsConfigTest, EqualContentIsTheSameObject) {
  const std::string text = document("tls: {" + kApi + "}",
                                    "url: https://a\n    trust: {ca: /tls/ca.pem}\n    identity: [{mtls: {certificate: "
                                    "/tls/client.pem, key: /tls/client.key}}]",
                                    "policies: [{client_certificate: {ca: /tls/clients-ca.pem}}]");
  const auto pair = [](const Config& c) { return c.listeners[0].tls->certificates[0].files.pair; };
  const auto client = [](const Config& c) { return std::get<MtlsConfig>(c.origins[0].identity[0].config).files.pair; };
  const auto trust = [](const Config& c) { return c.origins[0].trust.anchors; };
  const auto clients = [](const Config& c) { return c.routes[0].policies[0].authorities; };
  const auto before = load(text);
  EXPECT_NE(pair(*load(text)), pair(*before)) << "nothing runs";
  world.in_force = before.get();
  const auto same = load(text);
  EXPECT_EQ(pair(*same), pair(*before));
  EXPECT_EQ(client(*same), client(*before));
  EXPECT_EQ(trust(*same), trust(*before));
  EXPECT_EQ(clients(*same), clients(*before));

  replace("api", fresh(TestFiles::Use::server, days(1), days(300)));
  world.files.values["/tls/ca.pem"] = world.files.values["/tls/old-and-new-ca.pem"];
  const auto changed = load(text);
  EXPECT_NE(pair(*changed), pair(*before));
  EXPECT_EQ(client(*changed), client(*before));
  EXPECT_NE(trust(*changed), trust(*before));
  EXPECT_EQ(clients(*changed), clients(*before));
}

TEST_F(TlsConfigTest, TheAuthoritiesOfTheSystemAreReadAnewAndStayTheSameObject) {
  const std::string bundle = testing::TempDir() + "system-authorities.pem";
  const auto install = [&](const std::string& path) { std::ofstream(bundle) << world.files.values[path]; };
  ::setenv("SSL_CERT_FILE", bundle.c_str(), 1);
  install("/tls/ca.pem");
  const auto before = load(document("http2: auto"));
  world.in_force = before.get();
  const auto same = load(document("http2: auto"));
  EXPECT_EQ(same->origins[0].trust.anchors, before->origins[0].trust.anchors);
  EXPECT_THAT(describe_changes(*before, *same), IsEmpty());
  install("/tls/clients-ca.pem");
  const auto after = load(document("http2: auto"));
  EXPECT_NE(after->origins[0].trust.anchors, before->origins[0].trust.anchors);
  EXPECT_THAT(describe_changes(*before, *after),
              ElementsAre("~ origins.o.trust.ca: the authorities of the operating system have changed"));
  install("/tls/garbage.pem");
  EXPECT_THAT(refusal(document("http2: auto")), HasSubstr("PST-C054"));
  ::unsetenv("SSL_CERT_FILE");
  std::remove(bundle.c_str());
}

TEST_F(TlsConfigTest, DaysThatAreLeft) {
  const auto left = [&](Duration life, Duration rest) {
    replace("api",
            TestFiles::get().issue(TestFiles::Use::server, {"a.example"}, kTestNow + rest - life, kTestNow + rest));
    load(with_tls(kApi));
    const std::size_t at = said.find("expires in ");
    return at == std::string::npos ? std::string() : said.substr(at, said.find(',', at) - at);
  };
  using std::chrono::hours;
  EXPECT_EQ(left(days(365), days(13) + hours(23)), "expires in 13 days");
  EXPECT_EQ(left(days(365), days(1) + hours(1)), "expires in 1 day");
  EXPECT_EQ(left(days(365), hours(5)), "expires in 5 hours");
  EXPECT_EQ(left(days(365), days(14)), "");
  EXPECT_EQ(left(days(30), days(10)), "");
  EXPECT_EQ(left(days(30), days(9)), "expires in 9 days");
}

// ---- what a reload changes -----------------------------------------------------------------------------------------

TEST_F(TlsConfigTest, ChangesNameCertificatesByFingerprintAndLastDay) {
  const std::string text =
      document("tls: {certificates: [{certificate: /tls/other.pem, key: /tls/other.key}, {" + kApi + "}]}",
               "url: https://a\n    trust: {ca: /tls/ca.pem}\n    identity: [{mtls: {certificate: "
               "/tls/client.pem, key: /tls/client.key}}]",
               "policies: [{client_certificate: {ca: /tls/clients-ca.pem}}]");
  const auto before = load(text);
  const auto first = [](const std::string& path, const World& w) {
    return tls::Certificate::parse_all(w.files.values.at(path)).value().front()->fingerprint().substr(0, 16);
  };
  const std::string old_api = first("/tls/api.pem", world);
  const std::string old_client = first("/tls/client.pem", world);
  const std::string old_ca = first("/tls/old-ca.pem", world);
  const std::string clients_ca = first("/tls/clients-ca.pem", world);
  replace("api", fresh(TestFiles::Use::server, days(1), days(99)));
  replace("client", fresh(TestFiles::Use::client, days(1), days(88)));
  world.files.values["/tls/ca.pem"] = world.files.values["/tls/old-and-new-ca.pem"];
  world.files.values["/tls/clients-ca.pem"] = world.files.values["/tls/client-ca-of-others.pem"];
  const auto after = load(text);
  ASSERT_TRUE(before && after);
  EXPECT_THAT(
      describe_changes(*before, *after),
      ElementsAre("~ listeners[0].tls.certificates[1].certificate: changed, sha256:" + old_api +
                      " until 2027-08-16T12:00:00Z -> sha256:" + first("/tls/api.pem", world) +
                      " until 2027-03-03T12:00:00Z",
                  "~ origins.o.trust.ca: changed, + sha256:" + old_ca + " until 2026-11-23T12:00:00Z",
                  "~ origins.o.identity[0].mtls.certificate: changed, sha256:" + old_client +
                      " until 2027-08-16T12:00:00Z -> sha256:" + first("/tls/client.pem", world) +
                      " until 2027-02-20T12:00:00Z",
                  AllOf(StartsWith("~ routes[0].policies[0].client_certificate.ca: changed, - sha256:" + clients_ca),
                        HasSubstr(", + sha256:" + first("/tls/clients-ca.pem", world)))));
  EXPECT_THAT(describe_changes(*after, *after), IsEmpty());
}

TEST_F(TlsConfigTest, AnotherFileIsAChangeOfTheTextAndOfTheCertificate) {
  const auto before = load(with_tls(kApi));
  const auto after = load(with_tls("certificate: /tls/other.pem, key: /tls/other.key"));
  EXPECT_THAT(describe_changes(*before, *after),
              ElementsAre("~ listeners[0].tls.certificate: /tls/api.pem -> /tls/other.pem",
                          "~ listeners[0].tls.key: /tls/api.key -> /tls/other.key",
                          StartsWith("~ listeners[0].tls.certificate: changed, sha256:")));
}

TEST(Covers, OneLabelAndNoMore) {
  EXPECT_TRUE(covers("a.example.com", "A.example.com"));
  EXPECT_TRUE(covers("*.example.com", "a.Example.com"));
  EXPECT_TRUE(covers("*.example.com", "*.example.com"));
  EXPECT_FALSE(covers("*.example.com", "a.b.example.com"));
  EXPECT_FALSE(covers("*.example.com", "example.com"));
  EXPECT_FALSE(covers("*.example.com", ".example.com"));
  EXPECT_FALSE(covers("a.example.com", "*.example.com"));
  EXPECT_FALSE(covers("a*.example.com", "ab.example.com"));
  EXPECT_FALSE(covers("*", "localhost"));
  EXPECT_FALSE(covers("", "a"));
}

}  // namespace
}  // namespace postern::config
