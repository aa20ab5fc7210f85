// postern demo: a locked backend with a gateway in front of it, shown live from both sides. Everything it needs lies in
// a temporary directory that only its owner can read, and goes away with it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/json_writer.h"
#include "cli/demo_backend.h"
#include "cli/demo_checks.h"
#include "cli/verbs.h"
#include "config/formats.h"
#include "config/secret.h"
#include "gateway/gateway.h"
#include "platform/entropy.h"
#include "platform/socket_network.h"
#include "store/key_database.h"
#include "tls/authority_store.h"

namespace postern::cli {
namespace {

constexpr int kFirstPort = 8080;
constexpr int kLastPort = 8180;
constexpr std::string_view kOwnBackend = "demo";

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::error_code problem;
    std::string name = (std::filesystem::temp_directory_path(problem) / "postern-demo-XXXXXX").string();
    if (!problem && ::mkdtemp(name.data())) path_ = std::move(name);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] bool exists() const noexcept { return !path_.empty(); }
  [[nodiscard]] std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  [[nodiscard]] bool write(std::string_view name, std::string_view content) const {
    std::ofstream out(file(name), std::ios::binary);
    out << content;
    out.close();
    return out.good();
  }

 private:
  std::string path_;  // 0700, so its files are the owner's whatever their mode
};

std::string random_secret(const Entropy& entropy) {
  std::array<unsigned char, 32> bytes{};
  entropy.fill(bytes);
  std::string text;
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

struct Backend {
  std::string name;
  std::string url;
  std::string secret_file;  // "" if it wants something else
  SocketAddress address;
  std::string identity = {};  // YAML, instead of the secret

  [[nodiscard]] bool by_certificate() const noexcept { return url.starts_with("https:"); }
  [[nodiscard]] std::string_view demands() const noexcept {
    if (by_certificate()) return "the certificate for it";
    return identity.empty() ? "its secret" : "a proof of the gateway in each request";
  }
};

// Those who know the origin at `ip` and are not known to it, or not for it.
Result<DemoCallers> make_callers(const tls::Authorities& authorities, const IpAddress& ip, WallTime now) {
  tls::LeafRequest anybody;
  anybody.use = tls::CertifiedKey::Use::client;
  anybody.common_name = "somebody";
  anybody.not_before = now - tls::kClockSkew;
  anybody.not_after = now + tls::kClientLife;
  auto stranger = tls::make_self_signed(anybody);
  auto neighbour =
      authorities.client.issue(tls::client_request({authorities.deployment, "demo", "another-origin"}, now));
  auto anchors = tls::TrustAnchors::parse(authorities.server.certificate().to_pem());
  for (const Error* const error : {stranger ? nullptr : &stranger.error(), neighbour ? nullptr : &neighbour.error(),
                                   anchors ? nullptr : &anchors.error()}) {
    if (error) return fail(error->code(), error->side(), std::string(error->detail()));
  }
  DemoCallers callers;
  tls::ClientOptions options;
  options.anchors = std::move(*anchors);
  options.names = {ip.to_string()};
  const std::pair<decltype(callers.nobody)*, std::shared_ptr<const tls::CertifiedKey>> all[] = {
      {&callers.nobody, nullptr}, {&callers.stranger, *stranger}, {&callers.neighbour, *neighbour}};
  for (const auto& [context, certificate] : all) {
    options.certificate = certificate;
    Result<std::shared_ptr<const tls::ClientContext>> made = tls::ClientContext::make(options);
    if (!made) return std::unexpected(std::move(made.error()));
    *context = std::move(*made);
  }
  return callers;
}

class NobodyAccepts final : public AcceptHandler {
 public:
  void on_accept(std::unique_ptr<Stream> /*stream*/, const PeerAddress& /*peer*/) override {}
};

// Demo: owns everything, in the order of its destruction.
class Demo final : public TaskSet::ErrorHandler, DemoReport {
 public:
  Demo(const DemoOptions& options, const Console& console)
      : options_(options),
        console_(console),
        json_(options.format == Format::json),
        log_(2, clock_, observe::Level::warning),
        gateway_({directory_.file("postern.yaml"), clock_, network_, entropy_, log_}),
        tasks_(*this) {}

  Exit run() {
    if (!directory_.exists()) return stop(Exit::runtime, "cannot make a temporary directory");
    Exit code = take_backends();
    if (code == Exit::ok) code = start_own_backend();
    if (code == Exit::ok) code = make_key();
    if (code == Exit::ok) code = start_gateway();
    if (code == Exit::ok) code = find_targets();
    if (code != Exit::ok) return code;
    if (!json_) show_introduction();
    tasks_.spawn(show());
    const int ended = gateway_.run();
    if (ended != 0) return static_cast<Exit>(ended);
    return failed_ ? Exit::proof_failed : Exit::ok;
  }

 private:
  Exit stop(Exit code, std::string_view why) const {
    static_cast<void>(console_.error("postern demo: " + std::string(why) + "\n"));
    return code;
  }

  // What stands in the file that --backend-identity names for `backend`; "" if there is none.
  Result<std::string> identity_of(std::string_view backend) const {
    for (const std::string& text : options_.backend_identities) {
      if (text.size() <= backend.size() || !text.starts_with(backend) || text[backend.size()] != '=') continue;
      const config::DiskFileReader files;
      const auto outcome = files.read(text.substr(backend.size() + 1), config::kMaxSecretBytes);
      if (!outcome.content) return fail(Code::io_failed, Side::gateway, outcome.problem);
      std::string line = *outcome.content;
      std::ranges::replace(line, '\n', ' ');
      return line;
    }
    return std::string();
  }

  Exit take_backends() {
    std::size_t secrets = 0;
    for (const std::string& text : options_.backends) {
      const std::size_t equals = text.find('=');
      const auto url = config::split_url(std::string_view(text).substr(equals == std::string::npos ? 0 : equals + 1));
      const auto address = url ? parse_socket_address(url->authority) : fail(Code::io_failed, Side::gateway);
      if (equals == std::string::npos || equals == 0 || !address || text.substr(0, equals) == kOwnBackend) {
        return stop(Exit::usage, "--backend takes name=http://127.0.0.1:port, not `" + text + "`");
      }
      Backend& backend = backends_.emplace_back(text.substr(0, equals), text.substr(equals + 1), "", *address);
      if (url->scheme == "https") {
        if (!options_.state_directory.empty()) continue;
        return stop(Exit::usage, "an https:// backend needs --state-directory, whose authorities it knows");
      }
      Result<std::string> identity = identity_of(backend.name);
      if (!identity) return stop(Exit::usage, "--backend-identity: " + std::string(identity.error().detail()));
      backend.identity = *std::move(identity);
      if (!backend.identity.empty()) continue;
      if (secrets == options_.backend_secrets.size()) break;
      backend.secret_file = std::filesystem::absolute(options_.backend_secrets[secrets++]).string();
    }
    const bool complete = std::ranges::all_of(backends_, [](const Backend& b) {
      return !b.secret_file.empty() || !b.identity.empty() || b.by_certificate();
    });
    const auto identities = std::ranges::count_if(backends_, [](const Backend& b) { return !b.identity.empty(); });
    const bool all_used = secrets == options_.backend_secrets.size() &&
                          static_cast<std::size_t>(identities) == options_.backend_identities.size();
    if (!options_.issuer.empty()) {
      const auto url = config::split_url(options_.issuer);
      const auto address = url ? parse_socket_address(url->authority) : fail(Code::io_failed, Side::gateway);
      if (!address || url->scheme != "http") {
        return stop(Exit::usage, "--issuer takes http://127.0.0.1:port/path, not `" + options_.issuer + "`");
      }
      issuer_address_ = *address;
    }
    if (complete && all_used) return Exit::ok;
    return stop(Exit::usage, "every http:// --backend needs its --backend-secret or --backend-identity");
  }

  Exit start_own_backend() {
    const std::string secret = random_secret(entropy_);
    if (!directory_.write("secret", secret)) return stop(Exit::runtime, "cannot write to the temporary directory");
    own_backend_ = std::make_unique<DemoBackend>(gateway_.loop(), config::Secret(secret));
    const Result<void> listening = own_backend_->listen(network_);
    if (!listening) return stop(Exit::runtime, listening.error().detail());
    const SocketAddress address = own_backend_->address();
    backends_.insert(backends_.begin(), Backend{std::string(kOwnBackend), "http://" + address.to_string(),
                                                directory_.file("secret"), address});
    return Exit::ok;
  }

  Exit make_key() {
    auto database = store::KeyDatabase::open(directory_.file("keys.db"), store::KeyDatabase::Missing::create);
    if (!database) return stop(Exit::runtime, database.error().detail());
    auto made = (*database)->create({"demo-client", "Demo client", {}}, std::nullopt, clock_.wall());
    if (!made) return stop(Exit::runtime, made.error().detail());
    key_ = made->key.reveal();
    return Exit::ok;
  }

  // The port that was asked for, or the first that is free.
  Exit start_gateway() {
    SocketAddress address{IpAddress::from_v4({127, 0, 0, 1}), static_cast<std::uint16_t>(options_.port), {}};
    if (options_.port == 0) {
      for (int port = kFirstPort; port <= kLastPort; ++port) {
        address.port = static_cast<std::uint16_t>(port);
        NobodyAccepts nobody;
        if (network_.listen(gateway_.loop(), address, nobody, Network::Share::first)) break;
      }
    }
    if (!directory_.write("postern.yaml", configuration(address))) {
      return stop(Exit::runtime, "cannot write to the temporary directory");
    }
    const gateway::LoadReport report = gateway_.start();
    if (report.outcome == gateway::LoadReport::Outcome::applied) {
      address_ = gateway_.traffic_addresses().front();
      return Exit::ok;
    }
    const bool wrong = report.outcome == gateway::LoadReport::Outcome::rejected;
    const std::string_view hint = options_.port != 0 && !wrong ? "  or choose another --port, or leave it out\n" : "";
    static_cast<void>(console_.error("postern demo: " + report.problems + std::string(hint)));
    return wrong ? Exit::configuration : Exit::runtime;
  }

  // After the start, which makes what is missing of the authorities.
  Exit find_targets() {
    for (const Backend& backend : backends_) {
      DemoTarget& target =
          targets_.emplace_back(backend.name, backend.address, std::nullopt, !backend.identity.empty());
      if (!backend.by_certificate()) continue;
      const Result<tls::Authorities> authorities = tls::load_authorities(state_directory() + "/ca");
      if (!authorities) return stop(Exit::runtime, authorities.error().detail());
      Result<DemoCallers> callers = make_callers(*authorities, backend.address.ip, clock_.wall());
      if (!callers) return stop(Exit::runtime, callers.error().detail());
      target.callers = std::move(*callers);
    }
    return Exit::ok;
  }

  [[nodiscard]] std::string state_directory() const {
    return options_.state_directory.empty() ? directory_.file("state")
                                            : std::filesystem::absolute(options_.state_directory).string();
  }

  // Behind the first listener: the one of the issuer, and the issuer.
  [[nodiscard]] std::string issuer_lines() const {
    if (!issuer_address_) return {};
    return fmt::format("  - address: {}\nissuer: {{url: \"{}\"}}\n", issuer_address_->to_string(), options_.issuer);
  }

  [[nodiscard]] std::string configuration(const SocketAddress& address) const {
    std::string text = fmt::format(
        "version: 1\n"
        "listeners:\n  - address: {}\n{}"
        "admin: {{socket: {}}}\n"
        "state_directory: {}\n"
        "consumers: {{database: {}}}\n"
        "access_log: {{path: {}}}\n"
        "workers: 1\n"
        "origins:\n",
        address.to_string(), issuer_lines(), directory_.file("admin.sock"), state_directory(),
        directory_.file("keys.db"), directory_.file("access.log"));
    for (const Backend& backend : backends_) {
      text += fmt::format("  {}:\n    url: {}\n", backend.name, backend.url);
      text += !backend.identity.empty() ? fmt::format("    identity: [{}]\n", backend.identity)
              : backend.by_certificate()
                  ? "    trust: {ca: managed}\n    identity:\n      - mtls: {managed: true}\n"
                  : fmt::format("    identity:\n      - shared_secret: {{header: {}, value: \"${{file:{}}}\"}}\n",
                                kDemoHeader, backend.secret_file);
      text +=
          "    policies:\n"
          "      - api_key\n"
          "      - rate_limit: {requests: 100, per: 1s, by: consumer}\n";
    }
    text += "routes:\n";
    for (const Backend& backend : backends_) {
      text += fmt::format("  - match: {{path: \"/{0}/*\"}}\n    origin: {0}\n", backend.name);
    }
    text += "  - match: {path: /health}\n    respond: {status: 204}\n    public: true\n";
    return text;
  }

  void show_introduction() const {
    std::string text =
        fmt::format("\nPostern {} is running.\n\n  gateway  http://{}\n", POSTERN_VERSION, address_.to_string());
    for (const Backend& backend : backends_) {
      text += fmt::format("  backend  {:<23} {}: refuses everyone who does not bring {}\n", backend.url, backend.name,
                          backend.demands());
    }
    text += fmt::format("  API key  {}\n  files    {}\n\nWhat happens to whom:\n\n", key_, directory_.file(""));
    static_cast<void>(console_.out(text));
  }

  Task<void> show() {
    DemoChecks checks(gateway_.loop(), network_, address_, key_, *this);
    co_await checks.run(std::move(targets_));
    failed_ = checks.failed() != 0;
    if (json_) {
      failed_ |= !console_.out(
          fmt::format("{{\"passed\":{},\"failed\":{},\"checks\":[{}]}}\n", checks.passed(), checks.failed(), results_));
    } else {
      static_cast<void>(console_.out(fmt::format("\n{} passed, {} failed\n", checks.passed(), checks.failed())));
    }
    if (options_.once) {
      gateway_.begin_drain();
      co_return;
    }
    std::string text = "\nTry it:\n\n";
    for (const Backend& backend : backends_) {
      text +=
          fmt::format("  curl -i -H 'X-API-Key: {}' http://{}/{}/hello\n", key_, address_.to_string(), backend.name);
      text += fmt::format("  curl -i{} {}/{}/hello\n", backend.by_certificate() ? "k" : "", backend.url, backend.name);
      if (backend.secret_file.empty()) continue;
      text += fmt::format("  curl -i -H '{}: a guess' {}/{}/hello\n", kDemoHeader, backend.url, backend.name);
    }
    text += fmt::format(
        "\nSee what it did, and what it would do:\n\n"
        "  cat {}\n"
        "  postern status --config {}\n"
        "  postern explain --config {} 'GET http://{}/{}/hello'\n\nCtrl-C ends it.\n",
        directory_.file("access.log"), directory_.file("postern.yaml"), directory_.file("postern.yaml"),
        address_.to_string(), kOwnBackend);
    static_cast<void>(console_.out(text));
  }

  void report(const DemoResult& result) override {
    if (!json_) {
      std::string line =
          fmt::format("  {:<7} {:<9} {:<45} ", result.passed ? "ok" : "FAILED", result.backend, result.what);
      const bool refused = result.passed && !result.status;
      line += result.status ? std::to_string(*result.status) : refused ? "handshake refused" : result.problem;
      if (!result.passed) {
        line += ", expected " + (result.expected == kRefused ? "a refusal" : std::to_string(result.expected));
      }
      static_cast<void>(console_.out(line + "\n"));
      return;
    }
    if (!results_.empty()) results_ += ',';
    JsonWriter json(results_);
    json.begin_object();
    json.field("backend", result.backend);
    json.field("check", result.what);
    json.key("passed");
    json.value_bool(result.passed);
    if (result.expected == kRefused) {
      json.field("expected", "refused");
    } else {
      json.field("expected", result.expected);
    }
    json.key("status");
    result.status ? json.value(*result.status) : json.value_null();
    if (!result.problem.empty()) json.field("problem", result.problem);
    json.end_object();
  }

  void on_task_exception(std::exception_ptr /*exception*/) noexcept override {
    failed_ = true;
    gateway_.begin_drain();
  }

  const DemoOptions& options_;
  const Console& console_;
  const bool json_;
  const TemporaryDirectory directory_;
  SystemClock clock_;
  SocketNetwork network_;
  const SystemEntropy entropy_;
  observe::Log log_;
  gateway::Gateway gateway_;
  std::unique_ptr<DemoBackend> own_backend_;
  std::vector<Backend> backends_;
  std::vector<DemoTarget> targets_;
  std::optional<SocketAddress> issuer_address_;
  SocketAddress address_;
  std::string key_;
  std::string results_;  // of the checks so far, as JSON, separated by commas
  bool failed_ = false;
  TaskSet tasks_;
};

}  // namespace

Exit demo(const DemoOptions& options, const Console& console) { return Demo(options, console).run(); }

}  // namespace postern::cli
