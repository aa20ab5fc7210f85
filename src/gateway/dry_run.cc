#include "gateway/dry_run.h"

#include "gateway/schema.h"

namespace postern::gateway {

std::unique_ptr<DryRun> DryRun::build(const std::string& config_file, config::Diagnostics& diagnostics) {
  std::unique_ptr<DryRun> out(new DryRun());
  const std::optional<std::string> text = read_config_text(config_file, diagnostics);
  if (!text) return nullptr;
  const config::DiskFileReader files;
  std::shared_ptr<const config::Config> config =
      load_config(config_file, *text, files, out->clock_.wall(), diagnostics, {});
  if (!config) return nullptr;
  Result<std::unique_ptr<observe::MetricRegistry>> registry = observe::MetricRegistry::create({.loops = 1});
  if (!registry) {
    diagnostics.error(config::Problem::unreadable, config::Position{}, registry.error().to_string());
    return nullptr;
  }
  out->registry_ = std::move(*registry);
  out->metrics_ = std::make_unique<observe::GatewayMetrics>(*out->registry_, out->clock_.wall());
  const Snapshot::Services services{{out->clock_, nullptr, nullptr, {}}, *out->metrics_, *out->registry_};
  out->snapshot_ = Snapshot::build(std::move(config), services, nullptr, 1, diagnostics);
  return out->snapshot_ ? std::move(out) : nullptr;
}

}  // namespace postern::gateway
