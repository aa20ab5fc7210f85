// Policy: a named step on the request (inbound) or the response (outbound). One folder per policy; the object is built
// once from configuration, is immutable, and is shared by all loops. State of a request lives in the Exchange; state
// across requests (counters, key stores) lives in services passed to the factory, which are thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/exchange.h"
#include "platform/task.h"

namespace postern::config {
class Node;
class Diagnostics;
}  // namespace postern::config

namespace postern::policies {

enum class Flow : std::uint8_t {
  next,     // go on
  respond,  // exchange.local is the answer; no later inbound policy runs, the outbound ones do
};

class Policy {
 public:
  Policy() = default;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;
  virtual ~Policy() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;

  // Inbound. An Error refuses the request; gateway/fail turns it into the answer. Most policies return a value at once
  // (no coroutine); one that waits is a coroutine and may be destroyed at any suspension point.
  virtual Task<Result<Flow>> on_request(http::Exchange& exchange) const {
    static_cast<void>(exchange);
    return Result<Flow>(Flow::next);
  }

  // Outbound, in reverse order: may change exchange.response->headers. Runs for origin and local responses alike.
  virtual void on_response(http::Exchange& exchange) const { static_cast<void>(exchange); }

  // Names of header fields that this policy sets on requests and vouches for: client copies (all aliases) are removed
  // from every request before the first policy runs, and no other policy may write them.
  [[nodiscard]] virtual std::vector<std::string_view> reserved_headers() const { return {}; }
  // Names that this policy writes into requests on the operator's behalf; checked against all reserved names.
  [[nodiscard]] virtual std::vector<std::string_view> written_headers() const { return {}; }
  // The same for responses.
  [[nodiscard]] virtual std::vector<std::string_view> written_response_headers() const { return {}; }
  // Names whose value this policy takes from the client's request (a credential, what is counted).
  [[nodiscard]] virtual std::vector<std::string_view> read_headers() const { return {}; }
};

}  // namespace postern::policies
