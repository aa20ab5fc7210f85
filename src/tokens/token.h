// Token: one credential that the manager keeps fresh, as identity methods on all loops see it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

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
  // An origin answered 401 to `refused`. Nobody but the origin knows what it means: the token, or the user of the
  // application behind it. So another one is fetched if that was the current one, and the present one goes on serving
  // until the other is there: a client that asks for what is not his must not be able to take a good token from
  // everybody. Not more often than every 30 s, and less and less often while the origin refuses each new one. True if
  // another one is there or will be fetched: then another attempt with another() makes sense. Any thread; the caller
  // holds `refused`.
  virtual bool renew(const Credential& refused) = 0;
  // For that attempt: one that is not `refused`, as soon as there is one; if none can be had, what get() gives.
  // Otherwise as get().
  [[nodiscard]] virtual Task<Result<std::shared_ptr<const Credential>>> another(const Credential& refused, Loop& loop,
                                                                                MonoTime deadline) = 0;
};

// A credential that an attempt carries, and whose it is.
struct TokenUse {
  std::shared_ptr<Token> token;
  std::shared_ptr<const Credential> credential;
};

// The credential among `uses` that is one of `token`; nullptr: none. `uses` may be nullptr.
[[nodiscard]] inline const Credential* find_use(const std::vector<TokenUse>* uses, const Token& token) noexcept {
  if (!uses) return nullptr;
  for (const TokenUse& use : *uses) {
    if (use.token.get() == &token) return use.credential.get();
  }
  return nullptr;
}

}  // namespace postern::tokens
