#include "gateway/fail.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string body_of(Code code, Side side = Side::client) {
  http::Exchange exchange;
  exchange.request_id = "0123";
  answer_with_problem(exchange, Error(code, side, "the reason"));
  EXPECT_EQ(exchange.local.status, info(code).status);
  EXPECT_THAT(std::string(exchange.local.body), HasSubstr(std::string(info(code).id)));
  return std::string(exchange.local.body);
}

TEST(Fail, a_client_learns_what_it_did_wrong) {
  EXPECT_THAT(body_of(Code::bad_target), HasSubstr("\"detail\":\"the reason\""));
}

TEST(Fail, nobody_learns_why_a_credential_is_not_accepted) {
  for (const Code code : {Code::credentials_invalid, Code::certificate_refused, Code::certificate_missing}) {
    EXPECT_THAT(body_of(code), Not(HasSubstr("reason"))) << info(code).id;
  }
}

TEST(Fail, what_the_origin_or_the_gateway_did_wrong_is_for_the_log) {
  EXPECT_THAT(body_of(Code::origin_tls_failed, Side::origin), Not(HasSubstr("reason")));
  EXPECT_THAT(body_of(Code::internal, Side::gateway), Not(HasSubstr("reason")));
}

}  // namespace
}  // namespace postern::gateway
