// TokenManager: keeps every credential that the configuration names fresh, off the request path: one fetch per key at a
// time, early, with jitter; what is still good keeps serving while a refresh fails; what has expired is never given
// out.
//
// It lives on the control loop, where everything here is called but for the methods of the Tokens that it gives out.
// Sources with the same key() share one credential. A Token is held by the identity methods of a snapshot; when the
// last one of a key is gone, so is the credential: a reload keeps those whose key stays.
//
// When, with `life` from receipt to expiry:
// - soft: the earliest of what the server said, expiry - 5 min (but at least half of the life) and 80 % of the life,
// with
//   10 % jitter either way. From there on it is fetched anew while the present one serves.
// - hard: expiry - 30 s, or 10 % of a shorter life. From there on it is not sent: it has to arrive before it expires.
// - after a failure: full jitter below 1, 2, 4 .. 60 s; what the server asked for in Retry-After, up to an hour; 30 to
//   60 s if asking again will not help.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "observe/log.h"
#include "platform/task_set.h"
#include "tokens/token.h"

namespace postern::tokens {

// What a request does while there is no credential yet, or none any more.
enum class ColdStart : std::uint8_t {
  wait,    // for the fetch that is under way, if one is
  refuse,  // fails at once
};

// One line per name under which a credential is used.
struct TokenStatus {
  std::string name;  // where it is configured: "origins.orders.identity[0].oauth2_client_credentials"
  std::string_view kind;
  bool usable = false;
  std::optional<Duration> age;       // of the credential at hand
  std::optional<Duration> expires;   // from now; nullopt also for one that never does
  std::uint64_t fetched = 0;         // since start
  std::uint64_t failures = 0;        // of refreshes, since start
  unsigned failures_in_row = 0;      // 0: the last attempt was good
  std::string problem;               // of the last attempt; for the operator, no secret
  std::optional<Duration> next_try;  // from now; nullopt while an attempt is under way
  std::optional<Duration> skew;      // the server's clock less ours, from its Date; about a second of it is noise
};

class TokenManager {
 public:
  struct Services {
    Loop& loop;
    const Clock& clock;
    const Entropy& entropy;
    observe::Log* log;  // nullptr: nobody is told
    TaskSet::ErrorHandler& exceptions;
  };
  static constexpr std::size_t kMaxWaiters = 1024;  // requests that wait for one credential

  // All services outlive the manager; `loop` outlives every Token too.
  explicit TokenManager(const Services& services);
  TokenManager(const TokenManager&) = delete;
  TokenManager& operator=(const TokenManager&) = delete;
  ~TokenManager();

  // The credential of `source`, which is dropped if its key is known. Nothing is fetched before warm_up(): a
  // configuration that is rejected asks nobody. Errors of get(): token_unavailable, Side::gateway, whose detail is
  // "NAME: what happened"; NAME alone may be shown to clients.
  [[nodiscard]] std::shared_ptr<Token> token(std::string name, std::unique_ptr<const Source> source, ColdStart cold);
  // Fetches what has been asked for since the last call, and forgets what nobody holds any more. `fetcher` outlives the
  // manager. Also to be called from time to time, for the second half of it.
  void warm_up(Fetcher& fetcher);
  // Ends what is under way: for whom the fetcher does not outlive the manager. Tokens keep what they have.
  void shut_down() noexcept;
  // Every credential that was started has had its first answer, good or bad.
  [[nodiscard]] bool settled() const noexcept;
  // In the order of names.
  [[nodiscard]] std::vector<TokenStatus> status() const;

 private:
  class Shared;
  class Handle;
  struct Entry;
  [[nodiscard]] Task<void> keep_fresh(Entry& entry);

  Services services_;
  std::map<std::string, std::shared_ptr<Entry>, std::less<>> entries_;
};

}  // namespace postern::tokens
