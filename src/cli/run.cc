// postern run: the gateway.
#include <sys/prctl.h>
#include <sys/resource.h>

#include <system_error>

#include "cli/verbs.h"
#include "gateway/gateway.h"
#include "platform/entropy.h"
#include "platform/socket_network.h"

namespace postern::cli {
namespace {

// A connection is a descriptor: the soft limit of a shell (1024) is none that anybody chose for a gateway.
void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// Its memory holds the secrets of all origins: no core dump, and nobody but root may look into the process. A limit on
// core files alone is not enough: with a pipe in /proc/sys/kernel/core_pattern the kernel ignores it (core(5)).
void keep_memory_private() noexcept {
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  const rlimit none{};
  ::setrlimit(RLIMIT_CORE, &none);
}

}  // namespace

Exit run_gateway(const RunOptions& options, const Console& console) {
  raise_descriptor_limit();
  keep_memory_private();
  SystemClock clock;
  SocketNetwork network;
  const SystemEntropy entropy;
  observe::Log log(2, clock);
  gateway::Gateway gateway({options.config, clock, network, entropy, log});
  const gateway::LoadReport report = gateway.start();
  static_cast<void>(console.error(report.problems));
  switch (report.outcome) {
    case gateway::LoadReport::Outcome::rejected: return Exit::configuration;
    case gateway::LoadReport::Outcome::failed: return Exit::runtime;
    default: break;
  }
  for (const SocketAddress& address : gateway.traffic_addresses()) {
    log.info("listening", {observe::LogField::name("address", address.to_string())});
  }
  if (const auto address = gateway.observe_address()) {
    log.info("listening for observers", {observe::LogField::name("address", address->to_string())});
  }
  const int code = gateway.run();
  log.info("stopped");
  return static_cast<Exit>(code);
}

}  // namespace postern::cli
