// Account: remembers what an exchange came to and, when it ends for whatever reason (cancelled included), writes the
// access log and the metrics. Lives in handle_request()'s frame, declared after the Exchange it reads.
#pragma once

#include <memory>

#include "gateway/loop_context.h"
#include "gateway/origin_exchange.h"
#include "http/downstream.h"
#include "http/exchange.h"

namespace postern::gateway {

class Account {
 public:
  // `unmatched` counts a request that finds no route.
  Account(LoopContext& context, const observe::RouteMetrics& unmatched, const http::Exchange& exchange,
          http::Downstream& client) noexcept
      : context_(context), exchange_(exchange), client_(client), metrics_(&unmatched) {}
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;
  ~Account() { close(); }

  void unmatched(const observe::RouteMetrics& metrics) noexcept { metrics_ = &metrics; }
  void route(const RoutePlan& plan) noexcept {
    route_ = &plan;
    metrics_ = &plan.metrics;
  }
  void origin(const OriginPlan& plan, const OriginExchange& exchange) noexcept {
    origin_ = &plan;
    origin_exchange_ = &exchange;
  }
  // The first error counts; what follows from it does not.
  void error(const Error& error);
  void status(int status) noexcept { status_ = status; }
  // The exchange ended in order; without it, it was cut off.
  void finished() noexcept { finished_ = true; }
  // Nothing was received: there is nothing to account for.
  void forget() noexcept { forgotten_ = true; }

 private:
  void close();

  LoopContext& context_;
  const http::Exchange& exchange_;
  http::Downstream& client_;
  const observe::RouteMetrics* metrics_;
  const RoutePlan* route_ = nullptr;
  const OriginPlan* origin_ = nullptr;
  const OriginExchange* origin_exchange_ = nullptr;
  std::unique_ptr<Error> error_;
  int status_ = 0;
  bool finished_ = false;
  bool forgotten_ = false;
};

}  // namespace postern::gateway
