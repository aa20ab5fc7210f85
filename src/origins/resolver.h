// Resolver: turns host names into addresses with c-ares on a loop, never blocking it. Times to live are honoured within
// bounds. Belongs to the control loop.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "platform/loop.h"

namespace postern::origins {

struct Resolution {
  std::vector<IpAddress> addresses;  // at least one, sorted, without duplicates
  Duration ttl{};
};

class Resolver {
 public:
  using Callback = std::function<void(Result<Resolution>)>;

  // Reads the system's configuration (resolv.conf, hosts). An error if c-ares cannot start.
  [[nodiscard]] static Result<std::unique_ptr<Resolver>> create(Loop& loop);
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  // Pending callbacks are dropped without being called.
  ~Resolver();

  // Calls back on the loop, in this turn or a later one. Error: origin_unresolved.
  void resolve(const std::string& host, Callback callback);

 private:
  class Channel;
  explicit Resolver(std::unique_ptr<Channel> channel);
  std::unique_ptr<Channel> channel_;
};

}  // namespace postern::origins
