// Event: lets one coroutine wait until another, on the same loop, says so. Set before the wait counts. The waiter is
// resumed by the loop at the end of the turn, never on the stack of set(), so it may cancel whoever called that.
#pragma once

#include <coroutine>
#include <utility>

#include "platform/loop.h"

namespace postern {

class Event final : Loop::Deferred {
 public:
  explicit Event(Loop& loop) noexcept : loop_(loop) {}

  void set() noexcept {
    set_ = true;
    if (waiter_) loop_.defer(*this);
  }

  class Awaiter {
   public:
    explicit Awaiter(Event& event) noexcept : event_(event) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    ~Awaiter() { event_.waiter_ = {}; }
    [[nodiscard]] bool await_ready() const noexcept { return event_.set_; }
    void await_suspend(std::coroutine_handle<> handle) noexcept { event_.waiter_ = handle; }
    void await_resume() noexcept { event_.set_ = false; }

   private:
    Event& event_;
  };
  // Waits for set() and clears it.
  [[nodiscard]] Awaiter wait() noexcept { return Awaiter(*this); }

 private:
  void run_deferred() override {
    if (waiter_) std::exchange(waiter_, {}).resume();
  }

  Loop& loop_;
  bool set_ = false;
  std::coroutine_handle<> waiter_;
};

}  // namespace postern
