#include "gateway/grpc.h"

#include <gtest/gtest.h>

#include "gateway/fail.h"
#include "gateway/response_rules.h"

namespace postern::gateway {
namespace {

using namespace std::chrono_literals;

struct Call {
  explicit Call(std::string_view type = "application/grpc", http::Version version = http::Version::http_2) {
    exchange.request.version = version;
    exchange.request.headers.append(http::HeaderName::content_type, type);
  }
  http::Exchange exchange;
};

std::string field(const http::Headers& headers, std::string_view name) {
  for (const http::Field& each : headers) {
    if (each.name == name) return std::string(each.value);
  }
  return "absent";
}

TEST(Grpc, IsKnownByItsContentTypeOverHttp2) {
  for (const char* const type :
       {"application/grpc", "application/grpc+proto", "application/grpc;x=y", "Application/gRPC"}) {
    EXPECT_TRUE(is_grpc(Call(type).exchange)) << type;
  }
  for (const char* const type : {"application/grpc-web", "application/json", "application/grp", ""}) {
    EXPECT_FALSE(is_grpc(Call(type).exchange)) << type;
  }
  EXPECT_FALSE(is_grpc(Call("application/grpc", http::Version::http_1_1).exchange));
}

TEST(Grpc, AnErrorIsAStatusAndNoBody) {
  struct Row {
    Code code;
    std::string status;
  };
  for (const Row& row : {Row{Code::credentials_missing, "16"}, Row{Code::forbidden, "7"}, Row{Code::no_route, "12"},
                         Row{Code::rate_limited, "8"}, Row{Code::origin_connect_failed, "14"},
                         Row{Code::origin_timeout, "4"}, Row{Code::deadline_exceeded, "4"}, Row{Code::internal, "13"},
                         Row{Code::body_too_large, "8"}, Row{Code::bad_request, "13"}}) {
    Call call;
    answer_with_problem(call.exchange, Error(row.code, Side::client, "a detail"));
    EXPECT_EQ(call.exchange.local.status, 200);
    EXPECT_EQ(call.exchange.local.content_type, "application/grpc");
    EXPECT_EQ(call.exchange.local.body, "");
    EXPECT_EQ(field(call.exchange.local.headers, "grpc-status"), row.status) << info(row.code).id;
    const std::string message = field(call.exchange.local.headers, "grpc-message");
    EXPECT_TRUE(message.starts_with(info(row.code).id)) << message;
    EXPECT_EQ(message.find("a detail"), std::string::npos);
  }
}

TEST(Grpc, EveryTitleCanStandInAGrpcMessage) {
  for (std::size_t i = 0; i <= static_cast<std::size_t>(Code::io_failed); ++i) {
    for (const char c : info(static_cast<Code>(i)).title) {
      EXPECT_TRUE(c >= ' ' && c <= '~' && c != '%') << info(static_cast<Code>(i)).id;
    }
  }
}

TEST(Grpc, ADeadlineHasAtMostEightDigitsAndAUnit) {
  const auto timeout = [](std::string_view text) {
    Call call;
    call.exchange.request.headers.append("grpc-timeout", text);
    return grpc_timeout(call.exchange);
  };
  EXPECT_EQ(timeout("2H"), 2h);
  EXPECT_EQ(timeout("3M"), 3min);
  EXPECT_EQ(timeout("4S"), 4s);
  EXPECT_EQ(timeout("5m"), 5ms);
  EXPECT_EQ(timeout("6u"), 6us);
  EXPECT_EQ(timeout("7n"), 7ns);
  EXPECT_EQ(timeout("99999999S"), 99999999s);
  EXPECT_EQ(timeout("99999999H"), 24h * 365 * 10) << "what does not fit is cut";
  for (const char* const text : {"", "5", "S", "-5S", "+5S", "5s", "5 S", "100000000S", "1.5S", "5SS"}) {
    EXPECT_EQ(timeout(text), std::nullopt) << text;
  }
  Call plain("application/json");
  plain.exchange.request.headers.append("grpc-timeout", "5S");
  EXPECT_EQ(grpc_timeout(plain.exchange), std::nullopt) << "means nothing elsewhere";
}

}  // namespace
}  // namespace postern::gateway
