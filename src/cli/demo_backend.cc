#include "cli/demo_backend.h"

namespace postern::cli {

DemoBackend::DemoBackend(Loop& loop, config::Secret secret)
    : secret_(std::move(secret)),
      server_(
          loop, [this](const gateway::ControlRequest& request) { return answer(request); },
          gateway::ControlServer::Guard::none) {}

Result<void> DemoBackend::listen(Network& network) {
  return server_.listen(network, SocketAddress{IpAddress::from_v4({127, 0, 0, 1}), 0, {}});
}

gateway::ControlAnswer DemoBackend::answer(const gateway::ControlRequest& request) const {
  std::size_t copies = 0;
  bool known = false;
  std::string consumer;
  for (const http::Field& field : request.headers) {
    // As frameworks do that read X_Backend_Secret as the same name.
    if (http::is_alias_of(field.name, kDemoHeader)) {
      ++copies;
      known = config::Secret(field.value).equals(secret_);
    } else if (http::is_alias_of(field.name, "X-Consumer-Id")) {
      consumer = field.value;
    }
  }
  if (copies != 1 || !known) return {401, "text/plain; charset=utf-8", "demo: not from the gateway\n"};
  std::string body = "demo: hello, gateway; this is " + std::string(request.path);
  if (!consumer.empty()) body += " for consumer " + consumer;
  return {200, "text/plain; charset=utf-8", body + "\n"};
}

}  // namespace postern::cli
