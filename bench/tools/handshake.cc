// Handshakes as load: one connection, one handshake, one request, then the next. `openssl s_time` would do, but sends
// no request, says nothing of latencies and resumes sessions only in TLS 1.2.
//
//   handshake --port PORT --seconds S [--concurrency N] [--resume yes]
//
// N (default 16) connections are under way at any time. An operation is: connect, handshake, GET /64 with
// Connection: close, read to the end. With --resume every handshake offers a session that an earlier one got (the first
// is a full one); without, none does. Prints one line that wrk's report.lua prints, too, and besides `handshakes.full`
// and `handshakes.resumed`, as the TLS library saw them.
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>
#include <vector>

#include "sockets.h"
#include "tls_client.h"

namespace postern::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kRequest = "GET /64 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
constexpr std::size_t kSpareSessions = 256;

struct Counts {
  std::uint64_t done = 0;
  std::uint64_t bytes = 0;
  std::uint64_t full = 0;
  std::uint64_t resumed = 0;
  std::uint64_t connect = 0;  // failures, by where they happened
  std::uint64_t read = 0;
  std::uint64_t write = 0;
  std::uint64_t status = 0;
};

struct Operation {
  int fd = -1;
  TlsPtr tls;
  bool sent = false;
  std::uint32_t armed = 0;  // what epoll is told
  std::string answer;
  Clock::time_point begun;
};

class Load {
 public:
  Load(std::uint64_t port, bool resume) : port_(port), resume_(resume), context_(make_client_context()) {
    if (!resume_) return;
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(context_.get(), this);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* tls, SSL_SESSION* session) {
      static_cast<Load*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(tls)))->keep(TlsSessionPtr(session));
      return 1;  // ours now
    });
  }

  void run(std::size_t concurrency, std::uint64_t seconds) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (resume_) first_session();
    counts_ = {};
    latencies_.clear();
    begun_ = Clock::now();
    end_ = begun_ + std::chrono::seconds(seconds);
    std::vector<Operation> operations(concurrency);
    for (Operation& operation : operations) begin(operation);
    drive();
    report();
  }

 private:
  // One operation of its own, so that all that are measured have a session to offer.
  void first_session() {
    Operation operation;
    begun_ = end_ = Clock::now();
    begin(operation);
    drive();
    if (spare_.empty()) die("no session to resume");
  }

  void drive() {
    std::array<epoll_event, 64> events{};
    while (running_ > 0) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 5000);
      if (count == 0) die("nothing happens any more");
      for (int i = 0; i < count; ++i) step(*static_cast<Operation*>(events[static_cast<std::size_t>(i)].data.ptr));
    }
  }

  void keep(TlsSessionPtr session) {
    if (spare_.size() < kSpareSessions) spare_.push_back(std::move(session));
  }

  void begin(Operation& operation) {
    ++running_;
    operation = Operation{};
    operation.begun = Clock::now();
    // The time of connect counts, but it need not be waited for asynchronously: on loopback it is over at once.
    operation.fd = connect_to(port_);
    if (operation.fd < 0) return end(operation, counts_.connect);
    fcntl(operation.fd, F_SETFL, O_NONBLOCK);
    operation.tls = make_client(*context_, operation.fd);
    SSL_set_connect_state(operation.tls.get());
    if (!spare_.empty()) {
      SSL_set_session(operation.tls.get(), spare_.back().get());
      if (spare_.size() > 1) spare_.pop_back();  // each ticket once, unless there is no other
    }
    step(operation);
  }

  void step(Operation& operation) {
    SSL* const tls = operation.tls.get();
    ERR_clear_error();
    if (!operation.sent) {
      // The handshake runs within the first write.
      const int sent = SSL_write(tls, kRequest.data(), static_cast<int>(kRequest.size()));
      if (sent <= 0) return wait(operation, sent, counts_.write);
      operation.sent = true;
      ++(SSL_session_reused(tls) == 1 ? counts_.resumed : counts_.full);
    }
    for (std::array<char, 4096> part{};;) {
      const int got = SSL_read(tls, part.data(), static_cast<int>(part.size()));
      if (got > 0) {
        operation.answer.append(part.data(), static_cast<std::size_t>(got));
        continue;
      }
      if (SSL_get_error(tls, got) == SSL_ERROR_ZERO_RETURN) break;
      return wait(operation, got, counts_.read);
    }
    const Head head = parse_head(operation.answer);
    const bool whole = head.size > 0 && operation.answer.size() == head.size + head.content_length;
    if (!whole || !operation.answer.starts_with("HTTP/1.1 200 ")) return end(operation, counts_.status);
    counts_.bytes += operation.answer.size();
    latencies_.push_back(std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - operation.begun).count());
    end(operation, counts_.done);
  }

  void wait(Operation& operation, int result, std::uint64_t& failures) {
    const int error = SSL_get_error(operation.tls.get(), result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return end(operation, failures);
    const std::uint32_t interest = error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT;
    if (operation.armed == interest) return;
    epoll_event event{};
    event.events = interest;
    event.data.ptr = &operation;
    epoll_ctl(epoll_, operation.armed == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, operation.fd, &event);
    operation.armed = interest;
  }

  // Counts the operation and starts the next in its place.
  void end(Operation& operation, std::uint64_t& outcome) {
    ++outcome;
    --running_;
    // A session outlives its connection only if that was shut down: else the library marks it as not resumable.
    if (operation.tls != nullptr) SSL_set_shutdown(operation.tls.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    operation.tls.reset();
    if (operation.fd >= 0) close(operation.fd);
    operation.fd = -1;
    const std::uint64_t failed = counts_.connect + counts_.read + counts_.write + counts_.status;
    if (failed < 1000 && Clock::now() < end_) begin(operation);
  }

  void report() {
    const auto duration = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun_).count();
    std::ranges::sort(latencies_);
    const auto percentile = [this](double share) {
      if (latencies_.empty()) return std::int64_t{0};
      return latencies_[std::min(latencies_.size() - 1,
                                 static_cast<std::size_t>(static_cast<double>(latencies_.size()) * share))];
    };
    std::cout << "RESULT {\"requests\":" << counts_.done << ",\"duration\":" << duration
              << ",\"bytes\":" << counts_.bytes << ",\"p50\":" << percentile(0.5) << ",\"p99\":" << percentile(0.99)
              << ",\"p999\":" << percentile(0.999) << ",\"handshakes\":{\"full\":" << counts_.full
              << ",\"resumed\":" << counts_.resumed << "},\"errors\":{\"connect\":" << counts_.connect
              << ",\"read\":" << counts_.read << ",\"write\":" << counts_.write << ",\"status\":" << counts_.status
              << "}}" << std::endl;
  }

  std::uint64_t port_;
  bool resume_;
  TlsContextPtr context_;
  std::vector<TlsSessionPtr> spare_;
  int epoll_ = -1;
  std::size_t running_ = 0;
  Counts counts_;
  std::vector<std::int64_t> latencies_;  // microseconds
  Clock::time_point begun_;
  Clock::time_point end_;
};

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  using namespace postern::bench;
  Load load(number(option(argc, argv, "--port")), !option(argc, argv, "--resume").empty());
  load.run(number(option(argc, argv, "--concurrency", "16")), number(option(argc, argv, "--seconds", "2")));
  return 0;
}
