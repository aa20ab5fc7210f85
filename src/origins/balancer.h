// Balancer: chooses an endpoint for one attempt. One per loop and origin; not thread-safe.
#pragma once

#include <cstdint>

#include "config/config.h"
#include "origins/endpoint.h"

namespace postern::origins {

class Balancer {
 public:
  explicit Balancer(config::Balance balance) noexcept : balance_(balance) {}

  // The next available endpoint, `avoid` only if there is no other. If none is available, the one whose ejection ends
  // first is chosen (a passive verdict may be wrong), but never one that active checks found dead: then nullptr. The
  // turn of an endpoint that is out goes to all others alike.
  [[nodiscard]] const std::shared_ptr<Endpoint>* pick(const EndpointSet& endpoints, MonoTime now,
                                                      const Endpoint* avoid) noexcept;

 private:
  config::Balance balance_;
  std::uint32_t next_ = 0;
};

// What the outcome of a request says about its endpoint.
enum class Outcome : std::uint8_t { success, failure };

// Passive ejection: `consecutive_failures` in a row take an endpoint out for base_time, doubled for every time in a
// row, as long as no more than max_percent of `endpoints` are out. Returns true if this call ejected it.
bool record_outcome(Endpoint& endpoint, const EndpointSet& endpoints, const config::EjectionConfig& ejection,
                    Outcome outcome, MonoTime now) noexcept;

// How many retries may be added to the requests of an origin: a share of the recent requests, and a few for an origin
// with little traffic. Thread-safe.
class RetryBudget {
 public:
  explicit RetryBudget(std::uint32_t percent) noexcept : percent_(percent) {}
  void on_request() noexcept;
  // True if one retry may be spent.
  [[nodiscard]] bool take() noexcept;
  [[nodiscard]] std::uint32_t percent() const noexcept { return percent_; }

 private:
  static constexpr std::int64_t kUnit = 100;  // one retry
  static constexpr std::int64_t kReserve = 10 * kUnit;
  std::uint32_t percent_;
  std::atomic<std::int64_t> balance_{kReserve};
};

}  // namespace postern::origins
