// IssuerKeeper: the gateway's issuer as it runs: keys from their directory, rotated when it is time, reread when
// another gateway or `postern issuer` has changed them; tokens signed ahead. On the control thread; what it hands out
// is safe on every loop.
#pragma once

#include <memory>
#include <string>

#include "config/config.h"
#include "issuer/key_directory.h"
#include "issuer/token_mint.h"
#include "observe/gateway_metrics.h"
#include "observe/log.h"
#include "observe/status.h"

namespace postern::gateway {

class IssuerKeeper {
 public:
  enum class Moment : std::uint8_t {
    start,
    reload
  };  // a reload waits no longer for a lock than the control thread may
  // Makes the first keys if there are none.
  [[nodiscard]] static Result<std::unique_ptr<IssuerKeeper>> open(const config::IssuerConfig& config, WallTime now,
                                                                  const Entropy& entropy, Moment moment);
  // For a dry run: the keys that are there, or none. Writes nothing.
  [[nodiscard]] static std::unique_ptr<IssuerKeeper> rehearse(const config::IssuerConfig& config, WallTime now,
                                                              const Entropy& entropy);

  // Whether this is the issuer that `config` means.
  [[nodiscard]] bool is(const config::IssuerConfig& config) const noexcept;
  // Once a second.
  void tick(WallTime now, observe::Log& log);

  [[nodiscard]] const std::shared_ptr<issuer::TokenMint>& mint() const noexcept { return mint_; }
  // Whether the keys in force are those of the directory: a gateway that signs with others must get no traffic.
  [[nodiscard]] bool current() const noexcept { return current_; }
  // Why not, or why a key that is due has not been made; "" if all is well.
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

  // For people and their monitoring.
  [[nodiscard]] observe::IssuerStatus status(WallTime now) const;
  void report(observe::MetricRegistry& registry, const observe::GatewayMetrics& metrics, observe::SeriesSet& series,
              WallTime now) const;

 private:
  IssuerKeeper(const config::IssuerConfig& config, const Entropy& entropy);
  [[nodiscard]] Result<void> adopt(Result<issuer::IssuerKeys> keys, WallTime now);

  const issuer::IssuerOptions options_;
  issuer::KeyDirectory directory_;
  std::shared_ptr<issuer::TokenMint> mint_;
  issuer::KeyStamp stamp_;
  std::optional<WallTime> next_change_;
  WallTime retry_at_{};
  bool current_ = true;
  std::string problem_;
};

}  // namespace postern::gateway
