#include "gateway/gateway.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/json_writer.h"
#include "config/diagnostics.h"
#include "gateway/schema.h"
#include "gateway/signals.h"
#include "gateway/start_failure.h"
#include "gateway/tls_plans.h"
#include "platform/private_directory.h"

namespace postern::gateway {
namespace {

constexpr Duration kSettleTime = std::chrono::seconds(5);  // for the first answers of the name servers
// The same at a reload, while the control thread answers nobody.
constexpr Duration kResolveTime = std::chrono::seconds(2);

// min(CPU affinity, cgroup quota), at least 1.
unsigned available_cpus() {
  unsigned count = 1;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) count = std::max(1u, static_cast<unsigned>(CPU_COUNT(&set)));
  std::ifstream quota("/sys/fs/cgroup/cpu.max");
  std::string allowed;
  double period = 0;
  if (quota >> allowed >> period && allowed != "max" && period > 0) {
    const double cpus = std::strtod(allowed.c_str(), nullptr) / period;
    if (cpus > 0) count = std::min(count, std::max(1u, static_cast<unsigned>(std::lround(cpus))));
  }
  return count;
}

// Bytes: of the machine, or less if the cgroup has a limit.
std::uint64_t available_memory() {
  const auto pages = static_cast<std::uint64_t>(std::max(0L, ::sysconf(_SC_PHYS_PAGES)));
  std::uint64_t bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::ifstream limit("/sys/fs/cgroup/memory.max");
  std::uint64_t allowed = 0;
  if (limit >> allowed) bytes = std::min(bytes, allowed);
  return bytes;
}

observe::AccessLog::Options access_log_options(const config::AccessLogConfig& config) {
  observe::AccessLog::Options options;
  switch (config.sink) {
    case config::AccessLogConfig::Sink::standard_error:
      options.writer.sink = observe::BlockWriter::Sink::standard_error;
      break;
    case config::AccessLogConfig::Sink::file:
      options.writer.sink = observe::BlockWriter::Sink::file;
      options.writer.path = config.path;
      break;
    default: options.writer.sink = observe::BlockWriter::Sink::standard_output;
  }
  options.query_values = config.query_values == config::AccessLogConfig::QueryValues::keep
                             ? observe::QueryValues::keep
                             : observe::QueryValues::redact;
  return options;
}

Result<SocketAddress> to_socket_address(const config::Address& address) {
  if (address.kind == config::Address::Kind::unix_socket) return SocketAddress{{}, 0, address.path};
  const auto ip = IpAddress::parse(address.host == "localhost" ? "127.0.0.1" : address.host);
  if (!ip) return fail(Code::io_failed, Side::gateway, "`" + address.text + "` is not an address to listen on");
  return SocketAddress{*ip, address.port, {}};
}

bool same_file(const config::ConsumersConfig& a, const config::ConsumersConfig& b) {
  return a.file == b.file && a.database == b.database;
}

bool same_sink(const config::AccessLogConfig& a, const config::AccessLogConfig& b) {
  return a.sink == b.sink && a.path == b.path && a.query_values == b.query_values;
}

// The snapshot's policies ask the store for as long as they exist.
std::shared_ptr<const Snapshot> keep_alive(std::shared_ptr<const Snapshot> snapshot,
                                           std::shared_ptr<const store::KeyStore> keys) {
  if (!snapshot || !keys) return snapshot;
  struct Both {
    std::shared_ptr<const store::KeyStore> keys;
    std::shared_ptr<const Snapshot> snapshot;  // goes first
  };
  const auto both = std::make_shared<const Both>(std::move(keys), std::move(snapshot));
  return {both, both->snapshot.get()};
}

// Begins with what cannot be had, as describe_failure() wants it.
std::unexpected<Error> unusable(std::string_view what, const Error& error) {
  return fail(Code::io_failed, Side::gateway, std::string(what) + ": " + std::string(error.detail()));
}

}  // namespace

Gateway::Gateway(const Options& options)
    : options_(options), started_(options.clock.wall()), loop_(options.clock), tasks_(*this) {
  token_manager_ = std::make_unique<tokens::TokenManager>(
      tokens::TokenManager::Services{loop_, options_.clock, options_.entropy, &options_.log, *this});
  signals_ = std::make_unique<Signals>(loop_, [this](int signal) {
    switch (signal) {
      case SIGHUP: static_cast<void>(reload()); break;
      case SIGUSR1:
        if (access_log_) access_log_->reopen();
        break;
      default: begin_drain();
    }
  });
}

Gateway::~Gateway() {
  tasks_.cancel_all();
  watchers_.clear();
  admin_server_.reset();
  observe_server_.reset();
  workers_.clear();
  token_manager_.reset();
  snapshot_.reset();
}

Gateway::Candidate Gateway::load(From from, LoadReport& report) {
  config::Diagnostics diagnostics(options_.config_file);
  std::optional<std::string> text =
      from == From::file ? read_config_text(options_.config_file, diagnostics) : std::optional(text_in_force_);
  std::shared_ptr<const config::Config> config;
  Candidate candidate;
  candidate.files = std::make_unique<SecretFiles>();
  if (text) {
    candidate.text = std::move(*text);
    // The text that runs must not keep a secret from being renewed only because time has passed: requests to an origin
    // whose exception has expired are refused anyway.
    LoadRules rules;
    if (from == From::in_force) {
      rules.expired = config::ExpiredException::warning;
      // One pair that cannot be used must not keep the others from being renewed.
      rules.kept = &report.kept;
    }
    // At the start the other hosts come up, whatever has become of one certificate.
    if (!snapshot_) rules.outdated = config::OutdatedCertificate::warning;
    if (snapshot_) rules.in_force = snapshot_->config.get();
    config =
        load_config(options_.config_file, candidate.text, *candidate.files, options_.clock.wall(), diagnostics, rules);
  }
  if (config) {
    Result<void> prepared = prepare_services(*config);
    if (prepared) {
      Result<std::shared_ptr<store::KeyStore>> keys = key_store_for(*config);
      if (keys) {
        candidate.keys = std::move(*keys);
      } else {
        prepared = std::unexpected(std::move(keys.error()));
      }
    }
    if (prepared) {
      Result<std::shared_ptr<IssuerKeeper>> issuer = issuer_for(*config);
      if (issuer) {
        candidate.issuer = std::move(*issuer);
      } else {
        prepared = unusable("issuer", issuer.error());
      }
    }
    if (prepared) {
      Result<void> provided = provide_certificates(*config);
      // An authority that has come to its end must not keep files from being renewed: what it has issued is there, and
      // requests that need it are refused once it has expired.
      if (!provided && from == From::in_force) {
        report.kept += describe_failure(options_.config_file, *config, provided.error());
      } else {
        prepared = std::move(provided);
      }
    }
    if (!prepared) {
      report.problems = describe_failure(options_.config_file, *config, prepared.error());
      report.outcome = LoadReport::Outcome::failed;
      return candidate;
    }
    const std::uint64_t memory = config->buffer_memory != 0 ? config->buffer_memory : available_memory() / 4;
    const Snapshot::Services services{
        {options_.clock, candidate.keys.get(), rate_table_.get(), {}},
        {options_.clock, options_.entropy, candidate.issuer ? candidate.issuer->mint() : nullptr, token_manager_.get()},
        *metrics_,
        *registry_,
        static_cast<std::size_t>(memory) / workers_.size(),
        static_cast<unsigned>(workers_.size()),
        tickets_,
        managed_.get()};
    candidate.snapshot =
        keep_alive(Snapshot::build(config, services, snapshot_.get(), generation_ + 1, diagnostics), candidate.keys);
  }
  report.problems = diagnostics.to_text();
  report.errors = diagnostics.to_text(config::Diagnostics::Show::errors);
  return candidate;
}

void Gateway::take_over(Candidate candidate) {
  if (managed_) managed_->in_force();
  snapshot_ = std::move(candidate.snapshot);
  generation_ = snapshot_->generation;
  text_in_force_ = std::move(candidate.text);
  secret_files_ = std::move(candidate.files);
  if (key_store_ && key_store_ != candidate.keys) {
    key_store_->on_change({});  // nobody new asks it: its troubles are no news any more
    old_key_stores_.push_back(std::move(key_store_));
  }
  key_store_ = std::move(candidate.keys);
  issuer_ = std::move(candidate.issuer);
  metrics_->set_generation(generation_);
}

// Once, at the start: what lives as long as the process.
Result<void> Gateway::prepare_services(const config::Config& config) {
  if (registry_) return {};
  const unsigned loops = config.workers != 0 ? config.workers : available_cpus();
  Result<std::unique_ptr<observe::MetricRegistry>> registry = observe::MetricRegistry::create({.loops = loops});
  if (!registry) return std::unexpected(std::move(registry.error()));
  if (config.access_log.sink != config::AccessLogConfig::Sink::off) {
    Result<std::unique_ptr<observe::AccessLog>> log =
        observe::AccessLog::open(access_log_options(config.access_log), options_.log);
    if (!log) return std::unexpected(std::move(log.error()));
    access_log_ = std::move(*log);
  }
  rate_table_ = std::make_unique<store::RateTable>();
  tickets_ = std::make_shared<tls::TicketKeys>(options_.entropy, options_.clock);
  registry_ = std::move(*registry);
  metrics_ = std::make_unique<observe::GatewayMetrics>(*registry_, started_);
  for (unsigned i = 0; i < loops; ++i) {
    workers_.push_back(
        std::make_unique<Worker>(Worker::Options{options_.clock, options_.network, *metrics_, registry_->loop(i),
                                                 access_log_.get(), options_.log, options_.entropy, i}));
  }
  return {};
}

// Under managed mTLS: the authorities, and a certificate for each origin that asks for one.
Result<void> Gateway::provide_certificates(const config::Config& config) {
  if (!uses_managed_certificates(config)) return {};
  const std::string directory = config.state_directory + "/ca";
  if (!managed_) {
    Result<std::unique_ptr<ManagedCertificates>> opened =
        ManagedCertificates::open(directory, options_.clock.wall(), options_.entropy);
    if (!opened) return unusable(directory, opened.error());
    managed_ = std::move(*opened);
  }
  const Result<void> provided = managed_->provide(config, options_.clock.wall());
  if (!provided) return unusable(directory, provided.error());
  return {};
}

// Only where a policy asks who somebody is: a gateway without such a policy needs no database. The running store goes
// on if it reads what the configuration names.
Result<std::shared_ptr<store::KeyStore>> Gateway::key_store_for(const config::Config& config) const {
  if (!identifies_consumers(config)) return nullptr;
  if (key_store_ && same_file(snapshot_->config->consumers, config.consumers)) return key_store_;
  store::KeyStore::Options options;
  options.database = config.consumers.database;
  options.file = config.consumers.file;
  if (!options.database.empty()) {
    const Result<void> made = make_private_directory(std::filesystem::path(options.database).parent_path());
    if (!made) {
      return unusable(options.database, made.error());
    }
  }
  Result<std::unique_ptr<store::KeyStore>> opened = store::KeyStore::open(options, options_.clock);
  if (!opened) return std::unexpected(std::move(opened.error()));
  std::shared_ptr<store::KeyStore> keys = std::move(*opened);
  keys->on_change([&log = options_.log](const store::KeyStore::Status& status) {
    if (!status.problem.empty()) {
      log.error(status.available ? observe::Constant("the keys cannot be read; the last ones serve for a moment")
                                 : observe::Constant("the keys cannot be read; nobody who needs one is let in"),
                {observe::LogField::text("problem", status.problem)});
    } else if (status.available) {
      log.info("the keys can be read again");
    }
  });
  return keys;
}

Result<std::shared_ptr<IssuerKeeper>> Gateway::issuer_for(const config::Config& config) const {
  if (!config.issuer) return nullptr;
  if (issuer_ && issuer_->is(*config.issuer)) return issuer_;
  Result<std::unique_ptr<IssuerKeeper>> opened =
      IssuerKeeper::open(*config.issuer, options_.clock.wall(), options_.entropy,
                         snapshot_ ? IssuerKeeper::Moment::reload : IssuerKeeper::Moment::start);
  if (!opened) return std::unexpected(std::move(opened.error()));
  return std::shared_ptr<IssuerKeeper>(std::move(*opened));
}

// Nobody but this thread gives out a store of the list again: one holder left is the list itself.
void Gateway::close_unused_key_stores() {
  std::erase_if(old_key_stores_, [](const auto& store) { return store.use_count() == 1; });
}

std::vector<std::string> Gateway::waiting_for_restart(const config::Config& config) const {
  std::vector<std::string> names;
  const config::Config& runs = *started_with_;
  if ((config.workers != 0 ? config.workers : available_cpus()) != workers_.size()) names.emplace_back("workers");
  if (runs.observe.has_value() != config.observe.has_value() ||
      (runs.observe && runs.observe->address.text != config.observe->address.text)) {
    names.emplace_back("observe");
  }
  if (runs.admin.socket != config.admin.socket) names.emplace_back("admin.socket");
  if (!same_sink(runs.access_log, config.access_log)) names.emplace_back("access_log");
  return names;
}

LoadReport Gateway::start() {
  LoadReport report;
  Candidate candidate = load(From::file, report);
  if (!candidate.snapshot) return report;
  const auto rejected = [&, config = candidate.snapshot->config](const Error& error) {
    report.problems += describe_failure(options_.config_file, *config, error);
    report.outcome = LoadReport::Outcome::failed;
    return report;
  };
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Result<void> prepared =
        workers_[i]->prepare(candidate.snapshot, i == 0 ? Worker::Role::first : Worker::Role::other);
    if (!prepared) return rejected(prepared.error());
    workers_[i]->commit();
  }
  take_over(std::move(candidate));
  started_with_ = snapshot_->config;
  Result<void> opened = open_control_listeners(*snapshot_->config);
  if (!opened) return rejected(opened.error());
  Result<std::unique_ptr<origins::Resolver>> resolver = origins::make_resolver(loop_);
  if (!resolver) return rejected(resolver.error());
  resolver_ = std::move(*resolver);
  fetcher_ =
      std::make_unique<fetch::HttpFetcher>(fetch::HttpFetcher::Services{loop_, options_.network, buffers_, *resolver_});
  keep_tokens();
  watch_origins();
  // Names are looked up before the first request is taken; a name server that is silent does not stop the start.
  const MonoTime deadline = options_.clock.now() + kSettleTime;
  const auto settled = [&] {
    return token_manager_->settled() &&
           std::all_of(watchers_.begin(), watchers_.end(), [](const auto& w) { return w->settled(); });
  };
  while (!settled() && !draining_ && options_.clock.now() < deadline) loop_.run_once();
  for (const auto& worker : workers_) worker->start();
  tasks_.spawn(every_second());
  report.outcome = LoadReport::Outcome::applied;
  return report;
}

Result<void> Gateway::open_control_listeners(const config::Config& config) {
  if (config.observe) {
    observe_server_ = std::make_unique<ControlServer>(
        loop_, [this](const ControlRequest& request) { return observe_request(request); }, ControlServer::Guard::none);
    Result<SocketAddress> address = to_socket_address(config.observe->address);
    if (!address) return std::unexpected(std::move(address.error()));
    Result<void> opened = observe_server_->listen(options_.network, *address);
    if (!opened) return opened;
  }
  if (config.admin.socket.empty()) return {};
  const Result<void> made = make_private_directory(std::filesystem::path(config.admin.socket).parent_path());
  if (!made) return unusable("unix:" + config.admin.socket, made.error());
  admin_server_ = std::make_unique<ControlServer>(
      loop_, [this](const ControlRequest& request) { return admin_request(request); }, ControlServer::Guard::same_host);
  // The socket is made with the mode of the mask: nobody else may open it, not even for a moment.
  const mode_t before = ::umask(0177);
  Result<void> opened = admin_server_->listen(options_.network, {{}, 0, config.admin.socket});
  ::umask(before);
  return opened;
}

void Gateway::keep_tokens() {
  const config::EgressProxyConfig& proxy = snapshot_->config->egress_proxy;
  fetcher_->set_proxy({proxy.host, proxy.port, proxy.bypass});
  token_manager_->warm_up(*fetcher_);
}

void Gateway::watch_origins() {
  watchers_.clear();
  const origins::OriginWatcher::Services services{loop_, options_.network, buffers_, *resolver_, options_.log, *this};
  for (const OriginPlan& plan : snapshot_->origins) {
    watchers_.push_back(std::make_unique<origins::OriginWatcher>(services, *plan.origin, snapshot_));
    watchers_.back()->start();
  }
}

// Before the loops switch: a request for an origin whose name is new must find an address. Only this thread waits.
void Gateway::resolve_new_names(const Snapshot& snapshot) const {
  std::vector<std::string> names;
  for (const OriginPlan& plan : snapshot.origins) {
    for (std::string& name : origins::unknown_names(plan.origin->config, *plan.origin->state->endpoints())) {
      names.push_back(std::move(name));
    }
  }
  const origins::KnownAddresses known = origins::resolve_now(names, kResolveTime);
  if (known.empty()) return;
  for (const OriginPlan& plan : snapshot.origins) {
    const auto before = plan.origin->state->endpoints();
    if (origins::unknown_names(plan.origin->config, *before).empty()) continue;
    plan.origin->state->publish(origins::known_endpoints(plan.origin->config, *before, known));
  }
}

LoadReport Gateway::reload(From from) {
  LoadReport report;
  const auto finish = [&](LoadReport::Outcome outcome) {
    report.outcome = outcome;
    last_reload_.at = options_.clock.wall();
    last_reload_.state = outcome == LoadReport::Outcome::applied     ? observe::ReloadState::applied
                         : outcome == LoadReport::Outcome::unchanged ? observe::ReloadState::unchanged
                                                                     : observe::ReloadState::rejected;
    // A log record is cut somewhere: no warning may take the place of what went wrong.
    const std::string& why = !report.errors.empty() ? report.errors
                             : !report.kept.empty() ? report.kept
                                                    : report.problems;
    last_reload_.message = why;
    const bool rejected = outcome == LoadReport::Outcome::rejected || outcome == LoadReport::Outcome::failed;
    const bool partly = !rejected && !report.kept.empty();
    // Not all of it: whoever watches over reloads must see that.
    if (partly) last_reload_.state = observe::ReloadState::rejected;
    metrics_->reloaded(rejected || partly                          ? observe::ReloadOutcome::rejected
                       : outcome == LoadReport::Outcome::unchanged ? observe::ReloadOutcome::unchanged
                                                                   : observe::ReloadOutcome::applied);
    // A file that somebody else got wrong is no reason to wait with what is in force.
    if (managed_ && rejected && from == From::in_force) managed_->retry_later(options_.clock.wall());
    if (managed_ && outcome == LoadReport::Outcome::unchanged) managed_->in_force();
    if (rejected) {
      options_.log.error("reload rejected; the running configuration stays",
                         {observe::LogField::text("problems", why)});
    } else if (partly) {
      options_.log.error("a certificate cannot be renewed; the one before stays",
                         {observe::LogField::text("problems", report.kept)});
    } else {
      options_.log.info("reloaded", {observe::LogField::number("generation", generation_),
                                     observe::LogField::number("changes", report.changes.size())});
    }
    return report;
  };
  if (draining_) {
    report.problems = "the gateway is shutting down\n";
    return finish(LoadReport::Outcome::rejected);
  }
  Candidate candidate = load(from, report);
  const std::shared_ptr<const Snapshot> snapshot = candidate.snapshot;
  if (!snapshot) {
    // Said once; the next look tries again only if a file has changed once more.
    if (from == From::in_force) secret_files_ = std::move(candidate.files);
    return finish(report.outcome);
  }
  for (const std::string& path : config::secrets_fixed_at_start(*snapshot->config)) {
    report.notes.push_back(path + " comes from the environment, which is fixed when the process starts");
  }
  report.changes = config::describe_changes(*snapshot_->config, *snapshot->config);
  // A managed certificate is renewed without a word of the configuration.
  for (const OriginPlan& plan : snapshot->origins) {
    for (const OriginPlan& old : snapshot_->origins) {
      if (old.origin->config.name != plan.origin->config.name ||
          (old.tls_terms == plan.tls_terms && old.certificate_terms == plan.certificate_terms))
        continue;
      if (report.changes.empty())
        report.changes.push_back("~ origins." + old.origin->config.name + ": trust or certificate");
    }
  }
  const bool unchanged = report.changes.empty();
  // Said at each reload, until it is true.
  for (const std::string& name : waiting_for_restart(*snapshot->config)) {
    report.changes.push_back("! " + name + ": takes effect at the next start");
  }
  if (unchanged) {
    text_in_force_ = std::move(candidate.text);
    secret_files_ = std::move(candidate.files);
    return finish(LoadReport::Outcome::unchanged);
  }

  resolve_new_names(*snapshot);
  // Nothing changes before every loop has what it needs.
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Result<void> prepared;
    const auto role = i == 0 ? Worker::Role::first : Worker::Role::other;
    workers_[i]->call([&] { prepared = workers_[i]->prepare(snapshot, role); });
    if (prepared) continue;
    report.errors = describe_failure(options_.config_file, *snapshot->config, prepared.error());
    report.problems += report.errors;
    for (const auto& worker : workers_) worker->call([&] { worker->abandon(); });
    return finish(LoadReport::Outcome::failed);
  }
  for (const auto& worker : workers_) worker->call([&] { worker->commit(); });
  take_over(std::move(candidate));
  keep_tokens();
  watch_origins();
  return finish(LoadReport::Outcome::applied);
}

int Gateway::run() {
  loop_.run();
  return exit_code_;
}

void Gateway::begin_drain() {
  if (draining_) {  // a second signal means now
    loop_.stop();
    return;
  }
  draining_ = true;
  tasks_.spawn(drain());
}

Task<void> Gateway::drain() {
  options_.log.info("draining", {observe::LogField::number("connections", open_connections())});
  for (const auto& worker : workers_) {
    worker->call([&] { worker->drain(); });
  }
  const MonoTime deadline = loop_.now() + snapshot_->config->drain;
  while (open_connections() != 0 && loop_.now() < deadline) co_await loop_.sleep_for(std::chrono::milliseconds(20));
  if (open_connections() != 0) {
    options_.log.warning("drain time is over; connections are cut",
                         {observe::LogField::number("connections", open_connections())});
  }
  loop_.stop();
}

void Gateway::update_gauges() {
  observe::SeriesSet certificates(*registry_);
  for (const CertificateInUse& used : certificates_in_use(*snapshot_, managed_.get())) {
    const auto left = std::chrono::floor<std::chrono::days>(used.certificate->not_after() - options_.clock.wall());
    registry_->set(metrics_->certificate_days_left(certificates, used.where), left.count());
  }
  certificate_series_ = std::move(certificates);
  observe::SeriesSet issuer(*registry_);
  if (issuer_) issuer_->report(*registry_, *metrics_, issuer, options_.clock.wall());
  issuer_series_ = std::move(issuer);
  observe::SeriesSet series_of_tokens(*registry_);
  for (const tokens::TokenStatus& token : token_manager_->status()) {
    const observe::TokenMetrics metrics = metrics_->token(series_of_tokens, token.name);
    const auto seconds = [](Duration value) { return std::chrono::floor<std::chrono::seconds>(value).count(); };
    registry_->set(metrics.usable, token.usable ? 1 : 0);
    registry_->set(metrics.age, token.age ? seconds(*token.age) : -1);
    registry_->set(metrics.expires, token.expires ? seconds(*token.expires) : token.usable ? -1 : 0);
    registry_->set(metrics.skew, token.skew ? seconds(*token.skew) : 0);
    registry_->set(metrics.refreshes, token.fetched);
    registry_->set(metrics.failures, token.failures);
  }
  token_series_ = std::move(series_of_tokens);
  std::size_t insecure = 0;
  for (const OriginPlan& plan : snapshot_->origins) {
    insecure += plan.origin->config.insecure ? 1 : 0;
    const auto endpoints = plan.origin->state->endpoints();
    for (std::size_t i = 0; i < endpoints->size() && i < plan.metrics.endpoint_healthy.size(); ++i) {
      registry_->set(plan.metrics.endpoint_healthy[i], (*endpoints)[i]->available(loop_.now()) ? 1 : 0);
    }
  }
  metrics_->set_insecure_options(insecure);
  if (!key_store_) {
    store_series_ = {};
    return;
  }
  observe::SeriesSet series(*registry_);
  registry_->set(metrics_->store_available(series), key_store_->status().available ? 1 : 0);
  store_series_ = std::move(series);
}

Task<void> Gateway::every_second() {
  for (;;) {
    co_await loop_.sleep_for(std::chrono::seconds(1));
    close_unused_key_stores();
    if (issuer_) issuer_->tick(options_.clock.wall(), options_.log);
    if (draining_) continue;
    keep_tokens();
    const bool changed = secret_files_->changed(options_.clock.wall());
    const bool due = managed_ && managed_->renewal_due(*snapshot_->config, options_.clock.wall());
    if (!changed && !due) continue;
    if (changed) options_.log.info("the file of a secret or certificate has changed");
    if (due) options_.log.info("a managed certificate is due to be renewed");
    static_cast<void>(reload(From::in_force));
  }
}

void Gateway::on_task_exception(std::exception_ptr exception) noexcept {
  try {
    std::rethrow_exception(std::move(exception));
  } catch (const std::exception& bug) {
    options_.log.error("a control task ended by an exception", {observe::LogField::text("what", bug.what())});
  } catch (...) {
    options_.log.error("a control task ended by an exception");
  }
}

std::size_t Gateway::open_connections() const {
  std::size_t open = 0;
  for (const auto& worker : workers_) open += worker->connections();
  return open;
}

std::vector<SocketAddress> Gateway::traffic_addresses() const { return workers_.front()->bound_addresses(); }

std::optional<SocketAddress> Gateway::observe_address() const {
  return observe_server_ ? std::optional(observe_server_->address()) : std::nullopt;
}

}  // namespace postern::gateway
