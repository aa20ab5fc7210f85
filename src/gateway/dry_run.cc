#include "gateway/dry_run.h"

#include "gateway/schema.h"

namespace postern::gateway {

std::unique_ptr<DryRun> DryRun::build(const std::string& config_file, config::Diagnostics& diagnostics,
                                      Purpose purpose) {
  std::unique_ptr<DryRun> out(new DryRun());
  const std::optional<std::string> text = read_config_text(config_file, diagnostics);
  if (!text) return nullptr;
  const config::DiskFileReader files;
  LoadRules rules;
  if (purpose == Purpose::inspect) {
    rules.expired = config::ExpiredException::warning;
    rules.outdated = config::OutdatedCertificate::warning;
  }
  std::shared_ptr<const config::Config> config =
      load_config(config_file, *text, files, out->clock_.wall(), diagnostics, rules);
  if (!config) return nullptr;
  Result<std::unique_ptr<observe::MetricRegistry>> registry = observe::MetricRegistry::create({.loops = 1});
  if (!registry) {
    diagnostics.error(config::Problem::unreadable, config::Position{}, registry.error().to_string());
    return nullptr;
  }
  out->registry_ = std::move(*registry);
  out->metrics_ = std::make_unique<observe::GatewayMetrics>(*out->registry_, out->clock_.wall());
  if (uses_managed_certificates(*config)) {
    const std::string directory = config->state_directory + "/ca";
    Result<std::unique_ptr<ManagedCertificates>> managed = ManagedCertificates::rehearse(directory, out->clock_.wall());
    Result<void> provided = managed ? (*managed)->provide(*config, out->clock_.wall())
                                    : Result<void>(std::unexpected(std::move(managed.error())));
    if (!provided) {
      diagnostics.error(config::Problem::unusable_path, config::Position{},
                        directory + ": " + std::string(provided.error().detail()),
                        "let `postern ca show` say what is there; `postern ca init` makes new authorities");
      return nullptr;
    }
    out->managed_ = std::move(*managed);
  }
  if (config->issuer) out->issuer_ = IssuerKeeper::rehearse(*config->issuer, out->clock_.wall(), out->entropy_);
  Snapshot::Services services{
      .policies = {out->clock_, nullptr, nullptr, {}},
      .identity = {out->clock_, out->entropy_, out->issuer_ ? out->issuer_->mint() : nullptr, &out->tokens_},
      .metrics = *out->metrics_,
      .registry = *out->registry_};
  services.managed = out->managed_.get();
  out->snapshot_ = Snapshot::build(std::move(config), services, nullptr, 1, diagnostics);
  return out->snapshot_ ? std::move(out) : nullptr;
}

}  // namespace postern::gateway
