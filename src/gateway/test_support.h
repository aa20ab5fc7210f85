// For the tests of this room: a whole gateway on one loop, in memory and in virtual time. The test plays the clients
// and the origins with raw bytes; nothing sleeps, and every deadline is exact to the millisecond.
//
//   TestGateway gateway;
//   gateway.start("origins: {main: {url: \"http://127.0.0.1:9001\"}}\nroutes: [...]\n");
//   Peer client = gateway.connect();
//   client.send("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
//   Peer origin = gateway.accept();
//   EXPECT_TRUE(origin.receive().starts_with("GET / HTTP/1.1\r\n"));
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "config/test_support.h"
#include "gateway/managed_certificates.h"
#include "gateway/schema.h"
#include "gateway/worker.h"
#include "origins/test_support.h"
#include "origins/watcher.h"
#include "store/rate_table.h"

namespace postern::gateway {

// `head` without the fields that differ from run to run: Date and X-Request-Id.
inline std::string stable(std::string text) {
  for (const std::string_view name : {"\r\nDate: ", "\r\ndate: ", "\r\nX-Request-Id: ", "\r\nx-request-id: "}) {
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at)) {
      text.erase(at, text.find("\r\n", at + 2) - at);
    }
  }
  return text;
}

class ConstantEntropy final : public Entropy {
 public:
  void fill(std::span<unsigned char> out) const noexcept override {
    for (unsigned char& byte : out) byte = 7;
  }
};

class TestGateway final : TaskSet::ErrorHandler {
 public:
  static constexpr std::string_view kSecretA = config::kSecretA;  // ${file:/s/a}
  static constexpr std::string_view kSecretB = config::kSecretB;  // ${file:/s/b}

  explicit TestGateway(MemoryOptions options = {}) : network(options), log_(log_fd_, clock) {
    registry_ = std::move(*observe::MetricRegistry::create({.loops = 1, .capacity = 1 << 14}));
    metrics_ = std::make_unique<observe::GatewayMetrics>(*registry_, clock.wall());
    observe::AccessLog::Options options_of_log;
    options_of_log.writer.sink = observe::BlockWriter::Sink::file;
    options_of_log.writer.path = "/proc/self/fd/" + std::to_string(access_fd_);
    access_log_ = std::move(*observe::AccessLog::open(options_of_log, log_));
    make_worker(network);
  }
  TestGateway(const TestGateway&) = delete;
  TestGateway& operator=(const TestGateway&) = delete;
  ~TestGateway() {
    destroy();
    access_log_.reset();
    ::close(log_fd_);
    ::close(access_fd_);
  }

  // A document without `version`, and without `listeners` if those of the test's one client side will do. `more`: files
  // that it names, beside those of the secrets.
  static std::shared_ptr<const config::Config> configuration(const std::string& yaml,
                                                             const std::map<std::string, std::string>& more = {}) {
    static const config::Schema schema = std::move(*full_schema());
    config::MapEnvironment environment;
    config::MapFiles files;
    files.values["/s/a"] = std::string(kSecretA);
    files.values["/s/b"] = std::string(kSecretB);
    files.values.insert(more.begin(), more.end());
    std::string text = "version: 1\n";
    if (yaml.find("listeners:") == std::string::npos) text += "listeners: [{address: \"192.0.2.1:80\"}]\n";
    text += yaml;
    config::Diagnostics diagnostics("postern.yaml");
    const config::LoadInput input{.file = "postern.yaml",
                                  .text = text,
                                  .schema = schema,
                                  .secrets = {environment, files},
                                  .now = ManualClock().wall(),
                                  .paths = {},
                                  .authenticating_policies = {},
                                  .identity_methods = identity::traits()};
    auto loaded = config::load(input, diagnostics);
    EXPECT_TRUE(loaded) << diagnostics.to_text() << text;
    return loaded;
  }

  void start(const std::string& yaml) { adopt(configuration(yaml)); }
  // Also a reload, if something runs already.
  void adopt(std::shared_ptr<const config::Config> configuration) {
    ASSERT_TRUE(configuration);
    std::shared_ptr<const Snapshot> snapshot = build(std::move(configuration));
    ASSERT_TRUE(snapshot);
    const Result<void> prepared = worker->prepare(snapshot, Worker::Role::first);
    ASSERT_TRUE(prepared) << prepared.error().to_string();
    worker->commit();
    snapshot_ = std::move(snapshot);
    watch_origins();
    settle(loop());
  }
  std::shared_ptr<const Snapshot> build(std::shared_ptr<const config::Config> configuration) {
    config::Diagnostics diagnostics("postern.yaml");
    const Snapshot::Services services{{clock, nullptr, &rates_, {}},
                                      {clock, entropy_},
                                      *metrics_,
                                      *registry_,
                                      ~std::size_t{0},
                                      1,
                                      tickets,
                                      managed.get()};
    auto snapshot = Snapshot::build(std::move(configuration), services, snapshot_.get(), ++generation_, diagnostics);
    EXPECT_TRUE(snapshot) << diagnostics.to_text();
    return snapshot;
  }
  // Takes a network of the test's own instead of `network`.
  void make_worker(Network& net) {
    worker = std::make_unique<Worker>(
        Worker::Options{clock, net, *metrics_, registry_->loop(0), access_log_.get(), log_, entropy_});
  }

  [[nodiscard]] Loop& loop() { return worker->loop(); }
  // Lets virtual time pass, to the millisecond, and everything happen that is due by then.
  void advance(Duration by) { postern::advance(loop(), clock, by); }

  // A client's new connection.
  Peer connect(std::string_view address = "192.0.2.1:80") { return Peer(loop(), dial(address)); }
  std::unique_ptr<Stream> dial(std::string_view address) {
    std::unique_ptr<Stream> stream;
    const SocketAddress where = parse_socket_address(address).value();
    TaskSet connecting(*this);
    connecting.spawn(connect_to(where, stream));
    settle(loop());
    EXPECT_TRUE(stream) << "no connection to " << address;
    return stream;
  }
  // An address at which the test plays an origin, before the first connection to it.
  void serve(const std::string& address) {
    auto& origin = origins_[address];
    if (origin) return;
    origin = std::make_unique<Door>();
    auto acceptor = network.listen(loop(), parse_socket_address(address).value(), *origin);
    ASSERT_TRUE(acceptor) << acceptor.error().to_string();
    origin->acceptor = std::move(*acceptor);
  }
  void refuse(const std::string& address) { origins_.erase(address); }
  // The next connection that the gateway makes, if it has.
  Peer try_accept(const std::string& address = "127.0.0.1:9001") {
    std::unique_ptr<Stream> stream = take(address);
    return stream ? Peer(loop(), std::move(stream)) : Peer();
  }
  std::unique_ptr<Stream> take(const std::string& address = "127.0.0.1:9001") {
    settle(loop());
    const auto found = origins_.find(address);
    if (found == origins_.end() || found->second->waiting.empty()) return nullptr;
    std::unique_ptr<Stream> stream = std::move(found->second->waiting.front());
    found->second->waiting.pop_front();
    return stream;
  }
  Peer accept(const std::string& address = "127.0.0.1:9001") {
    Peer peer = try_accept(address);
    EXPECT_TRUE(peer) << "the gateway has not connected to " << address;
    return peer;
  }
  [[nodiscard]] bool connected(const std::string& address = "127.0.0.1:9001") {
    settle(loop());
    return !origins_[address]->waiting.empty();
  }

  // The sum of the series of `name` whose labels contain `label`, such as "postern_retries_total", "origin=\"main\"".
  [[nodiscard]] std::int64_t metric(std::string_view name, std::string_view label = {}) const {
    std::string text;
    registry_->render(text);
    std::istringstream lines(text);
    std::int64_t sum = 0;
    for (std::string line; std::getline(lines, line);) {
      const std::size_t end = line.find_first_of("{ ");
      if (line.substr(0, end) != name || line.find(label) == std::string::npos) continue;
      sum += std::stoll(line.substr(line.rfind(' ') + 1));
    }
    return sum;
  }
  // Lines of the access log, as soon as there are `count`; a real-time wait for its writer's thread, with a guard.
  std::vector<std::string> records(std::size_t count) {
    worker->context().access_log->flush();
    std::vector<std::string> lines;
    for (int i = 0; i < 5000; ++i) {
      lines.clear();
      std::istringstream text(content(access_fd_));
      for (std::string line; std::getline(text, line);) lines.push_back(line);
      if (lines.size() >= count) break;
      ::usleep(1000);
    }
    EXPECT_EQ(lines.size(), count);
    lines.resize(count);
    return lines;
  }
  // Everything that the gateway said in its own log.
  [[nodiscard]] std::string log() const { return content(log_fd_); }

  [[nodiscard]] std::shared_ptr<const origins::EndpointSet> endpoints(std::size_t origin = 0) const {
    return snapshot_->origins[origin].origin->state->endpoints();
  }
  [[nodiscard]] const Snapshot& snapshot() const { return *snapshot_; }
  [[nodiscard]] std::size_t buffers_in_use() { return worker->context().buffers.in_use(); }

  // Ends the gateway as its process would, with whatever is under way.
  void destroy() {
    watchers_.clear();
    origins_.clear();
    worker.reset();
    snapshot_.reset();
  }

  ManualClock clock;
  MemoryNetwork network;
  origins::FakeResolver resolver;
  std::unique_ptr<Worker> worker;
  // Of the snapshots that are built from now on; without: no resumption, no managed certificates.
  std::shared_ptr<tls::TicketKeys> tickets;
  std::unique_ptr<ManagedCertificates> managed;
  int exceptions = 0;

 private:
  void on_task_exception(std::exception_ptr) noexcept override { ++exceptions; }
  Task<void> connect_to(const SocketAddress& address, std::unique_ptr<Stream>& out) {
    auto stream = co_await network.connect(loop(), address, loop().now() + 1s);
    if (stream) out = std::move(*stream);
  }
  void watch_origins() {
    watchers_.clear();
    const origins::OriginWatcher::Services services{loop(), network, buffers_, resolver, log_, *this};
    for (const OriginPlan& plan : snapshot_->origins) {
      watchers_.push_back(std::make_unique<origins::OriginWatcher>(services, *plan.origin, snapshot_));
      watchers_.back()->start();
    }
  }
  static std::string content(int fd) {
    std::string out(static_cast<std::size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd, out.data(), out.size(), 0), static_cast<ssize_t>(out.size()));
    return out;
  }

  const int log_fd_ = ::memfd_create("log", MFD_CLOEXEC);
  const int access_fd_ = ::memfd_create("access-log", MFD_CLOEXEC);
  observe::Log log_;
  ConstantEntropy entropy_;
  std::unique_ptr<observe::MetricRegistry> registry_;
  std::unique_ptr<observe::GatewayMetrics> metrics_;
  std::unique_ptr<observe::AccessLog> access_log_;
  store::RateTable rates_;
  BufferPool buffers_;  // of the watchers
  std::shared_ptr<const Snapshot> snapshot_;
  std::uint64_t generation_ = 0;
  std::map<std::string, std::unique_ptr<Door>> origins_;
  std::vector<std::unique_ptr<origins::OriginWatcher>> watchers_;
};

class GatewayTest : public ::testing::Test {
 protected:
  // One origin at 127.0.0.1:9001 with the secret, everything goes there. `origin` and `top` are added.
  void start_simple(const std::string& origin = "", const std::string& top = "") {
    gateway.serve("127.0.0.1:9001");
    gateway.start(simple(origin, top));
  }
  static std::string simple(const std::string& origin = "", const std::string& top = "") {
    return "origins:\n  main:\n    url: http://127.0.0.1:9001\n"
           "    identity: [{shared_secret: {header: X-Secret, value: \"${file:/s/a}\"}}]\n" +
           origin + "routes: [{name: all, match: {path: /*}, origin: main, public: true}]\n" + top;
  }

  TestGateway gateway;
};

}  // namespace postern::gateway
