// Source: how one credential is obtained: what is asked of whom, and what the answer means. One per credential that the
// configuration names; the manager calls it early, once at a time, and keeps what it gave.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/secret.h"
#include "platform/entropy.h"
#include "tokens/fetcher.h"

namespace postern::tokens {

// What a source gives. Which members are set depends on the source.
struct Credential {
  config::Secret token;  // a bearer token: access token or JWT, legal in a header field
  // AWS (aws_sigv4 and what comes from STS or a metadata server).
  std::string access_key_id;
  config::Secret secret_access_key;
  config::Secret session_token;

  MonoTime expires = MonoTime::max();       // by the gateway's monotonic clock: never sent after it
  std::optional<MonoTime> refresh_at = {};  // if the server said so
  // For `origin test`: claims as JSON, scope, token type; nothing by which somebody could log in.
  std::string description;
};

struct SourceError {
  Error error;  // code token_*; the detail is for the operator: what the server said, cut and escaped, never a secret
  std::optional<Duration> retry_after = {};  // what the server asked for
  bool permanent = false;                    // asking again will not help until somebody changes something
};

class Source {
 public:
  struct Context {
    Fetcher& fetcher;
    const Clock& clock;
    const Entropy& entropy;
  };

  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  // The same text for two sources that give the same credential: they share one token. Never holds a secret.
  [[nodiscard]] virtual std::string key() const = 0;
  // For messages and metrics: "oauth2_client_credentials", "gcp_id_token".
  [[nodiscard]] virtual std::string_view kind() const noexcept = 0;
  // Afresh: assertions are signed anew for every attempt. On the control loop; may be destroyed while suspended.
  [[nodiscard]] virtual Task<std::expected<Credential, SourceError>> obtain(Context context) const = 0;
};

}  // namespace postern::tokens
