// Gate: where the coroutine of one direction of an HTTP/2 stream waits for its turn: for data, for a window, for the
// transport. What the protocol brings is told with notify(), from inside of callbacks too, and wakes the waiter at the
// end of the turn (docs/coroutines.md, rule 6); a deadline and an interruption wake it at once, from the loop.
//
// Not sticky: who waits has looked at the state before and looks again after.
#pragma once

#include <cassert>
#include <coroutine>

#include "platform/deadline.h"

namespace postern::http::h2 {

class Gate {
 public:
  explicit Gate(Loop& loop) noexcept : loop_(loop), turn_end_(*this), alarm_(*this) {}
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() = default;

  class Awaiter;
  // co_await: waits for notify(), wake() or `deadline` (MonoTime::max(): none). One waiter at a time.
  [[nodiscard]] Awaiter wait(MonoTime deadline) noexcept;
  // The same with the deadline that was set last.
  [[nodiscard]] Awaiter wait_on() noexcept;

  void notify() noexcept {
    if (waiter_) loop_.defer(turn_end_);
  }
  // Ends the wait at once; not from inside of a callback of the protocol. True if somebody waited: everything may be
  // gone then.
  bool wake(Wake wake) noexcept;
  // Moves the deadline of the present wait, or sets that of the next.
  void set_deadline(MonoTime when) noexcept {
    when_ = when;
    if (when != MonoTime::max() && (!alarm_.armed() || when < armed_for_)) arm();
  }

 private:
  struct TurnEnd final : Loop::Deferred {
    explicit TurnEnd(Gate& of) noexcept : gate(of) {}
    void run_deferred() override { gate.wake(Wake::ready); }
    Gate& gate;
  };
  // Stays armed after a wait and is moved only when it fires too early (platform/deadline.h).
  struct Alarm final : Timer {
    explicit Alarm(Gate& of) noexcept : gate(of) {}
    void on_expired() override { gate.on_alarm(); }
    Gate& gate;
  };
  void arm() noexcept {
    armed_for_ = when_;
    loop_.arm(alarm_, when_);
  }
  void on_alarm() noexcept {
    if (!waiter_ || when_ == MonoTime::max()) return;
    if (when_ > loop_.now()) {
      arm();
    } else {
      wake(Wake::timed_out);
    }
  }

  Loop& loop_;
  Awaiter* waiter_ = nullptr;
  MonoTime when_ = MonoTime::max();
  MonoTime armed_for_{};
  TurnEnd turn_end_;
  Alarm alarm_;
};

class Gate::Awaiter final {
 public:
  explicit Awaiter(Gate& gate) noexcept : gate_(gate) {}
  Awaiter(const Awaiter&) = delete;
  Awaiter& operator=(const Awaiter&) = delete;
  ~Awaiter() { leave(); }
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    assert(!gate_.waiter_ && "two coroutines wait at the same gate");
    handle_ = handle;
    gate_.waiter_ = this;
  }
  [[nodiscard]] Wake await_resume() const noexcept { return wake_; }

 private:
  friend class Gate;
  void leave() noexcept {
    if (gate_.waiter_ != this) return;
    gate_.waiter_ = nullptr;
    gate_.turn_end_.unlink();
  }
  Gate& gate_;
  std::coroutine_handle<> handle_;
  Wake wake_ = Wake::ready;
};

inline Gate::Awaiter Gate::wait(MonoTime deadline) noexcept {
  set_deadline(deadline);
  return wait_on();
}
inline Gate::Awaiter Gate::wait_on() noexcept { return Awaiter(*this); }

inline bool Gate::wake(Wake wake) noexcept {
  Awaiter* const waiter = waiter_;
  if (!waiter) return false;
  waiter->wake_ = wake;
  waiter->leave();
  waiter->handle_.resume();
  return true;
}

}  // namespace postern::http::h2
