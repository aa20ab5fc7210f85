// LoopContext: what one loop owns and every exchange on it may use. Nothing here is touched by another thread.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "gateway/snapshot.h"
#include "http/h2/counters.h"
#include "http/request_id.h"
#include "observe/access_log.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "origins/balancer.h"
#include "origins/pool.h"
#include "platform/buffer.h"
#include "platform/intrusive_list.h"
#include "platform/loop.h"
#include "platform/network.h"
#include "platform/task_set.h"

namespace postern::gateway {

class OriginExchange;
struct LoopContext;

// The endpoints of an origin at one moment, each with this loop's pool. Exchanges pin it, so that neither an index nor
// a pool changes under them when DNS does.
struct EndpointView {
  std::shared_ptr<const origins::EndpointSet> endpoints;
  std::vector<origins::EndpointPool*> pools;  // parallel to *endpoints; owned by the context while these live
};

// An origin as one loop sees it.
struct LoopOrigin {
  LoopOrigin(const OriginPlan& origin_plan, config::Balance balance)
      : plan(&origin_plan), origin(origin_plan.origin.get()), balancer(balance) {}

  const OriginPlan* plan;
  const origins::Origin* origin;
  origins::Balancer balancer;
  std::shared_ptr<const EndpointView> view;
  std::uint64_t version = 0;

  // Takes over what was published since the last time; one atomic load if nothing was.
  void refresh(LoopContext& context);
  void fetch(LoopContext& context);
};

// A snapshot together with this loop's view of its origins. Exchanges hold it by shared_ptr.
struct LoopSnapshot {
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<LoopOrigin> origins;
};

struct LoopContext {
  LoopContext(Loop& event_loop, Network& net, TaskSet::ErrorHandler& exception_handler,
              const observe::GatewayMetrics& families, observe::LoopMetrics& cells, observe::AccessLog* access,
              observe::Log& operational, const Entropy& entropy);
  LoopContext(const LoopContext&) = delete;
  LoopContext& operator=(const LoopContext&) = delete;
  ~LoopContext();

  Loop& loop;
  Network& network;
  TaskSet::ErrorHandler& exceptions;
  const observe::GatewayMetrics& metric_families;
  observe::LoopMetrics& metrics;
  std::unique_ptr<observe::LoopAccessLog> access_log;  // nullptr: off
  observe::Log& log;
  BufferPool buffers;
  http::RequestIdGenerator request_ids;
  std::shared_ptr<LoopSnapshot> current;
  IntrusiveList<OriginExchange> exchanges;  // all that are under way
  http::h2::Counters client_http2;          // of the connections from clients
  http::h2::Counters origin_http2;          // and to origins

  // Wall time of this turn.
  [[nodiscard]] WallTime wall() noexcept;
  // "Tue, 15 Nov 1994 08:12:31 GMT" of this second (RFC 9110 5.6.7).
  [[nodiscard]] std::string_view http_date() noexcept;

  // Switches to a snapshot: pools of endpoints that it no longer has close their idle connections, and exchanges with
  // an origin that is gone or has another identity now end within `drain`.
  void adopt(std::shared_ptr<const Snapshot> snapshot);
  [[nodiscard]] origins::EndpointPool& pool_for(const std::shared_ptr<origins::Endpoint>& endpoint,
                                                const origins::Origin& origin);
  void drop_unused_pools();
  void enlist(OriginExchange& exchange);
  // Now and then: an exchange may outlive what allowed it, a key that is revoked or expires or the permission to send
  // an identity in clear. Then it ends within `drain`.
  void review_exchanges();
  // Now and then: what happened on HTTP/2 connections since the last time goes to the metrics.
  void count_http2() noexcept;
  // Exchanges with an origin that has another trust or identity by now, or is gone.
  [[nodiscard]] std::size_t old_exchanges();

 private:
  struct OwnedPool {
    std::unique_ptr<origins::EndpointPool> pool;
    bool listed = false;  // by the current snapshot; set anew by drop_unused_pools()
  };
  void end_old_generations();
  // The origin of that name and identity in the current snapshot; nullptr: it is gone or has another identity now.
  [[nodiscard]] const origins::Origin* find_same(const origins::Origin& theirs) const;
  [[nodiscard]] MonoTime drained() const;  // when what ends now must be over

  std::unordered_map<const origins::Endpoint*, OwnedPool> pools_;
  MonoTime wall_turn_{};
  WallTime wall_{};
  http::h2::Counters client_http2_counted_;
  http::h2::Counters origin_http2_counted_;
  std::int64_t date_second_ = -1;
  char date_[32]{};
};

inline void LoopOrigin::refresh(LoopContext& context) {
  if (version == origin->state->version()) return;
  fetch(context);
  context.drop_unused_pools();
}

}  // namespace postern::gateway
