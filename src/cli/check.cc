// postern check: everything that is wrong with a configuration and the files it names, without the network.
#include <fmt/format.h>

#include "base/strings.h"
#include "cli/verbs.h"
#include "gateway/dry_run.h"
#include "gateway/start_check.h"

namespace postern::cli {

Exit check(const CheckOptions& options, const Console& console) {
  config::Diagnostics diagnostics(options.config);
  const std::unique_ptr<gateway::DryRun> plan =
      gateway::DryRun::build(options.config, diagnostics, gateway::DryRun::Purpose::check);
  if (plan) gateway::check_start(*plan->snapshot().config, diagnostics);
  const bool good = plan && !diagnostics.has_errors();
  bool shown = true;
  if (options.format == Format::json) {
    shown = console.out(diagnostics.to_json() + "\n");
  } else {
    shown = console.error(diagnostics.to_text());
    if (good) {
      const config::Config& config = *plan->snapshot().config;
      shown = console.out(fmt::format("{}: ok: {} listeners, {} origins, {} routes\n", visible(options.config),
                                      config.listeners.size(), config.origins.size(), config.routes.size()));
    }
  }
  if (!good) return Exit::configuration;
  return shown ? Exit::ok : Exit::runtime;
}

}  // namespace postern::cli
