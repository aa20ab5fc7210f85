#include "origins/pool.h"

#include <algorithm>

#include "platform/event.h"

namespace postern::origins {
namespace {

// Places under max_connections are freed on other loops, too, so who waits looks again and again, and asks the others
// now and then for what they only keep.
constexpr Duration kLookAgain = std::chrono::milliseconds(5);
constexpr unsigned kLooksPerAsking = 10;
constexpr Duration kLookAtSession = std::chrono::seconds(1);

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

// An HTTP/2 connection. It holds one place under max_connections, however many streams it carries.
class EndpointPool::Session final : public SessionLink, http::h2::ClientSession::Owner, Timer {
 public:
  Session(EndpointPool& pool, Established connection)
      : pool_(pool),
        tls_(connection.tls),
        session_({pool.loop_, pool.services_.buffers, pool.services_.exceptions, pool.services_.http2},
                 std::move(connection.stream), {pool.timeouts_.idle}, {}, *this) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() { session_.forget_owner(); }

  [[nodiscard]] http::h2::ClientSession& http2() noexcept { return session_; }
  [[nodiscard]] const tls::TlsStream* tls() const noexcept { return tls_; }
  // From now on the pool owns it.
  void list() {
    listed_ = true;
    watch();
  }
  void drain() noexcept {
    session_.drain();
    watch();
  }

 private:
  void watch() { pool_.loop_.arm(*this, pool_.loop_.now() + kLookAtSession); }
  void on_session_changed(http::h2::ClientSession& /*session*/) override {
    if (gone()) return;
    pool_.wake_joining();
    pool_.wake_waiting();
  }
  void on_expired() override {
    if (gone()) return;
    const MonoTime now = pool_.loop_.now();
    const bool idle = session_.streams() == 0 && now - session_.idle_since() >= pool_.pool_.idle_timeout;
    const bool old = now - session_.created() >= pool_.pool_.max_lifetime;
    if (idle || old) session_.drain();
    if (gone()) return;
    watch();
  }
  // Destroys this if nothing is left of it.
  [[nodiscard]] bool gone() noexcept {
    if (!listed_ || session_.alive() || session_.streams() != 0) return false;
    pool_.drop(*this);
    return true;
  }

  EndpointPool& pool_;
  const tls::TlsStream* tls_;
  http::h2::ClientSession session_;
  bool listed_ = false;
};

// While a connection is being set up that may become a session: others wait for it.
class EndpointPool::Connecting final {
 public:
  explicit Connecting(std::weak_ptr<EndpointPool*> pool) noexcept : pool_(std::move(pool)) {
    if (const auto alive = pool_.lock()) ++(*alive)->connecting_;
  }
  Connecting(const Connecting&) = delete;
  Connecting& operator=(const Connecting&) = delete;
  ~Connecting() {
    if (const auto alive = pool_.lock()) {
      --(*alive)->connecting_;
      (*alive)->wake_joining();
    }
  }

 private:
  std::weak_ptr<EndpointPool*> pool_;
};
// A request that waits for a connection that is being set up.
class EndpointPool::Joining final : public WaitLink, Timer {
 public:
  Joining(EndpointPool& pool, MonoTime deadline) noexcept : news_(pool.loop_) {
    pool.joining_.push_back(*this);
    pool.loop_.arm(*this, deadline);
  }
  Joining(const Joining&) = delete;
  Joining& operator=(const Joining&) = delete;
  ~Joining() { WaitLink::unlink(); }
  [[nodiscard]] Event::Awaiter news() noexcept { return news_.wait(); }
  void wake() noexcept { news_.set(); }

 private:
  void on_expired() override { news_.set(); }

  Event news_;
};

void EndpointPool::wake_joining() noexcept {
  for (WaitLink* link = joining_.front(); link; link = joining_.after(*link)) static_cast<Joining&>(*link).wake();
}

void EndpointPool::wake_waiting() noexcept {
  if (WaitLink* const first = waiting_.front()) static_cast<Waiting&>(*first).wake();
}

EndpointPool::EndpointPool(const Services& services, std::shared_ptr<Endpoint> endpoint,
                           const config::OriginConfig& origin, Transport transport)
    : services_(services),
      loop_(services.loop),
      endpoint_(std::move(endpoint)),
      transport_(std::move(transport)),
      tls_sessions_(std::make_shared<tls::SessionSlot>()),
      pool_(origin.pool),
      timeouts_(origin.timeouts),
      self_(std::make_shared<EndpointPool*>(this)) {
  enlist();
}

EndpointPool::~EndpointPool() {
  if (handle_) {
    endpoint_->places.withdraw(this);
    handle_->pool = nullptr;
  }
  self_.reset();
  close_idle();
  while (SessionLink* const session = sessions_.front()) drop(static_cast<Session&>(*session));
}

void EndpointPool::configure(const config::OriginConfig& origin, Transport transport) {
  pool_ = origin.pool;
  timeouts_ = origin.timeouts;
  retired_ = false;
  // Another trust or identity comes with another endpoint (OriginState::next()); what changes here is at most the
  // object.
  if (transport.tls != transport_.tls) tls_sessions_ = std::make_shared<tls::SessionSlot>();
  transport_ = std::move(transport);
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
  for (SessionLink* link = sessions_.front(); link;) {
    SessionLink* const next = sessions_.after(*link);
    static_cast<Session&>(*link).drain();
    link = next;
  }
}

void EndpointPool::drop(Session& session) noexcept {
  --session_count_;
  endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
  const std::unique_ptr<Session> owned(&session);
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

bool EndpointPool::may_share(Want want) const noexcept {
  return transport_.may_be_http2(want) && (transport_.must_be_http2() || protocol_ != Protocol::http1);
}

bool EndpointPool::owns(const Session& session) noexcept {
  for (SessionLink* link = sessions_.front(); link; link = sessions_.after(*link)) {
    if (link == &session) return true;
  }
  return false;
}

EndpointPool::Session* EndpointPool::session_with_room(MonoTime since) noexcept {
  for (SessionLink* link = sessions_.front(); link; link = sessions_.after(*link)) {
    auto& session = static_cast<Session&>(*link);
    if (session.http2().has_room() && session.http2().created() >= since) return &session;
  }
  return nullptr;
}

Result<Lease> EndpointPool::open_stream(Session& session, Want want) {
  if (want == Want::websocket && !session.http2().takes_websockets()) {
    return fail(Code::origin_upgrade_failed, Side::origin, "the origin takes no WebSockets over HTTP/2 (RFC 8441)");
  }
  const bool reused = session.http2().exchanges() != 0;
  return Lease(endpoint_, session.http2().open(), reused, session.tls());
}

Task<Result<Lease>> EndpointPool::acquire(Want want) {
  if (want == Want::own_connection && transport_.must_be_http2()) {
    return Result<Lease>(
        fail(Code::origin_upgrade_failed, Side::origin,
             "a login of the connection (NTLM, Negotiate) cannot go over HTTP/2, where others share it"));
  }
  if (may_share(want)) {
    if (Session* const session = session_with_room()) return open_stream(*session, want);
  }
  if (!must_queue() && !transport_.must_be_http2()) {
    if (auto connection = take_idle()) return Result<Lease>(Lease(endpoint_, std::move(connection)));
  }
  return connect(want);
}

Task<Result<Lease>> EndpointPool::connect(Want want, MonoTime since) {
  const MonoTime deadline = loop_.now() + timeouts_.connect;
  std::optional<Waiting> waiting;
  // Claims a place before connecting, so that the limit holds across loops.
  for (unsigned look = 0;; ++look) {
    while (may_share(want)) {
      if (Session* const session = session_with_room(since)) co_return open_stream(*session, want);
      if (connecting_ == 0) break;
      if (loop_.now() >= deadline) co_return fail(Code::origin_connect_timeout, Side::origin, Retry::yes);
      Joining joining(*this, deadline);
      co_await joining.news();
    }
    if (waiting ? waiting->first() : !must_queue()) {
      const std::uint32_t open = endpoint_->connections.fetch_add(1, std::memory_order_relaxed);
      if (pool_.max_connections == 0 || open < pool_.max_connections) break;
      endpoint_->connections.fetch_sub(1, std::memory_order_relaxed);
      // No place for a fresh one: what there is may yet be alive.
      if (Session* const session = may_share(want) ? session_with_room() : nullptr)
        co_return open_stream(*session, want);
      if (auto connection = transport_.must_be_http2() ? nullptr : take_idle()) {
        co_return Lease(endpoint_, std::move(connection));
      }
    }
    if (loop_.now() >= deadline) co_return fail(Code::origin_overloaded, Side::gateway, Retry::yes);
    if (!waiting) waiting.emplace(*this);
    if (waiting->first() && look % kLooksPerAsking == 0) endpoint_->places.ask(this);
    co_await waiting->next_look();
  }
  waiting.reset();
  co_return co_await establish_lease(want, deadline);
}

// With a place claimed.
Task<Result<Lease>> EndpointPool::establish_lease(Want want, MonoTime deadline) {
  struct Claim {
    Endpoint* endpoint;
    ~Claim() {
      if (endpoint) endpoint->connections.fetch_sub(1, std::memory_order_relaxed);
    }
  } claim{endpoint_.get()};
  // The pool may be gone when the connection stands.
  const std::shared_ptr<Endpoint> endpoint = endpoint_;
  const std::weak_ptr<EndpointPool*> alive = self_;
  const Services services = services_;
  const Duration idle = timeouts_.idle;
  std::optional<Connecting> connecting;
  if (may_share(want)) connecting.emplace(self_);
  Result<Established> connection = co_await establish(services.loop, services.buffers, services.network,
                                                      endpoint->address, transport_, want, tls_sessions_, deadline);
  if (!connection) co_return std::unexpected(std::move(connection.error()));
  if (!connection->http2) {
    if (const auto pool = alive.lock(); pool && want == Want::any) (*pool)->protocol_ = Protocol::http1;
    auto http1 = std::make_unique<http::ClientConnection>(services.loop, services.buffers,
                                                          std::move(connection->stream), http::ClientTimeouts{idle});
    http1->set_tls(connection->tls);
    claim.endpoint = nullptr;
    co_return Lease(endpoint, std::move(http1));
  }
  {
    const auto pool = alive.lock();
    if (!pool) co_return fail(Code::cancelled, Side::gateway);
    (*pool)->protocol_ = Protocol::http2;
  }
  // Owned by this frame until the origin has said that it speaks HTTP/2; then by the list.
  auto session = std::make_unique<Session>(*this, std::move(*connection));
  session->http2().start();
  Result<void> ready = co_await session->http2().ready(deadline);
  if (!ready) {
    const tls::TlsStream* const tls = session->tls();
    if (tls && !tls->failure().empty()) {
      co_return fail(Code::origin_tls_failed, Side::origin, std::string(tls->failure()), Retry::yes);
    }
    co_return fail(ready.error().code(), Side::origin, std::string(ready.error().detail()), Retry::yes);
  }
  if (alive.expired()) co_return fail(Code::cancelled, Side::gateway);
  claim.endpoint = nullptr;
  Session& listed = *session.release();
  sessions_.push_back(listed);
  ++session_count_;
  listed.list();
  // An origin may allow its first stream a little later. While nobody knows, no other connection is made.
  while (listed.http2().alive() && !listed.http2().has_room() && loop_.now() < deadline) {
    Joining joining(*this, deadline);
    co_await joining.news();
    if (alive.expired()) co_return fail(Code::cancelled, Side::gateway);
    if (!owns(listed)) co_return fail(Code::origin_closed, Side::origin, Retry::yes);
  }
  if (!listed.http2().has_room()) {
    listed.drain();
    co_return fail(Code::origin_connect_timeout, Side::origin, "the origin allows no stream on a new connection");
  }
  Result<Lease> lease = open_stream(listed, want);
  if (retired_) listed.drain();
  connecting.reset();
  co_return lease;
}

void EndpointPool::give_back(Lease lease) {
  // A stream of a session ends by itself; the session tells when it has room.
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
