// A locked backend inside of `postern demo`: serves who brings the secret, once, and nobody else.
#pragma once

#include <string>

#include "config/secret.h"
#include "gateway/control_server.h"

namespace postern::cli {

inline constexpr std::string_view kDemoHeader = "X-Backend-Secret";

class DemoBackend {
 public:
  // Answers on `loop`, which outlives it.
  DemoBackend(Loop& loop, config::Secret secret);

  // On a free port of 127.0.0.1.
  [[nodiscard]] Result<void> listen(Network& network);
  [[nodiscard]] SocketAddress address() const { return server_.address(); }

 private:
  [[nodiscard]] gateway::ControlAnswer answer(const gateway::ControlRequest& request) const;

  config::Secret secret_;
  gateway::ControlServer server_;
};

}  // namespace postern::cli
