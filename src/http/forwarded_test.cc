#include "http/forwarded.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include "http/h1/test_support.h"

namespace postern::http {
namespace {

IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }

CidrSet networks(std::initializer_list<const char*> texts) {
  CidrSet out;
  for (const char* text : texts) out.add(Cidr::parse(text).value());
  return out;
}

const CidrSet& proxies() {
  static const CidrSet set = networks({"10.0.0.0/8", "2001:db8::/32"});
  return set;
}

std::string client(std::initializer_list<const char*> fields, const char* peer = "10.0.0.1",
                   const CidrSet& trusted = proxies()) {
  Headers headers;
  headers.append("X-Other", "192.0.2.99");
  for (const char* field : fields) headers.append("x-forwarded-FOR", field);
  return effective_client(headers, ip(peer), trusted).to_string();
}

TEST(Forwarded, AStrangerIsWhoConnected) {
  EXPECT_EQ(client({"203.0.113.9"}, "192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(client({"203.0.113.9"}, "10.0.0.1", CidrSet()), "10.0.0.1") << "a private address is not trusted by itself";
}

TEST(Forwarded, OfATrustedChainTheNearestStrangerIsTheClient) {
  const struct {
    std::initializer_list<const char*> fields;
    const char* expected;
  } rows[] = {
      {{}, "10.0.0.1"},
      {{"203.0.113.9"}, "203.0.113.9"},
      {{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
      {{"203.0.113.9, 10.1.2.3"}, "203.0.113.9"},
      {{"198.51.100.1,203.0.113.9,10.1.2.3 , 10.1.2.4"}, "203.0.113.9"},
      {{"203.0.113.9", "10.1.2.3"}, "203.0.113.9"},  // several fields are one list
      {{"203.0.113.9", "198.51.100.1"}, "198.51.100.1"},
      {{"10.1.2.3"}, "10.1.2.3"},
      {{"10.1.2.3, 10.1.2.4"}, "10.1.2.3"},
      {{"2001:db8:1::1"}, "2001:db8:1::1"},
      {{"2001:DB9::1, 2001:db8::7"}, "2001:db9::1"},
      {{"::ffff:203.0.113.9"}, "203.0.113.9"},
      {{"203.0.113.9, ::ffff:10.1.2.3"}, "203.0.113.9"},
  };
  for (const auto& row : rows) EXPECT_EQ(client(row.fields), row.expected);
}

TEST(Forwarded, AnElementMayHaveAPort) {
  const std::pair<const char*, const char*> rows[] = {
      {"203.0.113.9:4711", "203.0.113.9"},       {"203.0.113.9:4711, 10.1.2.3:80", "203.0.113.9"},
      {"[2001:db9::1]:99", "2001:db9::1"},       {"[2001:db9::1]", "2001:db9::1"},
      {"[::ffff:203.0.113.9]:1", "203.0.113.9"}, {"203.0.113.9:65535", "203.0.113.9"},
  };
  for (const auto& [sent, expected] : rows) EXPECT_EQ(client({sent}), expected) << sent;
}

TEST(Forwarded, EmptyElementsAreSkipped) {
  EXPECT_EQ(client({""}), "10.0.0.1");
  EXPECT_EQ(client({"203.0.113.9, "}), "203.0.113.9");
  EXPECT_EQ(client({"203.0.113.9, , 10.1.2.3"}), "203.0.113.9");
}

// Taking the proxy for the client instead would open every list that has the proxy's own network.
TEST(Forwarded, WhoeverAProxyCannotNameIsNotTheProxy) {
  for (const char* bad : {"unknown",         "_hidden",          "\"\"",
                          "203.0.113.9:",    "203.0.113.9:x",    "203.0.113.9:65536",
                          "203.0.113.9:1:2", "[2001:db9::1]:",   "[2001:db9::1",
                          "[2001:db9::1]99", "[203.0.113.9]:80", "2001:db9::1:65536",
                          "fe80::1%eth0",    "203.0.113",        "203.0.113.256",
                          "0x7f.1",          "203.0.113.9;",     "203.0.113.9 x",
                          "for=203.0.113.9", "localhost",        "01.2.3.4"}) {
    EXPECT_EQ(client({bad}), "") << bad;
    EXPECT_EQ(client({("203.0.113.9, " + std::string(bad)).c_str()}), "") << bad;
    EXPECT_EQ(client({("203.0.113.9, " + std::string(bad) + ", 10.1.2.3").c_str()}), "") << bad;
  }
}

struct Sent {
  std::string forwarded_for;
  std::string proto;
  std::string host;
  std::string port;
  std::string via;
  std::string forwarded;
  std::string others;
};

Sent rebuild(const std::string& lines, const char* peer = "192.0.2.1", const CidrSet& trusted = proxies(),
             const char* version = "1.1") {
  const std::string bytes = "GET / HTTP/" + std::string(version) + "\r\nHost: a\r\n" + lines + "\r\n";
  h1::RequestParser parser;
  RequestHead request;
  EXPECT_TRUE(parser.parse(bytes, {}, request).has_value());
  request.headers.remove(HeaderName::host);
  Arena arena;
  const IpAddress address = peer[0] != '\0' ? ip(peer) : IpAddress();
  rebuild_forwarding(request, {address, "api.test", 8080, "http"}, trusted, arena);
  Sent out;
  const auto take = [&](HeaderName name, std::string& into) {
    EXPECT_LE(request.headers.count(name), 1u);
    into = request.headers.value(name);
    request.headers.remove(name);
  };
  take(HeaderName::x_forwarded_for, out.forwarded_for);
  take(HeaderName::x_forwarded_proto, out.proto);
  take(HeaderName::x_forwarded_host, out.host);
  take(HeaderName::x_forwarded_port, out.port);
  take(HeaderName::via, out.via);
  take(HeaderName::forwarded, out.forwarded);
  out.others = h1::text_of(request.headers);
  return out;
}

TEST(Forwarded, NothingThatAStrangerSaysAboutItselfIsPassedOn) {
  const Sent sent = rebuild(
      "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n"
      "Forwarded: for=203.0.113.9\r\nX-A: b\r\n");
  EXPECT_EQ(sent.forwarded_for, "192.0.2.1");
  EXPECT_EQ(sent.proto, "http");
  EXPECT_EQ(sent.host, "api.test");
  EXPECT_EQ(sent.port, "8080");
  EXPECT_EQ(sent.via, "1.1 postern");
  EXPECT_EQ(sent.forwarded, "for=192.0.2.1;host=\"api.test\";proto=http");
  EXPECT_EQ(sent.others, "[X-A|b]");
}

// RFC 7239 6: IPv6 in brackets and quotes; who cannot be named is unknown.
TEST(Forwarded, ForwardedSaysTheSameAsTheOtherFields) {
  EXPECT_EQ(rebuild("X-Forwarded-For: 203.0.113.9:99, [2001:db9::1]:4711,x\r\nX-Forwarded-Proto: https\r\n"
                    "X-Forwarded-Host: shop.test:8443\r\nForwarded: for=6.6.6.6;proto=http\r\n",
                    "10.0.0.1")
                .forwarded,
            "for=203.0.113.9, for=\"[2001:db9::1]\", for=unknown, for=10.0.0.1;host=\"shop.test:8443\";proto=https");
  EXPECT_EQ(rebuild("", "2001:db8::7").forwarded, "for=\"[2001:db8::7]\";host=\"api.test\";proto=http");
  EXPECT_EQ(rebuild("Forwarded: for=6.6.6.6\r\n", "10.0.0.1").forwarded, "for=10.0.0.1;host=\"api.test\";proto=http");
  EXPECT_EQ(rebuild("Forwarded: for=\"_x\";host=\"a\\\"b\"\r\n", "").forwarded,
            "for=unknown;host=\"api.test\";proto=http");
  EXPECT_EQ(rebuild("X-Forwarded-Host: a\";for=6.6.6.6;x=\"\r\n", "10.0.0.1").forwarded, "for=10.0.0.1;proto=http");
}

// CVE-2026-39858, GHSA-6384-m2mw-rf54, CVE-2026-40575.
TEST(Forwarded, EveryFieldThatClaimsToNameTheClientGoes) {
  for (const char* name : {"X_Forwarded_For",  "x.forwarded.proto", "X-Forwarded_Host",    "X-Forwarded-Prefix",
                           "X-Forwarded-Uri",  "X-Forwarded-User",  "X-Forwarded-Ssl",     "X-Forwarded-Anything",
                           "x_forwarded_x",    "X-Real-IP",         "X_Real_Ip",           "X-Client-IP",
                           "True-Client-IP",   "true_client_ip",    "X-Cluster-Client-Ip", "X-Forwarded",
                           "Forwarded-For",    "Client-IP",         "client_ip",           "CF-Connecting-IP",
                           "Fastly-Client-IP", "X-Remote-IP",       "X-Remote-Addr"}) {
    for (const char* peer : {"192.0.2.1", "10.0.0.1"}) {
      const Sent sent = rebuild(std::string(name) + ": 203.0.113.9\r\n", peer);
      EXPECT_EQ(sent.others, "") << name;
      EXPECT_EQ(sent.forwarded_for, peer) << name;
    }
  }
  EXPECT_EQ(rebuild("X-Forwarder: a\r\nX-Forwardedx-For: b\r\nX-Realm: c\r\n").others,
            "[X-Forwarder|a][X-Forwardedx-For|b][X-Realm|c]");
}

TEST(Forwarded, TheChainOfATrustedProxyIsContinued) {
  const Sent sent = rebuild(
      "X-Forwarded-For: 203.0.113.9, 10.1.2.3\r\nX-Forwarded-For:\r\nX-Forwarded-For: 10.1.2.4\r\nX-Forwarded-Proto: "
      "https\r\n"
      "X-Forwarded-Host: shop.test\r\nX-Forwarded-Port: 443\r\n",
      "10.0.0.1");
  EXPECT_EQ(sent.forwarded_for, "203.0.113.9, 10.1.2.3, 10.1.2.4, 10.0.0.1");
  EXPECT_EQ(sent.proto, "https");
  EXPECT_EQ(sent.host, "shop.test");
  EXPECT_EQ(sent.port, "8080") << "the port is that of this listener";
}

TEST(Forwarded, WhatATrustedProxySaysBadlyIsReplaced) {
  const Sent sent = rebuild("X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a, b\r\n", "10.0.0.1");
  EXPECT_EQ(sent.proto, "http");
  EXPECT_EQ(sent.host, "api.test");
  EXPECT_EQ(sent.forwarded_for, "10.0.0.1");
}

TEST(Forwarded, APeerWithoutAddressHasNoChain) {
  const Sent sent = rebuild("X-Forwarded-For: 203.0.113.9\r\n", "");
  EXPECT_EQ(sent.forwarded_for, "");
  EXPECT_EQ(sent.host, "api.test");
}

TEST(Forwarded, ViaIsAppendedToWithTheVersionReceived) {
  EXPECT_EQ(rebuild("Via: 1.0 fred\r\n").via, "1.0 fred, 1.1 postern");
  EXPECT_EQ(rebuild("Via: 1.0 fred\r\nVia: 1.1 mary (comment, with comma)\r\n").via,
            "1.0 fred, 1.1 mary (comment, with comma), 1.1 postern");
  EXPECT_EQ(rebuild("", "192.0.2.1", proxies(), "1.0").via, "1.0 postern");
}

}  // namespace
}  // namespace postern::http
