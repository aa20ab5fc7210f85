#include "gateway/worker.h"

#include <algorithm>
#include <latch>

#include "gateway/fail.h"
#include "gateway/handle_request.h"
#include "http/proxy_protocol.h"

namespace postern::gateway {

// A listener on this worker: accepts, and owns the connections it accepted.
class Worker::Port final : public AcceptHandler {
 public:
  Port(Worker& worker, std::string text) : worker_(worker), text_(std::move(text)) {}
  ~Port();

  void configure(std::shared_ptr<const Snapshot> snapshot, const ListenerPlan& plan);
  [[nodiscard]] Result<void> listen(const SocketAddress& address, Network::Share share);
  void close() noexcept { acceptor_.reset(); }
  void drain() noexcept;

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] const ListenerPlan& plan() const noexcept { return *plan_; }
  [[nodiscard]] const std::shared_ptr<const Snapshot>& snapshot() const noexcept { return snapshot_; }
  [[nodiscard]] const http::ServerLimits& limits() const noexcept { return limits_; }
  [[nodiscard]] bool listening() const noexcept { return acceptor_ != nullptr; }
  [[nodiscard]] bool empty() noexcept { return clients_.empty(); }
  [[nodiscard]] SocketAddress bound() const { return acceptor_->local_address(); }

 private:
  friend class Client;
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) override;
  void refuse(Stream& stream);

  Worker& worker_;
  const std::string text_;
  std::shared_ptr<const Snapshot> snapshot_;
  const ListenerPlan* plan_ = nullptr;
  http::ServerLimits limits_;  // a copy at a stable place: connections refer to it across reloads
  std::unique_ptr<Acceptor> acceptor_;
  IntrusiveList<ClientLink> clients_;
  std::int64_t client_count_ = 0;
};

// A connection and the coroutine that serves it. Owned by its port's list; destroyed by the loop at the end of the turn
// in which the coroutine ended or the peer reset the connection.
class Worker::Client final : public ClientLink, Loop::Deferred, http::ServerConnection::Owner, http::RequestHandler {
 public:
  Client(Port& port, std::unique_ptr<Stream> stream, const PeerAddress& peer)
      : port_(port),
        open_(port.plan().open_connections),  // already counted there
        connection_(port.worker_.loop_, port.worker_.context_.buffers, std::move(stream), peer, port.limits_, *this),
        task_(port.worker_) {
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
  }

  void start() { task_.spawn(run()); }
  void drain() noexcept { connection_.drain(); }

 private:
  // Retires whatever happens: an exception is a bug, but it must not leave a connection that nobody serves.
  Task<void> run() {
    try {
      bool ready = true;
      if (port_.plan().config->proxy_protocol == config::ProxyProtocol::v2) {
        ready = co_await read_proxy_header();
      }
      if (ready) co_await connection_.serve(*this);
    } catch (...) {
      connection_.raw_stream().reset_on_close();
      port_.worker_.on_task_exception(std::current_exception());
    }
    retire();
  }

  Task<bool> read_proxy_header();

  Task<http::AfterResponse> handle(http::ServerConnection& client) override {
    // The plan belongs to this snapshot; a reload during the exchange must not take it away.
    const std::shared_ptr<const Snapshot> snapshot = port_.snapshot();
    const http::AfterResponse after = co_await handle_request(port_.worker_.context_, client, port_.plan());
    co_return after;
  }

  void on_connection_aborted(http::ServerConnection& /*connection*/) override { retire(); }
  void retire() noexcept { port_.worker_.loop_.defer(*this); }
  void run_deferred() override { const std::unique_ptr<Client> owned(this); }

  Port& port_;
  const std::shared_ptr<std::atomic<std::uint32_t>> open_;
  http::ServerConnection connection_;
  TaskSet task_;
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
  // The listener may have another position now, which is its name in the metrics.
  if (plan_) worker_.context_.metrics.add(plan_->metrics.open, -client_count_);
  worker_.context_.metrics.add(plan.metrics.open, client_count_);
  snapshot_ = std::move(snapshot);
  plan_ = &plan;
  limits_ = plan.limits;
}

void Worker::Port::drain() noexcept {
  // Whoever has connected by now expects an answer; the kernel would reset them together with the acceptor.
  if (acceptor_) acceptor_->accept_pending();
  acceptor_.reset();
  for (ClientLink* link = clients_.front(); link;) {
    ClientLink* const next = clients_.after(*link);
    static_cast<Client&>(*link).drain();
    link = next;
  }
}

void Worker::Port::on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) {
  // Counted first, so that the limit holds across loops.
  if (plan_->open_connections->fetch_add(1, std::memory_order_relaxed) >= plan_->config->limits.max_connections) {
    plan_->open_connections->fetch_sub(1, std::memory_order_relaxed);
    refuse(*stream);
    return;
  }
  auto client = std::make_unique<Client>(*this, std::move(stream), peer);
  clients_.push_back(*client);
  client.release()->start();  // owned by clients_ from here on
}

void Worker::Port::refuse(Stream& stream) {
  std::array<char, http::RequestIdGenerator::kSize> id{};
  worker_.context_.request_ids.next(id);
  const std::string refusal =
      raw_problem_response(Error(Code::too_many_connections, Side::gateway), {id.data(), id.size()});
  iovec part{const_cast<char*>(refusal.data()), refusal.size()};  // NOLINT: written from, not to
  static_cast<void>(stream.try_write({&part, 1}));
  worker_.context_.metrics.add(worker_.context_.metric_families.error(Code::too_many_connections, Side::gateway));
}

Task<bool> Worker::Client::read_proxy_header() {
  Stream& stream = connection_.raw_stream();
  Buffer& input = connection_.input();
  // Only who is trusted may say where a connection comes from.
  if (!port_.plan().trusted_proxies.contains(connection_.peer().ip)) co_return false;
  connection_.deadline().set_after(port_.limits().header_timeout);
  for (;;) {
    if (!input.empty()) {
      http::ProxyHeader header;
      const Result<http::ProxyParse> parsed = http::parse_proxy_header(input.view(), header);
      if (!parsed) {
        // Not HTTP yet, so there is nothing to answer in: closed, counted and said.
        LoopContext& context = port_.worker_.context_;
        context.metrics.add(context.metric_families.error(parsed.error()));
        context.log.warning("a PROXY header cannot be read", {observe::LogField::name("listener", port_.text()),
                                                              observe::LogField::error(parsed.error())});
        co_return false;
      }
      if (*parsed == http::ProxyParse::done) {
        if (header.source) connection_.set_peer({header.source->ip, header.source->port});
        input.consume(header.size);
        connection_.deadline().clear();
        co_return true;
      }
    }
    const IoResult read = stream.try_read(input.writable(256));
    if (read.status == IoStatus::ok) {
      input.commit(read.bytes);
    } else if (read.status == IoStatus::would_block) {
      const Wake wake = co_await stream.readable();
      if (wake != Wake::ready) co_return false;
    } else {
      co_return false;
    }
  }
}

Worker::Worker(const Options& options)
    : network_(options.network),
      loop_(options.clock),
      context_(loop_, options.network, *this, options.metric_families, options.metrics, options.access_log, options.log,
               options.entropy),
      background_(*this) {}

Worker::~Worker() {
  if (thread_.joinable()) {
    loop_.stop();
    thread_.join();
  }
  ports_.clear();
  background_.cancel_all();
}

Result<void> Worker::adopt(const std::shared_ptr<const Snapshot>& snapshot, Role role) {
  struct Change {
    const ListenerPlan* plan;
    Port* existing;
    std::unique_ptr<Port> fresh;
  };
  std::vector<Change> changes;
  for (const ListenerPlan& plan : snapshot->listeners) {
    if (plan.address.is_unix() && role == Role::other) continue;
    const auto found = std::find_if(ports_.begin(), ports_.end(), [&](const auto& port) {
      return port->listening() && port->text() == plan.config->address.text;
    });
    Port* const existing = found == ports_.end() ? nullptr : found->get();
    std::unique_ptr<Port> fresh = existing ? nullptr : std::make_unique<Port>(*this, plan.config->address.text);
    if (fresh) {
      fresh->configure(snapshot, plan);
      Result<void> bound =
          fresh->listen(plan.address, role == Role::first ? Network::Share::first : Network::Share::join);
      if (!bound) return bound;
    }
    changes.push_back({&plan, existing, std::move(fresh)});
  }
  for (const auto& port : ports_) {
    const bool kept =
        std::any_of(changes.begin(), changes.end(), [&](const Change& c) { return c.existing == port.get(); });
    if (!kept) port->drain();
  }
  for (Change& change : changes) {
    if (change.existing) change.existing->configure(snapshot, *change.plan);
    if (change.fresh) ports_.push_back(std::move(change.fresh));
  }
  std::erase_if(ports_, [](const auto& port) { return !port->listening() && port->empty(); });
  context_.adopt(snapshot);
  generation_.store(snapshot->generation, std::memory_order_relaxed);
  return {};
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
