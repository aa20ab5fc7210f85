// Bad configurations of TLS and HTTP/2: which code, where.
#include <gmock/gmock.h>

#include "config/bad_config.h"

namespace postern::config {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string pair(const std::string& name) { return "certificate: /tls/" + name + ".pem, key: /tls/" + name + ".key"; }
// With the listener's TLS options in line 3, from column 11.
std::string listener(const std::string& tls, const std::string& more = "") {
  return head("version: 1\nlisteners: [{address: \"127.0.0.1:8443\",\n    tls: {" + tls + "}\n    " + more + "}]\n");
}
// The origin `o` over TLS; `lines` from line 6.
std::string https(const std::string& lines) { return url("    url: https://a\n" + lines); }
std::string trust(const std::string& options) { return https("    trust: {ca: /tls/ca.pem, " + options + "}\n"); }
std::string mtls(const std::string& options) {
  return https("    trust: {ca: /tls/ca.pem}\n    identity: [{mtls: {" + options + "}}]\n");
}

constexpr const char* kPinA = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
constexpr const char* kPinB = "sha256/BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA=";

TEST(BadConfig, ListenerTls) {
  const std::string self = " listeners[0].tls";
  run({
      {"good", listener(pair("api")), ""},
      {"as boolean", head("version: 1\nlisteners: [{address: \"a:1\",\n    tls: true}]\n"), "PST-C011 3:10" + self},
      {"nothing", listener(""), "PST-C013 3:10" + self},
      {"only a version", listener("min_version: \"1.3\""), "PST-C013 3:10" + self},
      {"no key", listener("certificate: /tls/api.pem"), "PST-C013 3:10" + self},
      {"no certificate", listener("key: /tls/api.key"), "PST-C013 3:10" + self},
      {"two forms", listener(pair("api") + ", self_signed: [localhost]"), "PST-C015 3:10" + self},
      {"two others", listener("certificates: [{" + pair("api") + "}], self_signed: [localhost]"),
       "PST-C015 3:10" + self},
      {"relative path", listener("certificate: api.pem, key: /tls/api.key"), "PST-C012 3:24" + self + ".certificate"},
      {"a reference", listener("certificate: /tls/api.pem, key: \"${file:/tls/api.key}\""),
       "PST-C021 3:43" + self + ".key"},
      {"missing file", listener("certificate: /tls/none.pem, key: /tls/api.key"),
       "PST-C050 3:24" + self + ".certificate"},
      {"missing key", listener("certificate: /tls/api.pem, key: /tls/none.key"), "PST-C050 3:43" + self + ".key"},
      {"empty file", listener("certificate: /tls/empty.pem, key: /tls/api.key"),
       "PST-C050 3:24" + self + ".certificate"},
      {"half-written", listener("certificate: /tls/half.pem, key: /tls/api.key"),
       "PST-C050 3:24" + self + ".certificate"},
      {"half-written key", listener("certificate: /tls/api.pem, key: /tls/half.key"), "PST-C050 3:43" + self + ".key"},
      {"garbage", listener("certificate: /tls/garbage.pem, key: /tls/api.key"),
       "PST-C050 3:24" + self + ".certificate"},
      {"too large", listener("certificate: /tls/large.pem, key: /tls/api.key"),
       "PST-C050 3:24" + self + ".certificate"},
      {"exchanged", listener("certificate: /tls/api.key, key: /tls/api.pem"), "PST-C050 3:24" + self + ".certificate"},
      {"of another certificate", listener("certificate: /tls/api.pem, key: /tls/other.key"),
       "PST-C050 3:24" + self + ".certificate"},
      {"encrypted", listener("certificate: /tls/api.pem, key: /tls/encrypted.key"), "PST-C050 3:43" + self + ".key"},
      {"weak", listener(pair("weak")), "PST-C050 3:24" + self + ".certificate"},
      {"authority first", listener("certificate: /tls/reversed.pem, key: /tls/api.key"),
       "PST-C050 3:24" + self + ".certificate"},
      {"for clients only", listener(pair("client")), "PST-C050 3:24" + self + ".certificate"},
      {"expired", listener(pair("expired")), "PST-C051 3:24" + self + ".certificate"},
      {"early", listener(pair("early")), "PST-C051 3:24" + self + ".certificate"},
      {"version as number", listener(pair("api") + ", min_version: 1.3"), "PST-C011 3:70" + self + ".min_version"},
      {"old version", listener(pair("api") + ", min_version: \"1.1\""), "PST-C012 3:70" + self + ".min_version"},
      {"tickets as text", listener(pair("api") + ", session_tickets: never"),
       "PST-C011 3:74" + self + ".session_tickets"},
      {"unknown key", listener(pair("api") + ", ciphers: ALL"), "PST-C010 3:57" + self + ".ciphers"},
  });
}

TEST(BadConfig, SeveralCertificates) {
  const auto list = [](const std::string& a, const std::string& b) {
    return listener("certificates: [{" + a + "},\n        {" + b + "}]");
  };
  const std::string second = " listeners[0].tls.certificates[1]";
  run({
      {"good", list(pair("api"), pair("other")), ""},
      {"none", listener("certificates: []"), "PST-C012 3:25 listeners[0].tls.certificates"},
      {"no key", list(pair("api"), "certificate: /tls/other.pem"), "PST-C013 4:9" + second},
      {"RSA beside EC", list(pair("api"), pair("rsa")), ""},
      {"EC beside RSA", list(pair("rsa"), pair("api")), ""},
      {"twice the same", list(pair("api"), pair("api")), "PST-C032 4:9" + second},
      {"one name in common", list(pair("api"), pair("api2")), "PST-C032 4:9" + second},
      {"told apart by names", list(pair("api"), pair("api2") + ", names: [WEB.example.com]"), ""},
      {"named twice", list(pair("api"), pair("api2") + ", names: [api.example.com]"), "PST-C032 4:9" + second},
      {"wildcard beside one of its names", list(pair("api") + ", names: [\"*.api.example.com\"]", pair("api2")), ""},
      {"under the wildcard", list(pair("api") + ", names: [a.api.example.com]", pair("other")), ""},
      {"two labels under the wildcard", list(pair("other"), pair("api") + ", names: [a.b.api.example.com]"),
       "PST-C052 4:64" + second + ".names[0]"},
      {"name of another", list(pair("api"), pair("other") + ", names: [other.example.com, web.example.com]"),
       "PST-C052 4:87" + second + ".names[1]"},
      {"wildcard that it does not bear", list(pair("api"), pair("other") + ", names: [\"*.example.com\"]"),
       "PST-C052 4:68" + second + ".names[0]"},
      {"an address", list(pair("api"), pair("other") + ", names: [192.0.2.1]"), "PST-C012 4:68" + second + ".names[0]"},
      {"nameless first", list(pair("address"), pair("other")), ""},
      {"nameless second", list(pair("other"), pair("address")), "PST-C052 4:9" + second},
      {"second of another key", list(pair("api"), "certificate: /tls/other.pem, key: /tls/api.key"),
       "PST-C050 4:23" + second + ".certificate"},
  });
}

TEST(BadConfig, ListenerProtocols) {
  const auto clear = [](const std::string& options) {
    return head("version: 1\nlisteners: [{address: \"127.0.0.1:8080\",\n    " + options + "}]\n");
  };
  const std::string routes_above = "limits: {max_concurrent_streams: 10}\n";
  run({
      {"self-signed", listener("self_signed: [localhost, 127.0.0.1, \"::1\"]"), ""},
      {"self-signed for nobody", listener("self_signed: []"), "PST-C012 3:24 listeners[0].tls.self_signed"},
      {"self-signed with a port", listener("self_signed: [\"localhost:8443\"]"),
       "PST-C012 3:25 listeners[0].tls.self_signed[0]"},
      {"self-signed as boolean", listener("self_signed: true"), "PST-C011 3:24 listeners[0].tls.self_signed"},
      {"h2c", clear("http2: h2c"), ""},
      {"h2c over TLS", listener(pair("api"), ", http2: h2c"), "PST-C015 4:14 listeners[0].http2"},
      {"http2 as boolean", clear("http2: true"), "PST-C011 3:12 listeners[0].http2"},
      {"unknown http2", clear("http2: always"), "PST-C012 3:12 listeners[0].http2"},
      {"redirect", clear("redirect_to_https: true"), ""},
      {"redirect to a port", clear("redirect_to_https: {port: 8443}"), ""},
      {"redirect to port 0", clear("redirect_to_https: {port: 0}"),
       "PST-C012 3:31 listeners[0].redirect_to_https.port"},
      {"redirect without port", clear("redirect_to_https: {}"), "PST-C013 3:24 listeners[0].redirect_to_https"},
      {"redirect as number", clear("redirect_to_https: 443"), "PST-C011 3:24 listeners[0].redirect_to_https"},
      {"redirect from TLS", listener(pair("api"), ", redirect_to_https: true"),
       "PST-C015 4:26 listeners[0].redirect_to_https"},
      {"no redirect from TLS", listener(pair("api"), ", redirect_to_https: false"), ""},
      {"streams of the gateway", routes_above + clear("http2: never"), ""},
      {"streams without HTTP/2", clear("limits: {max_concurrent_streams: 10}"),
       "PST-C015 3:38 listeners[0].limits.max_concurrent_streams"},
      {"streams with h2c", clear("http2: h2c, limits: {max_concurrent_streams: 10}"), ""},
      {"streams with TLS", listener(pair("api"), ", limits: {max_concurrent_streams: 10}"), ""},
      {"streams with TLS and HTTP/1", listener(pair("api"), ", http2: never, limits: {max_concurrent_streams: 10}"),
       "PST-C015 4:54 listeners[0].limits.max_concurrent_streams"},
      {"no streams", clear("http2: h2c, limits: {max_concurrent_streams: 0}"),
       "PST-C012 3:50 listeners[0].limits.max_concurrent_streams"},
      {"too many streams", clear("http2: h2c, limits: {max_concurrent_streams: 1001}"),
       "PST-C012 3:50 listeners[0].limits.max_concurrent_streams"},
  });
}

TEST(BadConfig, Trust) {
  const std::string at = " origins.o.trust";
  const auto pins = [](const std::string& list) { return trust("pins: [" + list + "]"); };
  run({
      {"good", https("    trust: {ca: /tls/ca.pem}\n"), ""},
      {"managed", https("    trust: {ca: managed}\n"), ""},
      {"over http", origin("    trust: {ca: /tls/ca.pem}\n"), "PST-C055 6:5 origins.o.trust"},
      {"over a socket", url("    url: unix:///run/x\n    trust: {ca: managed}\n"), "PST-C055 6:5 origins.o.trust"},
      {"mixed endpoints", url("    endpoints: [https://a, http://b]\n    trust: {ca: /tls/ca.pem}\n"),
       "PST-C015 5:28 origins.o.endpoints[1]"},
      {"mixed with a socket", url("    endpoints: [unix:/run/x, https://a]\n"), "PST-C015 5:30 origins.o.endpoints[1]"},
      {"missing file", https("    trust: {ca: /tls/none.pem}\n"), "PST-C054 6:17" + at + ".ca"},
      {"empty file", https("    trust: {ca: /tls/empty.pem}\n"), "PST-C054 6:17" + at + ".ca"},
      {"garbled file", https("    trust: {ca: /tls/garbage.pem}\n"), "PST-C054 6:17" + at + ".ca"},
      {"half-written file", https("    trust: {ca: /tls/half.pem}\n"), "PST-C054 6:17" + at + ".ca"},
      {"too large", https("    trust: {ca: /tls/large.pem}\n"), "PST-C054 6:17" + at + ".ca"},
      {"a key", https("    trust: {ca: /tls/api.key}\n"), "PST-C054 6:17" + at + ".ca"},
      {"no authority", https("    trust: {ca: /tls/api.pem}\n"), "PST-C054 6:17" + at + ".ca"},
      {"expired", https("    trust: {ca: /tls/old-ca.pem}\n"), "PST-C051 6:17" + at + ".ca"},
      {"one of two expired", https("    trust: {ca: /tls/old-and-new-ca.pem}\n"), ""},
      {"other word", https("    trust: {ca: none}\n"), "PST-C012 6:17" + at + ".ca"},
      {"verification off", https("    trust: {verify: false}\n"), "PST-C010 6:13" + at + ".verify"},
      {"as text", https("    trust: /tls/ca.pem\n"), "PST-C011 6:12" + at},
      {"names", trust("names: [a.example.com, 192.0.2.1, \"2001:db8::1\"]"), ""},
      {"no names", trust("names: []"), "PST-C012 6:37" + at + ".names"},
      {"name with port", trust("names: [\"a:443\"]"), "PST-C012 6:38" + at + ".names[0]"},
      {"wildcard to verify", trust("names: [\"*.example.com\"]"), "PST-C012 6:38" + at + ".names[0]"},
      {"server name", trust("server_name: a.example.com"), ""},
      {"address as server name", trust("server_name: 192.0.2.1"), "PST-C012 6:43" + at + ".server_name"},
      {"version", trust("min_version: \"1.4\""), "PST-C012 6:43" + at + ".min_version"},
      {"pins", pins(std::string(kPinA) + ", " + kPinB), ""},
      {"one pin", pins(kPinA), "PST-C012 6:36" + at + ".pins"},
      {"one pin twice", pins(std::string(kPinA) + ", " + kPinA), "PST-C032 6:90" + at + ".pins[1]"},
      {"short pin", pins(std::string(kPinA) + ", sha256/AAAA"), "PST-C012 6:90" + at + ".pins[1]"},
      {"SHA-1 pin", pins(std::string(kPinA) + ", sha1/AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
       "PST-C012 6:90" + at + ".pins[1]"},
      // The last character has bits that mean nothing: two texts for one pin.
      {"pin in another spelling", pins(std::string(kPinA) + ", sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="),
       "PST-C012 6:90" + at + ".pins[1]"},
      {"http2 as boolean", https("    trust: {ca: /tls/ca.pem}\n    http2: true\n"), "PST-C011 7:12 origins.o.http2"},
      {"unknown http2", https("    trust: {ca: /tls/ca.pem}\n    http2: h2c\n"), "PST-C012 7:12 origins.o.http2"},
  });
}

TEST(BadConfig, UnverifiedTlsIsAskedForAndContradictsNothing) {
  const std::string insecure = "    insecure: {reason: the certificate comes in May, until: 2026-12-24}\n";
  const std::string secret = "    identity: [{shared_secret: {header: X-S, value: \"${file:/s/a}\"}}]\n";
  run({
      {"identity over verified TLS", https("    trust: {ca: /tls/ca.pem}\n" + secret), ""},
      {"unverified", https(insecure), ""},
      {"identity over unverified TLS", https(insecure + secret), ""},
      {"on this machine", url("    url: https://127.0.0.1:1\n" + insecure), ""},
      {"pins are checked", https(insecure + "    trust: {pins: [" + kPinA + ", " + kPinB + "], server_name: b}\n"), ""},
      {"ca", https(insecure + "    trust: {ca: system}\n"), "PST-C015 7:13 origins.o.trust.ca"},
      {"names", https(insecure + "    trust: {names: [a]}\n"), "PST-C015 7:13 origins.o.trust.names"},
      {"expired", https("    insecure: {reason: the certificate comes in May, until: 2026-11-23}\n"),
       "PST-C027 6:61 origins.o.insecure.until"},
  });
}

TEST(BadConfig, Mtls) {
  const std::string at = " origins.o.identity[0].mtls";
  run({
      {"good", mtls(pair("client")), ""},
      {"managed", mtls("managed: true"), ""},
      {"over http", origin("    identity: [{mtls: {" + pair("client") + "}}]\n"), "PST-C055 6:17" + at},
      {"managed over http", origin("    identity: [{mtls: {managed: true}}]\n"), "PST-C055 6:17" + at},
      {"nothing", mtls(""), "PST-C013 7:23" + at},
      {"no key", mtls("certificate: /tls/client.pem"), "PST-C013 7:23" + at},
      {"no certificate", mtls("key: /tls/client.key"), "PST-C013 7:23" + at},
      {"both", mtls("managed: true, " + pair("client")), "PST-C015 7:23" + at},
      {"not managed", mtls("managed: false"), "PST-C012 7:33" + at + ".managed"},
      {"relative path", mtls("certificate: client.pem, key: /tls/client.key"), "PST-C012 7:37" + at + ".certificate"},
      {"missing file", mtls("certificate: /tls/none.pem, key: /tls/client.key"), "PST-C050 7:37" + at + ".certificate"},
      {"for servers only", mtls(pair("api")), "PST-C050 7:37" + at + ".certificate"},
      {"of another certificate", mtls("certificate: /tls/client.pem, key: /tls/api.key"),
       "PST-C050 7:37" + at + ".certificate"},
      {"expired", mtls(pair("client-expired")), "PST-C051 7:37" + at + ".certificate"},
      {"two of them", mtls(pair("client") + "}}, {mtls: {managed: true"), "PST-C032 7:79 origins.o.identity[1].mtls"},
      {"beside a secret", mtls(pair("client") + "}}, {shared_secret: {header: X-S, value: \"${file:/s/a}\""), ""},
  });
}

TEST(BadConfig, ClientCertificate) {
  const auto policy = [](const std::string& listener_options, const std::string& ca) {
    Parts parts;
    parts.head = "version: 1\nlisteners: [{address: \"127.0.0.1:8443\"" + listener_options + "}]\n";
    parts.routes =
        "routes:\n  - match: {path: /}\n    origin: o\n    policies:\n      - client_certificate: {ca: " + ca + "}\n";
    return parts.text();
  };
  const std::string tls = ", tls: {" + pair("api") + "}";
  const std::string at = " routes[0].policies[0].client_certificate";
  run({
      {"good, and enough to authenticate", policy(tls, "/tls/clients-ca.pem"), ""},
      {"no TLS", policy("", "/tls/clients-ca.pem"), "PST-C055 10:29" + at},
      {"missing file", policy(tls, "/tls/none.pem"), "PST-C054 10:34" + at + ".ca"},
      {"empty file", policy(tls, "/tls/empty.pem"), "PST-C054 10:34" + at + ".ca"},
      {"no authority", policy(tls, "/tls/client.pem"), "PST-C054 10:34" + at + ".ca"},
      {"expired", policy(tls, "/tls/old-ca.pem"), "PST-C051 10:34" + at + ".ca"},
  });
}

TEST(BadConfig, WarningsOfTls) {
  run(
      {
          {"self-signed", listener("self_signed: [localhost]"),
           "PST-C053 3:24 listeners[0].tls.self_signed; PST-C037 7:5 origins.o"},
          {"two weeks left", listener(pair("soon")),
           "PST-C051 3:24 listeners[0].tls.certificate; PST-C037 7:5 origins.o"},
          {"a moment more", listener(pair("later")), "PST-C037 7:5 origins.o"},
          {"short-lived", listener(pair("short")), "PST-C037 7:5 origins.o"},
          {"short-lived in its last third", listener(pair("short-soon")),
           "PST-C051 3:24 listeners[0].tls.certificate; PST-C037 7:5 origins.o"},
          {"nameless", listener(pair("nameless")),
           "PST-C052 3:24 listeners[0].tls.certificate; PST-C037 7:5 origins.o"},
          {"only addresses", listener(pair("address")), "PST-C037 7:5 origins.o"},
          {"nothing but redirects",
           head("version: 1\nlisteners: [{address: \"127.0.0.1:1\", redirect_to_https: true}]\n"),
           "PST-C015 2:12 listeners; PST-C037 5:5 origins.o"},
      },
      Severity::warning);
}

TEST(BadConfig, ModesOfCertificateFiles) {
  World world;
  TestFiles::add_to(world);
  const std::string text = listener(pair("api"));
  const std::string key = " 3:43 listeners[0].tls.key";
  std::string full;
  const auto said = [&](Severity severity) { return errors_of(world, text, severity, full); };

  world.files.modes["/tls/api.pem"] = 0644;
  EXPECT_EQ(said(Severity::warning), "PST-C037 7:5 origins.o") << "everybody may read a certificate";
  world.files.modes["/tls/api.key"] = 0644;
  EXPECT_THAT(said(Severity::warning), HasSubstr("PST-C056" + key)) << full;
  world.files.own = false;
  EXPECT_THAT(said(Severity::warning), Not(HasSubstr("PST-C056"))) << "of root: its decision";
  EXPECT_EQ(said(Severity::error), "");
  world.files.modes["/tls/api.key"] = 0620;
  EXPECT_EQ(said(Severity::error), "PST-C017" + key) << full;
  world.files.modes["/tls/api.key"] = 0600;
  world.files.modes["/tls/api.pem"] = 0666;
  EXPECT_EQ(said(Severity::error), "PST-C017 3:24 listeners[0].tls.certificate") << full;

  world.files.modes.clear();
  world.files.modes["/tls/ca.pem"] = 0602;
  EXPECT_EQ(errors_of(world, https("    trust: {ca: /tls/ca.pem}\n"), Severity::error, full),
            "PST-C017 6:17 origins.o.trust.ca");
}

TEST(BadConfig, AMessageNamesTheReasonAndNoKey) {
  World world;
  TestFiles::add_to(world);
  const auto said = [&](const std::string& text) {
    std::string full;
    EXPECT_NE(errors_of(world, text, Severity::error, full), "");
    for (const auto& [path, content] : TestFiles::get().values) {
      if (path.ends_with(".key")) EXPECT_THAT(full, Not(HasSubstr(content.substr(40, 20)))) << path;
    }
    return full;
  };
  EXPECT_THAT(said(listener(pair("expired"))), HasSubstr("has expired at 2026-11-24T11:59:59Z"));
  EXPECT_THAT(said(listener(pair("early"))), HasSubstr("is not in force before 2026-11-24T12:00:01Z"));
  EXPECT_THAT(said(listener("certificates: [{" + pair("other") + ", names: [api.example.com]}]")),
              HasSubstr("which bears other.example.com"));
  EXPECT_THAT(said(listener("certificate: /tls/api.pem, key: /tls/encrypted.key")), HasSubstr("encrypted"));
  EXPECT_THAT(said(listener("certificate: /tls/api.pem, key: /tls/other.key")), HasSubstr("do not belong together"));
  EXPECT_THAT(said(listener(pair("weak"))), HasSubstr("2048"));
  EXPECT_THAT(said(listener(pair("client"))), HasSubstr("serverAuth"));
  EXPECT_THAT(said(listener("certificate: /tls/api.key, key: /tls/api.key")), HasSubstr("/tls/api.key"));
  EXPECT_THAT(said(listener("certificate: /tls/api.pem, key: /tls/half.key")), HasSubstr("/tls/half.key"));
}

}  // namespace
}  // namespace postern::config
