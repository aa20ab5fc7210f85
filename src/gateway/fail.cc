#include "gateway/fail.h"

#include <string>

#include "base/json_writer.h"
#include "gateway/grpc.h"

namespace postern::gateway {
namespace {

// Why a credential is not accepted is nobody's business but the operator's.
bool is_confidential(Code code) noexcept {
  return code == Code::credentials_invalid || code == Code::certificate_refused || code == Code::certificate_missing;
}

std::string problem_body(const Error& error, std::string_view request_id) {
  const CodeInfo& code = info(error.code());
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  json.field("type", "about:blank");
  json.field("title", code.title);
  json.field("status", code.status);
  json.field("code", code.id);
  if (!request_id.empty()) json.field("request_id", request_id);
  const bool shown = error.side() == Side::client && !is_confidential(error.code());
  if (shown && !error.detail().empty()) json.field("detail", error.detail());
  // Which one, by its place in the configuration; what happened is the operator's (tokens/manager.h).
  if (error.code() == Code::token_unavailable) {
    json.field("credential", error.detail().substr(0, error.detail().find(": ")));
  }
  json.end_object();
  body += '\n';
  return body;
}

}  // namespace

void answer_with_problem(http::Exchange& exchange, const Error& error) {
  if (is_grpc(exchange)) {
    // A response of trailers only: HTTP says 200, and the status is where gRPC looks for it.
    exchange.local.status = 200;
    exchange.local.content_type = "application/grpc";
    exchange.local.body = {};
    append_grpc_status(error, exchange.arena, exchange.local.headers);
    return;
  }
  exchange.local.status = info(error.code()).status;
  exchange.local.content_type = "application/problem+json";
  exchange.local.body = exchange.arena.copy(problem_body(error, exchange.request_id));
  // RFC 9110 15.5.2. A policy that refuses has said how to do better; a key may also be revoked later.
  if (exchange.local.status == 401 && !exchange.response_additions.find(http::HeaderName::www_authenticate)) {
    exchange.local.headers.append(http::HeaderName::www_authenticate, "ApiKey realm=\"api\"");
  }
}

std::string raw_problem_response(const Error& error, std::string_view request_id) {
  const std::string body = problem_body(error, request_id);
  return "HTTP/1.1 " + std::to_string(info(error.code()).status) +
         " Service Unavailable\r\nContent-Type: application/problem+json\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nX-Request-Id: " + std::string(request_id) +
         "\r\nConnection: close\r\n\r\n" + body;
}

}  // namespace postern::gateway
