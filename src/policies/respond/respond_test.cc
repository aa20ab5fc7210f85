#include "policies/respond/respond.h"

#include "policies/test_support.h"

namespace postern::policies {
namespace {

class RespondTest : public PolicyTest {};

TEST_F(RespondTest, answers_by_itself) {
  const Made made = make_readme_example("respond");
  ASSERT_EQ(made.problems, "");
  http::Exchange exchange;
  fill(exchange, {}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "respond");
  EXPECT_EQ(exchange.local.status, 200);
  EXPECT_EQ(exchange.local.body, "{\"ok\": true}");
  EXPECT_EQ(exchange.local.content_type, "application/json");
  EXPECT_EQ(text_of(exchange.local.headers), "Cache-Control: no-store");
}

TEST_F(RespondTest, without_body_there_is_no_type) {
  const Made made = make("respond", "{status: 204}");
  http::Exchange exchange;
  fill(exchange, {}, clock);
  EXPECT_EQ(outcome(*made.policy, exchange), "respond");
  EXPECT_EQ(exchange.local.status, 204);
  EXPECT_EQ(exchange.local.content_type, "");
}

TEST_F(RespondTest, options_that_make_no_sense_are_refused) {
  for (const char* const options : {
           "{}",
           "{status: 101}",
           "{status: 600}",
           "{status: 204, body: x}",
           "{status: 304, body: x}",
           "{status: 200, content_type: text/html}",
           "{status: 200, body: x, content_type: \"text/html\\r\\nX: y\"}",
           "{status: 200, headers: {Content-Length: \"5\"}}",
           "{status: 200, headers: {Content-Type: text/html}}",
           "{status: 200, headers: {X-A: \"a\\nb\"}}",
           "{status: 200, text: x}",
       }) {
    EXPECT_NE(make("respond", options).problems, "") << options;
  }
}

}  // namespace
}  // namespace postern::policies
