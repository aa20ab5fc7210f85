#include "origins/balancer.h"

#include <algorithm>

namespace postern::origins {

const std::shared_ptr<Endpoint>* Balancer::pick(const EndpointSet& endpoints, MonoTime now,
                                                const Endpoint* avoid) noexcept {
  const std::size_t count = endpoints.size();
  if (count == 0) return nullptr;
  const std::size_t start = next_ % count;
  const std::shared_ptr<Endpoint>* best = nullptr;
  const std::shared_ptr<Endpoint>* fallback = nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    const std::shared_ptr<Endpoint>& candidate = endpoints[(start + i) % count];
    if (!candidate->healthy.load(std::memory_order_relaxed)) continue;
    if (candidate->ejected(now) || candidate.get() == avoid) {
      const auto rank = [&](const Endpoint& e) {
        return e.ejected(now) ? e.ejected_until.load(std::memory_order_relaxed) : std::int64_t{0};
      };
      if (!fallback || rank(*candidate) < rank(**fallback)) fallback = &candidate;
      continue;
    }
    if (!best && balance_ == config::Balance::round_robin) {
      best = &candidate;
      break;
    }
    if (!best ||
        candidate->in_flight.load(std::memory_order_relaxed) < (*best)->in_flight.load(std::memory_order_relaxed)) {
      best = &candidate;
    }
  }
  if (!best) best = fallback;
  // From the chosen one on, not from where the search began: else the successor of a dead endpoint gets its share, too.
  if (best) next_ = static_cast<std::uint32_t>(best - endpoints.data()) + 1;
  return best;
}

bool record_outcome(Endpoint& endpoint, const EndpointSet& endpoints, const config::EjectionConfig& ejection,
                    Outcome outcome, MonoTime now) noexcept {
  if (outcome == Outcome::success) {
    // Reads first: on the common path the cache line stays shared between the loops.
    if (endpoint.failures.load(std::memory_order_relaxed) != 0) endpoint.failures.store(0, std::memory_order_relaxed);
    if (endpoint.ejections.load(std::memory_order_relaxed) != 0 && !endpoint.ejected(now)) {
      endpoint.ejections.store(0, std::memory_order_relaxed);
    }
    return false;
  }
  const std::uint32_t failures = endpoint.failures.fetch_add(1, std::memory_order_relaxed) + 1;
  if (ejection.consecutive_failures == 0 || failures < ejection.consecutive_failures || endpoint.ejected(now)) {
    return false;
  }
  const auto out = static_cast<std::size_t>(
      std::count_if(endpoints.begin(), endpoints.end(), [now](const auto& e) { return e->ejected(now); }));
  if ((out + 1) * 100 > endpoints.size() * ejection.max_percent) return false;
  const std::uint32_t doublings = std::min(endpoint.ejections.fetch_add(1, std::memory_order_relaxed), 6u);
  const Duration time = ejection.base_time * (1u << doublings);
  endpoint.ejected_until.store((now + time).time_since_epoch().count(), std::memory_order_relaxed);
  endpoint.failures.store(0, std::memory_order_relaxed);
  return true;
}

void RetryBudget::on_request() noexcept {
  const std::int64_t limit = kReserve + std::int64_t{percent_} * 10;
  if (balance_.load(std::memory_order_relaxed) < limit) balance_.fetch_add(percent_, std::memory_order_relaxed);
}

bool RetryBudget::take() noexcept {
  std::int64_t balance = balance_.load(std::memory_order_relaxed);
  while (balance >= kUnit) {
    if (balance_.compare_exchange_weak(balance, balance - kUnit, std::memory_order_relaxed)) return true;
  }
  return false;
}

}  // namespace postern::origins
