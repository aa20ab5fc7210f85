// Worker: one event loop with its thread, listeners and client connections. Everything in it happens on its loop; the
// control thread reaches it by call().
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gateway/loop_context.h"
#include "platform/network.h"

namespace postern::gateway {

class Worker final : public TaskSet::ErrorHandler {
 public:
  struct Options {
    Clock& clock;
    Network& network;
    const observe::GatewayMetrics& metric_families;
    observe::LoopMetrics& metrics;
    observe::AccessLog* access_log;
    observe::Log& log;
    const Entropy& entropy;
    unsigned index = 0;  // which of the loops this is
  };

  // The first worker finds out whether an address is free, and has the Unix sockets: SO_REUSEPORT is for TCP.
  enum class Role : std::uint8_t { first, other };

  explicit Worker(const Options& options);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Stops the loop, joins the thread, cancels what is left.
  ~Worker();

  // All before start(), or on the loop. prepare() binds what the snapshot adds; on an error nothing has changed. Until
  // commit() nobody is served there; it closes what the snapshot no longer has, and adopts it. abandon() gives back
  // what prepare() took. A reload commits once all workers are prepared.
  [[nodiscard]] Result<void> prepare(const std::shared_ptr<const Snapshot>& snapshot, Role role);
  void commit();
  void abandon() noexcept;
  // The addresses really bound, for port 0. Before start() or on the loop.
  [[nodiscard]] std::vector<SocketAddress> bound_addresses() const;

  void start();
  // Runs `work` on the loop and waits for it; before start() at once. Not from the loop itself.
  void call(const std::function<void()>& work);
  // On the loop: accepts nothing new, ends idle connections, lets busy ones finish their exchange.
  void drain();
  [[nodiscard]] std::size_t connections() const noexcept { return connections_.load(std::memory_order_relaxed); }
  // Of the configuration this loop works with; any thread.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_.load(std::memory_order_relaxed); }
  // Requests under a trust or identity that is no longer in force, as of the last second; any thread.
  [[nodiscard]] std::size_t old_exchanges() const noexcept { return old_exchanges_.load(std::memory_order_relaxed); }
  // For tests, which turn the loop themselves instead of calling start().
  [[nodiscard]] Loop& loop() noexcept { return loop_; }
  [[nodiscard]] LoopContext& context() noexcept { return context_; }

 private:
  class Port;
  class Client;
  class ClientLink : public ListNode {};
  struct Change;
  struct Prepared;

  void on_task_exception(std::exception_ptr exception) noexcept override;
  [[nodiscard]] Task<void> flush_access_log();
  [[nodiscard]] Task<void> review_exchanges();
  [[nodiscard]] bool has_port(std::uint16_t number) const;

  Network& network_;
  const unsigned index_;
  Loop loop_;
  LoopContext context_;
  std::atomic<std::size_t> connections_{0};
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<std::size_t> old_exchanges_{0};
  std::vector<std::unique_ptr<Port>> ports_;
  std::unique_ptr<Prepared> prepared_;
  TaskSet background_;
  std::thread thread_;
};

}  // namespace postern::gateway
