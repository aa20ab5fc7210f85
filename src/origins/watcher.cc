#include "origins/watcher.h"

#include <algorithm>

#include "http/connection/client_connection.h"
#include "http/h2/client_session.h"

namespace postern::origins {
namespace {

constexpr Duration kRetryAfterFailure = std::chrono::seconds(5);

bool is_expected(const config::HealthConfig& health, int status) {
  if (health.expected_status.empty()) return status >= 200 && status < 300;
  return std::find(health.expected_status.begin(), health.expected_status.end(), status) !=
         health.expected_status.end();
}

}  // namespace

OriginWatcher::OriginWatcher(const Services& services, const Origin& origin, std::shared_ptr<const void> holder)
    : services_(services), origin_(origin), holder_(std::move(holder)), tasks_(services.exceptions) {}

void OriginWatcher::start() {
  publish();
  for (const config::EndpointConfig& endpoint : origin_.config.endpoints) {
    const config::Address& address = endpoint.address;
    if (address.kind != config::Address::Kind::tcp || IpAddress::parse(address.host)) continue;
    if (!names_.insert(address.host).second) continue;
    ++unsettled_;
    tasks_.spawn(keep_resolving(address.host));
  }
  if (origin_.config.health) {
    tasks_.spawn(keep_checking());
    return;
  }
  // The verdict of checks that are no longer made.
  for (const auto& endpoint : *origin_.state->endpoints()) endpoint->healthy.store(true, std::memory_order_relaxed);
}

Task<void> OriginWatcher::keep_resolving(std::string name) {
  // Shared with the callback, which may come after this watcher is gone.
  struct Answer {
    explicit Answer(Loop& loop) : arrived(loop) {}
    Event arrived;
    Result<Resolution> result = Resolution{};
  };
  for (bool first = true;; first = false) {
    const auto answer = std::make_shared<Answer>(services_.loop);
    services_.resolver.resolve(name, [answer](Result<Resolution> result) {
      answer->result = std::move(result);
      answer->arrived.set();
    });
    co_await answer->arrived.wait();
    Duration wait = kRetryAfterFailure;
    if (answer->result) {
      wait = answer->result->ttl;
      resolved_[name] = std::move(answer->result->addresses);
      publish();
    } else {
      // The last addresses stay in use: a name server that is down must not take the origin with it.
      services_.log.warning(
          "an origin's name cannot be resolved",
          {observe::LogField::name("origin", origin_.config.name), observe::LogField::error(answer->result.error())});
    }
    if (first) --unsettled_;
    co_await services_.loop.sleep_for(wait);
  }
}

void OriginWatcher::publish() {
  const std::shared_ptr<const EndpointSet> before = origin_.state->endpoints();
  std::shared_ptr<const EndpointSet> now = known_endpoints(origin_.config, *before, resolved_);
  if (*now != *before) origin_.state->publish(std::move(now));
}

Task<void> OriginWatcher::keep_checking() {
  for (;;) {
    const std::shared_ptr<const EndpointSet> endpoints = origin_.state->endpoints();
    // A probe carries the identity, so it ends with the permission to send that in clear, or with the certificate.
    const WallTime now = services_.loop.wall();
    const bool allowed = origin_.usable(now) && now < origin_.certificate_ends;
    for (std::size_t i = 0; allowed && i < endpoints->size(); ++i) {
      if (!(*endpoints)[i]->being_checked) tasks_.spawn(check((*endpoints)[i], i));
    }
    co_await services_.loop.sleep_for(origin_.config.health->interval);
  }
}

Task<void> OriginWatcher::check(std::shared_ptr<Endpoint> endpoint, std::size_t index) {
  struct Mark {
    Endpoint& endpoint;
    explicit Mark(Endpoint& checked) : endpoint(checked) { endpoint.being_checked = true; }
    ~Mark() { endpoint.being_checked = false; }
  } const mark(*endpoint);
  const Result<int> outcome = co_await probe(*endpoint);
  judge(*endpoint, index, outcome);
}

// On a connection of its own, made exactly as those for traffic are: same trust, same identity.
Task<Result<int>> OriginWatcher::probe(const Endpoint& endpoint) {
  const config::HealthConfig& health = *origin_.config.health;
  const MonoTime deadline = services_.loop.now() + health.timeout;
  Result<Established> connection =
      co_await establish(services_.loop, services_.buffers, services_.network, endpoint.address,
                         origin_.transport_to(endpoint), Want::any, nullptr, deadline);
  if (!connection) co_return std::unexpected(std::move(connection.error()));
  if (!connection->http2) {
    http::ClientConnection http1(services_.loop, services_.buffers, std::move(connection->stream), {health.timeout});
    http1.set_tls(connection->tls);
    co_return co_await ask(endpoint, http1, deadline);
  }
  struct Ignore final : http::h2::ClientSession::Owner {
    void on_session_changed(http::h2::ClientSession& /*session*/) override {}
  } ignore;
  http::h2::ClientSession session({services_.loop, services_.buffers, services_.exceptions},
                                  std::move(connection->stream), {health.timeout}, {}, ignore);
  session.start();
  Result<void> ready = co_await session.ready(deadline);
  if (!ready) co_return std::unexpected(std::move(ready.error()));
  if (!session.has_room()) co_return fail(Code::origin_unavailable, Side::origin, "no stream allowed");
  const std::unique_ptr<http::Upstream> stream = session.open();
  co_return co_await ask(endpoint, *stream, deadline);
}

Task<Result<int>> OriginWatcher::ask(const Endpoint& endpoint, http::Upstream& upstream, MonoTime deadline) {
  const config::HealthConfig& health = *origin_.config.health;
  http::RequestHead request;
  request.method = http::Method::get;
  request.method_text = "GET";
  request.headers.append("User-Agent", "postern-health");
  http::Headers added;
  Arena arena;
  const std::string_view host =
      origin_.config.host_mode == config::HostMode::name ? origin_.config.host_name : endpoint.authority;
  const std::string_view scheme = origin_.config.tls ? "https" : "http";
  std::vector<std::string_view> sensitive;
  identity::Attempt attempt{.request = request,
                            .scheme = scheme,
                            .host = host,
                            .path_and_query = health.path,
                            .now = services_.loop.wall(),
                            .loop = services_.loop,
                            .deadline = deadline,
                            .added = added,
                            .arena = arena,
                            .sensitive = sensitive};
  for (const auto& method : origin_.identity) {
    Result<void> applied = co_await method->apply(attempt);
    if (!applied) co_return std::unexpected(std::move(applied.error()));
  }
  if (upstream.version() != http::Version::http_2) added.append("Connection", "close");
  upstream.start({request, scheme, host, health.path, added});
  Result<void> sent = co_await upstream.flush();
  if (!sent) co_return std::unexpected(std::move(sent.error()));
  http::ResponseHead response;
  do {
    Result<void> received = co_await upstream.receive_head(http::Method::get, response, deadline);
    if (!received) co_return std::unexpected(std::move(received.error()));
  } while (http::is_interim(response.status));
  co_return response.status;
}

void OriginWatcher::judge(Endpoint& endpoint, std::size_t index, const Result<int>& outcome) {
  const config::HealthConfig& health = *origin_.config.health;
  const bool good = outcome && is_expected(health, *outcome);
  const bool healthy = endpoint.healthy.load(std::memory_order_relaxed);
  if (good == healthy) {
    endpoint.checks_against = 0;
    return;
  }
  const std::uint32_t needed = good ? health.healthy_threshold : health.unhealthy_threshold;
  if (++endpoint.checks_against < needed) return;
  endpoint.checks_against = 0;
  endpoint.healthy.store(good, std::memory_order_relaxed);
  services_.log.warning(
      good ? observe::Constant("an endpoint is healthy again") : observe::Constant("an endpoint is unhealthy"),
      {observe::LogField::name("origin", origin_.config.name), observe::LogField::number("endpoint", index),
       observe::LogField::number("status", outcome ? *outcome : 0)});
}

}  // namespace postern::origins
