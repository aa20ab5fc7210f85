#include "platform/memory_network.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace postern {
namespace {

class MemoryStream;

struct Pipe {
  std::string bytes;
  bool finished = false;
  bool reset = false;
  MemoryStream* reader = nullptr;
  MemoryStream* writer = nullptr;
};

class MemoryStream final : public Stream, Loop::Deferred {
 public:
  MemoryStream(Loop& loop, MemoryOptions options, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out)
      : loop_(loop), options_(options), in_(std::move(in)), out_(std::move(out)) {
    in_->reader = this;
    out_->writer = this;
  }
  ~MemoryStream() override {
    in_->reader = nullptr;
    out_->writer = nullptr;
    out_->finished = true;
    // Like a socket: closing with unread input resets, and so does whoever asked for it.
    if (reset_on_close_ || !in_->bytes.empty()) {
      out_->reset = true;
      in_->reset = true;
    }
    if (out_->reader) out_->reader->notify();
    if (in_->writer) in_->writer->notify();
  }

  IoResult try_read(std::span<char> into) override {
    if (in_->reset) return {IoStatus::error, ECONNRESET, 0};
    if (in_->bytes.empty()) {
      if (in_->finished) return {IoStatus::eof, 0, 0};
      may_read_ = false;
      return {IoStatus::would_block, 0, 0};
    }
    const std::size_t n = std::min({into.size(), in_->bytes.size(), options_.max_read});
    std::memcpy(into.data(), in_->bytes.data(), n);
    in_->bytes.erase(0, n);
    // As on a socket, a read that took everything needs no second one to know.
    if (in_->bytes.empty() && !in_->finished) may_read_ = false;
    if (in_->writer) in_->writer->notify();
    return {IoStatus::ok, 0, n};
  }

  IoResult try_write(std::span<const iovec> from) override {
    if (out_->reset || out_->finished) return {IoStatus::error, EPIPE, 0};
    std::size_t written = 0;
    if (!out_->reader) {
      // Like TCP: the first write to a peer that has closed succeeds, and is answered by a reset.
      for (const iovec& part : from) written += part.iov_len;
      in_->reset = out_->reset = true;
      notify();
      return {IoStatus::ok, 0, written};
    }
    for (const iovec& part : from) {
      const std::size_t space = options_.capacity - std::min(options_.capacity, out_->bytes.size());
      const std::size_t n = std::min(space, part.iov_len);
      out_->bytes.append(static_cast<const char*>(part.iov_base), n);
      written += n;
      if (n < part.iov_len) break;
    }
    if (written == 0) {
      may_write_ = false;
      return {IoStatus::would_block, 0, 0};
    }
    out_->reader->notify();
    return {IoStatus::ok, 0, written};
  }

  void shutdown_write() noexcept override {
    out_->finished = true;
    if (out_->reader) out_->reader->notify();
  }
  void reset_on_close() noexcept override { reset_on_close_ = true; }
  void close_in_order() noexcept override { reset_on_close_ = false; }

 private:
  void notify() noexcept { loop_.defer(*this); }

  void run_deferred() override {
    const std::weak_ptr<char> alive = alive_;
    if (!in_->bytes.empty() || in_->finished || in_->reset) {
      Stream::on_readable();
      if (alive.expired()) return;
    }
    if (out_->bytes.size() < options_.capacity || out_->reset) {
      Stream::on_writable();
      if (alive.expired()) return;
    }
    if (in_->reset) Stream::on_abort();
  }

  Loop& loop_;
  MemoryOptions options_;
  std::shared_ptr<Pipe> in_;
  std::shared_ptr<Pipe> out_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
  bool reset_on_close_ = false;
};

// Waits for the end of the turn.
class EndOfTurn final : Loop::Deferred {
 public:
  explicit EndOfTurn(Loop& loop) noexcept : loop_(loop) {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    handle_ = handle;
    loop_.defer(*this);
  }
  void await_resume() const noexcept {}

 private:
  void run_deferred() override { handle_.resume(); }
  Loop& loop_;
  std::coroutine_handle<> handle_;
};

}  // namespace

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_memory_pair(Loop& loop, MemoryOptions options) {
  auto a_to_b = std::make_shared<Pipe>();
  auto b_to_a = std::make_shared<Pipe>();
  auto a = std::make_unique<MemoryStream>(loop, options, b_to_a, a_to_b);
  auto b = std::make_unique<MemoryStream>(loop, options, a_to_b, b_to_a);
  return {std::move(a), std::move(b)};
}

class MemoryNetwork::MemoryAcceptor final : public Acceptor {
 public:
  MemoryAcceptor(MemoryNetwork& network, SocketAddress address) : network_(network), address_(std::move(address)) {}
  ~MemoryAcceptor() override { network_.handlers_.erase(address_.to_string()); }
  [[nodiscard]] SocketAddress local_address() const override { return address_; }
  void accept_pending() override {}  // a connect() here is accepted at once

 private:
  MemoryNetwork& network_;
  SocketAddress address_;
};

Result<std::unique_ptr<Acceptor>> MemoryNetwork::listen(Loop& /*loop*/, const SocketAddress& address,
                                                        AcceptHandler& handler, Share /*share*/) {
  if (!handlers_.emplace(address.to_string(), &handler).second) {
    return fail(Code::io_failed, Side::gateway, address.to_string() + ": address in use");
  }
  return std::make_unique<MemoryAcceptor>(*this, address);
}

Task<Result<std::unique_ptr<Stream>>> MemoryNetwork::connect(Loop& loop, const SocketAddress& address,
                                                             MonoTime deadline) {
  const std::string name = address.to_string();
  if (black_holes_.contains(name)) {
    co_await loop.sleep_until(deadline);
    co_return fail(Code::origin_connect_timeout, Side::origin, Retry::yes);
  }
  co_await EndOfTurn(loop);  // a connect is never immediate
  const auto found = handlers_.find(name);
  if (found == handlers_.end()) {
    co_return fail(Code::origin_connect_failed, Side::origin, "refused", Retry::yes);
  }
  auto [near, far] = make_memory_pair(loop, options_);
  found->second->on_accept(std::move(far), peer_);
  co_return std::move(near);
}

}  // namespace postern
