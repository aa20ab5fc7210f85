// Splice: copies bytes both ways between two streams (an upgraded connection) until both directions have ended, one
// fails, or nothing moves in either for `idle`. Half-close is passed on.
#pragma once

#include <cstdint>
#include <string_view>

#include "platform/buffer.h"
#include "platform/event.h"
#include "platform/loop.h"
#include "platform/stream.h"
#include "platform/task_set.h"

namespace postern::gateway {

class Splice {
 public:
  struct Side {
    Stream& stream;
    std::string_view already_received;  // goes to the other side first; borrowed until run() is done
    std::uint64_t& taken;               // counts the bytes that the other side took; outlives the splice
  };
  enum class Ended : std::uint8_t {
    in_order,
    a_failed,  // reset, or took nothing for `idle`
    b_failed,
    silence,  // nothing moved for `idle`
    stopped,  // by stop()
  };

  Splice(Loop& loop, BufferPool& buffers, TaskSet::ErrorHandler& exceptions, Duration idle)
      : loop_(loop), buffers_(buffers), idle_(idle), ended_(loop), pumps_(exceptions) {}

  [[nodiscard]] Task<Ended> run(Side a, Side b);
  // Ends run(), at the end of the turn.
  void stop() noexcept;

 private:
  // One direction: from where to where, and what to call it if either end fails.
  struct Way {
    Side from;
    Stream& to;
    Ended from_failed;
    Ended to_failed;
  };
  [[nodiscard]] Task<void> pump(Way way);
  [[nodiscard]] Task<Ended> copy(Way way);
  // False if `way.to` failed.
  [[nodiscard]] Task<bool> write_all(const Way& way, std::string_view bytes);
  void end(Ended how) noexcept;

  Loop& loop_;
  BufferPool& buffers_;
  Duration idle_;
  MonoTime last_activity_{};
  int running_ = 0;
  Ended how_ = Ended::in_order;
  Event ended_;
  TaskSet pumps_;
};

}  // namespace postern::gateway
