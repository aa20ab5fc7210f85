// The running whole on real sockets with its real threads: reload, drain and limits that hold across loops. These tests
// are for ThreadSanitizer as much as for their own assertions; time in them is only a guard against a hang.
#include "gateway/gateway.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <latch>
#include <random>
#include <thread>

#include "config/units.h"
#include "platform/entropy.h"
#include "platform/socket_network.h"

namespace postern::gateway {
namespace {

using namespace std::chrono_literals;

#if defined(__has_feature) && __has_feature(thread_sanitizer)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

SocketAddress local(std::uint16_t port) { return {IpAddress::parse("127.0.0.1").value(), port, {}}; }

// A port that nobody has at the moment.
std::uint16_t free_port() {
  SystemClock clock;
  Loop loop(clock);
  SocketNetwork network;
  class Nobody final : public AcceptHandler {
   public:
    void on_accept(std::unique_ptr<Stream>, const PeerAddress&) override {}
  } nobody;
  return (*network.listen(loop, local(0), nobody))->local_address().port;
}

class Errors final : public TaskSet::ErrorHandler {
 public:
  void on_task_exception(std::exception_ptr) noexcept override { ADD_FAILURE() << "an exception left a task"; }
};

// A loop with a thread of its own, for one side of the conversation.
class Side {
 public:
  Side() : loop(clock), tasks(errors) {}
  ~Side() {
    stop();
    tasks.cancel_all();
  }
  void start() {
    thread_ = std::thread([this] { loop.run(); });
  }
  void stop() {
    if (!thread_.joinable()) return;
    loop.stop();
    thread_.join();
  }
  SystemClock clock;
  Errors errors;
  SocketNetwork network;
  Loop loop;
  TaskSet tasks;

 private:
  std::thread thread_;
};

Task<bool> put(Stream& stream, std::string_view bytes) {
  while (!bytes.empty()) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    const IoResult result = stream.try_write({&part, 1});
    if (result.status == IoStatus::error) co_return false;
    bytes.remove_prefix(result.bytes);
    if (result.status != IoStatus::would_block) continue;
    const Wake wake = co_await stream.writable();
    if (wake != Wake::ready) co_return false;
  }
  co_return true;
}

// Reads up to `marker`; "" if the connection ended before.
Task<std::string> take(Stream& stream, std::string& inbox, std::string_view marker) {
  for (;;) {
    const std::size_t found = inbox.find(marker);
    if (found != std::string::npos) {
      std::string out = inbox.substr(0, found + marker.size());
      inbox.erase(0, out.size());
      co_return out;
    }
    char chunk[4096];
    const IoResult result = stream.try_read(chunk);
    if (result.status == IoStatus::ok) {
      inbox.append(chunk, result.bytes);
    } else if (result.status == IoStatus::would_block) {
      const Wake wake = co_await stream.readable();
      if (wake != Wake::ready) co_return std::string();
    } else {
      co_return std::string();
    }
  }
}

// Answers every request with 200 and "ok", or with 401 to one without the secret.
class Origin final : public AcceptHandler {
 public:
  Origin() {
    auto acceptor = side_.network.listen(side_.loop, local(0), *this);
    EXPECT_TRUE(acceptor);
    acceptor_ = std::move(*acceptor);
    port = acceptor_->local_address().port;
    side_.start();
  }
  ~Origin() {
    side_.stop();
    acceptor_.reset();
  }
  std::uint16_t port = 0;
  std::atomic<int> open{0};
  std::atomic<int> most_open{0};
  std::atomic<int> requests{0};

 private:
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress&) override {
    side_.tasks.spawn(serve(std::move(stream)));
  }
  Task<void> serve(std::unique_ptr<Stream> stream) {
    struct Count {
      std::atomic<int>& open;
      ~Count() { --open; }
    } const count{open};
    ++open;
    if (open > most_open) most_open = open.load();
    std::string inbox;
    for (;;) {
      const std::string head = co_await take(*stream, inbox, "\r\n\r\n");
      if (head.empty()) co_return;
      ++requests;
      const bool known = head.find("X-Secret: 0123456789abcdef-") != std::string::npos;
      const bool sent = co_await put(*stream, known ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                                                    : "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
      if (!sent) co_return;
    }
  }
  Side side_;
  std::unique_ptr<Acceptor> acceptor_;
};

// Clients that send one request after the other until they are told to stop.
class Load {
 public:
  Load(std::uint16_t port, int clients) : address_(local(port)), running_(clients) {
    for (int i = 0; i < clients; ++i) side_.tasks.spawn(client());
    side_.start();
  }
  // Waits until every client has its last answer.
  void finish() {
    stopping = true;
    ended_.wait(false);
    side_.stop();
  }
  std::atomic<bool> stopping{false};
  std::atomic<int> answered{0};
  std::atomic<int> failed{0};
  std::string first_failure;  // after finish()

 private:
  Task<void> client() {
    std::unique_ptr<Stream> stream;
    std::string inbox;
    while (!stopping) {
      if (!stream) {
        auto connected = co_await side_.network.connect(side_.loop, address_, side_.loop.now() + 10s);
        if (!connected) {
          fail("no connection");
          break;
        }
        stream = std::move(*connected);
        inbox.clear();
      }
      const bool sent = co_await put(*stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      const std::string head = co_await take(*stream, inbox, "\r\n\r\n");
      std::string body;
      if (!head.empty()) body = co_await take(*stream, inbox, "ok");
      if (!sent || !head.starts_with("HTTP/1.1 200 ") || body != "ok") {
        if (!stopping) fail(head + inbox);
        stream.reset();
        if (!stopping) continue;
        break;
      }
      ++answered;
      if (head.find("Connection: close") != std::string::npos) stream.reset();
    }
    if (--running_ == 0) {
      ended_ = true;
      ended_.notify_all();
    }
  }
  void fail(const std::string& what) {
    if (failed++ == 0) first_failure = what;
  }
  const SocketAddress address_;
  Side side_;
  std::atomic<int> running_;
  std::atomic<bool> ended_{false};
};

class Directory {
 public:
  Directory() {
    std::string name = ::testing::TempDir() + "postern-gateway-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no temporary directory";
    path = name;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
  std::filesystem::path path;
};

class GatewayThreads : public ::testing::Test {
 protected:
  GatewayThreads() {
    directory_.write("a", "0123456789abcdef-A-secret");
    directory_.write("b", "0123456789abcdef-B-secret");
  }
  ~GatewayThreads() override {
    stop();
    gateway.reset();
    ::close(log_fd_);
  }

  std::string config(const std::string& secret, const std::string& origin_options = "", const std::string& more = "") {
    const std::string directory = directory_.path.string();
    return "version: 1\nworkers: 3\nlisteners: [{address: \"127.0.0.1:" + std::to_string(port) +
           "\"}]\nadmin: {socket: " + directory + "/admin.sock}\nstate_directory: " + directory +
           "\naccess_log: {path: " + directory +
           "/access.log}\norigins:\n  main:\n    url: http://127.0.0.1:" + std::to_string(origin.port) +
           "\n    identity: [{shared_secret: {header: X-Secret, value: \"${file:" + directory + "/" + secret +
           "}\"}}]\n" + origin_options + "routes:\n  - {name: all, match: {path: /*}, origin: main, public: true}\n" +
           more;
  }
  void write(const std::string& text) { directory_.write("postern.yaml", text); }
  [[nodiscard]] Gateway::Options options() {
    return {(directory_.path / "postern.yaml").string(), *clock, network_, entropy_, log_};
  }
  void start(const std::string& text) {
    write(text);
    gateway.emplace(options());
    const LoadReport report = gateway->start();
    ASSERT_EQ(report.outcome, LoadReport::Outcome::applied) << report.problems;
    control_ = std::thread([this] { exit_code = gateway->run(); });
  }
  // On the control thread, as a signal or the admin listener would.
  LoadReport reload() {
    LoadReport report;
    std::latch done(1);
    gateway->loop().post([&] {
      report = gateway->reload();
      done.count_down();
    });
    done.wait();
    return report;
  }
  void stop() {
    if (!control_.joinable()) return;
    gateway->loop().post([this] { gateway->begin_drain(); });
    control_.join();
  }
  // GET on the observe listener.
  static void fetch(std::uint16_t observe, const std::string& path, std::string& out) {
    Side side;
    side.tasks.spawn(fetch_on(side, local(observe), path, out));
    const auto guard = std::chrono::steady_clock::now() + 20s;
    while (!side.tasks.empty() && std::chrono::steady_clock::now() < guard) side.loop.run_once();
  }
  static Task<void> fetch_on(Side& side, SocketAddress address, std::string path, std::string& out) {
    auto stream = co_await side.network.connect(side.loop, address, side.loop.now() + 10s);
    if (!stream) co_return;
    const std::string request = "GET " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    const bool sent = co_await put(**stream, request);
    std::string inbox;
    if (sent) out = co_await take(**stream, inbox, "no such marker");
    out = inbox;
  }

  [[nodiscard]] std::string metrics(std::uint16_t observe, const std::string& line) {
    std::string out;
    fetch(observe, "/metrics", out);
    const std::size_t at = out.find("\n" + line + " ");
    return at == std::string::npos ? ""
                                   : out.substr(at + line.size() + 2, out.find('\n', at + 1) - at - line.size() - 2);
  }

  Origin origin;
  const std::uint16_t port = free_port();
  std::optional<Gateway> gateway;
  int exit_code = -1;
  Directory directory_;
  Clock* clock = &clock_;

 private:
  SystemClock clock_;
  SocketNetwork network_;
  SystemEntropy entropy_;
  const int log_fd_ = ::memfd_create("log", MFD_CLOEXEC);
  observe::Log log_{log_fd_, clock_};
  std::thread control_;
};

TEST_F(GatewayThreads, reloads_under_load_lose_nothing_whatever_they_change) {
  start(config("a"));
  Load load(port, 12);
  while (load.answered < 50 && load.failed == 0) std::this_thread::yield();
  const int rounds = kSlow ? 12 : 24;
  for (int round = 0; round < rounds; ++round) {
    const std::string number = std::to_string(round);
    switch (round % 4) {
      case 0:
        write(config("b", "", "  - {match: {path: /new/" + number + "}, respond: {status: 204}, public: true}\n"));
        break;
      case 1: write(config("a", "    retries: {budget_percent: " + std::to_string(20 + round) + "}\n")); break;
      case 2:
        write(config("a", "    timeouts: {connect: " + std::to_string(round + 1) +
                              "s}\n    health: {path: /health, interval: 1s, timeout: 1s}\n"));
        break;
      default: write(config("b", "    pool: {max_idle: " + std::to_string(round) + "}\n")); break;
    }
    const LoadReport report = reload();
    EXPECT_EQ(report.outcome, LoadReport::Outcome::applied) << report.problems;
    const int before = load.answered;
    while (load.answered < before + 20 && load.failed == 0) std::this_thread::yield();
  }
  write("version: 1\nnonsense");
  EXPECT_EQ(reload().outcome, LoadReport::Outcome::rejected);
  load.finish();
  EXPECT_EQ(load.failed, 0) << load.first_failure;
  EXPECT_GT(load.answered, rounds * 20);
  stop();
  EXPECT_EQ(exit_code, 0);
}

TEST_F(GatewayThreads, a_drain_under_load_answers_what_was_accepted) {
  start(config("a"));
  Load load(port, 12);
  while (load.answered < 100 && load.failed == 0) std::this_thread::yield();
  load.stopping = true;  // from here on a closed connection is no failure
  stop();
  load.finish();
  EXPECT_EQ(load.failed, 0) << load.first_failure;
  EXPECT_EQ(exit_code, 0);
}

// An idle connection of one loop takes the only place: the others ask for it instead of failing.
TEST_F(GatewayThreads, a_limit_on_connections_holds_across_loops_and_starves_none) {
  start(config("a", "    pool: {max_connections: 1}\n"));
  Load load(port, 8);
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (load.answered < (kSlow ? 60 : 200) && load.failed == 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(1ms);
  }
  load.finish();
  EXPECT_EQ(load.failed, 0) << load.first_failure;
  EXPECT_GE(load.answered, kSlow ? 60 : 200);
  // The origin sees a close a little later than the gateway counts it.
  EXPECT_LE(origin.most_open, 3);
}

// Connections that send a part of something and go, in every manner, from several at once.
class Vandals {
 public:
  Vandals(std::uint16_t port, int count, int rounds) : address_(local(port)), running_(count) {
    for (int i = 0; i < count; ++i) side_.tasks.spawn(vandal(static_cast<unsigned>(i), rounds));
    side_.start();
  }
  void finish() {
    ended_.wait(false);
    side_.stop();
  }

 private:
  Task<void> vandal(unsigned seed, int rounds) {
    const std::string_view requests[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n0123456789",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nbytes"};
    std::minstd_rand random(seed + 1);
    for (int round = 0; round < rounds; ++round) {
      auto stream = co_await side_.network.connect(side_.loop, address_, side_.loop.now() + 10s);
      if (!stream) continue;
      const std::string_view request = requests[random() % std::size(requests)];
      const bool sent = co_await put(**stream, request.substr(0, random() % (request.size() + 1)));
      if (sent && random() % 2 == 0) co_await side_.loop.sleep_for(std::chrono::milliseconds(random() % 3));
      switch (random() % 4) {
        case 0: (*stream)->reset_on_close(); break;
        case 1: (*stream)->shutdown_write(); break;
        case 2: {
          char some[64];
          static_cast<void>((*stream)->try_read(some));
          break;
        }
        default: break;
      }
    }
    if (--running_ == 0) {
      ended_ = true;
      ended_.notify_all();
    }
  }
  const SocketAddress address_;
  Side side_;
  std::atomic<int> running_;
  std::atomic<bool> ended_{false};
};

TEST_F(GatewayThreads, connections_that_break_off_anywhere_leave_nothing_behind) {
  const std::uint16_t observe = free_port();
  start(config("a", "    timeouts: {first_byte: 1s, idle: 1s}\n",
               "observe: {address: \"127.0.0.1:" + std::to_string(observe) +
                   "\"}\nlimits: {header_timeout: 1s, idle_timeout: 1s, body_idle_timeout: 1s}\n"));
  Load load(port, 4);
  Vandals vandals(port, 12, kSlow ? 30 : 80);
  vandals.finish();
  load.finish();
  EXPECT_EQ(load.failed, 0) << load.first_failure;
  const auto open_connections = [&] {
    std::string metrics;
    fetch(observe, "/metrics", metrics);
    const std::size_t at = metrics.find("\npostern_connections{listener=\"0\"} ");
    return at == std::string::npos ? std::string("?") : metrics.substr(at + 35, metrics.find('\n', at + 1) - at - 35);
  };
  const auto guard = std::chrono::steady_clock::now() + 30s;
  while (open_connections() != "0" && std::chrono::steady_clock::now() < guard) std::this_thread::sleep_for(50ms);
  EXPECT_EQ(open_connections(), "0");
  stop();
  EXPECT_EQ(exit_code, 0);
}

TEST_F(GatewayThreads, an_address_that_is_taken_fails_the_start_and_a_reload_but_not_what_runs) {
  start(config("a"));
  Load load(port, 2);
  write(config("a"));
  {
    Gateway second(options());
    const LoadReport report = second.start();
    EXPECT_EQ(report.outcome, LoadReport::Outcome::failed);
    EXPECT_NE(report.problems.find("127.0.0.1:" + std::to_string(port)), std::string::npos) << report.problems;
  }
  std::string text = config("a");
  const std::string listener = "{address: \"127.0.0.1:" + std::to_string(port) + "\"}";
  text.replace(text.find(listener), listener.size(),
               listener + ", {address: \"127.0.0.1:" + std::to_string(origin.port) + "\"}");
  write(text);
  const LoadReport report = reload();
  EXPECT_EQ(report.outcome, LoadReport::Outcome::failed);
  EXPECT_NE(report.problems.find(std::to_string(origin.port)), std::string::npos) << report.problems;
  const int before = load.answered;
  while (load.answered < before + 20 && load.failed == 0) std::this_thread::yield();
  load.finish();
  EXPECT_EQ(load.failed, 0) << load.first_failure;
}

// A silent name server must not make a gateway that starts deaf to signals.
TEST_F(GatewayThreads, a_signal_while_names_are_looked_up_ends_the_start) {
  std::string text = config("a");
  const std::string url = "http://127.0.0.1:" + std::to_string(origin.port);
  text.replace(text.find(url), url.size(), "http://name-that-nobody-answers.invalid:1");
  text.replace(text.find("    identity"), text.find("routes:") - text.find("    identity"), "");
  write(text);
  gateway.emplace(options());
  ::raise(SIGTERM);  // blocked in this thread: waits for the loop
  const LoadReport report = gateway->start();
  EXPECT_EQ(report.outcome, LoadReport::Outcome::applied) << report.problems;
  EXPECT_EQ(gateway->run(), 0);
}

// The calendar of a gateway that runs for long; deadlines go on as usual.
class CalendarClock final : public Clock {
 public:
  [[nodiscard]] MonoTime now() const noexcept override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] WallTime wall() const noexcept override { return std::chrono::system_clock::now() + ahead.load(); }
  std::atomic<Duration> ahead{Duration(0)};
};

// Requests to the origin whose exception has expired are refused; the secrets of the others must rotate all the same.
TEST_F(GatewayThreads, an_expired_exception_of_one_origin_does_not_keep_the_secret_of_another_from_rotating) {
  CalendarClock calendar;
  clock = &calendar;
  const std::uint16_t observe = free_port();
  const std::string today = config::format_timestamp(calendar.wall()).substr(0, 10);
  const std::string text =
      config("a",
             "  old:\n    url: http://192.0.2.1:9\n    identity: [{shared_secret: {header: X-Secret, value: \"${file:" +
                 (directory_.path / "b").string() +
                 "}\"}}]\n    insecure: {reason: moves to TLS soon, until: " + today + "}\n",
             "  - {match: {path: /old}, origin: old, public: true}\n") +
      "observe: {address: \"127.0.0.1:" + std::to_string(observe) + "\"}\n";
  start(text);
  calendar.ahead = std::chrono::hours(48);
  EXPECT_EQ(reload().outcome, LoadReport::Outcome::rejected) << "whoever asks for a reload is told";
  directory_.write("a", "0123456789abcdef-C-secret");
  const auto guard = std::chrono::steady_clock::now() + 20s;
  while (metrics(observe, "postern_config_generation") != "2" && std::chrono::steady_clock::now() < guard) {
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_EQ(metrics(observe, "postern_config_generation"), "2");
  stop();
  gateway.reset();
}

TEST_F(GatewayThreads, work_is_posted_to_a_loop_from_many_threads) {
  start(config("a"));
  std::atomic<int> ran{0};
  std::vector<std::thread> posters;
  for (int i = 0; i < 4; ++i) {
    posters.emplace_back([&] {
      for (int n = 0; n < 200; ++n) gateway->loop().post([&] { ++ran; });
    });
  }
  for (std::thread& poster : posters) poster.join();
  while (ran < 800) std::this_thread::yield();
}

}  // namespace
}  // namespace postern::gateway
