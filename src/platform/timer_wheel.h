// Hierarchical timer wheel with a tick of one millisecond: arming and cancelling cost a list operation, whatever the
// number of timers. Expiry is never early and at most one tick late. Single-threaded; time is injected.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "platform/clock.h"
#include "platform/intrusive_list.h"

namespace postern {

class TimerWheel;

// An object that wants to be told. Destroying it disarms it.
class Timer : public ListNode {
 public:
  [[nodiscard]] bool armed() const noexcept { return linked(); }
  void disarm() noexcept { unlink(); }

 protected:
  Timer() = default;
  ~Timer() = default;

 private:
  friend class TimerWheel;
  virtual void on_expired() = 0;
  std::uint64_t tick_ = 0;
};

class TimerWheel {
 public:
  explicit TimerWheel(MonoTime now) noexcept : origin_(now) {}

  // Re-arms if already armed. A time in the past expires at the next advance().
  void arm(Timer& timer, MonoTime when) noexcept;

  // Expires everything due at `now`, in order of ticks. A callback may arm, disarm and destroy any timer.
  void advance(MonoTime now);

  // A time at or before which nothing expires; nullopt if no timer is armed.
  [[nodiscard]] std::optional<MonoTime> next_expiry() const noexcept;

 private:
  static constexpr unsigned kBits = 6;
  static constexpr unsigned kSlots = 1u << kBits;
  static constexpr unsigned kLevels = 6;  // 64^6 ms: two years

  void place(Timer& timer) noexcept;
  void cascade(unsigned level);
  [[nodiscard]] MonoTime time_of(std::uint64_t tick) const noexcept {
    return origin_ + std::chrono::milliseconds(static_cast<std::int64_t>(tick));
  }

  MonoTime origin_;
  std::uint64_t tick_ = 0;  // everything up to and including this tick has expired
  std::array<std::array<IntrusiveList<Timer>, kSlots>, kLevels> wheel_;
  std::array<std::uint64_t, kLevels> occupied_{};  // a set bit means: perhaps not empty
};

}  // namespace postern
