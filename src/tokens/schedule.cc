#include "tokens/schedule.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace postern::tokens {
namespace {

using namespace std::chrono_literals;

constexpr Duration kEarly = 5min;
constexpr Duration kTransit = 30s;
constexpr Duration kMaxBackOff = 60s;
constexpr Duration kMaxRetryAfter = 1h;

Duration part(Duration whole, double fraction) noexcept {
  return Duration(static_cast<Duration::rep>(static_cast<double>(whole.count()) * fraction));
}

}  // namespace

double random_fraction(const Entropy& entropy) noexcept {
  std::array<unsigned char, 4> bytes{};
  entropy.fill(bytes);
  std::uint32_t value = 0;
  for (const unsigned char byte : bytes) value = value << 8U | byte;
  return static_cast<double>(value) / 4294967296.0;
}

Schedule schedule(MonoTime received, MonoTime expires, std::optional<MonoTime> server_refresh, double random) noexcept {
  Schedule out{MonoTime::max(), MonoTime::max()};
  Duration wait = Duration::max();
  if (expires != MonoTime::max()) {
    const Duration life = expires - received;
    out.hard = expires - std::min(kTransit, life / 10);
    wait = std::min(std::max(life - kEarly, life / 2), part(life, 0.8));
    // A server that wants it sooner is heard, but not one that wants it all the time.
    if (server_refresh) wait = std::clamp(*server_refresh - received, std::min(life / 10, wait), wait);
  } else if (server_refresh) {
    wait = std::max(*server_refresh - received, Duration(1s));
  }
  // 0.8 of the life and a tenth more is still before the hard end.
  if (wait != Duration::max()) out.soft = received + wait + part(wait, 0.2 * random - 0.1);
  return out;
}

Duration back_off(unsigned failures, bool permanent, std::optional<Duration> retry_after, double random) noexcept {
  const Duration ceiling = std::min<Duration>(1s * (1U << std::min(std::max(failures, 1U) - 1, 10U)), kMaxBackOff);
  const Duration wait = permanent ? 30s + part(30s, random) : part(ceiling, random);
  return std::max(wait, std::clamp(retry_after.value_or(Duration::zero()), Duration::zero(), kMaxRetryAfter));
}

}  // namespace postern::tokens
