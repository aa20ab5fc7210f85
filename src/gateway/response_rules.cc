#include "gateway/response_rules.h"

#include "gateway/grpc.h"
#include "http/hop_by_hop.h"

namespace postern::gateway {

void prepare_local_response(LoopContext& context, http::Exchange& exchange, http::ResponseHead& head) {
  http::LocalResponse& local = exchange.local;
  head.status = local.status;
  // A gRPC status is a head alone; anything else says how long it is.
  head.framing = is_grpc(exchange) && local.body.empty() ? http::Framing::none : http::Framing::length;
  head.content_length = local.body.size();
  head.headers.append(http::HeaderName::date, context.http_date());
  if (!local.content_type.empty()) head.headers.append(http::HeaderName::content_type, local.content_type);
  for (const http::Field& field : local.headers) head.headers.append(field.name, field.value, field.id);
  if (!exchange.request_id.empty()) head.headers.append(http::HeaderName::x_request_id, exchange.request_id);
}

void guard_reflection(LoopContext& context, const OriginPlan& origin, std::span<const std::string_view> sensitive,
                      std::string_view request_id, http::Headers& headers) {
  const auto reveals = [](const http::Field& field, std::span<const std::string_view> secrets) {
    for (const std::string_view secret : secrets) {
      if (field.value.size() >= secret.size() && field.value.find(secret) != std::string_view::npos) return true;
      if (field.name.size() >= secret.size() && field.name.find(secret) != std::string_view::npos) return true;
    }
    return false;
  };
  const std::size_t reflected = headers.remove_if(
      [&](const http::Field& field) { return reveals(field, origin.origin->secrets) || reveals(field, sensitive); });
  if (reflected != 0) {
    context.metrics.add(origin.metrics.reflections, reflected);
    context.log.warning("the origin reflected identity material in a response header; the field was removed",
                        {observe::LogField::name("origin", origin.origin->config.name),
                         observe::LogField::text("request_id", request_id)});
  }
}

void prepare_origin_response(LoopContext& context, const Snapshot& snapshot, const OriginPlan& origin,
                             std::span<const std::string_view> sensitive, http::Exchange& exchange,
                             http::ResponseHead& head) {
  http::strip_response_hop_by_hop(head, snapshot.reserved);
  guard_reflection(context, origin, sensitive, exchange.request_id, head.headers);
  if (!head.headers.find(http::HeaderName::date)) head.headers.append(http::HeaderName::date, context.http_date());
  // RFC 9110 7.6.3: by which version the response was received, under a pseudonym.
  const std::string_view via = head.version == http::Version::http_1_0   ? "1.0 postern"
                               : head.version == http::Version::http_1_1 ? "1.1 postern"
                                                                         : "2 postern";
  head.headers.append(http::HeaderName::via, via);
  head.headers.remove(http::HeaderName::x_request_id);
  head.headers.append(http::HeaderName::x_request_id, exchange.request_id);
}

void run_outbound(const RoutePlan* route, http::Exchange& exchange, http::ResponseHead& head) {
  exchange.response = &head;
  if (route) {
    for (auto step = route->steps.rbegin(); step != route->steps.rend(); ++step) step->policy->on_response(exchange);
  }
  for (const http::Field& field : exchange.response_additions) {
    head.headers.append(field.name, field.value, field.id);
  }
  exchange.response = nullptr;
}

}  // namespace postern::gateway
