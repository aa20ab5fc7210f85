// What `postern demo` tries against a locked backend, from both sides of the gateway.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/http_client.h"

namespace postern::cli {

// Three ways to knock at a backend that demands a certificate.
struct DemoCallers {
  std::shared_ptr<const tls::ClientContext> nobody;     // without one
  std::shared_ptr<const tls::ClientContext> stranger;   // with one that nobody vouches for
  std::shared_ptr<const tls::ClientContext> neighbour;  // with that of the gateway for another origin
};

struct DemoTarget {
  std::string name;                    // first segment of its routes
  SocketAddress address;               // of the backend itself
  std::optional<DemoCallers> callers;  // if it is locked by certificates, not by the secret
  bool by_proof = false;               // if it is locked by what the gateway proves in each request
};

inline constexpr int kRefused = 0;

struct DemoResult {
  std::string_view backend;  // valid during report()
  std::string_view what;
  int expected;               // kRefused: no service, best of all not even a handshake
  std::optional<int> status;  // none: no answer came, and `problem` says why
  std::string problem;
  bool passed;  // status and code are those that were expected
};

class DemoReport {
 public:
  virtual ~DemoReport() = default;
  virtual void report(const DemoResult& result) = 0;
};

class DemoChecks {
 public:
  // All references outlive the object. `key` is an API key that the gateway accepts.
  DemoChecks(Loop& loop, Network& network, SocketAddress gateway, std::string key, DemoReport& report)
      : loop_(loop), network_(network), gateway_(std::move(gateway)), key_(std::move(key)), report_(report) {}

  // Reports each check as soon as it is done.
  [[nodiscard]] Task<void> run(std::vector<DemoTarget> targets);
  [[nodiscard]] unsigned passed() const noexcept { return passed_; }
  [[nodiscard]] unsigned failed() const noexcept { return failed_; }

 private:
  using Headers = std::vector<std::pair<std::string, std::string>>;
  using Caller = std::shared_ptr<const tls::ClientContext> DemoCallers::*;
  struct Check {
    std::string_view what;
    bool through_gateway;
    Headers headers;
    int status;
    std::string_view code;    // stable code in the answer; "" none
    Caller caller = nullptr;  // around the gateway, over TLS
  };
  [[nodiscard]] std::vector<Check> checks() const;
  [[nodiscard]] std::vector<Check> certificate_checks() const;
  [[nodiscard]] std::vector<Check> proof_checks() const;
  [[nodiscard]] static bool passes(const Check& check, const Result<ClientAnswer>& answer);
  [[nodiscard]] Task<void> run_one(const DemoTarget& target, const Check& check);

  Loop& loop_;
  Network& network_;
  SocketAddress gateway_;
  std::string key_;
  DemoReport& report_;
  unsigned passed_ = 0;
  unsigned failed_ = 0;
};

}  // namespace postern::cli
