#include "http/h1/serialize.h"

#include <gtest/gtest.h>

#include <string>

#include "http/h1/test_support.h"

namespace postern::http::h1 {
namespace {

class Serialize : public ::testing::Test {
 protected:
  [[nodiscard]] std::string written() const { return std::string(out_.view()); }
  BufferPool pool_;
  Buffer out_{pool_};
};

TEST_F(Serialize, ARequestHead) {
  Headers headers;
  headers.append("X-A", "b");
  headers.append("X-Empty", "");
  begin_request_head(out_, "GET", "/a?b");
  write_field(out_, "Host", "a");
  write_fields(out_, headers);
  write_content_length(out_, 18446744073709551615u);
  EXPECT_EQ(written(),
            "GET /a?b HTTP/1.1\r\nHost: a\r\nX-A: b\r\nX-Empty: \r\nContent-Length: 18446744073709551615\r\n");
}

TEST_F(Serialize, AResponseHead) {
  Headers headers;
  headers.append("Link", "</a>");
  write_response_head(out_, 103, "", headers);
  begin_response_head(out_, 200, "Fine");
  begin_response_head(out_, 599, "");
  write_content_length(out_, 0);
  EXPECT_EQ(
      written(),
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 Fine\r\nHTTP/1.1 599 \r\nContent-Length: 0\r\n");
}

TEST_F(Serialize, EveryStatusMakesALineThatIsAStatusLine) {
  for (int status = 100; status < 600; ++status) {
    out_.clear();
    begin_response_head(out_, status, "");
    out_.append("\r\n");
    const Verdict verdict = ResponseJudge(Method::head)(out_.view());
    ASSERT_TRUE(verdict.accepted()) << status;
    EXPECT_EQ(verdict.decision.substr(0, 3), std::to_string(status));
  }
}

TEST_F(Serialize, HeadsLargerThanABufferGrowIt) {
  Headers headers;
  const std::string value(30'000, 'v');
  for (int i = 0; i < 5; ++i) headers.append("X", value);
  write_fields(out_, headers);
  EXPECT_EQ(out_.size(), 5 * (value.size() + 5));
}

}  // namespace
}  // namespace postern::http::h1
