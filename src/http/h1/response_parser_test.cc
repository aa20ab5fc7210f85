#include "http/h1/response_parser.h"

#include <gtest/gtest.h>

#include "http/h1/response_rows.h"
#include "http/h1/test_support.h"

namespace postern::http::h1 {
namespace {

Verdict judge(std::string_view bytes, Method method = Method::get, HeadLimits limits = {}) {
  return ResponseJudge(method, limits)(bytes);
}

TEST(ResponseParser, DecidesEveryRowOfTheTableAsWritten) {
  for (const ResponseRow& row : response_rows()) {
    EXPECT_EQ(judge(row.bytes, row.request_method).decision, row.expected) << row.name;
  }
}

TEST(ResponseParser, DecidesEveryPrefixTheSameHoweverItIsCut) {
  for (const ResponseRow& row : response_rows()) {
    EXPECT_EQ(find_cut_that_matters(row.bytes, [&] { return ResponseJudge(row.request_method); }), "") << row.name;
  }
}

TEST(ResponseParser, WhatFollowsTheHeadChangesNothing) {
  for (const ResponseRow& row : response_rows()) {
    const Verdict alone = judge(row.bytes, row.request_method);
    if (alone.undecided()) continue;
    for (const std::string_view rest : {"H", "\r\n", "\n", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"}) {
      EXPECT_EQ(judge(row.bytes + std::string(rest), row.request_method), alone) << row.name << " and " << rest;
    }
  }
}

TEST(ResponseParser, LimitsAreExact) {
  HeadLimits limits;
  limits.max_header_count = 2;
  limits.max_header_bytes = 30;
  const std::string line = "HTTP/1.1 204 x\r\n";
  EXPECT_TRUE(judge(line + "A: b\r\nC: d\r\n\r\n", Method::get, limits).accepted());
  EXPECT_EQ(judge(line + "A: b\r\nC: d\r\nE: f\r\n\r\n", Method::get, limits).decision, "PST-U005 too many fields");
  const std::string longest = line + "A: " + std::string(23, 'a') + "\r\n\r\n";
  EXPECT_TRUE(judge(longest, Method::get, limits).accepted());
  const std::string longer = line + "A: " + std::string(24, 'a') + "\r\n\r\n";
  EXPECT_EQ(judge(longer, Method::get, limits).decision, "PST-U005 fields too large");
  for (const std::string& bytes : {longest, longer}) {
    EXPECT_EQ(find_cut_that_matters(bytes, [&] { return ResponseJudge(Method::get, limits); }), "");
  }
}

TEST(ResponseParser, IsReadyForTheFinalHeadAfterAnInterimOne) {
  ResponseParser parser;
  ResponseHead head;
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  const std::string final_head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
  const std::string both = interim + final_head;
  ASSERT_EQ(parser.parse(both, {}, Method::get, head).value(), Parse::done);
  EXPECT_EQ(head.status, 103);
  ASSERT_EQ(parser.head_size(), interim.size());
  parser.reset();
  ASSERT_EQ(parser.parse(std::string_view(both).substr(interim.size()), {}, Method::get, head).value(), Parse::done);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.framing, Framing::length);
  EXPECT_FALSE(head.keep_alive);
  EXPECT_EQ(text_of(head.headers), "[Content-Length|5][Connection|close]");
}

}  // namespace
}  // namespace postern::http::h1
