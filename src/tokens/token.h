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
  // An origin answered 401 to `refused`. If that is the current one it is dropped, but not more often than every 30 s:
  // an origin that always says 401 must not turn every request into a fetch. True if it is not the current one any
  // more, through this call or before it: then another attempt makes sense. Any thread; the caller holds `refused`.
  virtual bool drop(const Credential& refused) = 0;
};

// A credential that an attempt carries, and whose it is.
struct TokenUse {
  std::shared_ptr<Token> token;
  std::shared_ptr<const Credential> credential;
};

}  // namespace postern::tokens
