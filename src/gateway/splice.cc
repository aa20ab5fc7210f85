#include "gateway/splice.h"

#include "platform/deadline.h"
#include "platform/turn_budget.h"

namespace postern::gateway {

Task<Splice::Ended> Splice::run(Side a, Side b) {
  last_activity_ = loop_.now();
  running_ = 2;
  pumps_.spawn(pump({a, b.stream, Ended::a_failed, Ended::b_failed}));
  pumps_.spawn(pump({b, a.stream, Ended::b_failed, Ended::a_failed}));
  while (running_ != 0 && how_ == Ended::in_order) co_await ended_.wait();
  pumps_.cancel_all();
  co_return how_;
}

void Splice::stop() noexcept { end(Ended::stopped); }

// The first reason counts.
void Splice::end(Ended how) noexcept {
  if (how_ == Ended::in_order) how_ = how;
  ended_.set();
}

Task<void> Splice::pump(Way way) {
  const Ended how = co_await copy(way);
  --running_;
  if (how == Ended::in_order) way.to.shutdown_write();
  end(how);
}

Task<bool> Splice::write_all(const Way& way, std::string_view bytes) {
  while (!bytes.empty()) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: written from, not to
    const IoResult sent = way.to.try_write({&part, 1});
    if (sent.status == IoStatus::ok) {
      bytes.remove_prefix(sent.bytes);
      way.from.taken += sent.bytes;
      last_activity_ = loop_.now();
      continue;
    }
    if (sent.status != IoStatus::would_block) co_return false;
    Deadline deadline(loop_, way.to, Deadline::Direction::write);
    deadline.set_after(idle_);
    const Wake wake = co_await way.to.writable();
    if (wake != Wake::ready) co_return false;
  }
  co_return true;
}

Task<Splice::Ended> Splice::copy(Way way) {
  const bool began = co_await write_all(way, way.from.already_received);
  if (!began) co_return way.to_failed;
  Stream& from = way.from.stream;
  Buffer buffer(buffers_);
  Deadline deadline(loop_, from);
  TurnBudget budget(loop_);
  for (;;) {
    const IoResult read = from.try_read(buffer.writable(4096));
    if (read.status == IoStatus::ok) {
      buffer.commit(read.bytes);
      last_activity_ = loop_.now();
      const bool written = co_await write_all(way, buffer.view());
      if (!written) co_return way.to_failed;
      buffer.clear();
      budget.step(read.bytes);
      if (budget.spent()) co_await loop_.yield();
      continue;
    }
    if (read.status == IoStatus::eof) co_return Ended::in_order;
    if (read.status == IoStatus::error) co_return way.from_failed;
    buffer.release();  // an idle WebSocket holds no buffer
    deadline.set(last_activity_ + idle_);
    const Wake wake = co_await from.readable();
    // The other direction may have been busy meanwhile; silence counts only if both are silent.
    if (wake == Wake::timed_out && loop_.now() - last_activity_ >= idle_) co_return Ended::silence;
  }
}

}  // namespace postern::gateway
