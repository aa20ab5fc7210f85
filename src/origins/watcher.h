// OriginWatcher: keeps the endpoints of an origin up to date: resolves their names again and again, and probes them
// with the origin's own identity if health checks are configured. One per origin and snapshot, on the control loop;
// what it finds goes into the shared OriginState, so a new watcher continues where the old one stopped.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "http/upstream.h"
#include "observe/log.h"
#include "origins/origin.h"
#include "origins/resolver.h"
#include "platform/buffer.h"
#include "platform/event.h"
#include "platform/network.h"
#include "platform/task_set.h"

namespace postern::origins {

class OriginWatcher {
 public:
  struct Services {
    Loop& loop;
    Network& network;
    BufferPool& buffers;
    Resolver& resolver;
    observe::Log& log;
    TaskSet::ErrorHandler& exceptions;
  };

  // `origin` is kept alive by `holder` (its snapshot).
  OriginWatcher(const Services& services, const Origin& origin, std::shared_ptr<const void> holder);
  OriginWatcher(const OriginWatcher&) = delete;
  OriginWatcher& operator=(const OriginWatcher&) = delete;

  // Publishes what needs no resolution and starts the rest. Once.
  void start();
  // Every name has been looked up once, with or without success.
  [[nodiscard]] bool settled() const noexcept { return unsettled_ == 0; }

 private:
  [[nodiscard]] Task<void> keep_resolving(std::string name);
  [[nodiscard]] Task<void> keep_checking();
  [[nodiscard]] Task<void> check(std::shared_ptr<Endpoint> endpoint, std::size_t index);
  [[nodiscard]] Task<Result<int>> probe(const Endpoint& endpoint);
  [[nodiscard]] Task<Result<int>> ask(const Endpoint& endpoint, http::Upstream& upstream, MonoTime deadline);
  void judge(Endpoint& endpoint, std::size_t index, const Result<int>& outcome);
  void publish();

  Services services_;
  const Origin& origin_;
  std::shared_ptr<const void> holder_;
  std::set<std::string> names_;
  KnownAddresses resolved_;
  std::size_t unsettled_ = 0;
  TaskSet tasks_;
};

}  // namespace postern::origins
