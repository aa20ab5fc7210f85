// Signals as events of the control loop (signalfd). Construct it before any thread starts: the mask is inherited.
#pragma once

#include <functional>

#include "platform/loop.h"

namespace postern::gateway {

class Signals final : Loop::Handler {
 public:
  using Callback = std::function<void(int signal)>;

  // Blocks SIGHUP, SIGTERM, SIGINT and SIGUSR1 for this thread and all it starts, and ignores SIGPIPE. Throws
  // std::system_error if the kernel refuses.
  Signals(Loop& loop, Callback callback);
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

 private:
  void on_events(std::uint32_t events) override;

  Loop& loop_;
  Callback callback_;
  int fd_ = -1;
};

}  // namespace postern::gateway
