// EndpointPool: the connections of one endpoint on one loop, and the rule when a new one may be opened. HTTP/1: the
// idle ones, last in first out. HTTP/2: sessions, each shared by as many exchanges as the origin allows. Reuse never
// limits concurrency: without a configured max_connections nobody waits for a place; but who could share a session that
// is just being set up waits for that instead of opening another one.
#pragma once

#include <memory>
#include <optional>

#include "config/config.h"
#include "http/connection/client_connection.h"
#include "http/h2/client_session.h"
#include "origins/endpoint.h"
#include "origins/transport.h"
#include "platform/intrusive_list.h"
#include "platform/loop.h"
#include "platform/network.h"
#include "platform/task_set.h"

namespace postern::origins {

class EndpointPool;

// The pool's links are a type of their own, because an idle connection is also a Timer, which is a ListNode as well.
class IdleLink : public ListNode {};

class SessionLink : public ListNode {};

// A connection on loan, or a stream of one that is shared. Destroying it closes the connection or resets the stream;
// give_back() returns it to the pool.
class Lease {
 public:
  Lease() = default;
  Lease(std::shared_ptr<Endpoint> endpoint, std::unique_ptr<http::ClientConnection> connection) noexcept
      : endpoint_(std::move(endpoint)), connection_(std::move(connection)) {}
  Lease(std::shared_ptr<Endpoint> endpoint, std::unique_ptr<http::Upstream> stream, bool reused,
        const tls::TlsStream* tls) noexcept
      : endpoint_(std::move(endpoint)), stream_(std::move(stream)), stream_reused_(reused) {
    if (tls) client_certificate_ = tls->info().client_certificate;
  }
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&& other) noexcept {
    if (this != &other) {
      close();
      endpoint_ = std::move(other.endpoint_);
      connection_ = std::move(other.connection_);
      stream_ = std::move(other.stream_);
      stream_reused_ = other.stream_reused_;
      client_certificate_ = other.client_certificate_;
    }
    return *this;
  }
  ~Lease() { close(); }

  [[nodiscard]] explicit operator bool() const noexcept { return connection_ || stream_; }
  [[nodiscard]] http::Upstream& operator*() const noexcept { return *upstream(); }
  [[nodiscard]] http::Upstream* operator->() const noexcept { return upstream(); }
  // Was used before: the origin may have closed it in the meantime.
  [[nodiscard]] bool reused() const noexcept { return connection_ ? connection_->exchanges() != 0 : stream_reused_; }
  // Whether the origin has seen the gateway's certificate; nothing for a connection without TLS.
  [[nodiscard]] std::optional<tls::ClientCertificate> client_certificate() const noexcept {
    if (!connection_) return client_certificate_;
    if (!connection_->tls()) return std::nullopt;
    return connection_->tls()->info().client_certificate;
  }
  void close() noexcept {
    if (connection_) endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
    connection_.reset();
    stream_.reset();
  }

 private:
  friend class EndpointPool;
  [[nodiscard]] http::Upstream* upstream() const noexcept {
    return connection_ ? static_cast<http::Upstream*>(connection_.get()) : stream_.get();
  }
  std::shared_ptr<Endpoint> endpoint_;
  std::unique_ptr<http::ClientConnection> connection_;  // one of these two
  std::unique_ptr<http::Upstream> stream_;
  bool stream_reused_ = false;
  std::optional<tls::ClientCertificate> client_certificate_;
};

class EndpointPool {
 public:
  // All references outlive the pool.
  struct Services {
    Loop& loop;
    BufferPool& buffers;
    Network& network;
    TaskSet::ErrorHandler& exceptions;
    http::h2::Counters* http2 = nullptr;  // of the loop, if somebody wants to know
  };
  EndpointPool(const Services& services, std::shared_ptr<Endpoint> endpoint, const config::OriginConfig& origin,
               Transport transport);
  EndpointPool(const EndpointPool&) = delete;
  EndpointPool& operator=(const EndpointPool&) = delete;
  ~EndpointPool();

  // An idle connection or a stream of a session if there is one, else a new one, in the order of the calls on this
  // loop. Errors: those of establish(), origin_closed or origin_malformed of an origin that does not begin HTTP/2 as it
  // should, origin_upgrade_failed for a WebSocket that a session cannot carry, origin_overloaded (max_connections
  // reached for the whole connect timeout); with Retry::yes, for nothing was sent.
  [[nodiscard]] Task<Result<Lease>> acquire(Want want = Want::any);
  // None that was there before `since`: for the second attempt after a reused one turned out to be dead, since others
  // may have died with it and not have been looked at yet; at max_connections whatever there is.
  [[nodiscard]] Task<Result<Lease>> connect(Want want = Want::any, MonoTime since = MonoTime::min());
  // Keeps the connection for later if its exchange ended cleanly and there is room.
  void give_back(Lease lease);

  // Takes over new settings on reload; the pool stays if the endpoint stays. Copies what it needs.
  void configure(const config::OriginConfig& origin, Transport transport);
  // No snapshot lists the endpoint any more: closes what is idle, and what comes back from now on.
  void retire() noexcept;
  // It is listed again.
  void restore() noexcept { retired_ = false; }
  void close_idle() noexcept;
  [[nodiscard]] std::size_t idle() const noexcept { return idle_count_; }
  [[nodiscard]] std::size_t sessions() const noexcept { return session_count_; }
  [[nodiscard]] const std::shared_ptr<Endpoint>& endpoint() const noexcept { return endpoint_; }

 private:
  class Idle;
  // How other loops reach this pool; `pool` is touched on its loop only.
  struct Handle {
    EndpointPool* pool;
  };
  class Waiting;
  class Joining;
  class Session;
  class Connecting;
  // The pool's list of who waits, apart from the other lists such an object may be on.
  class WaitLink : public ListNode {};
  // What is known of the origin's choice under OriginHttp2::automatic, from its last handshake.
  enum class Protocol : std::uint8_t { unknown, http1, http2 };
  [[nodiscard]] bool may_share(Want want) const noexcept;
  [[nodiscard]] Session* session_with_room(MonoTime since = MonoTime::min()) noexcept;
  [[nodiscard]] bool owns(const Session& session) noexcept;
  [[nodiscard]] Result<Lease> open_stream(Session& session, Want want);
  [[nodiscard]] Task<Result<Lease>> establish_lease(Want want, MonoTime deadline);
  void drop(Session& session) noexcept;
  void wake_joining() noexcept;
  [[nodiscard]] std::unique_ptr<http::ClientConnection> take_idle();
  void drop(Idle& idle) noexcept;
  void enlist();
  void wake_waiting() noexcept;
  [[nodiscard]] bool must_queue() const noexcept;

  Services services_;
  Loop& loop_;
  std::shared_ptr<Endpoint> endpoint_;
  Transport transport_;
  std::shared_ptr<tls::SessionSlot> tls_sessions_;  // of this transport
  config::PoolConfig pool_;
  config::OriginTimeouts timeouts_;
  IntrusiveList<IdleLink> idle_;
  std::size_t idle_count_ = 0;
  IntrusiveList<WaitLink> waiting_;  // for a place under max_connections, in the order they came
  IntrusiveList<SessionLink> sessions_;
  std::size_t session_count_ = 0;
  Protocol protocol_ = Protocol::unknown;
  unsigned connecting_ = 0;          // that may become sessions
  IntrusiveList<WaitLink> joining_;  // who waits for one of those
  bool retired_ = false;
  std::shared_ptr<Handle> handle_;       // while enlisted
  std::shared_ptr<EndpointPool*> self_;  // for who waits without knowing whether this is still there
};

}  // namespace postern::origins
