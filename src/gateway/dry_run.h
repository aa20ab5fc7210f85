// DryRun: a configuration built as for running, with everything but the traffic: what `check` judges and `explain`
// reads. It opens no socket and no store; its policies refuse every request.
#pragma once

#include <memory>
#include <string>

#include "config/diagnostics.h"
#include "gateway/snapshot.h"

namespace postern::gateway {

class DryRun {
 public:
  // nullptr after reporting why, in `diagnostics`.
  [[nodiscard]] static std::unique_ptr<DryRun> build(const std::string& config_file, config::Diagnostics& diagnostics);

  [[nodiscard]] const Snapshot& snapshot() const noexcept { return *snapshot_; }

 private:
  DryRun() = default;

  SystemClock clock_;
  std::unique_ptr<observe::MetricRegistry> registry_;
  std::unique_ptr<observe::GatewayMetrics> metrics_;
  std::unique_ptr<ManagedCertificates> managed_;  // nullptr if no origin asks for it
  std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace postern::gateway
