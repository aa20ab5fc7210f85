#include "gateway/loop_context.h"

#include <algorithm>

#include "gateway/origin_exchange.h"
#include "http/http_date.h"
#include "store/key_store.h"

namespace postern::gateway {

void LoopOrigin::fetch(LoopContext& context) {
  version = origin->state->version();
  auto fetched = std::make_shared<EndpointView>();
  fetched->endpoints = origin->state->endpoints();
  for (const auto& endpoint : *fetched->endpoints) fetched->pools.push_back(&context.pool_for(endpoint, *origin));
  view = std::move(fetched);
}

LoopContext::LoopContext(Loop& event_loop, Network& net, TaskSet::ErrorHandler& exception_handler,
                         const observe::GatewayMetrics& families, observe::LoopMetrics& cells,
                         observe::AccessLog* access, observe::Log& operational, const Entropy& entropy)
    : loop(event_loop),
      network(net),
      exceptions(exception_handler),
      metric_families(families),
      metrics(cells),
      access_log(access ? std::make_unique<observe::LoopAccessLog>(*access) : nullptr),
      log(operational),
      request_ids(entropy) {}

LoopContext::~LoopContext() = default;

WallTime LoopContext::wall() noexcept {
  if (wall_turn_ != loop.now()) {
    wall_turn_ = loop.now();
    wall_ = loop.wall();
  }
  return wall_;
}

std::string_view LoopContext::http_date() noexcept {
  const std::int64_t second = std::chrono::floor<std::chrono::seconds>(wall()).time_since_epoch().count();
  if (second != date_second_) {
    date_second_ = second;
    http::format_http_date(wall(), date_);
  }
  return {date_, http::kHttpDateSize};
}

void LoopContext::adopt(std::shared_ptr<const Snapshot> snapshot) {
  auto next = std::make_shared<LoopSnapshot>();
  next->snapshot = std::move(snapshot);
  next->origins.reserve(next->snapshot->origins.size());
  for (const OriginPlan& plan : next->snapshot->origins) {
    LoopOrigin& origin = next->origins.emplace_back(plan, plan.origin->config.balance);
    origin.fetch(*this);
    for (origins::EndpointPool* const pool : origin.view->pools) {
      pool->configure(plan.origin->config, plan.origin->transport_to(*pool->endpoint()));
    }
  }
  current = std::move(next);
  buffers.set_limit(current->snapshot->loop_buffer_memory);
  drop_unused_pools();
  end_old_generations();
}

origins::EndpointPool& LoopContext::pool_for(const std::shared_ptr<origins::Endpoint>& endpoint,
                                             const origins::Origin& origin) {
  OwnedPool& owned = pools_[endpoint.get()];
  if (!owned.pool) {
    const origins::EndpointPool::Services services{loop, buffers, network, exceptions, &origin_http2};
    owned.pool =
        std::make_unique<origins::EndpointPool>(services, endpoint, origin.config, origin.transport_to(*endpoint));
  }
  return *owned.pool;
}

// A pool that the current snapshot does not list closes its idle connections. It goes once no exchange of an older
// snapshot can still point to it, which is when nothing but the pool holds the endpoint.
void LoopContext::drop_unused_pools() {
  for (auto& [endpoint, owned] : pools_) owned.listed = false;
  if (current) {
    for (const LoopOrigin& origin : current->origins) {
      for (const auto& endpoint : *origin.view->endpoints) pools_[endpoint.get()].listed = true;
    }
  }
  std::erase_if(pools_, [](const auto& entry) {
    const OwnedPool& owned = entry.second;
    if (owned.listed) {
      owned.pool->restore();
      return false;
    }
    owned.pool->retire();
    return owned.pool->endpoint().use_count() == 1;
  });
}

void LoopContext::enlist(OriginExchange& exchange) {
  exchanges.push_back(exchange);
  // A policy may have waited across a reload.
  if (!find_same(exchange.origin())) exchange.end_by(drained(), Code::draining);
}

const origins::Origin* LoopContext::find_same(const origins::Origin& theirs) const {
  const auto found = std::find_if(current->origins.begin(), current->origins.end(), [&](const LoopOrigin& ours) {
    return ours.origin == &theirs ||
           (ours.origin->config.name == theirs.config.name && ours.origin->generation == theirs.generation);
  });
  return found == current->origins.end() ? nullptr : found->origin;
}

MonoTime LoopContext::drained() const { return loop.now() + current->snapshot->config->drain; }

void LoopContext::end_old_generations() {
  for (OriginExchange* exchange = exchanges.front(); exchange; exchange = exchanges.after(*exchange)) {
    if (!find_same(exchange->origin())) exchange->end_by(drained(), Code::draining);
  }
}

std::size_t LoopContext::old_exchanges() {
  std::size_t count = 0;
  for (OriginExchange* exchange = exchanges.front(); exchange; exchange = exchanges.after(*exchange)) {
    if (!find_same(exchange->origin())) ++count;
  }
  return count;
}

void LoopContext::count_http2() noexcept {
  const auto add_new = [this](const observe::Http2Metrics& cells, const http::h2::Counters& now,
                              http::h2::Counters& counted) {
    metrics.add(cells.connections, now.connections - counted.connections);
    metrics.add(cells.streams, now.streams - counted.streams);
    metrics.add(cells.refused, now.streams_refused - counted.streams_refused);
    metrics.add(cells.floods, now.floods - counted.floods);
    metrics.add(cells.resets.at(0), now.resets_sent - counted.resets_sent);
    metrics.add(cells.resets.at(1), now.resets_received - counted.resets_received);
    for (std::size_t i = 0; i < http::h2::Counters::kErrorCodes; ++i) {
      metrics.add(cells.goaways_sent.at(i), now.goaways_sent[i] - counted.goaways_sent[i]);
      metrics.add(cells.goaways_received.at(i), now.goaways_received[i] - counted.goaways_received[i]);
    }
    counted = now;
  };
  add_new(metric_families.http2(Side::client), client_http2, client_http2_counted_);
  add_new(metric_families.http2(Side::origin), origin_http2, origin_http2_counted_);
}

void LoopContext::review_exchanges() {
  const store::KeyStore* const keys = current->snapshot->keys;
  // While the store cannot be read, nobody new is let in; who is in keeps what was allowed.
  const store::KeyIndex* const index = keys ? keys->index() : nullptr;
  for (OriginExchange* exchange = exchanges.front(); exchange; exchange = exchanges.after(*exchange)) {
    const std::string_view key_id = exchange->exchange().consumer.key_id;
    if (index && !key_id.empty()) {
      const store::KeyRecord* const key = index->find_by_id(key_id);
      if (!key || store::status_of(*key, wall()) != store::KeyStatus::valid) {
        exchange->end_by(drained(), Code::credentials_invalid);
      }
    }
    // The exception may have been given another date since; without one it has ended with its generation.
    const origins::Origin* const origin = find_same(exchange->origin());
    if (origin && !origin->usable(wall())) exchange->end_by(drained(), Code::insecure_expired);
  }
}

}  // namespace postern::gateway
