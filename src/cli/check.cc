// postern check: everything that is wrong with a configuration and the files it names, without the network.
#include <fmt/format.h>

#include "base/strings.h"
#include "cli/verbs.h"
#include "gateway/dry_run.h"
#include "store/key_file.h"

namespace postern::cli {
namespace {

// The file of hashed keys is part of what the gateway starts from.
std::string check_key_file(const std::string& file) {
  config::Diagnostics diagnostics(file);
  const config::FileReader::Outcome content = config::DiskFileReader().read(file, 64 * 1024 * 1024);
  if (content.content) {
    static_cast<void>(store::parse_key_file(file, *content.content, diagnostics));
  } else {
    diagnostics.error(config::Problem::unreadable, config::Position{}, "cannot read the file: " + content.problem,
                      "let `consumers.file` name a file that the user of the gateway may read");
  }
  return diagnostics.has_errors() ? diagnostics.to_text() : std::string();
}

}  // namespace

Exit check(const CheckOptions& options, const Console& console) {
  config::Diagnostics diagnostics(options.config);
  const std::unique_ptr<gateway::DryRun> plan = gateway::DryRun::build(options.config, diagnostics);
  std::string keys_problems;
  if (plan) {
    const config::Config& config = *plan->snapshot().config;
    if (!config.consumers.file.empty()) keys_problems = check_key_file(config.consumers.file);
  }
  const bool good = plan && keys_problems.empty();
  if (options.format == Format::json) {
    static_cast<void>(console.error(keys_problems));
    static_cast<void>(console.out(diagnostics.to_json() + "\n"));
  } else {
    static_cast<void>(console.error(diagnostics.to_text() + keys_problems));
    if (good) {
      const config::Config& config = *plan->snapshot().config;
      static_cast<void>(
          console.out(fmt::format("{}: ok: {} listeners, {} origins, {} routes\n", visible(options.config),
                                  config.listeners.size(), config.origins.size(), config.routes.size())));
    }
  }
  return good ? Exit::ok : Exit::configuration;
}

}  // namespace postern::cli
