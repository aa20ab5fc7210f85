// Token: one credential that the manager keeps fresh, as identity methods on all loops see it.
#pragma once

#include <cstdint>
#include <memory>

#include "platform/loop.h"
#include "platform/task.h"
#include "tokens/source.h"

namespace postern::tokens {

class Token {
 public:
  Token() = default;
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;
  virtual ~Token() = default;

  // What may be sent now; nullptr if there is nothing, or it has expired. Any thread, never waits.
  [[nodiscard]] virtual std::shared_ptr<const Credential> current(MonoTime now) const noexcept = 0;
  // The same; with a cold start that waits, until the first answer or `deadline`. On `loop`, which may destroy the task
  // while it waits. Errors: token_unavailable, Side::gateway, Retry::no; too many waiters is the same.
  [[nodiscard]] virtual Task<Result<std::shared_ptr<const Credential>>> get(Loop& loop, MonoTime deadline) = 0;
  // An origin answered 401 to `refused`. True if it was the current one and is dropped now: a fresh one is on its way
  // and another attempt makes sense. Once per credential, and not more often than every 30 s. Any thread.
  virtual bool drop(const Credential& refused) noexcept = 0;
};

}  // namespace postern::tokens
