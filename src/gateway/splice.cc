#include "gateway/splice.h"

#include "platform/deadline.h"

namespace postern::gateway {

Task<Splice::Ended> Splice::run(Side a, Side b) {
  last_activity_ = loop_.now();
  running_ = 2;
  pumps_.spawn(pump(a, b.stream));
  pumps_.spawn(pump(b, a.stream));
  while (running_ != 0 && !broken_) co_await ended_.wait();
  pumps_.cancel_all();
  co_return broken_ ? Ended::broken : Ended::in_order;
}

void Splice::stop() noexcept {
  broken_ = true;
  ended_.set();
}

Task<void> Splice::pump(Side from, Stream& to) {
  const Ended how = co_await copy(from, to);
  --running_;
  if (how == Ended::broken) {
    broken_ = true;
  } else {
    to.shutdown_write();
  }
  ended_.set();
}

Task<Splice::Ended> Splice::write_all(Stream& to, std::string_view bytes, std::uint64_t& taken) {
  while (!bytes.empty()) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: written from, not to
    const IoResult sent = to.try_write({&part, 1});
    if (sent.status == IoStatus::ok) {
      bytes.remove_prefix(sent.bytes);
      taken += sent.bytes;
      last_activity_ = loop_.now();
      continue;
    }
    if (sent.status != IoStatus::would_block) co_return Ended::broken;
    Deadline deadline(loop_, to, Deadline::Direction::write);
    deadline.set_after(idle_);
    const Wake wake = co_await to.writable();
    if (wake != Wake::ready) co_return Ended::broken;
  }
  co_return Ended::in_order;
}

Task<Splice::Ended> Splice::copy(Side side, Stream& to) {
  Stream& from = side.stream;
  const Ended began = co_await write_all(to, side.already_received, side.taken);
  if (began == Ended::broken) co_return Ended::broken;
  Buffer buffer(buffers_);
  Deadline deadline(loop_, from);
  for (;;) {
    const IoResult read = from.try_read(buffer.writable(4096));
    if (read.status == IoStatus::ok) {
      buffer.commit(read.bytes);
      last_activity_ = loop_.now();
      const Ended written = co_await write_all(to, buffer.view(), side.taken);
      if (written == Ended::broken) co_return Ended::broken;
      buffer.clear();
      continue;
    }
    if (read.status == IoStatus::eof) co_return Ended::in_order;
    if (read.status == IoStatus::error) co_return Ended::broken;
    buffer.release();  // an idle WebSocket holds no buffer
    deadline.set(last_activity_ + idle_);
    const Wake wake = co_await from.readable();
    if (wake == Wake::interrupted) co_return Ended::broken;
    // The other direction may have been busy meanwhile; silence counts only if both are silent.
    if (wake == Wake::timed_out && loop_.now() - last_activity_ >= idle_) co_return Ended::broken;
  }
}

}  // namespace postern::gateway
