// IdentityMethod: how an origin knows that a request comes from the gateway. One folder per method; the object is built
// once from configuration, immutable, shared by all loops, and applied afresh to every attempt.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/error.h"
#include "http/headers.h"
#include "http/message.h"
#include "platform/loop.h"
#include "platform/task.h"

namespace postern::identity {

// One attempt to send a request, as far as identity is concerned.
struct Attempt {
  const http::RequestHead& request;  // client copies of all identity headers are already gone
  std::string_view scheme;           // "https" or "http"
  std::string_view host;             // Host as it will be sent
  std::string_view path_and_query;   // as it will be sent
  WallTime now;
  Loop& loop;            // this runs on it
  MonoTime deadline;     // for a method that has to wait
  http::Headers& added;  // fields that go out after the client's; an identity method appends to it
  Arena& arena;          // lives as long as the exchange
  // Credentials that this attempt carries and secrets() does not know; a method appends to it what it made. They live
  // in `arena`, or as long.
  std::vector<std::string_view>& sensitive;
};

class IdentityMethod {
 public:
  IdentityMethod() = default;
  IdentityMethod(const IdentityMethod&) = delete;
  IdentityMethod& operator=(const IdentityMethod&) = delete;
  virtual ~IdentityMethod() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  // Field names that it sets: removed from the client's request in every alias, forbidden to policies.
  [[nodiscard]] virtual std::vector<std::string_view> headers() const = 0;
  // An error keeps the request from being sent at all: there is no fallback to a request without identity.
  [[nodiscard]] virtual Task<Result<void>> apply(Attempt& attempt) const = 0;
  // Texts that must never come back in a response: the reflection guard looks for them, and for Attempt::sensitive.
  [[nodiscard]] virtual std::vector<std::string_view> secrets() const = 0;
};

}  // namespace postern::identity
