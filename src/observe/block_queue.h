// BlockQueue: a bounded queue of pointers for many producers and many consumers, without locks (D. Vyukov's array
// queue: each cell carries the number of the turn that may use it next). A producer that is preempted between its two
// steps hides later elements until it continues, so "empty" may be said early, never wrongly kept.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>

namespace postern::observe {

template <typename T>
class BlockQueue final {
 public:
  // Holds at least `capacity` pointers.
  explicit BlockQueue(std::size_t capacity)
      : mask_(std::bit_ceil(capacity < 2 ? std::size_t{2} : capacity) - 1), cells_(new Cell[mask_ + 1]) {
    for (std::size_t i = 0; i <= mask_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }
  BlockQueue(const BlockQueue&) = delete;
  BlockQueue& operator=(const BlockQueue&) = delete;
  ~BlockQueue() = default;

  // False if the queue is full.
  [[nodiscard]] bool push(T* value) noexcept {
    std::size_t at = head_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & mask_];
      const std::size_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == at) {
        if (head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
          cell.value = value;
          cell.turn.store(at + 1, std::memory_order_release);
          return true;
        }
      } else if (static_cast<std::ptrdiff_t>(turn - at) < 0) {
        return false;
      } else {
        at = head_.load(std::memory_order_relaxed);
      }
    }
  }

  // nullptr if the queue is empty.
  [[nodiscard]] T* pop() noexcept {
    std::size_t at = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[at & mask_];
      const std::size_t turn = cell.turn.load(std::memory_order_acquire);
      if (turn == at + 1) {
        if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed)) {
          T* const value = cell.value;
          cell.turn.store(at + mask_ + 1, std::memory_order_release);
          return value;
        }
      } else if (static_cast<std::ptrdiff_t>(turn - (at + 1)) < 0) {
        return nullptr;
      } else {
        at = tail_.load(std::memory_order_relaxed);
      }
    }
  }

 private:
  struct Cell {
    std::atomic<std::size_t> turn;
    T* value = nullptr;
  };
  const std::size_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace postern::observe
