// EndpointPool: the idle connections of one endpoint on one loop, last in first out, and the rule when a new one may be
// opened. Reuse never limits concurrency: without a configured max_connections nobody ever waits.
#pragma once

#include <memory>

#include "config/config.h"
#include "http/connection/client_connection.h"
#include "origins/endpoint.h"
#include "platform/intrusive_list.h"
#include "platform/loop.h"
#include "platform/network.h"

namespace postern::origins {

class EndpointPool;

// The pool's links are a type of their own, because an idle connection is also a Timer, which is a ListNode as well.
class IdleLink : public ListNode {};

// A connection on loan. Destroying it closes the connection; give_back() returns it to the pool.
class Lease {
 public:
  Lease() = default;
  Lease(std::shared_ptr<Endpoint> endpoint, std::unique_ptr<http::ClientConnection> connection) noexcept
      : endpoint_(std::move(endpoint)), connection_(std::move(connection)) {}
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      close();
      endpoint_ = std::move(other.endpoint_);
      connection_ = std::move(other.connection_);
    }
    return *this;
  }
  ~Lease() { close(); }

  [[nodiscard]] explicit operator bool() const noexcept { return connection_ != nullptr; }
  [[nodiscard]] http::Upstream& operator*() const noexcept { return *connection_; }
  [[nodiscard]] http::Upstream* operator->() const noexcept { return connection_.get(); }
  // Came from the pool: the origin may have closed it in the meantime.
  [[nodiscard]] bool reused() const noexcept { return connection_->exchanges() != 0; }
  void close() noexcept {
    if (connection_) endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
    connection_.reset();
  }

 private:
  friend class EndpointPool;
  std::shared_ptr<Endpoint> endpoint_;
  std::unique_ptr<http::ClientConnection> connection_;
};

class EndpointPool {
 public:
  // All references outlive the pool.
  EndpointPool(Loop& loop, BufferPool& buffers, Network& network, std::shared_ptr<Endpoint> endpoint,
               const config::OriginConfig& origin);
  EndpointPool(const EndpointPool&) = delete;
  EndpointPool& operator=(const EndpointPool&) = delete;
  ~EndpointPool();

  // An idle connection if there is one, else a new one, in the order of the calls on this loop. Errors:
  // origin_connect_failed, origin_connect_timeout, origin_overloaded (max_connections reached for the whole connect
  // timeout); all with Retry::yes.
  [[nodiscard]] Task<Result<Lease>> acquire();
  // Always a new connection: for the second attempt after a reused one turned out to be dead.
  [[nodiscard]] Task<Result<Lease>> connect();
  // Keeps the connection for later if its exchange ended cleanly and there is room.
  void give_back(Lease lease);

  // Takes over new settings on reload; the pool stays if the endpoint stays. Copies what it needs.
  void configure(const config::OriginConfig& origin);
  // No snapshot lists the endpoint any more: closes what is idle, and what comes back from now on.
  void retire() noexcept;
  // It is listed again.
  void restore() noexcept { retired_ = false; }
  void close_idle() noexcept;
  [[nodiscard]] std::size_t idle() const noexcept { return idle_count_; }
  [[nodiscard]] const std::shared_ptr<Endpoint>& endpoint() const noexcept { return endpoint_; }

 private:
  class Idle;
  // How other loops reach this pool; `pool` is touched on its loop only.
  struct Handle {
    EndpointPool* pool;
  };
  class Waiting;
  // The pool's list of who waits, apart from the other lists such an object may be on.
  class WaitLink : public ListNode {};
  [[nodiscard]] std::unique_ptr<http::ClientConnection> take_idle();
  void drop(Idle& idle) noexcept;
  void enlist();
  void wake_waiting() noexcept;
  [[nodiscard]] bool must_queue() const noexcept;

  Loop& loop_;
  BufferPool& buffers_;
  Network& network_;
  std::shared_ptr<Endpoint> endpoint_;
  config::PoolConfig pool_;
  config::OriginTimeouts timeouts_;
  IntrusiveList<IdleLink> idle_;
  std::size_t idle_count_ = 0;
  IntrusiveList<WaitLink> waiting_;  // for a place under max_connections, in the order they came
  bool retired_ = false;
  std::shared_ptr<Handle> handle_;  // while enlisted
};

}  // namespace postern::origins
