// Gateway: the running whole: loads the configuration, owns the workers, the control listeners and what they share, and
// replaces the configuration in place. It lives on the control thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fetch/http_fetcher.h"
#include "gateway/control_server.h"
#include "gateway/issuer_keeper.h"
#include "gateway/managed_certificates.h"
#include "gateway/secret_files.h"
#include "gateway/signals.h"
#include "gateway/snapshot.h"
#include "gateway/worker.h"
#include "observe/access_log.h"
#include "observe/log.h"
#include "observe/status.h"
#include "origins/resolver.h"
#include "origins/watcher.h"
#include "store/key_store.h"
#include "store/rate_table.h"
#include "tokens/manager.h"

namespace postern::gateway {

// What a start or reload has to say to a person.
struct LoadReport {
  enum class Outcome : std::uint8_t {
    applied,
    unchanged,
    rejected,  // the configuration is wrong
    failed,    // the configuration may be right, but an address, file or other resource cannot be had
  };
  Outcome outcome = Outcome::rejected;
  std::string problems;              // text of the diagnostics, or why an address cannot be bound
  std::string errors;                // those of `problems` that are no warnings
  std::string kept;                  // what is wrong with files instead of whose content the one before stays in force
  std::vector<std::string> changes;  // one line each
  std::vector<std::string> notes;    // what a reload cannot do
};

class Gateway final : public TaskSet::ErrorHandler {
 public:
  struct Options {
    std::string config_file;
    Clock& clock;
    Network& network;
    const Entropy& entropy;
    observe::Log& log;
  };

  // Where a reload takes the text of the configuration from.
  enum class From : std::uint8_t {
    file,
    in_force,  // the text that runs: only secrets and certificates may have changed
  };

  // Throws std::system_error if the kernel refuses what every process needs (epoll, threads).
  explicit Gateway(const Options& options);
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;
  ~Gateway();

  // Loads, binds, starts the workers. With Outcome::rejected nothing runs.
  [[nodiscard]] LoadReport start();
  // Serves signals and control listeners until SIGTERM or SIGINT, then drains. Returns the exit code.
  [[nodiscard]] int run();
  [[nodiscard]] LoadReport reload() { return reload(From::file); }
  // From a signal or a test: ends run() after draining.
  void begin_drain();

  [[nodiscard]] std::vector<SocketAddress> traffic_addresses() const;
  [[nodiscard]] std::optional<SocketAddress> observe_address() const;
  [[nodiscard]] Loop& loop() noexcept { return loop_; }

 private:
  // What a load has made. It becomes the gateway's own only when every loop has adopted the snapshot.
  struct Candidate {
    std::string text;
    std::unique_ptr<SecretFiles> files;
    std::shared_ptr<store::KeyStore> keys;     // the running one, if it is the same; nullptr if no policy asks
    std::shared_ptr<IssuerKeeper> issuer;      // the running one, if it is the same; nullptr if there is none
    std::shared_ptr<const Snapshot> snapshot;  // keeps `keys` alive; nullptr if the load has failed
  };
  [[nodiscard]] LoadReport reload(From from);
  [[nodiscard]] Candidate load(From from, LoadReport& report);
  void take_over(Candidate candidate);
  [[nodiscard]] Result<void> prepare_services(const config::Config& config);
  [[nodiscard]] Result<std::shared_ptr<store::KeyStore>> key_store_for(const config::Config& config) const;
  [[nodiscard]] Result<std::shared_ptr<IssuerKeeper>> issuer_for(const config::Config& config) const;
  void close_unused_key_stores();
  [[nodiscard]] Result<void> open_control_listeners(const config::Config& config);
  void watch_origins();
  // Tokens that this configuration names are fetched from now on, others forgotten.
  void keep_tokens();
  void resolve_new_names(const Snapshot& snapshot) const;
  [[nodiscard]] ControlAnswer observe_request(const ControlRequest& request);
  [[nodiscard]] ControlAnswer admin_request(const ControlRequest& request);
  [[nodiscard]] ControlAnswer reload_request(const ControlRequest& request);
  [[nodiscard]] ControlAnswer refresh_keys();
  [[nodiscard]] observe::Status status() const;
  // Options that are fixed when the process starts, and for which `config` says something else than what runs.
  [[nodiscard]] std::vector<std::string> waiting_for_restart(const config::Config& config) const;
  [[nodiscard]] bool ready() const;
  [[nodiscard]] Task<void> drain();
  // For a scrape: what is not counted as it happens.
  void update_gauges();
  [[nodiscard]] Task<void> every_second();
  [[nodiscard]] Result<void> provide_certificates(const config::Config& config);
  void on_task_exception(std::exception_ptr exception) noexcept override;
  [[nodiscard]] std::size_t open_connections() const;

  Options options_;
  WallTime started_;
  Loop loop_;
  std::unique_ptr<observe::MetricRegistry> registry_;
  std::unique_ptr<observe::GatewayMetrics> metrics_;
  observe::SeriesSet store_series_;  // empty without a key store
  std::unique_ptr<observe::AccessLog> access_log_;
  std::shared_ptr<store::KeyStore> key_store_;
  // Of earlier configurations, while a request that began with one may still ask. Closed here, because closing waits
  // for the store's thread, and no loop may.
  std::vector<std::shared_ptr<store::KeyStore>> old_key_stores_;
  std::shared_ptr<IssuerKeeper> issuer_;  // nullptr: no issuer is configured
  std::unique_ptr<store::RateTable> rate_table_;
  std::shared_ptr<tls::TicketKeys> tickets_;
  std::unique_ptr<ManagedCertificates> managed_;  // nullptr until a configuration asks for them
  observe::SeriesSet certificate_series_;
  observe::SeriesSet issuer_series_;  // empty without an issuer
  std::shared_ptr<const Snapshot> snapshot_;
  std::shared_ptr<const config::Config> started_with_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<ControlServer> observe_server_;
  std::unique_ptr<ControlServer> admin_server_;
  std::unique_ptr<Signals> signals_;
  std::unique_ptr<origins::Resolver> resolver_;
  BufferPool buffers_;
  std::unique_ptr<fetch::HttpFetcher> fetcher_;
  std::unique_ptr<tokens::TokenManager> token_manager_;
  observe::SeriesSet token_series_;
  std::vector<std::unique_ptr<origins::OriginWatcher>> watchers_;
  observe::ReloadStatus last_reload_;
  std::string text_in_force_;
  std::unique_ptr<SecretFiles> secret_files_;  // of the configuration in force
  std::uint64_t generation_ = 0;
  bool draining_ = false;
  int exit_code_ = 0;
  TaskSet tasks_;
};

}  // namespace postern::gateway
