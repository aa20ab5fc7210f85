// DryRun: a configuration built as for running, with everything but the traffic: what `check` judges and `explain`
// reads. It opens no socket and no store; its policies refuse every request.
#pragma once

#include <memory>
#include <string>

#include "config/diagnostics.h"
#include "gateway/issuer_keeper.h"
#include "gateway/snapshot.h"
#include "tokens/manager.h"

namespace postern::gateway {

class DryRun {
 public:
  // Whoever asks about a gateway that runs must not be sent away because an exception or a certificate has run out:
  // that may be the answer. It is a warning then.
  enum class Purpose : std::uint8_t { check, inspect };

  // nullptr after reporting why, in `diagnostics`.
  [[nodiscard]] static std::unique_ptr<DryRun> build(const std::string& config_file, config::Diagnostics& diagnostics,
                                                     Purpose purpose);

  // For who means to send something: tokens() fetches on this loop, once it is told to.
  [[nodiscard]] Loop& loop() noexcept { return loop_; }
  [[nodiscard]] tokens::TokenManager& tokens() noexcept { return tokens_; }
  [[nodiscard]] const Snapshot& snapshot() const noexcept { return *snapshot_; }

 private:
  DryRun() = default;

  SystemClock clock_;
  SystemEntropy entropy_;
  class Ignore final : public TaskSet::ErrorHandler {
    void on_task_exception(std::exception_ptr /*exception*/) noexcept override {}
  };
  Ignore ignore_;
  Loop loop_{clock_};
  tokens::TokenManager tokens_{{loop_, clock_, entropy_, nullptr, ignore_}};
  std::unique_ptr<observe::MetricRegistry> registry_;
  std::unique_ptr<observe::GatewayMetrics> metrics_;
  std::unique_ptr<ManagedCertificates> managed_;  // nullptr if no origin asks for it
  std::unique_ptr<IssuerKeeper> issuer_;          // nullptr: no issuer is configured
  std::shared_ptr<const Snapshot> snapshot_;
};

}  // namespace postern::gateway
