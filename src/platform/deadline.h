// Deadline: a point in time at which waits on a stream end with Wake::timed_out. Moving it is one store, because the
// timer behind it is re-armed only when it fires too early: a deadline per exchange, not a timer per read.
#pragma once

#include "platform/loop.h"
#include "platform/stream.h"

namespace postern {

class Deadline final : Timer {
 public:
  enum class Direction : std::uint8_t { read, write };

  // Ends waits in one direction. Both references outlive the deadline.
  Deadline(Loop& loop, Stream& stream, Direction direction = Direction::read) noexcept
      : loop_(loop), stream_(stream), direction_(direction) {}

  void set(MonoTime when) noexcept {
    when_ = when;
    expired_ = false;
    if (!armed() || when < armed_for_) rearm();
  }
  void set_after(Duration duration) noexcept { set(loop_.now() + duration); }
  void clear() noexcept { when_ = MonoTime::max(); }
  [[nodiscard]] bool expired() const noexcept { return expired_; }

 private:
  void rearm() noexcept {
    armed_for_ = when_;
    loop_.arm(*this, when_);
  }
  void on_expired() override {
    if (when_ == MonoTime::max()) return;
    if (when_ > loop_.now()) {
      rearm();
      return;
    }
    expired_ = true;
    when_ = MonoTime::max();
    // The waiter may end this object.
    if (direction_ == Direction::read) {
      stream_.wake_reader(Wake::timed_out);
    } else {
      stream_.wake_writer(Wake::timed_out);
    }
  }

  Loop& loop_;
  Stream& stream_;
  Direction direction_;
  MonoTime when_ = MonoTime::max();
  MonoTime armed_for_{};
  bool expired_ = false;
};

}  // namespace postern
