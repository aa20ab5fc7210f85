#include "origins/pool.h"

#include <optional>

#include "platform/event.h"

namespace postern::origins {
namespace {

// Places under max_connections are freed on other loops, too, so who waits looks again and again, and asks the others
// now and then for what they only keep.
constexpr Duration kLookAgain = std::chrono::milliseconds(5);
constexpr unsigned kLooksPerAsking = 10;

}  // namespace

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
  [[nodiscard]] bool expired(MonoTime now) const { return now - connection_->created() >= pool_.pool_.max_lifetime; }

 private:
  void on_wake(Wake /*wake*/) override { pool_.drop(*this); }
  void on_expired() override { pool_.drop(*this); }

  EndpointPool& pool_;
  std::unique_ptr<http::ClientConnection> connection_;
};

// A request that waits for a place. The first in the list looks for one: when this loop has something for it, and every
// few milliseconds, because other loops may. When it leaves, the next one looks.
class EndpointPool::Waiting final : public WaitLink, Timer {
 public:
  explicit Waiting(EndpointPool& pool) noexcept : pool_(pool), look_(pool.loop_) {
    pool_.waiting_.push_back(*this);
    pool_.endpoint_->waiting.fetch_add(1, std::memory_order_relaxed);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  ~Waiting() {
    WaitLink::unlink();
    pool_.endpoint_->waiting.fetch_sub(1, std::memory_order_relaxed);
    pool_.wake_waiting();
  }
  [[nodiscard]] bool first() const noexcept { return pool_.waiting_.front() == this; }
  void wake() noexcept { look_.set(); }
  [[nodiscard]] Event::Awaiter next_look() noexcept {
    pool_.loop_.arm(*this, pool_.loop_.now() + kLookAgain);
    return look_.wait();
  }

 private:
  void on_expired() override { look_.set(); }

  EndpointPool& pool_;
  Event look_;
};

void EndpointPool::wake_waiting() noexcept {
  if (WaitLink* const first = waiting_.front()) static_cast<Waiting&>(*first).wake();
}

EndpointPool::EndpointPool(Loop& loop, BufferPool& buffers, Network& network, std::shared_ptr<Endpoint> endpoint,
                           const config::OriginConfig& origin)
    : loop_(loop),
      buffers_(buffers),
      network_(network),
      endpoint_(std::move(endpoint)),
      pool_(origin.pool),
      timeouts_(origin.timeouts) {
  enlist();
}

EndpointPool::~EndpointPool() {
  if (handle_) {
    endpoint_->places.withdraw(this);
    handle_->pool = nullptr;
  }
  close_idle();
}

void EndpointPool::configure(const config::OriginConfig& origin) {
  pool_ = origin.pool;
  timeouts_ = origin.timeouts;
  retired_ = false;
  enlist();
}

void EndpointPool::enlist() {
  if (pool_.max_connections == 0 || handle_) return;
  handle_ = std::make_shared<Handle>(this);
  endpoint_->places.enlist(this, [&loop = loop_, handle = handle_] {
    loop.post([handle] {
      if (!handle->pool) return;
      if (IdleLink* const oldest = handle->pool->idle_.front()) handle->pool->drop(static_cast<Idle&>(*oldest));
    });
  });
}

void EndpointPool::retire() noexcept {
  retired_ = true;
  close_idle();
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

// A place that this loop gave up for another one is not for its own next request.
bool EndpointPool::must_queue() const noexcept {
  return pool_.max_connections != 0 && endpoint_->waiting.load(std::memory_order_relaxed) != 0;
}

Task<Result<Lease>> EndpointPool::acquire() {
  if (!must_queue()) {
    if (auto connection = take_idle()) return Result<Lease>(Lease(endpoint_, std::move(connection)));
  }
  return connect();
}

Task<Result<Lease>> EndpointPool::connect() {
  const MonoTime deadline = loop_.now() + timeouts_.connect;
  std::optional<Waiting> waiting;
  // Claims a place before connecting, so that the limit holds across loops.
  for (unsigned look = 0;; ++look) {
    if (waiting ? waiting->first() : !must_queue()) {
      const std::uint32_t open = endpoint_->connections.fetch_add(1, std::memory_order_relaxed);
      if (pool_.max_connections == 0 || open < pool_.max_connections) break;
      endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
      if (auto connection = take_idle()) co_return Lease(endpoint_, std::move(connection));
    }
    if (loop_.now() >= deadline) co_return fail(Code::origin_overloaded, Side::gateway, Retry::yes);
    if (!waiting) waiting.emplace(*this);
    if (waiting->first() && look % kLooksPerAsking == 0) endpoint_->places.ask(this);
    co_await waiting->next_look();
  }
  waiting.reset();
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
  if (retired_ || idle_count_ >= pool_.max_idle) return;
  // Another loop needs the place more than this one needs a spare connection.
  if (pool_.max_connections != 0 && waiting_.empty() && endpoint_->waiting.load(std::memory_order_relaxed) != 0) {
    return;
  }
  // Owned by the list from here on; drop() and take_idle() take it back.
  idle_.push_back(*std::make_unique<Idle>(*this, std::move(lease.connection_)).release());
  ++idle_count_;
  wake_waiting();
}

}  // namespace postern::origins
