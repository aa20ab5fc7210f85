#include "gateway/gateway.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/json_writer.h"
#include "config/diagnostics.h"
#include "gateway/schema.h"
#include "gateway/signals.h"
#include "gateway/start_failure.h"
#include "policies/catalog.h"
#include "store/private_directory.h"

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
    if (cpus > 0) count = std::min(count, std::max(1u, static_cast<unsigned>(cpus + 0.5)));
  }
  return count;
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

SocketAddress to_socket_address(const config::Address& address) {
  if (address.kind == config::Address::Kind::unix_socket) return {{}, 0, address.path};
  const auto ip = IpAddress::parse(address.host == "localhost" ? "127.0.0.1" : address.host);
  return {ip.value_or(IpAddress()), address.port, {}};
}

bool identifies_consumers(const config::Config& config) {
  const std::vector<std::string> names = policies::authenticating_policies();
  const auto any = [&](const std::vector<config::PolicyUse>& uses) {
    return std::ranges::any_of(
        uses, [&](const config::PolicyUse& use) { return std::ranges::find(names, use.name) != names.end(); });
  };
  return any(config.policies) || std::ranges::any_of(config.origins, any, &config::OriginConfig::policies) ||
         std::ranges::any_of(config.routes, any, &config::RouteConfig::policies);
}

bool same_file(const config::ConsumersConfig& a, const config::ConsumersConfig& b) {
  return a.file == b.file && a.database == b.database;
}

// What is fixed when the process starts; a reload that changes it says so.
std::vector<std::string> needs_restart(const config::Config& before, const config::Config& after) {
  std::vector<std::string> out;
  const auto note = [&](std::string_view what) {
    out.push_back("! " + std::string(what) + ": takes effect at the next start");
  };
  if (before.workers != after.workers) note("workers");
  if (before.observe.has_value() != after.observe.has_value() ||
      (before.observe && before.observe->address.text != after.observe->address.text)) {
    note("observe");
  }
  if (before.admin.socket != after.admin.socket) note("admin.socket");
  if (before.access_log.sink != after.access_log.sink || before.access_log.path != after.access_log.path ||
      before.access_log.query_values != after.access_log.query_values) {
    note("access_log");
  }
  if (!same_file(before.consumers, after.consumers)) note("consumers");
  return out;
}

}  // namespace

Gateway::Gateway(const Options& options)
    : options_(options), started_(options.clock.wall()), loop_(options.clock), tasks_(*this) {
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
  snapshot_.reset();
}

std::shared_ptr<const Snapshot> Gateway::load(From from, LoadReport& report) {
  config::Diagnostics diagnostics(options_.config_file);
  std::optional<std::string> text =
      from == From::file ? read_config_text(options_.config_file, diagnostics) : std::optional(text_in_force_);
  std::shared_ptr<const config::Config> config;
  loading_files_ = std::make_unique<SecretFiles>();
  if (text) {
    loading_text_ = std::move(*text);
    config = load_config(options_.config_file, loading_text_, *loading_files_, options_.clock.wall(), diagnostics);
  }
  std::shared_ptr<const Snapshot> snapshot;
  if (config) {
    Result<void> prepared = prepare_services(*config);
    if (prepared) prepared = open_key_store(*config);
    if (!prepared) {
      report.problems = describe_failure(options_.config_file, *config, prepared.error());
      report.outcome = LoadReport::Outcome::failed;
      return nullptr;
    }
    const Snapshot::Services services{{options_.clock, key_store_.get(), rate_table_.get(), {}}, *metrics_, *registry_};
    snapshot = Snapshot::build(config, services, snapshot_.get(), generation_ + 1, diagnostics);
  }
  report.problems = diagnostics.to_text();
  report.problems_json = diagnostics.to_json();
  return snapshot;
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
  registry_ = std::move(*registry);
  metrics_ = std::make_unique<observe::GatewayMetrics>(*registry_, started_);
  for (unsigned i = 0; i < loops; ++i) {
    workers_.push_back(
        std::make_unique<Worker>(Worker::Options{options_.clock, options_.network, *metrics_, registry_->loop(i),
                                                 access_log_.get(), options_.log, options_.entropy}));
  }
  return {};
}

// As soon as a policy asks who somebody is; a gateway without such a policy needs no database.
Result<void> Gateway::open_key_store(const config::Config& config) {
  if (key_store_ || !identifies_consumers(config)) return {};
  store::KeyStore::Options options;
  options.database = config.consumers.database;
  options.file = config.consumers.file;
  if (!options.database.empty()) {
    Result<void> made = store::make_private_directory(std::filesystem::path(options.database).parent_path());
    if (!made) return made;
  }
  Result<std::unique_ptr<store::KeyStore>> keys = store::KeyStore::open(options, options_.clock);
  if (!keys) return std::unexpected(std::move(keys.error()));
  key_store_ = std::move(*keys);
  key_store_->on_change([&log = options_.log](const store::KeyStore::Status& status) {
    if (!status.problem.empty()) {
      log.error(status.available ? observe::Constant("the keys cannot be read; the last ones serve for a moment")
                                 : observe::Constant("the keys cannot be read; nobody who needs one is let in"),
                {observe::LogField::text("problem", status.problem)});
    } else if (status.available) {
      log.info("the keys can be read again");
    }
  });
  return {};
}

LoadReport Gateway::start() {
  LoadReport report;
  std::shared_ptr<const Snapshot> snapshot = load(From::file, report);
  if (!snapshot) return report;
  const auto rejected = [&, config = snapshot->config](const Error& error) {
    report.problems += describe_failure(options_.config_file, *config, error);
    report.outcome = LoadReport::Outcome::failed;
    return report;
  };
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Result<void> prepared = workers_[i]->prepare(snapshot, i == 0 ? Worker::Role::first : Worker::Role::other);
    if (!prepared) return rejected(prepared.error());
    workers_[i]->commit();
  }
  snapshot_ = std::move(snapshot);
  generation_ = snapshot_->generation;
  text_in_force_ = loading_text_;
  secret_files_ = std::move(loading_files_);
  Result<void> opened = open_control_listeners(*snapshot_->config);
  if (!opened) return rejected(opened.error());
  Result<std::unique_ptr<origins::Resolver>> resolver = origins::make_resolver(loop_);
  if (!resolver) return rejected(resolver.error());
  resolver_ = std::move(*resolver);
  watch_origins();
  // Names are looked up before the first request is taken; a name server that is silent does not stop the start.
  const MonoTime deadline = options_.clock.now() + kSettleTime;
  const auto settled = [&] {
    return std::all_of(watchers_.begin(), watchers_.end(), [](const auto& w) { return w->settled(); });
  };
  while (!settled() && !draining_ && options_.clock.now() < deadline) loop_.run_once();
  metrics_->set_generation(generation_);
  for (const auto& worker : workers_) worker->start();
  tasks_.spawn(watch_secret_files());
  report.outcome = LoadReport::Outcome::applied;
  return report;
}

Result<void> Gateway::open_control_listeners(const config::Config& config) {
  if (config.observe) {
    observe_server_ = std::make_unique<ControlServer>(
        loop_, [this](const ControlRequest& request) { return observe_request(request); }, ControlServer::Guard::none);
    Result<void> opened = observe_server_->listen(options_.network, to_socket_address(config.observe->address));
    if (!opened) return opened;
  }
  if (config.admin.socket.empty()) return {};
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(config.admin.socket).parent_path(), ignored);
  admin_server_ = std::make_unique<ControlServer>(
      loop_, [this](const ControlRequest& request) { return admin_request(request); }, ControlServer::Guard::same_host);
  // The socket is made with the mode of the mask: nobody else may open it, not even for a moment.
  const mode_t before = ::umask(0177);
  Result<void> opened = admin_server_->listen(options_.network, {{}, 0, config.admin.socket});
  ::umask(before);
  return opened;
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
    last_reload_.message = report.problems;
    metrics_->reloaded(outcome == LoadReport::Outcome::applied     ? observe::ReloadOutcome::applied
                       : outcome == LoadReport::Outcome::unchanged ? observe::ReloadOutcome::unchanged
                                                                   : observe::ReloadOutcome::rejected);
    if (outcome == LoadReport::Outcome::rejected || outcome == LoadReport::Outcome::failed) {
      options_.log.error("reload rejected; the running configuration stays",
                         {observe::LogField::text("problems", report.problems)});
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
  std::shared_ptr<const Snapshot> snapshot = load(from, report);
  if (!snapshot) {
    // Said once; the next look tries again only if a file has changed once more.
    if (from == From::in_force) secret_files_ = std::move(loading_files_);
    return finish(report.outcome);
  }
  for (const std::string& path : config::secrets_fixed_at_start(*snapshot->config)) {
    report.notes.push_back(path + " comes from the environment, which is fixed when the process starts");
  }
  report.changes = config::describe_changes(*snapshot_->config, *snapshot->config);
  for (std::string& line : needs_restart(*snapshot_->config, *snapshot->config))
    report.changes.push_back(std::move(line));
  if (report.changes.empty()) {
    text_in_force_ = loading_text_;
    secret_files_ = std::move(loading_files_);
    return finish(LoadReport::Outcome::unchanged);
  }

  resolve_new_names(*snapshot);
  // Nothing changes before every loop has what it needs.
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Result<void> prepared;
    const auto role = i == 0 ? Worker::Role::first : Worker::Role::other;
    workers_[i]->call([&] { prepared = workers_[i]->prepare(snapshot, role); });
    if (prepared) continue;
    report.problems += describe_failure(options_.config_file, *snapshot->config, prepared.error());
    for (const auto& worker : workers_) worker->call([&] { worker->abandon(); });
    return finish(LoadReport::Outcome::failed);
  }
  for (const auto& worker : workers_) worker->call([&] { worker->commit(); });
  snapshot_ = std::move(snapshot);
  generation_ = snapshot_->generation;
  text_in_force_ = loading_text_;
  secret_files_ = std::move(loading_files_);
  metrics_->set_generation(generation_);
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
  std::size_t insecure = 0;
  for (const OriginPlan& plan : snapshot_->origins) {
    insecure += plan.origin->config.insecure ? 1 : 0;
    const auto endpoints = plan.origin->state->endpoints();
    for (std::size_t i = 0; i < endpoints->size() && i < plan.metrics.endpoint_healthy.size(); ++i) {
      registry_->set(plan.metrics.endpoint_healthy[i], (*endpoints)[i]->available(loop_.now()) ? 1 : 0);
    }
  }
  metrics_->set_insecure_options(insecure);
}

Task<void> Gateway::watch_secret_files() {
  for (;;) {
    co_await loop_.sleep_for(std::chrono::seconds(1));
    if (draining_ || !secret_files_->changed(options_.clock.wall())) continue;
    options_.log.info("the file of a secret has changed");
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
