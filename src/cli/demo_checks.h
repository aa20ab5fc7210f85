// What `postern demo` tries against a locked backend, from both sides of the gateway.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/http_client.h"

namespace postern::cli {

struct DemoTarget {
  std::string name;       // first segment of its routes
  SocketAddress address;  // of the backend itself
};

struct DemoResult {
  std::string_view backend;  // valid during report()
  std::string_view what;
  int expected;
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
  struct Check {
    std::string_view what;
    bool through_gateway;
    Headers headers;
    int status;
    std::string_view code;  // stable code in the answer; "" none
  };
  [[nodiscard]] std::vector<Check> checks() const;
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
