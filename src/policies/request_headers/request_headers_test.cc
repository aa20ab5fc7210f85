#include "policies/request_headers/request_headers.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

using http::Exchange;

class RequestHeadersTest : public PolicyTest {};

TEST_F(RequestHeadersTest, removes_then_sets_then_adds) {
  const Made made = make_readme_example("request_headers");
  ASSERT_EQ(made.problems, "");
  Exchange exchange;
  fill(exchange, {.headers = {{"Cookie", "a=b"}, {"x_tenant", "root"}, {"X-Tenant", "root"}, {"X-Trace-Note", "mine"}}},
       clock);
  exchange.consumer.id = "acme";
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  EXPECT_EQ(text_of(exchange.request.headers),
            "X-Trace-Note: mine|X-Tenant: acme|X-Api-Version: 2|X-Trace-Note: from 192.0.2.1");
  EXPECT_EQ(made.policy->written_headers().size(), 4u);
}

TEST_F(RequestHeadersTest, without_a_consumer_the_clients_claim_is_removed_and_nothing_is_set) {
  const Made made = make("request_headers", "{set: {X-Tenant: \"t-${consumer.id}\"}}");
  Exchange exchange;
  fill(exchange, {.headers = {{"X-Tenant", "t-acme"}, {"x.tenant", "t-acme"}}}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "next");
  EXPECT_EQ(text_of(exchange.request.headers), "");
}

TEST_F(RequestHeadersTest, placeholders) {
  const std::pair<const char*, const char*> cases[] = {
      {"plain", "plain"},
      {"$5 {x} $", "$5 {x} $"},
      {"${request_id}", "0123456789abcdef0123456789abcdef"},
      {"a-${client_address}-b", "a-192.0.2.1-b"},
      {"${consumer.id}/${consumer.key_id}", "acme/pst_1"},
      {"${consumer.name}", "A%0D%0AX-Admin:%201"},
  };
  for (const auto& [value, expected] : cases) {
    const Made made = make("request_headers", "{set: {X-A: \"" + std::string(value) + "\"}}");
    ASSERT_EQ(made.problems, "") << value;
    Exchange exchange;
    fill(exchange, {}, clock);
    exchange.consumer = {"acme", "A\r\nX-Admin: 1", "pst_1"};
    EXPECT_EQ(outcome(*made.policy, exchange), "next");
    EXPECT_EQ(text_of(exchange.request.headers), "X-A: " + std::string(expected)) << value;
  }
}

TEST_F(RequestHeadersTest, fields_and_values_that_could_break_a_message_are_refused) {
  for (const char* const options : {
           "{}",
           "{set: {Host: a}}",
           "{set: {Content-Length: \"0\"}}",
           "{set: {content_length: \"0\"}}",
           "{set: {Transfer-Encoding: chunked}}",
           "{add: {Connection: close}}",
           "{add: {Upgrade: h2c}}",
           "{set: {X-Forwarded-For: 10.0.0.1}}",
           "{set: {x_forwarded_for: 10.0.0.1}}",
           "{remove: [Host]}",
           "{remove: [Content.Length]}",
           "{set: {Via: a}}",
           "{set: {X-Request-Id: a}}",
           "{set: {Sec-WebSocket-Key: a}}",
           "{set: {Proxy: a}}",
           "{set: {\"X A\": a}}",
           "{set: {\"X-A:\": a}}",
           "{set: {\"\": a}}",
           "{set: {X-A: \"a\\r\\nX-B: b\"}}",
           "{set: {X-A: \"a\\nb\"}}",
           "{set: {X-A: \"a\\0b\"}}",
           "{set: {X-A: \" a\"}}",
           "{set: {X-A: \"\\u00e4\"}}",
           "{set: {X-A: \"\"}}",
           "{set: {X-A: 5}}",
           "{set: {X-A: \"${env:HOME}\"}}",
           "{set: {X-A: \"${file:/etc/passwd}\"}}",
           "{set: {X-A: \"${header.cookie}\"}}",
           "{set: {X-A: \"${request_id\"}}",
           "{set: {X-A: a}, add: {x_a: b}}",
           "{set: {X-A: a}, remove: [X-A]}",
           "{replace: {X-A: a}}",
       }) {
    EXPECT_NE(make("request_headers", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
