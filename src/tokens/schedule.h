// When a credential is fetched again: the arithmetic of TokenManager (manager.h), pure and apart.
#pragma once

#include <optional>

#include "platform/clock.h"
#include "platform/entropy.h"

namespace postern::tokens {

// From 0 up to, not including, 1.
[[nodiscard]] double random_fraction(const Entropy& entropy) noexcept;

struct Schedule {
  MonoTime soft;  // fetched anew from here on; MonoTime::max(): never
  MonoTime hard;  // not sent from here on; MonoTime::max(): never
};
// REQUIRES: received < expires. `random` as random_fraction() gives it.
[[nodiscard]] Schedule schedule(MonoTime received, MonoTime expires, std::optional<MonoTime> server_refresh,
                                double random) noexcept;

// How long to wait after the `failures`-th failure in a row (from 1).
[[nodiscard]] Duration back_off(unsigned failures, bool permanent, std::optional<Duration> retry_after,
                                double random) noexcept;

}  // namespace postern::tokens
