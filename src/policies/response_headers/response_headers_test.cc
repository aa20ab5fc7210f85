#include "policies/response_headers/response_headers.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

class ResponseHeadersTest : public PolicyTest {};

TEST_F(ResponseHeadersTest, changes_the_response_and_not_the_request) {
  const Made made = make_readme_example("response_headers");
  ASSERT_EQ(made.problems, "");
  http::Exchange exchange;
  fill(exchange, {.headers = {{"Server", "client"}}}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  http::ResponseHead response;
  response.headers.append("Server", "origin/1.0");
  response.headers.append("Content-Type", "text/html");
  response.headers.append("strict-transport-security", "max-age=1");
  response.headers.append("x-powered-by", "x");
  response.headers.append("X-Powered-By", "y");
  exchange.response = &response;
  made.policy->on_response(exchange);
  EXPECT_EQ(text_of(response.headers), "Content-Type: text/html|Strict-Transport-Security: max-age=31536000");
  EXPECT_EQ(text_of(exchange.request.headers), "Server: client");
}

TEST_F(ResponseHeadersTest, fields_and_values_that_could_break_a_message_are_refused) {
  for (const char* const options : {
           "{}",
           "{set: {Content-Length: \"0\"}}",
           "{set: {Transfer_Encoding: chunked}}",
           "{add: {Connection: close}}",
           "{remove: [Content-Length]}",
           "{set: {Trailer: a}}",
           "{set: {X-Request-Id: a}}",
           "{set: {Sec-WebSocket-Accept: a}}",
           "{set: {X-A: \"a\\r\\n\\r\\n<html>\"}}",
       }) {
    EXPECT_NE(make("response_headers", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
