#include "http/h1/request_parser.h"

#include <gtest/gtest.h>

#include <set>

#include "http/h1/request_rows.h"
#include "http/h1/test_support.h"

namespace postern::http::h1 {
namespace {

Verdict judge(std::string_view bytes, HeadLimits limits = {}) { return RequestJudge(limits)(bytes); }

TEST(RequestParser, DecidesEveryRowOfTheTableAsWritten) {
  for (const RequestRow& row : request_rows()) EXPECT_EQ(judge(row.bytes).decision, row.expected) << row.name;
}

TEST(RequestParser, DecidesEveryPrefixTheSameHoweverItIsCut) {
  for (const RequestRow& row : request_rows()) {
    EXPECT_EQ(find_cut_that_matters(row.bytes, [] { return RequestJudge(); }), "") << row.name;
  }
}

TEST(RequestParser, WhatFollowsTheHeadChangesNothing) {
  for (const RequestRow& row : request_rows()) {
    const Verdict alone = judge(row.bytes);
    if (alone.undecided()) continue;
    for (const std::string_view rest : {"G", "\r\n", "\n", "0\r\n\r\n", "GET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n"}) {
      EXPECT_EQ(judge(row.bytes + std::string(rest)), alone) << row.name << " and " << rest;
    }
  }
}

TEST(RequestParser, TheTableHasNoRowTwice) {
  std::set<std::string> bytes;
  for (const RequestRow& row : request_rows()) EXPECT_TRUE(bytes.insert(row.bytes).second) << row.name;
}

TEST(RequestParser, KeepsOrderCaseAndDuplicatesOfFields) {
  const Verdict verdict = judge("GET / HTTP/1.1\r\nHost: a\r\nx-B:  one \r\nX-b:two\r\nCookie: c\r\nX-Empty:\r\n\r\n");
  EXPECT_EQ(verdict.fields, "[Host|a][x-B|one][X-b|two][Cookie|c][X-Empty|]");
}

TEST(RequestParser, TakesAsManyFieldsAsAllowedAndNotOneMore) {
  HeadLimits limits;
  limits.max_header_count = 3;
  const std::string three = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n";
  EXPECT_TRUE(judge(three + "\r\n", limits).accepted());
  EXPECT_EQ(judge(three + "E: f\r\n\r\n", limits).decision, "PST-R006 too many fields");
  for (const char* end : {"\r\n", "E: f\r\n\r\n"}) {
    EXPECT_EQ(find_cut_that_matters(three + end, [&] { return RequestJudge(limits); }), "");
  }
}

TEST(RequestParser, TakesAsManyFieldBytesAsAllowedAndNotOneMore) {
  const std::string line = "GET / HTTP/1.1\r\n";
  for (const std::size_t size : {11u, 12u, 13u, 40u, 100u}) {
    HeadLimits limits;
    limits.max_header_bytes = size;
    for (const std::size_t actual : {size, size + 1}) {
      const std::string bytes = line + "Host: " + std::string(actual - 10, 'a') + "\r\n\r\n";
      const Verdict verdict = judge(bytes, limits);
      if (actual == size) {
        EXPECT_EQ(verdict.head_size, bytes.size());
      } else {
        EXPECT_EQ(verdict.decision, "PST-R006 fields too large");
      }
      EXPECT_EQ(judge(bytes + "GET / HTTP/1.1\r\nHost: a\r\n\r\n", limits), verdict) << "a pipelined request counts";
      EXPECT_EQ(find_cut_that_matters(bytes, [&] { return RequestJudge(limits); }), "");
    }
  }
}

TEST(RequestParser, RefusesEndlessFieldsAtTheLimitWhateverTheyAre) {
  HeadLimits limits;
  limits.max_header_bytes = 600;
  const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
  const std::string endless_value = start + "X: " + std::string(2000, 'v');
  const std::string endless_fields = [&] {
    std::string out = start;
    for (int i = 0; i < 300; ++i) out += "X: y\r\n";
    return out;
  }();
  for (const std::string& bytes : {endless_value, endless_fields}) {
    EXPECT_EQ(judge(bytes, limits).decision, "PST-R006 fields too large");
    EXPECT_TRUE(judge(bytes.substr(0, 16 + 600), limits).undecided());
    EXPECT_EQ(find_cut_that_matters(bytes, [&] { return RequestJudge(limits); }), "");
  }
}

TEST(RequestParser, TakesATargetAsLongAsAllowedAndNotOneByteMore) {
  HeadLimits limits;
  limits.max_target_length = 50;
  for (const std::string& method : {std::string("GET"), std::string(32, 'M')}) {
    for (const std::size_t size : {49u, 50u, 51u, 52u}) {
      std::string start = method;
      start.append(" /").append(size - 1, 't');
      const std::string bytes = start + " HTTP/1.1\r\nHost: a\r\n\r\n";
      const Verdict verdict = judge(bytes, limits);
      if (size <= 50) {
        EXPECT_EQ(verdict.decision, start + " 1.1 none keep");
      } else {
        EXPECT_EQ(verdict.decision.substr(0, 8), "PST-R007");
      }
      EXPECT_EQ(find_cut_that_matters(bytes, [&] { return RequestJudge(limits); }), "");
    }
  }
}

TEST(RequestParser, RefusesAnEndlessRequestLineBeforeItsEnd) {
  HeadLimits limits;
  limits.max_target_length = 50;
  const std::string longest = "GET /" + std::string(89, 't');  // 94 = 50 + 32 + two spaces + version + CRLF
  EXPECT_TRUE(judge(longest.substr(0, 93), limits).undecided());
  EXPECT_EQ(judge(longest, limits).decision, "PST-R007 request line too long");
  EXPECT_EQ(judge("\r\n" + longest.substr(0, 93), limits).decision, "need more") << "the empty line does not count";
  EXPECT_EQ(find_cut_that_matters(longest + longest, [&] { return RequestJudge(limits); }), "");
  EXPECT_EQ(find_cut_that_matters("\r\n" + longest + longest, [&] { return RequestJudge(limits); }), "");
}

TEST(RequestParser, LimitsOfAnySizeDoNotOverflow) {
  constexpr std::size_t kMost = ~std::size_t{0};
  const HeadLimits limits{kMost, kMost, kMost};
  EXPECT_TRUE(judge("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", limits).accepted());
  EXPECT_TRUE(judge("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n", limits).undecided());
}

TEST(RequestParser, MoreFieldsThanFitInsideTheObjectAreKept) {
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
  std::string fields = "[Host|a]";
  for (int i = 0; i < 99; ++i) {
    const std::string n = std::to_string(i);
    bytes.append("X-").append(n).append(": ").append(n).append("\r\n");
    fields.append("[X-").append(n).append("|").append(n).append("]");
  }
  bytes += "\r\n";
  EXPECT_EQ(judge(bytes).fields, fields);
  EXPECT_EQ(find_cut_that_matters(bytes, [] { return RequestJudge(); }), "");
  EXPECT_EQ(judge(bytes.substr(0, bytes.size() - 2) + "Y: z\r\n\r\n").decision, "PST-R006 too many fields");
}

TEST(RequestParser, IsReadyForTheNextHeadAfterReset) {
  RequestParser parser;
  RequestHead head;
  const std::string_view first = "\r\nPOST /1 HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\nX: y\r\n\r\n";
  const std::string_view second = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
  ASSERT_TRUE(parser.parse(first.substr(0, 50), {}, head).has_value());
  parser.reset();
  ASSERT_EQ(parser.parse(first, {}, head).value(), Parse::done);
  parser.reset();
  ASSERT_EQ(parser.parse(second, {}, head).value(), Parse::done);
  EXPECT_EQ(parser.head_size(), second.size());
  EXPECT_EQ(head.method, Method::get);
  EXPECT_EQ(head.version, Version::http_1_1);
  EXPECT_EQ(head.framing, Framing::none);
  EXPECT_EQ(head.content_length, 0u);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_EQ(text_of(head.headers), "[Host|a]");
}

TEST(RequestParser, KnowsTheMethodsByTheirExactNames) {
  const std::pair<const char*, Method> known[] = {
      {"GET", Method::get},         {"HEAD", Method::head},   {"POST", Method::post},       {"PUT", Method::put},
      {"DELETE", Method::delete_},  {"PATCH", Method::patch}, {"OPTIONS", Method::options}, {"TRACE", Method::trace},
      {"CONNECT", Method::connect}, {"get", Method::other},   {"GETS", Method::other},      {"GE", Method::other},
      {"Connect", Method::other},   {"TRACEX", Method::other}};
  for (const auto& [text, method] : known) {
    RequestParser parser;
    RequestHead head;
    const std::string bytes = std::string(text) + " / HTTP/1.1\r\nHost: a\r\n\r\n";
    ASSERT_TRUE(parser.parse(bytes, {}, head).has_value());
    EXPECT_EQ(head.method, method) << text;
    EXPECT_EQ(head.method_text, text);
  }
}

TEST(RequestParser, AfterARefusalTheLogHasWhatWasUnderstood) {
  RequestParser parser;
  RequestHead head;
  const std::string bytes = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: nonsense\r\n\r\n";
  EXPECT_FALSE(parser.parse(bytes, {}, head).has_value());
  EXPECT_EQ(head.method_text, "POST");
  EXPECT_EQ(head.target, "/x");
  EXPECT_EQ(head.headers.value(HeaderName::host), "a");
}

}  // namespace
}  // namespace postern::http::h1
