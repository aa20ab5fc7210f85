#include "platform/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace postern {

void TimerWheel::arm(Timer& timer, MonoTime when) noexcept {
  using std::chrono::milliseconds;
  const Duration after = when - origin_;
  // Rounded up, so that no timer is early.
  const auto ticks = std::max<std::int64_t>(std::chrono::ceil<milliseconds>(after).count(), 0);
  timer.tick_ = std::max(static_cast<std::uint64_t>(ticks), tick_ + 1);
  place(timer);
}

void TimerWheel::place(Timer& timer) noexcept {
  // The level is the highest 6-bit digit in which the expiry differs from the current tick.
  const std::uint64_t difference = timer.tick_ ^ tick_;
  unsigned level = difference == 0 ? 0 : static_cast<unsigned>(63 - std::countl_zero(difference)) / kBits;
  std::uint64_t tick = timer.tick_;
  if (level >= kLevels) {  // beyond two years: parks in the last slot and is placed again from there
    level = kLevels - 1;
    tick = tick_ + ((std::uint64_t{kSlots} - 1) << (kBits * level));
  }
  const auto slot = static_cast<unsigned>((tick >> (kBits * level)) & (kSlots - 1));
  wheel_[level][slot].push_back(timer);
  occupied_[level] |= std::uint64_t{1} << slot;
}

void TimerWheel::cascade(unsigned level) {
  const auto slot = static_cast<unsigned>((tick_ >> (kBits * level)) & (kSlots - 1));
  if (slot == 0 && level + 1 < kLevels) cascade(level + 1);
  occupied_[level] &= ~(std::uint64_t{1} << slot);
  IntrusiveList<Timer> moving;
  moving.splice_back(wheel_[level][slot]);
  while (Timer* const timer = moving.front()) {
    timer->unlink();
    place(*timer);
  }
}

void TimerWheel::advance(MonoTime now) {
  if (now <= time_of(tick_)) return;
  const auto target = static_cast<std::uint64_t>(std::chrono::floor<std::chrono::milliseconds>(now - origin_).count());
  while (tick_ < target) {
    // Jump over empty slots of the lowest level up to the next cascade.
    const auto slot = static_cast<unsigned>(tick_ & (kSlots - 1));
    const std::uint64_t later = slot == kSlots - 1 ? 0 : occupied_[0] >> (slot + 1);
    const std::uint64_t step =
        later != 0 ? static_cast<std::uint64_t>(std::countr_zero(later)) + 1 : std::uint64_t{kSlots} - slot;
    if (tick_ + step > target) {
      tick_ = target;
      // `target` lies before the next occupied slot and before the next cascade.
      break;
    }
    tick_ += step;
    if ((tick_ & (kSlots - 1)) == 0) cascade(1);
    const auto due_slot = static_cast<unsigned>(tick_ & (kSlots - 1));
    occupied_[0] &= ~(std::uint64_t{1} << due_slot);
    IntrusiveList<Timer> due;
    due.splice_back(wheel_[0][due_slot]);
    while (Timer* const timer = due.front()) {
      timer->unlink();
      timer->on_expired();
    }
  }
}

std::optional<MonoTime> TimerWheel::next_expiry() const noexcept {
  for (unsigned level = 0; level < kLevels; ++level) {
    const std::uint64_t base = tick_ >> (kBits * level);
    const auto slot = static_cast<unsigned>(base & (kSlots - 1));
    const std::uint64_t later = slot == kSlots - 1 ? 0 : occupied_[level] >> (slot + 1);
    if (later != 0) {
      const std::uint64_t steps = static_cast<std::uint64_t>(std::countr_zero(later)) + 1;
      return time_of((base + steps) << (kBits * level));
    }
  }
  return std::nullopt;
}

}  // namespace postern
