#include "gateway/origin_exchange.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "gateway/grpc.h"
#include "gateway/request_rules.h"
#include "gateway/response_rules.h"
#include "http/hop_by_hop.h"
#include "http/websocket.h"
#include "platform/turn_budget.h"

namespace postern::gateway {
namespace {

constexpr std::size_t kMaxKeptBody = 64 * 1024;
// A kept body goes out in pieces, so that others have their turns.
constexpr std::size_t kPiece = 64 * 1024;

// NTLM and Negotiate log the connection in, not the request (RFC 4559 6): the next client must not be on it.
bool authenticates_connection(const http::RequestHead& request) noexcept {
  const std::string_view credentials = request.headers.value(http::HeaderName::authorization);
  const std::string_view scheme = credentials.substr(0, credentials.find(' '));
  return iequals(scheme, "ntlm") || iequals(scheme, "negotiate");
}

}  // namespace

OriginExchange::OriginExchange(LoopContext& context, const Snapshot& snapshot, const RoutePlan& route,
                               LoopOrigin& origin, http::Exchange& exchange, http::Downstream& client, Code over_limit)
    : context_(context),
      route_(route),
      origin_(origin),
      exchange_(exchange),
      client_(client),
      reserved_(snapshot.reserved),
      over_limit_(over_limit),
      kept_body_(context.buffers),
      collected_(context.loop),
      interrupter_(*this),
      end_(*this),
      uploads_(context.exceptions) {
  context.enlist(*this);
}

OriginExchange::~OriginExchange() {
  if (attempting_) count_attempt(fail(Code::cancelled, Side::client));
  if (endpoint_) endpoint_->in_flight.fetch_sub(1, std::memory_order_relaxed);
}

Task<Result<void>> OriginExchange::request() {
  const origins::Origin& origin = *origin_.origin;
  if (!origin.usable(exchange_.started_wall)) {
    over_ = true;
    co_return fail(Code::insecure_expired, Side::gateway);
  }
  if (exchange_.started_wall >= origin.certificate_ends) {
    over_ = true;
    co_return fail(Code::identity_unavailable, Side::gateway, "the client certificate for this origin has expired");
  }
  if (origin.whole_body) {
    Result<void> taken = co_await take_whole_body(*origin.whole_body);
    over_ = !taken;
    if (!taken) co_return taken;
  }
  origin_.refresh(context_);
  view_ = origin_.view;
  origin.state->budget().on_request();
  for (;;) {
    ++facts_.attempts;
    attempting_ = true;
    attempt_started_ = context_.loop.now();
    Result<void> outcome = co_await attempt();
    // Also if the answer came in the same moment: nothing of it has been passed on yet, so the reason can still be
    // told.
    if (stop_error_) outcome = ended_by(Error(Code::cancelled, Side::gateway));
    count_attempt(outcome);
    if (outcome && try_other_token()) {
      uploads_.cancel_all();
      lease_.close();
      context_.metrics.add(origin_.plan->metrics.retries);
      continue;
    }
    if (outcome) co_return outcome;
    // A pooled connection that was already dead says nothing about the origin. Anything else does, whatever connection
    // it came on.
    const bool reused = lease_ && lease_.reused();
    const bool was_dead =
        reused && outcome.error().retry() == Retry::if_reused && outcome.error().code() == Code::origin_closed;
    const bool was_refused = lease_ && outcome.error().retry() == Retry::yes;
    const bool is_free = was_dead || was_refused;
    // What a client asks for may not be there at all (a WebSocket, a login of the connection): that costs nobody the
    // origin.
    const bool was_wished = outcome.error().code() == Code::origin_upgrade_failed;
    // Many requests share a session, and its end says one thing of the origin, once.
    const bool was_shared = reused && outcome.error().retry() == Retry::if_reused && !was_dead;
    const bool counts = !was_dead && !(was_refused && reused) && !was_wished &&
                        !(was_shared && !endpoint_->first_loss(context_.loop.now()));
    if (outcome.error().side() == Side::origin && counts) judge(origins::Outcome::failure);
    over_ = !may_retry(outcome.error(), is_free);
    uploads_.cancel_all();
    lease_.close();
    // The attempt on a dead connection is free, but the next one must not meet another. So is one that the origin says
    // it did not look at: it goes away or has no room, and that is no load.
    if (was_dead) dead_ = {endpoint_.get(), attempt_started_};
    if (!is_free) over_ = over_ || !origin.state->budget().take();
    if (over_) co_return outcome;
    context_.metrics.add(origin_.plan->metrics.retries);
  }
}

// Before an endpoint is chosen: a slow client holds none.
Task<Result<void>> OriginExchange::take_whole_body(std::uint64_t limit) {
  http::RequestHead& request = exchange_.request;
  // Its body may go on until the call is answered, and then it would never be whole.
  if (is_grpc(exchange_)) co_return fail(Code::stream_not_signable, Side::client);
  // What follows a handshake is no body.
  if (exchange_.websocket || request.framing == http::Framing::none) co_return Result<void>();
  if (request.framing == http::Framing::length) {
    if (request.content_length == 0) co_return Result<void>();
    if (request.content_length > limit) co_return fail(Code::body_not_signable, Side::client);
  }
  Result<void> told = co_await tell_to_continue();
  if (!told) co_return told;
  if (!stop_error_) {
    collecting_ = true;
    uploads_.spawn(collect_body(limit));
    co_await collected_.wait();
    collecting_ = false;
    uploads_.cancel_all();
    interrupter_.unlink();  // it would end the wait of whoever answers the client now
  }
  if (stop_error_) co_return ended_by(Error(Code::cancelled, Side::gateway));
  if (request.framing == http::Framing::chunked && request_trailers_.empty()) {
    request.framing = http::Framing::length;
    request.content_length = kept_body_.size();
  }
  co_return Result<void>();
}

Task<void> OriginExchange::collect_body(std::uint64_t limit) {
  http::BodySource& body = client_.body();
  TurnBudget budget(context_.loop);
  while (!body_whole_) {
    Result<http::BodyPiece> piece = body.poll();
    if (!piece) co_return stop(std::move(piece.error()));
    if (piece->kind == http::BodyPiece::Kind::wait) {
      static_cast<void>(co_await body.wait());  // the next poll() looks at the time
      continue;
    }
    body_taken_ = true;
    body_whole_ = piece->last || piece->kind == http::BodyPiece::Kind::end;
    if (body.received() > exchange_.body_limit) co_return stop(Error(over_limit_, Side::client));
    if (body.received() > limit) co_return stop(Error(Code::body_not_signable, Side::client));
    // Whoever has little may go on; a large body would take what all others need.
    if (kept_body_.size() >= kMaxKeptBody && kept_body_.tight()) co_return stop(Error(Code::overloaded, Side::gateway));
    kept_body_.append(piece->bytes);
    if (piece->kind == http::BodyPiece::Kind::end) take_trailers();
    budget.step(piece->bytes.size());
    if (budget.spent()) co_await context_.loop.yield();
  }
  collected_.set();
}

void OriginExchange::take_trailers() {
  for (const http::Field& field : client_.body().trailers()) {
    request_trailers_.append(field.name, field.value, field.id);
  }
  strip_trailers(context_, reserved_, route_, *origin_.origin, request_trailers_);
}

// Once per request: an origin that refuses the fresh one too means something else by it.
bool OriginExchange::try_other_token() {
  if (response_.status != 401 || token_uses_.empty() || stop_error_) return false;
  bool other = false;
  for (const tokens::TokenUse& use : token_uses_) other = use.token->renew(*use.credential) || other;
  if (!other || token_retried_ || (body_taken_ && !keeping_body_)) return false;
  token_retried_ = true;
  refused_tokens_ = std::move(token_uses_);
  return true;
}

void OriginExchange::count_attempt(const Result<void>& outcome) {
  attempting_ = false;
  const observe::OriginMetrics& metrics = origin_.plan->metrics;
  context_.metrics.add(metrics.outcome(outcome ? observe::origin_outcome(response_.status)
                                               : observe::origin_outcome(outcome.error().code())));
  if (outcome) context_.metrics.observe(metrics.duration, context_.loop.now() - attempt_started_);
}

// Safe: the origin has not looked at the request; or the method is idempotent and no answer was begun (RFC 9110 9.2.2).
// Possible: the body, if any, is still whole on our side.
bool OriginExchange::may_retry(const Error& error, bool is_free) const noexcept {
  const std::uint32_t limit = origin_.origin->config.retries.attempts + (is_free ? 1u : 0u);
  if (facts_.attempts >= limit || (body_taken_ && !keeping_body_) || stop_error_) return false;
  if (error.retry() == Retry::yes) return true;
  return error.retry() == Retry::if_reused && is_idempotent(exchange_.request.method);
}

Task<Result<void>> OriginExchange::attempt() {
  const MonoTime now = context_.loop.now();
  facts_.connect = facts_.first_byte = observe::kNotMeasured;
  const origins::EndpointSet& endpoints = *view_->endpoints;
  const auto* const chosen = origin_.balancer.pick(endpoints, now, endpoint_.get());
  if (endpoints.empty()) co_return fail(Code::origin_unresolved, Side::origin);
  if (!chosen) co_return fail(Code::origin_unavailable, Side::origin);
  if (endpoint_) endpoint_->in_flight.fetch_sub(1, std::memory_order_relaxed);
  endpoint_ = *chosen;
  endpoint_->in_flight.fetch_add(1, std::memory_order_relaxed);
  judged_ = false;
  facts_.endpoint = static_cast<int>(chosen - endpoints.data());
  pool_ = view_->pools[static_cast<std::size_t>(facts_.endpoint)];

  origins::Want want = origins::Want::any;
  if (authenticates_connection(exchange_.request)) want = origins::Want::own_connection;
  if (exchange_.websocket) want = origins::Want::websocket;
  // Elsewhere nobody has died.
  const bool again = dead_.endpoint == endpoint_.get();
  Task<Result<origins::Lease>> acquiring = again ? pool_->connect(want, dead_.since) : pool_->acquire(want);
  Result<origins::Lease> lease = co_await std::move(acquiring);
  if (!lease) co_return std::unexpected(std::move(lease.error()));
  lease_ = std::move(*lease);
  if (!lease_.reused()) facts_.connect = context_.loop.now() - now;
  facts_.client_certificate = lease_.client_certificate();
  if (facts_.client_certificate) {
    context_.metrics.add(
        origin_.plan->metrics.client_certificate.at(static_cast<std::size_t>(*facts_.client_certificate)));
  }

  if (stop_error_) co_return fail(Code::cancelled, Side::gateway);
  Result<void> told = co_await tell_to_continue();
  if (!told) co_return told;
  Result<void> sent = co_await send_head();
  if (!sent) co_return sent;
  Result<void> received = co_await receive_final_head();
  if (!received) co_return received;
  facts_.first_byte = context_.loop.now() - facts_.sent;
  const int status = response_.status;
  judge(status == 502 || status == 503 || status == 504 ? origins::Outcome::failure : origins::Outcome::success);
  co_return check_switch();
}

// Not before the origin stands ready, and not in the upload: one coroutine alone writes to the client, so that no
// answer of the origin, however early, gets in between.
Task<Result<void>> OriginExchange::tell_to_continue() {
  if (!exchange_.request.expect_continue || continued_ || client_.body().received() != 0) return Result<void>();
  continued_ = true;
  return client_.send_continue();
}

Task<Result<void>> OriginExchange::send_head() {
  const origins::Origin& origin = *origin_.origin;
  const http::RequestHead& request = exchange_.request;
  std::string_view host = endpoint_->authority;
  if (origin.config.host_mode == config::HostMode::preserve) host = exchange_.target.authority(exchange_.arena);
  if (origin.config.host_mode == config::HostMode::name) host = origin.config.host_name;
  const std::string_view target = exchange_.target.path_and_query(exchange_.arena);

  const std::string_view scheme = origin.config.tls ? "https" : "http";

  // RFC 8441 4.
  token_uses_.clear();
  const bool tunnelled = exchange_.websocket && lease_->version() == http::Version::http_2;
  http::Headers added;
  identity::Attempt facts{.request = request,
                          .scheme = scheme,
                          .host = host,
                          .path_and_query = target,
                          .now = context_.wall(),
                          .loop = context_.loop,
                          .deadline = std::min(context_.loop.now() + origin.config.timeouts.first_byte,
                                               end_.armed() ? end_.at : MonoTime::max()),
                          .added = added,
                          .arena = exchange_.arena,
                          .sensitive = sensitive_,
                          .body = origin.whole_body ? kept_body_.view() : std::string_view(),
                          .method = tunnelled ? "CONNECT" : std::string_view(),
                          .tokens = &token_uses_,
                          .refused = &refused_tokens_};
  for (const auto& method : origin.identity) {
    Result<void> applied = co_await method->apply(facts);
    if (!applied) co_return applied;
  }
  // Connecting, telling the client, fetching a token: each may take so long that this is not the identity any more.
  if (stop_error_) co_return fail(Code::cancelled, Side::gateway);

  lease_->start({request, scheme, host, target, added, exchange_.websocket});
  facts_.sent = context_.loop.now();
  if (request.framing == http::Framing::none || request.content_length == 0) {
    if (request.framing != http::Framing::chunked) {
      Result<void> flushed = co_await lease_->flush();
      // The origin may have answered and closed before it read everything; the answer decides.
      if (!flushed && lease_.reused()) {
        co_return fail(Code::origin_closed, Side::origin, Retry::if_reused);
      }
      head_deadline_ = context_.loop.now() + origin.config.timeouts.first_byte;
      co_return Result<void>();
    }
  }
  head_deadline_ = MonoTime::max();
  uploads_.spawn(upload());
  co_return Result<void>();
}

void OriginExchange::stop(Error error) {
  if (stop_error_ || over_) return;
  stop_error_ = std::make_unique<Error>(std::move(error));
  context_.loop.defer(interrupter_);
}

std::unexpected<Error> OriginExchange::ended_by(Error error) {
  return std::unexpected(std::move(stop_error_ ? *stop_error_ : error));
}

void OriginExchange::Interrupter::run_deferred() {
  if (owner_.collecting_) return owner_.collected_.set();
  if (owner_.splice_) {
    owner_.splice_->stop();
    return;
  }
  // It waits for one thing at most. Once it has been woken, this object may be gone.
  const bool woken = owner_.client_.interrupt_write();
  if (!woken && owner_.lease_) static_cast<void>(owner_.lease_->interrupt());
}

void OriginExchange::end_by(MonoTime deadline, Code why) noexcept {
  if (end_.armed() && end_.at <= deadline) return;
  end_.why = why;
  end_.at = deadline;
  context_.loop.arm(end_, deadline);
}

void OriginExchange::End::on_expired() { owner_.stop(Error(why, Side::gateway)); }

// Streams the request body while the main coroutine already waits for the response.
Task<void> OriginExchange::upload() {
  uploading_ = true;
  co_await upload_body();
  uploading_ = false;
  head_deadline_ = context_.loop.now() + origin_.origin->config.timeouts.first_byte;
  if (awaiting_head_) lease_->set_head_deadline(head_deadline_);
}

Task<void> OriginExchange::upload_body() {
  http::Upstream& writer = *lease_;
  http::BodySource& body = client_.body();
  TurnBudget budget(context_.loop);
  // A failed write is not an error yet: the origin may have answered early, and its answer is what counts. Unless it
  // takes nothing and says nothing.
  const auto judge_write = [this](const Result<void>& written) {
    if (!written && awaiting_head_ && written.error().code() == Code::origin_timeout) {
      stop(Error(Code::origin_timeout, Side::origin));
    }
  };
  if (body_taken_) {
    std::string_view left = kept_body_.view();
    while (!left.empty()) {
      const std::string_view piece = left.substr(0, kPiece);
      left.remove_prefix(piece.size());
      const bool last = body_whole_ && left.empty() && request_trailers_.empty();
      const Result<void> again = co_await writer.write(piece, last ? http::End::last : http::End::more);
      if (!again || last) co_return judge_write(again);
      budget.step(piece.size());
      if (budget.spent()) co_await context_.loop.yield();
    }
    if (body_whole_) co_return judge_write(co_await writer.finish(request_trailers_));
  }
  for (;;) {
    Result<http::BodyPiece> piece = body.poll();
    if (!piece) co_return stop(std::move(piece.error()));
    if (piece->kind == http::BodyPiece::Kind::wait) {
      // What is buffered leaves before we wait, so that an origin which streams sees it.
      const Result<void> flushed = co_await writer.flush();
      if (!flushed) co_return judge_write(flushed);
      static_cast<void>(co_await body.wait());  // the next poll() looks at the time
      continue;
    }
    body_taken_ = true;
    if (body.received() > exchange_.body_limit) {
      co_return stop(Error(over_limit_, Side::client));
    }
    body_whole_ = piece->last || piece->kind == http::BodyPiece::Kind::end;
    keep(piece->bytes);
    if (piece->kind == http::BodyPiece::Kind::end) {
      take_trailers();
      const Result<void> ended = co_await writer.finish(request_trailers_);
      co_return judge_write(ended);
    }
    const http::End end = piece->last ? http::End::last : http::End::more;
    const Result<void> written = co_await writer.write(piece->bytes, end);
    if (!written || piece->last) co_return judge_write(written);
    budget.step(piece->bytes.size());
    if (budget.spent()) co_await context_.loop.yield();
  }
}

void OriginExchange::keep(std::string_view bytes) {
  const bool may_help = lease_->version() == http::Version::http_2 || !token_uses_.empty();
  keeping_body_ = keeping_body_ && may_help && kept_body_.size() + bytes.size() <= kMaxKeptBody;
  if (keeping_body_) {
    kept_body_.append(bytes);
  } else {
    kept_body_.release();
  }
}

Task<Result<void>> OriginExchange::receive_final_head() {
  for (;;) {
    if (stop_error_) co_return fail(Code::cancelled, Side::gateway);
    awaiting_head_ = true;
    Result<void> received = co_await lease_->receive_head(exchange_.request.method, response_, head_deadline_);
    awaiting_head_ = false;
    if (!received) co_return received;
    if (!http::is_interim(response_.status)) co_return Result<void>();
    // The gateway answers Expect itself, so a 100 of the origin has nobody waiting for it.
    if (response_.status == 100) continue;
    http::strip_response_hop_by_hop(response_, reserved_);
    guard_reflection(context_, *origin_.plan, sensitive_, exchange_.request_id, response_.headers);
    Result<void> told = co_await client_.send_informational(response_);
    if (!told) co_return told;
  }
}

// RFC 9110 15.2.2: a 101 only to the upgrade that was asked for, and then exactly that.
Result<void> OriginExchange::check_switch() const {
  if (response_.status != 101) return {};
  if (!exchange_.websocket) return fail(Code::origin_malformed, Side::origin, "101 without an upgrade request");
  return http::check_websocket_response(exchange_.request, response_);
}

void OriginExchange::judge(origins::Outcome outcome) {
  if (judged_ || !endpoint_) return;
  judged_ = true;
  const bool ejected = origins::record_outcome(*endpoint_, *view_->endpoints, origin_.origin->config.ejection, outcome,
                                               context_.loop.now());
  if (ejected) {
    context_.log.warning("an endpoint is ejected after failures in a row",
                         {observe::LogField::name("origin", origin_.origin->config.name),
                          observe::LogField::number("endpoint", facts_.endpoint)});
  }
}

Task<Result<void>> OriginExchange::relay() {
  if (response_.status == 101) return splice();
  return relay_body();
}

Task<Result<void>> OriginExchange::relay_body() {
  http::BodySource& body = lease_->body();
  TurnBudget budget(context_.loop);
  bool ended = false;
  if (!uploading_) kept_body_.release();  // nothing is tried again
  while (!ended) {
    // In every round: a body that never has to be waited for must not go on under an old identity.
    if (stop_error_) co_return ended_by(Error(Code::cancelled, Side::gateway));
    Result<http::BodyPiece> piece = body.poll();
    if (!piece) co_return ended_by(std::move(piece.error()));
    switch (piece->kind) {
      case http::BodyPiece::Kind::wait: {
        // A head or an event that has no successor yet must not wait for one.
        Result<void> flushed = co_await client_.write({}, http::End::more);
        if (!flushed) co_return ended_by(std::move(flushed.error()));
        if (stop_error_) break;
        const Wake wake = co_await body.wait();
        static_cast<void>(wake);  // the next round looks at stop_error_, the next poll() at the time
        break;
      }
      case http::BodyPiece::Kind::data: {
        ended = piece->last;
        Result<void> written = co_await client_.write(piece->bytes, ended ? http::End::last : http::End::more);
        if (!written) co_return ended_by(std::move(written.error()));
        budget.step(piece->bytes.size());
        if (budget.spent() && !ended) co_await context_.loop.yield();
        break;
      }
      case http::BodyPiece::Kind::end: {
        // A recipient that merges them into the head (RFC 9110 6.5) must find nothing there that is not said in heads.
        http::ResponseHead trailing;
        http::Headers& trailers = trailing.headers;
        for (const http::Field& field : body.trailers()) trailers.append(field.name, field.value, field.id);
        http::strip_response_trailers(trailing, reserved_, route_.written_responses);
        guard_reflection(context_, *origin_.plan, sensitive_, exchange_.request_id, trailers);
        ended = true;
        Result<void> finished = co_await client_.finish(trailers);
        if (!finished) co_return ended_by(std::move(finished.error()));
        break;
      }
    }
  }
  uploads_.cancel_all();
  if (authenticates_connection(exchange_.request)) {
    lease_.close();
  } else {
    pool_->give_back(std::move(lease_));
  }
  co_return Result<void>();
}

Task<Result<void>> OriginExchange::splice() {
  client_.close_after_response();
  Result<void> told = co_await client_.finish({});
  if (!told) co_return ended_by(std::move(told.error()));
  // Whatever cuts it off, this frame's end included: the origin must not take it for an orderly end.
  lease_->raw_stream().reset_on_close();
  Splice splice(context_.loop, context_.buffers, context_.exceptions, origin_.origin->config.timeouts.idle);
  splice_ = &splice;
  if (stop_error_) splice.stop();
  const std::string early = lease_->take_raw_leftover();
  const Splice::Ended how = co_await splice.run({client_.raw_stream(), client_.raw_leftover(), facts_.spliced_in},
                                                {lease_->raw_stream(), early, facts_.spliced_out});
  splice_ = nullptr;
  if (how == Splice::Ended::in_order) {
    // Where streams share a window, the last bytes may still wait for it.
    const Result<void> flushed = co_await lease_->flush_raw();
    if (!flushed) co_return ended_by(Error(flushed.error().code(), flushed.error().side()));
    lease_->raw_stream().close_in_order();
  }
  lease_.close();
  switch (how) {
    case Splice::Ended::in_order: break;
    case Splice::Ended::a_failed: co_return fail(Code::client_closed, Side::client);
    case Splice::Ended::b_failed: co_return fail(Code::origin_closed, Side::origin);
    case Splice::Ended::silence: co_return fail(Code::origin_timeout, Side::origin);
    case Splice::Ended::stopped: co_return ended_by(Error(Code::cancelled, Side::gateway));
  }
  co_return Result<void>();
}

}  // namespace postern::gateway
