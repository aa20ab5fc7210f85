#include "gateway/handle_request.h"

#include <optional>

#include "gateway/account.h"
#include "gateway/fail.h"
#include "gateway/grpc.h"
#include "gateway/issuer_documents.h"
#include "gateway/origin_exchange.h"
#include "gateway/request_rules.h"
#include "gateway/response_rules.h"

namespace postern::gateway {
namespace {

using http::AfterResponse;
using http::Exchange;

// Inbound policies in order, until one answers or refuses.
Task<Result<policies::Flow>> run_inbound(LoopContext& context, const RoutePlan& route, Exchange& exchange) {
  for (const PolicyStep& step : route.steps) {
    Result<policies::Flow> flow = co_await step.policy->on_request(exchange);
    if (!flow) context.metrics.add(step.metrics.refusal(flow.error().code()));
    if (!flow || *flow == policies::Flow::respond) co_return flow;
  }
  co_return policies::Flow::next;
}

// Sends exchange.local, after the outbound policies of the route if one was found.
Task<AfterResponse> reply(LoopContext& context, http::Downstream& client, const RoutePlan* route, Exchange& exchange,
                          Account& account) {
  http::ResponseHead head;
  prepare_local_response(context, exchange, head);
  run_outbound(route, exchange, head);
  client.start(head);
  account.status(head.status);
  const Result<void> written = co_await client.write(exchange.local.body, http::End::last);
  if (!written) account.error(written.error());
  account.finished();
  co_return written ? AfterResponse::keep_alive : AfterResponse::close;
}

// The client is gone: there is nobody to answer.
AfterResponse leave(const http::Downstream& client, Account& account) {
  if (client.untouched()) account.forget();
  account.finished();
  return AfterResponse::close;
}

}  // namespace

Task<AfterResponse> handle_request(LoopContext& context, http::Downstream& client, const LiveListener& live) {
  std::shared_ptr<LoopSnapshot> held = context.current;  // outlives all that borrows from it below
  Exchange exchange;
  std::optional<OriginExchange> forwarding;
  Account account(context, held->snapshot->unmatched, exchange, client);
  const RoutePlan* route = nullptr;

  // step 1: receive the head and give the request its id, client address and time
  Result<void> accepted = co_await client.receive(exchange);
  // What is in force when the request has arrived judges it, however long ago its first byte came.
  held = context.current;
  const std::shared_ptr<const Snapshot> listener_holder = live.snapshot;
  const Snapshot& snapshot = *held->snapshot;
  const ListenerPlan& listener = *live.plan;
  account.unmatched(snapshot.unmatched);
  if (accepted && context.buffers.tight()) accepted = fail(Code::overloaded, Side::gateway);
  begin_exchange(context, client, listener, exchange);

  // step 2: make the canonical target and take off what no client may send
  if (accepted) accepted = canonicalize_request(context, snapshot, listener, exchange);
  if (accepted) accepted = check_authority(client.connection(), exchange.target);
  const bool redirected = accepted && redirect_to_https(listener, exchange);
  if (redirected) co_return co_await reply(context, client, route, exchange, account);
  // No route can take the place of what verifiers of the gateway's own tokens read.
  if (accepted && answer_issuer_document(snapshot, exchange)) {
    co_return co_await reply(context, client, route, exchange, account);
  }

  // step 3: find the route
  if (accepted) {
    Result<const RoutePlan*> found = find_route(snapshot, exchange);
    if (found) route = *found;
    if (found) account.route(*route);
    if (!found) accepted = std::unexpected(std::move(found.error()));
  }
  if (!accepted) {
    account.error(accepted.error());
    if (accepted.error().code() == Code::client_closed) co_return leave(client, account);
    answer_with_problem(exchange, accepted.error());
    if (ends_connection(accepted.error().code())) client.close_after_response();
    co_return co_await reply(context, client, route, exchange, account);
  }

  // step 4: run the inbound policies of gateway, origin and route
  Result<policies::Flow> flow = co_await run_inbound(context, *route, exchange);
  if (flow && *flow == policies::Flow::next) {
    const Result<void> bounded = check_body_limit(exchange);
    if (!bounded) flow = std::unexpected(Error(bounded.error().code(), bounded.error().side()));
  }
  if (!flow) {
    account.error(flow.error());
    answer_with_problem(exchange, flow.error());
  }
  if (!flow || *flow == policies::Flow::respond) co_return co_await reply(context, client, route, exchange, account);

  // step 5: send the request to an endpoint of the origin, with fresh identity for each attempt
  const auto origin_index = static_cast<std::size_t>(route->origin);
  const OriginPlan& origin = snapshot.origins[origin_index];
  prepare_forwarding(context, *origin.origin, client, listener, exchange);
  const bool own_limit = exchange.body_limit >= listener.config->limits.max_body_size;
  forwarding.emplace(context, snapshot, *route, held->origins[origin_index], exchange, client,
                     own_limit ? Code::body_too_large : Code::policy_body_limit);
  account.origin(origin, *forwarding);
  if (const auto left = grpc_timeout(exchange)) {
    forwarding->end_by(exchange.started + *left, Code::deadline_exceeded);
  }
  const Result<void> answered = co_await forwarding->request();
  if (!answered) {
    account.error(answered.error());
    if (answered.error().code() == Code::client_closed) co_return leave(client, account);
    answer_with_problem(exchange, answered.error());
    co_return co_await reply(context, client, route, exchange, account);
  }

  // step 6: reflection guard, outbound policies
  http::ResponseHead& response = forwarding->response();
  prepare_origin_response(context, snapshot, origin, forwarding->sensitive(), exchange, response);
  run_outbound(route, exchange, response);

  // step 7: reply, and account (~Account)
  client.start(response);
  account.status(response.status);
  const Result<void> relayed = co_await forwarding->relay();
  if (!relayed) account.error(relayed.error());
  if (!relayed && relayed.error().side() != Side::client && is_grpc(exchange)) {
    // The call ends with a status, which its caller understands better than a stream that breaks off.
    http::Headers trailers;
    append_grpc_status(relayed.error(), exchange.arena, trailers);
    const Result<void> ended = co_await client.finish(trailers);
    account.finished();
    co_return ended ? AfterResponse::keep_alive : AfterResponse::close;
  }
  account.finished();
  co_return relayed ? AfterResponse::keep_alive : AfterResponse::close;
}

}  // namespace postern::gateway
