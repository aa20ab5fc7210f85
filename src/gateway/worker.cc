#include "gateway/worker.h"

#include <algorithm>
#include <latch>
#include <optional>

#include "gateway/fail.h"
#include "gateway/handle_request.h"
#include "http/connection/server_connection.h"
#include "http/h2/server_session.h"
#include "http/proxy_protocol.h"

namespace postern::gateway {
namespace {

constexpr std::size_t kMaxEarly = 1024;  // connections that a reload keeps waiting until it is through
constexpr auto kReviewInterval = std::chrono::seconds(1);

}  // namespace

// A listener on this worker: accepts, and owns the connections it accepted.
class Worker::Port final : public AcceptHandler {
 public:
  Port(Worker& worker, std::string text) : worker_(worker), text_(std::move(text)) {}
  ~Port();

  void configure(std::shared_ptr<const Snapshot> snapshot, const ListenerPlan& plan);
  [[nodiscard]] Result<void> listen(const SocketAddress& address, Network::Share share);
  // Serves who connects, those included who have since listen().
  void open();
  void close() noexcept { acceptor_.reset(); }
  void drain() noexcept;
  void drain_clients() noexcept;

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] const ListenerPlan& plan() const noexcept { return *live_.plan; }
  [[nodiscard]] const LiveListener& live() const noexcept { return live_; }
  [[nodiscard]] const http::ServerLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] bool listening() const noexcept { return acceptor_ != nullptr; }
  [[nodiscard]] bool empty() noexcept { return clients_.empty(); }
  [[nodiscard]] SocketAddress bound() const { return acceptor_->local_address(); }

 private:
  friend class Client;
  struct Early {
    std::unique_ptr<Stream> stream;
    PeerAddress peer;
  };
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) override;
  void serve(std::unique_ptr<Stream> stream, const PeerAddress& peer);
  void refuse(Stream& stream);

  Worker& worker_;
  const std::string text_;
  LiveListener live_;
  bool open_ = false;
  std::vector<Early> early_;   // connected between listen() and open()
  http::ServerLimits limits_;  // a copy at a stable place: connections refer to it across reloads
  http::h2::Limits http2_limits_;
  std::unique_ptr<Acceptor> acceptor_;
  IntrusiveList<ClientLink> clients_;
  std::int64_t client_count_ = 0;
};

// A connection and the coroutine that serves it. Owned by its port's list; destroyed by the loop at the end of the turn
// in which the coroutine ended or the peer reset the connection.
class Worker::Client final : public ClientLink,
                             Loop::Deferred,
                             http::ServerConnection::Owner,
                             Stream::AbortListener,
                             http::RequestHandler {
 public:
  Client(Port& port, std::unique_ptr<Stream> stream, const PeerAddress& peer)
      : port_(port),
        open_(port.plan().open_connections),  // already counted there
        stream_(std::move(stream)),
        task_(port.worker_) {
    facts_.peer = peer;
    stream_->set_abort_listener(this);
    port_.worker_.connections_.fetch_add(1, std::memory_order_relaxed);
    ++port_.client_count_;
    port_.worker_.context_.metrics.add(port_.plan().metrics.accepted);
    port_.worker_.context_.metrics.add(port_.plan().metrics.open, 1);
  }
  ~Client() {
    port_.worker_.connections_.fetch_sub(1, std::memory_order_relaxed);
    --port_.client_count_;
    open_->fetch_sub(1, std::memory_order_relaxed);
    port_.worker_.context_.metrics.add(port_.plan().metrics.open, -1);
    if (stream_) stream_->set_abort_listener(nullptr);
  }

  void start() { task_.spawn(run()); }
  void drain() noexcept {
    draining_ = true;
    if (http1_) http1_->drain();
    if (http2_) http2_->drain();
  }

 private:
  // Retires whatever happens: an exception is a bug, but it must not leave a connection that nobody serves.
  Task<void> run() {
    try {
      std::string early;
      const bool prepared = co_await prepare(early);
      if (prepared && http2_) {
        co_await http2_->serve(std::move(early));
      } else if (prepared) {
        co_await http1_->serve(*this);
      }
    } catch (...) {
      if (stream_) stream_->reset_on_close();
      if (http1_) http1_->raw_stream().reset_on_close();
      if (http2_) http2_->reset_on_close();
      port_.worker_.on_task_exception(std::current_exception());
    }
    retire();
  }

  Task<bool> prepare(std::string& early);
  Task<bool> read_proxy_header(Buffer& input);
  Task<bool> secure(Buffer& input);
  Task<bool> begins_http2(Buffer& input, MonoTime& began);
  Task<IoStatus> read_more(Buffer& input, Deadline& deadline);

  Task<http::AfterResponse> handle(http::Downstream& client) override {
    return handle_request(port_.worker_.context_, client, port_.live());
  }

  void on_connection_aborted(http::ServerConnection& /*connection*/) override { retire(); }
  void on_abort() override { retire(); }
  void retire() noexcept { port_.worker_.loop_.defer(*this); }
  void run_deferred() override { const std::unique_ptr<Client> owned(this); }

  Port& port_;
  const std::shared_ptr<std::atomic<std::uint32_t>> open_;
  http::ConnectionFacts facts_;
  std::unique_ptr<Stream> stream_;  // until it is known which HTTP it carries
  std::optional<http::ServerConnection> http1_;
  std::unique_ptr<http::h2::ServerSession> http2_;
  bool draining_ = false;
  TaskSet task_;  // last: it uses all of the above
};

struct Worker::Change {
  const ListenerPlan* plan;
  Port* existing;
  std::unique_ptr<Port> fresh;
};

struct Worker::Prepared {
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<Change> changes;
};

Worker::Port::~Port() {
  while (ClientLink* const link = clients_.front()) const std::unique_ptr<Client> owned(static_cast<Client*>(link));
}

Result<void> Worker::Port::listen(const SocketAddress& address, Network::Share share) {
  Result<std::unique_ptr<Acceptor>> acceptor = worker_.network_.listen(worker_.loop_, address, *this, share);
  if (!acceptor) return std::unexpected(std::move(acceptor.error()));
  acceptor_ = std::move(*acceptor);
  return {};
}

void Worker::Port::configure(std::shared_ptr<const Snapshot> snapshot, const ListenerPlan& plan) {
  const bool other_trust = live_.plan && live_.plan->trust != plan.trust;
  // The listener may have another position now, which is its name in the metrics.
  if (live_.plan) worker_.context_.metrics.add(live_.plan->metrics.open, -client_count_);
  worker_.context_.metrics.add(plan.metrics.open, client_count_);
  live_ = {std::move(snapshot), &plan};
  limits_ = plan.limits;
  http2_limits_ = plan.http2;
  // A connection that was made under another trust ends: what it still sends before it has heard of that is judged by
  // the policies of now.
  if (other_trust) drain_clients();
}

void Worker::Port::drain() noexcept {
  // Whoever has connected by now expects an answer; the kernel would reset them together with the acceptor.
  if (acceptor_) acceptor_->accept_pending();
  acceptor_.reset();
  drain_clients();
}

void Worker::Port::drain_clients() noexcept {
  for (ClientLink* link = clients_.front(); link;) {
    ClientLink* const next = clients_.after(*link);
    static_cast<Client&>(*link).drain();
    link = next;
  }
}

void Worker::Port::open() {
  open_ = true;
  for (Early& early : std::exchange(early_, {})) serve(std::move(early.stream), early.peer);
}

void Worker::Port::on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) {
  if (open_) {
    serve(std::move(stream), peer);
  } else if (early_.size() < kMaxEarly) {
    early_.push_back({std::move(stream), peer});
  } else {
    refuse(*stream);
  }
}

void Worker::Port::serve(std::unique_ptr<Stream> stream, const PeerAddress& peer) {
  // Counted first, so that the limit holds across loops.
  const ListenerPlan& listener = plan();
  if (listener.open_connections->fetch_add(1, std::memory_order_relaxed) >= listener.config->limits.max_connections) {
    listener.open_connections->fetch_sub(1, std::memory_order_relaxed);
    refuse(*stream);
    return;
  }
  auto client = std::make_unique<Client>(*this, std::move(stream), peer);
  clients_.push_back(*client);
  client.release()->start();  // owned by clients_ from here on
}

void Worker::Port::refuse(Stream& stream) {
  worker_.context_.metrics.add(worker_.context_.metric_families.error(Code::too_many_connections, Side::gateway));
  // A client that expects TLS could not read it.
  if (!plan().tls.empty()) return;
  std::array<char, http::RequestIdGenerator::kSize> id{};
  worker_.context_.request_ids.next(id);
  const std::string refusal =
      raw_problem_response(Error(Code::too_many_connections, Side::gateway), {id.data(), id.size()});
  iovec part{const_cast<char*>(refusal.data()), refusal.size()};  // NOLINT: written from, not to
  static_cast<void>(stream.try_write({&part, 1}));
}

// From the first byte to the HTTP that the client speaks: PROXY header, TLS, the version. Then http1_ or http2_ is
// there; what was read of HTTP/2 is in `early`. False: the connection ends here. A task of its own because its frame
// would be a good part of what an idle connection costs.
Task<bool> Worker::Client::prepare(std::string& early) {
  Worker& worker = port_.worker_;
  Buffer input(worker.context_.buffers);
  if (port_.plan().config->proxy_protocol == config::ProxyProtocol::v2) {
    const bool said = co_await read_proxy_header(input);
    if (!said) co_return false;
  }
  bool http2 = false;
  MonoTime began = MonoTime::max();
  if (!port_.plan().tls.empty()) {
    const bool secured = co_await secure(input);
    if (!secured) co_return false;
    http2 = facts_.tls->alpn == tls::Alpn::h2;
  } else if (port_.plan().config->http2 == config::ListenerHttp2::h2c) {
    http2 = co_await begins_http2(input, began);
    if (input.empty()) co_return false;  // silent, or gone
  }
  stream_->set_abort_listener(nullptr);
  if (http2) {
    const http::h2::ServerSession::Services services{worker.loop_, worker.context_.buffers, worker, *this,
                                                     &worker.context_.client_http2};
    http2_ = std::make_unique<http::h2::ServerSession>(services, std::move(stream_), facts_, port_.limits_,
                                                       port_.http2_limits_);
    if (draining_) http2_->drain();
    early = input.view();
    co_return true;
  }
  http1_.emplace(worker.loop_, worker.context_.buffers, std::move(stream_), facts_, port_.limits_,
                 static_cast<http::ServerConnection::Owner&>(*this));
  http1_->input().append(input.view());
  http1_->head_began(began);
  if (draining_) http1_->drain();
  co_return true;
}

// Not for long: what comes is small, and nobody has said who he is.
Task<IoStatus> Worker::Client::read_more(Buffer& input, Deadline& deadline) {
  for (;;) {
    const IoResult read = stream_->try_read(input.writable(256));
    if (read.status == IoStatus::ok) input.commit(read.bytes);
    if (read.status != IoStatus::would_block) co_return read.status;
    const Wake wake = co_await stream_->readable();
    if (wake != Wake::ready || deadline.expired()) co_return IoStatus::eof;
  }
}

Task<bool> Worker::Client::read_proxy_header(Buffer& input) {
  LoopContext& context = port_.worker_.context_;
  // Only who is trusted may say where a connection comes from.
  if (!port_.plan().trusted_proxies.contains(facts_.peer.ip)) co_return false;
  Deadline deadline(context.loop, *stream_);
  deadline.set_after(port_.limits().header_timeout);
  for (;;) {
    if (!input.empty()) {
      http::ProxyHeader header;
      const Result<http::ProxyParse> parsed = http::parse_proxy_header(input.view(), header);
      if (!parsed) {
        // Not HTTP yet, so there is nothing to answer in: closed, counted and said.
        context.metrics.add(context.metric_families.error(parsed.error()));
        context.log.warning("a PROXY header cannot be read", {observe::LogField::name("listener", port_.text()),
                                                              observe::LogField::error(parsed.error())});
        co_return false;
      }
      if (*parsed == http::ProxyParse::done) {
        if (header.source) facts_.peer = {header.source->ip, header.source->port};
        input.consume(header.size);
        co_return true;
      }
    }
    const IoStatus read = co_await read_more(input, deadline);
    if (read != IoStatus::ok) co_return false;
  }
}

// A handshake that fails is the client's affair: counted, but not worth a line each, which anybody could cause.
Task<bool> Worker::Client::secure(Buffer& input) {
  Worker& worker = port_.worker_;
  const auto& contexts = port_.plan().tls;
  std::string early(input.view());
  input.release();
  facts_.tls_context = contexts[worker.index_ % contexts.size()];
  stream_->set_abort_listener(nullptr);
  std::unique_ptr<tls::TlsStream> secured = tls::ServerContext::accept(
      facts_.tls_context, worker.loop_, worker.context_.buffers, std::move(stream_), std::move(early));
  tls::TlsStream& tls = *secured;
  stream_ = std::move(secured);
  stream_->set_abort_listener(this);
  const Result<void> shaken = co_await tls.handshake(worker.loop_.now() + port_.limits().header_timeout);
  if (!shaken) {
    worker.context_.metrics.add(worker.context_.metric_families.error(shaken.error()));
    co_return false;
  }
  facts_.tls = &tls.info();
  worker.context_.metrics.add(port_.plan().metrics.handshake(tls.info().resumed));
  co_return true;
}

// RFC 9113 3.3: in clear, a client that knows says so with the first bytes. `began`: when the first of them came, if
// the answer took longer.
Task<bool> Worker::Client::begins_http2(Buffer& input, MonoTime& began) {
  Deadline deadline(port_.worker_.loop_, *stream_);
  deadline.set_after(port_.limits().idle_timeout);
  for (;;) {
    const std::string_view got = input.view();
    if (!http::h2::kPreface.starts_with(got.substr(0, http::h2::kPreface.size()))) co_return false;
    if (got.size() >= http::h2::kPreface.size()) co_return true;
    // Once for all of it, however it drips.
    if (!got.empty() && began == MonoTime::max()) {
      began = port_.worker_.loop_.now();
      deadline.set_after(port_.limits().header_timeout);
    }
    const IoStatus read = co_await read_more(input, deadline);
    // What there is may still be answered as HTTP/1: it is then a head that takes too long.
    if (read != IoStatus::ok) co_return false;
  }
}

Worker::Worker(const Options& options)
    : network_(options.network),
      index_(options.index),
      loop_(options.clock),
      context_(loop_, options.network, *this, options.metric_families, options.metrics, options.access_log, options.log,
               options.entropy),
      background_(*this) {}

Worker::~Worker() {
  if (thread_.joinable()) {
    loop_.stop();
    thread_.join();
  }
  prepared_.reset();
  ports_.clear();
  background_.cancel_all();
}

// True if this worker listens on that number: an address that looks taken may be taken by ourselves (0.0.0.0:80 before
// 127.0.0.1:80), and SO_REUSEPORT lets both stand for the moment of the change.
bool Worker::has_port(std::uint16_t number) const {
  return std::any_of(ports_.begin(), ports_.end(),
                     [number](const auto& port) { return port->listening() && port->bound().port == number; });
}

Result<void> Worker::prepare(const std::shared_ptr<const Snapshot>& snapshot, Role role) {
  auto prepared = std::make_unique<Prepared>();
  prepared->snapshot = snapshot;
  for (const ListenerPlan& plan : snapshot->listeners) {
    if (plan.address.is_unix() && role == Role::other) continue;
    const auto found = std::find_if(ports_.begin(), ports_.end(), [&](const auto& port) {
      return port->listening() && port->text() == plan.config->address.text;
    });
    Port* const existing = found == ports_.end() ? nullptr : found->get();
    std::unique_ptr<Port> fresh = existing ? nullptr : std::make_unique<Port>(*this, plan.config->address.text);
    if (fresh) {
      const bool ours = !plan.address.is_unix() && has_port(plan.address.port);
      const auto share = role == Role::first && !ours ? Network::Share::first : Network::Share::join;
      fresh->configure(snapshot, plan);
      Result<void> bound = fresh->listen(plan.address, share);
      if (!bound) return bound;
    }
    prepared->changes.push_back({&plan, existing, std::move(fresh)});
  }
  prepared_ = std::move(prepared);
  return {};
}

void Worker::abandon() noexcept { prepared_.reset(); }

void Worker::commit() {
  const std::unique_ptr<Prepared> prepared = std::move(prepared_);
  for (const auto& port : ports_) {
    const bool kept = std::any_of(prepared->changes.begin(), prepared->changes.end(),
                                  [&](const Change& change) { return change.existing == port.get(); });
    if (!kept) port->drain();
  }
  context_.adopt(prepared->snapshot);
  old_exchanges_.store(context_.old_exchanges(), std::memory_order_relaxed);
  generation_.store(prepared->snapshot->generation, std::memory_order_relaxed);
  for (Change& change : prepared->changes) {
    if (change.existing) {
      change.existing->configure(prepared->snapshot, *change.plan);
    } else {
      ports_.push_back(std::move(change.fresh));
      ports_.back()->open();
    }
  }
  std::erase_if(ports_, [](const auto& port) { return !port->listening() && port->empty(); });
}

std::vector<SocketAddress> Worker::bound_addresses() const {
  std::vector<SocketAddress> out;
  for (const auto& port : ports_) {
    if (port->listening()) out.push_back(port->bound());
  }
  return out;
}

void Worker::start() {
  background_.spawn(flush_access_log());
  background_.spawn(review_exchanges());
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "postern-loop");  // for top and profilers
    loop_.run();
  });
}

void Worker::call(const std::function<void()>& work) {
  if (!thread_.joinable()) {
    work();
    return;
  }
  std::latch done(1);
  loop_.post([&] {
    work();
    done.count_down();
  });
  done.wait();
}

void Worker::drain() {
  for (const auto& port : ports_) port->drain();
}

Task<void> Worker::flush_access_log() {
  if (!context_.access_log) co_return;
  for (;;) {
    co_await loop_.sleep_for(observe::LoopAccessLog::kFlushInterval);
    context_.access_log->flush();
  }
}

Task<void> Worker::review_exchanges() {
  for (;;) {
    co_await loop_.sleep_for(kReviewInterval);
    context_.review_exchanges();
    context_.count_http2();
    old_exchanges_.store(context_.old_exchanges(), std::memory_order_relaxed);
  }
}

void Worker::on_task_exception(std::exception_ptr exception) noexcept {
  try {
    std::rethrow_exception(std::move(exception));
  } catch (const std::exception& bug) {
    context_.log.error("a connection ended by an exception", {observe::LogField::text("what", bug.what())});
  } catch (...) {
    context_.log.error("a connection ended by an exception", {});
  }
}

}  // namespace postern::gateway
