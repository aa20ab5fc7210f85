// Clock: the only source of time. MonoTime drives deadlines and never goes back; WallTime is for dates that leave the
// process (log records, header fields, expiry of what others issued).
#pragma once

#include <chrono>

namespace postern {

using Duration = std::chrono::nanoseconds;
using MonoTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

class ManualClock;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual MonoTime now() const noexcept = 0;
  [[nodiscard]] virtual WallTime wall() const noexcept = 0;
  // Not nullptr if time is virtual.
  [[nodiscard]] virtual ManualClock* manual() noexcept { return nullptr; }
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] MonoTime now() const noexcept override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] WallTime wall() const noexcept override { return std::chrono::system_clock::now(); }
};

// Virtual time for tests: moves only when told. A Loop on a ManualClock jumps to its next timer when it is idle.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] MonoTime now() const noexcept override { return MonoTime(std::chrono::hours(1)) + elapsed_; }
  [[nodiscard]] WallTime wall() const noexcept override {
    return WallTime(std::chrono::seconds(1'700'000'000)) + elapsed_;
  }
  [[nodiscard]] ManualClock* manual() noexcept override { return this; }
  void advance(Duration by) noexcept { elapsed_ += by; }

 private:
  Duration elapsed_{0};
};

}  // namespace postern
