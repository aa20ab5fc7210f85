#include "http/hop_by_hop.h"

#include <gtest/gtest.h>

#include "http/h1/test_support.h"

namespace postern::http {
namespace {

ReservedNames reserved_names() {
  ReservedNames names;
  names.add("X-Backend-Secret");
  names.add("x_postern_id");
  return names;
}

struct Outcome {
  std::string fields;  // what is left, or the refusal
  UpgradeRequest upgrade = UpgradeRequest::none;
  StripCounts counts;
};

// `lines` is what stands in the request beside its Host, as on the wire.
Outcome strip(const std::string& lines, const ReservedNames& reserved = reserved_names()) {
  const std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n";
  h1::RequestParser parser;
  RequestHead request;
  Outcome out;
  EXPECT_TRUE(parser.parse(bytes, {}, request).has_value()) << lines;
  const Result<UpgradeRequest> upgrade = strip_request(request, reserved, out.counts);
  if (upgrade) out.upgrade = *upgrade;
  out.fields = upgrade ? h1::text_of(request.headers) : h1::text_of(upgrade.error());
  return out;
}

TEST(HopByHop, EndToEndFieldsStay) {
  EXPECT_EQ(strip("Accept: */*\r\nX-A: b\r\nX-A: c\r\nAuthorization: d\r\nCookie: e\r\nVia: 1.0 f\r\n").fields,
            "[Accept|*/*][X-A|b][X-A|c][Authorization|d][Cookie|e][Via|1.0 f]");
}

TEST(HopByHop, FieldsOfTheConnectionAndOfFramingGo) {
  for (const char* line : {"Connection: close", "Connection: keep-alive", "Connection: te", "Keep-Alive: timeout=5",
                           "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x", "Proxy-Authenticate: x",
                           "TE: trailers", "Trailer: x", "Content-Length: 0", "Transfer-Encoding: chunked",
                           "Expect: 100-continue", "Upgrade: x", "kEEP-aLIVE: x"}) {
    const Outcome out = strip("X-A: b\r\n" + std::string(line) + "\r\n");
    EXPECT_EQ(out.fields, "[X-A|b]") << line;
    EXPECT_EQ(out.counts.hop_by_hop, 1u) << line;
  }
}

TEST(HopByHop, HostBecomesPartOfTheTargetAndAliasesOfWhatFramesTheMessageGo) {
  EXPECT_EQ(strip("Content_Length: 5\r\nTransfer.Encoding: chunked\r\ntransfer_encoding: x\r\nX-A: b\r\n").fields,
            "[X-A|b]");
}

TEST(HopByHop, WhatConnectionNominatesGoesInAnyCase) {
  const Outcome out =
      strip("Connection: X-Hop, close ,\tx-OTHER\r\nx-hop: 1\r\nX-Other: 2\r\nX-Hop: 3\r\nX-Stays: 4\r\n");
  EXPECT_EQ(out.fields, "[X-Stays|4]");
  EXPECT_EQ(out.counts.nominated, 3u);
}

TEST(HopByHop, NominationsOfEveryConnectionFieldCount) {
  EXPECT_EQ(
      strip("X-1: a\r\nConnection: X-1\r\nConnection: X-2\r\nProxy-Connection: X-3\r\nX-2: b\r\nX-3: c\r\n").fields,
      "");
}

// CVE-2024-45410, CVE-2025-48865: Connection removed what the gateway vouched for.
TEST(HopByHop, NominatingWhatTheGatewayVouchesForIsRefused) {
  for (const char* name : {"X-Backend-Secret", "x-backend-secret", "X_Backend_Secret", "X.Backend.Secret",
                           "x-BACKEND_secret", "X-Postern-Id", "x.postern-id", "Host", "host", "Content-Length",
                           "content_length", "Transfer-Encoding", "transfer.encoding", "Authorization", "Cookie"}) {
    for (const std::string value : {"%", "close, %", "%, close", "X-A,%,X-B", ",%", "% ,"}) {
      for (const char* field : {"Connection", "Proxy-Connection"}) {
        std::string list = value;
        list.replace(list.find('%'), 1, name);
        EXPECT_EQ(strip(std::string(field) + ": " + list + "\r\n").fields, "PST-R014 ") << list;
      }
    }
  }
}

TEST(HopByHop, SixteenNominationsAreTakenAndNotOneMore) {
  std::string list;
  std::string fields;
  for (int i = 0; i < 16; ++i) {
    list += "X-" + std::to_string(i) + ", close, ";
    fields += "X-" + std::to_string(i) + ": v\r\n";
  }
  EXPECT_EQ(strip("Connection: " + list + "\r\n" + fields).fields, "");
  EXPECT_EQ(strip("Connection: " + list + "X-16\r\n" + fields).fields, "PST-R002 Connection names too many fields");
  EXPECT_EQ(strip("Connection: " + list + "\r\nConnection: X-16\r\n" + fields).fields,
            "PST-R002 Connection names too many fields");
  EXPECT_EQ(strip("Connection: " + list + "X-Backend-Secret\r\n" + fields).fields, "PST-R014 ");
}

// CVE-2025-64484, CVE-2026-39858, CVE-2026-33433.
TEST(HopByHop, ClientCopiesOfReservedNamesGoInEveryAlias) {
  const Outcome out = strip(
      "X-Backend-Secret: 1\r\nx-backend-secret: 2\r\nX_Backend_Secret: 3\r\nX.Backend-Secret: 4\r\nX-Postern-Id: 5\r\n"
      "x_postern_id: 6\r\nX-Backend-Secrets: 7\r\nX-Backend: 8\r\n");
  EXPECT_EQ(out.fields, "[X-Backend-Secrets|7][X-Backend|8]");
  EXPECT_EQ(out.counts.reserved, 6u);
}

TEST(HopByHop, ReservedNamesAreKeptOnceAndFolded) {
  ReservedNames names;
  EXPECT_TRUE(names.empty());
  EXPECT_FALSE(names.contains(""));
  EXPECT_FALSE(names.contains("X-A"));
  for (const char* name : {"X_A", "x-a", "X.a"}) names.add(name);
  EXPECT_EQ(names.names(), std::vector<std::string>{"x-a"});
  // Names of 63 bytes and more share a bit of the filter.
  const std::string longer(80, 'n');
  names.add(longer);
  EXPECT_TRUE(names.contains(longer));
  EXPECT_FALSE(names.contains(std::string(79, 'n')));
  EXPECT_FALSE(names.contains(std::string(81, 'n')));
}

TEST(HopByHop, OnlyAWebSocketUpgradeIsOne) {
  const std::pair<const char*, UpgradeRequest> rows[] = {
      {"", UpgradeRequest::none},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\n", UpgradeRequest::websocket},
      {"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n", UpgradeRequest::websocket},
      {"Upgrade: websocket\r\n", UpgradeRequest::none},  // RFC 9110 7.8: without the connection option it is nothing
      {"Connection: Upgrade\r\n", UpgradeRequest::none},
      {"Connection: Upgrade\r\nUpgrade: h2c\r\n", UpgradeRequest::other},
      {"Upgrade: h2c\r\n", UpgradeRequest::other},
      {"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", UpgradeRequest::other},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", UpgradeRequest::other},
      {"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n", UpgradeRequest::other},
      {"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n", UpgradeRequest::other},
      {"Connection: Upgrade\r\nUpgrade:\r\n", UpgradeRequest::other},
      {"Connection: Upgrade\r\nUpgrade: websocket/13\r\n", UpgradeRequest::other},
      {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
       UpgradeRequest::other},
      {"HTTP2-Settings: AAMAAABkAAQAAP__\r\n", UpgradeRequest::other},
      {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket\r\nHTTP2-Settings: x\r\n", UpgradeRequest::other},
  };
  for (const auto& [lines, expected] : rows) {
    const Outcome out = strip(lines);
    EXPECT_EQ(out.upgrade, expected) << lines;
    EXPECT_EQ(out.fields, "") << lines;
  }
}

TEST(HopByHop, OverrideHeadersGoUnlessAllowedByName) {
  const char* const names[] = {"X-Original-URL",    "X-Rewrite-URL",   "X-HTTP-Method", "X-HTTP-Method-Override",
                               "X-Method-Override", "x_original_url",  "X.Rewrite.Url", "x-http_method.override",
                               "X-Original-Method", "X-Original-Host", "Proxy"};
  for (const char* name : names) {
    Headers headers;
    headers.append(name, "/admin");
    headers.append("X-A", "b");
    StripCounts counts;
    strip_overrides(headers, {}, counts);
    EXPECT_EQ(h1::text_of(headers), "[X-A|b]") << name;
    EXPECT_EQ(counts.override_headers, 1u);
  }
  Headers headers;
  for (const char* name : {"X-Original-URL", "X_Original_URL", "X-Rewrite-URL"}) headers.append(name, "v");
  StripCounts counts;
  strip_overrides(headers, {"x-original-url"}, counts);
  EXPECT_EQ(h1::text_of(headers), "[X-Original-URL|v]") << "an allowed name allows none of its aliases";
  EXPECT_EQ(counts.override_headers, 2u);
}

std::string strip_response(const std::string& status, const std::string& lines) {
  const std::string bytes = "HTTP/1.1 " + status + " x\r\n" + lines + "\r\n";
  h1::ResponseParser parser;
  ResponseHead response;
  EXPECT_TRUE(parser.parse(bytes, {}, Method::get, response).has_value()) << lines;
  strip_response_hop_by_hop(response, reserved_names());
  return h1::text_of(response.headers);
}

TEST(HopByHop, ResponsesLoseFieldsOfTheConnectionAndReservedOnes) {
  EXPECT_EQ(
      strip_response(
          "200",
          "Content-Type: t\r\nConnection: X-Hop, close\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n"
          "Upgrade: h2c\r\nProxy-Authenticate: x\r\nX_Backend_Secret: leaked\r\nTrailer: X-Sum\r\nSet-Cookie: c\r\n"),
      "[Content-Type|t][Trailer|X-Sum][Set-Cookie|c]");
  EXPECT_EQ(strip_response("200", "Content-Length: 5\r\n"), "");
}

TEST(HopByHop, UpgradeStaysInAResponseThatSwitchesProtocols) {
  EXPECT_EQ(strip_response("101", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"),
            "[Upgrade|websocket][Sec-WebSocket-Accept|x]");
}

TEST(HopByHop, EveryNominationOfAResponseCountsHoweverMany) {
  std::string list;
  std::string fields;
  for (int i = 0; i < 60; ++i) {
    list += "X-" + std::to_string(i) + ",";
    fields += "X-" + std::to_string(i) + ": internal\r\n";
  }
  EXPECT_EQ(strip_response("200", "Connection: " + list + "\r\n" + fields + "X-Public: v\r\nContent-Length: 0\r\n"),
            "[X-Public|v]");
}

// HTTP/2 brings them whatever their name; the chunked coding refuses most of them before.
TEST(HopByHop, NothingBehindABodySaysWhatBelongsInAHead) {
  const std::vector<std::string> heads_only = {"Authorization",
                                               "Cookie",
                                               "Set-Cookie",
                                               "Content-Type",
                                               "Content-Length",
                                               "Host",
                                               "Location",
                                               "Cache-Control",
                                               "WWW-Authenticate",
                                               "Proxy-Authenticate",
                                               "Proxy-Connection",
                                               "Trailer",
                                               "Transfer-Encoding",
                                               "TE",
                                               "Expect",
                                               "Connection",
                                               "Keep-Alive",
                                               "Upgrade",
                                               "X-Request-Id",
                                               "X-Backend-Secret",
                                               "X_Backend_Secret",
                                               "Via",
                                               "Forwarded",
                                               "X-Forwarded-For",
                                               "x.postern.id"};
  for (const std::string& name : heads_only) {
    Headers request;
    ResponseHead response;
    for (Headers* const headers : {&request, &response.headers}) {
      headers->append("X-Sum", "1");
      headers->append(name, "v");
      headers->append("grpc-status", "0");
    }
    StripCounts counts;
    strip_request_trailers(request, reserved_names(), {}, {}, counts);
    EXPECT_EQ(h1::text_of(request), "[X-Sum|1][grpc-status|0]") << name;
    strip_response_trailers(response, reserved_names(), {});
    EXPECT_EQ(h1::text_of(response.headers), "[X-Sum|1][grpc-status|0]") << name;
  }
}

// What a policy has removed or set in the head must not come back behind the body.
TEST(HopByHop, TrailersOfAResponseRespectItsPolicies) {
  ReservedNames written;
  written.add("Server");
  ResponseHead response;
  for (const char* const name : {"Server", "sErVeR", "X-Sum", "X_Request_Id", "Servers"}) {
    response.headers.append(name, "1");
  }
  strip_response_trailers(response, reserved_names(), written);
  EXPECT_EQ(h1::text_of(response.headers), "[X-Sum|1][Servers|1]");
}

}  // namespace
}  // namespace postern::http
