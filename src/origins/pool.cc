#include "origins/pool.h"

namespace postern::origins {

// An idle connection: leaves the pool when the origin closes it or says anything, or when its time is over.
class EndpointPool::Idle final : public IdleLink, Stream::ReadWatch, Timer {
 public:
  Idle(EndpointPool& pool, std::unique_ptr<http::ClientConnection> connection)
      : pool_(pool), connection_(std::move(connection)) {
    watch(connection_->stream());
    pool_.loop_.arm(*this, pool_.loop_.now() + pool_.pool_.idle_timeout);
  }
  // The watch is taken off before the stream can die.
  ~Idle() { unwatch(); }

  [[nodiscard]] std::unique_ptr<http::ClientConnection> take() {
    unwatch();
    disarm();
    return std::move(connection_);
  }
  [[nodiscard]] bool expired(MonoTime now) const {
    return now - connection_->created() >= pool_.pool_.max_lifetime;
  }

 private:
  void on_wake(Wake /*wake*/) override { pool_.drop(*this); }
  void on_expired() override { pool_.drop(*this); }

  EndpointPool& pool_;
  std::unique_ptr<http::ClientConnection> connection_;
};

EndpointPool::EndpointPool(Loop& loop, BufferPool& buffers, Network& network, std::shared_ptr<Endpoint> endpoint,
                           const config::OriginConfig& origin)
    : loop_(loop),
      buffers_(buffers),
      network_(network),
      endpoint_(std::move(endpoint)),
      pool_(origin.pool),
      timeouts_(origin.timeouts) {}

EndpointPool::~EndpointPool() { close_idle(); }

void EndpointPool::configure(const config::OriginConfig& origin) {
  pool_ = origin.pool;
  timeouts_ = origin.timeouts;
}

void EndpointPool::drop(Idle& idle) noexcept {
  --idle_count_;
  endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
  const std::unique_ptr<Idle> owned(&idle);
}

void EndpointPool::close_idle() noexcept {
  while (IdleLink* const idle = idle_.front()) drop(static_cast<Idle&>(*idle));
}

std::unique_ptr<http::ClientConnection> EndpointPool::take_idle() {
  while (IdleLink* const newest = idle_.back()) {
    const std::unique_ptr<Idle> owned(static_cast<Idle*>(newest));
    const bool expired = owned->expired(loop_.now());
    std::unique_ptr<http::ClientConnection> connection = owned->take();
    --idle_count_;
    // The hint may only mean that the last read filled its buffer; then the probe finds nothing.
    bool dead = expired;
    if (!dead && connection->stream().may_read()) {
      char probe = 0;
      dead = connection->stream().try_read({&probe, 1}).status != IoStatus::would_block;
    }
    if (!dead) return connection;
    endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
  }
  return nullptr;
}

Task<Result<Lease>> EndpointPool::acquire() {
  if (auto connection = take_idle()) return Result<Lease>(Lease(endpoint_, std::move(connection)));
  return connect();
}

Task<Result<Lease>> EndpointPool::connect() {
  const MonoTime deadline = loop_.now() + timeouts_.connect;
  // Claims a place before connecting, so that the limit holds across loops.
  for (;;) {
    const std::uint32_t open = endpoint_->connections.fetch_add(1, std::memory_order_relaxed);
    if (pool_.max_connections == 0 || open < pool_.max_connections) break;
    endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
    if (auto connection = take_idle()) co_return Lease(endpoint_, std::move(connection));
    if (loop_.now() >= deadline) co_return fail(Code::origin_overloaded, Side::origin, Retry::yes);
    // Places are freed on other loops, too, so a waiter looks again instead of queueing on this one.
    co_await loop_.sleep_for(std::chrono::milliseconds(5));
  }
  struct Claim {
    Endpoint* endpoint;
    ~Claim() {
      if (endpoint) endpoint->connections.fetch_sub(1, std::memory_order_relaxed);
    }
  } claim{endpoint_.get()};
  const std::shared_ptr<Endpoint> endpoint = endpoint_;  // the pool may be gone when the connection stands
  BufferPool& buffers = buffers_;
  Loop& loop = loop_;
  const Duration idle = timeouts_.idle;
  Result<std::unique_ptr<Stream>> stream = co_await network_.connect(loop, endpoint->address, deadline);
  if (!stream) co_return std::unexpected(std::move(stream.error()));
  auto connection =
      std::make_unique<http::ClientConnection>(loop, buffers, std::move(*stream), http::ClientTimeouts{idle});
  claim.endpoint = nullptr;
  co_return Lease(endpoint, std::move(connection));
}

void EndpointPool::give_back(Lease lease) {
  if (!lease.connection_ || !lease.connection_->end_exchange()) return;
  if (idle_count_ >= pool_.max_idle) return;
  // Owned by the list from here on; drop() and take_idle() take it back.
  idle_.push_back(*std::make_unique<Idle>(*this, std::move(lease.connection_)).release());
  ++idle_count_;
}

}  // namespace postern::origins
