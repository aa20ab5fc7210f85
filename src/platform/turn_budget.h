// TurnBudget: how much one coroutine does in one turn of the loop before it lets the others have theirs. Without it a
// peer that always has more to send, to somebody who always takes it, would keep a copying loop from ever suspending:
// no other connection, no timer, no time would go on.
//
//   budget.step(bytes);
//   if (budget.spent()) co_await loop.yield();
#pragma once

#include <cstddef>
#include <cstdint>

#include "platform/loop.h"

namespace postern {

class TurnBudget {
 public:
  // Four reads of the largest block: enough that yielding costs a large body nothing, little enough that nobody waits
  // for long.
  static constexpr std::size_t kBytes = 256 * 1024;
  // Most steps cost a system call or a request's work, whatever they move.
  static constexpr std::size_t kStep = 8 * 1024;

  explicit TurnBudget(const Loop& loop) noexcept : loop_(loop) {}

  // Counts one step that moved `bytes`.
  void step(std::size_t bytes) noexcept { charge(bytes + kStep); }
  // Counts work that is no step of its own.
  void charge(std::size_t bytes) noexcept {
    if (turn_ != loop_.turn_number()) {
      turn_ = loop_.turn_number();
      spent_ = 0;
    }
    spent_ += bytes;
  }
  // Enough for this turn: time to yield.
  [[nodiscard]] bool spent() const noexcept { return spent_ >= kBytes && turn_ == loop_.turn_number(); }

 private:
  const Loop& loop_;
  std::uint64_t turn_ = 0;
  std::size_t spent_ = 0;
};

}  // namespace postern
