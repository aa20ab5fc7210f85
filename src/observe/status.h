// Status: what `postern status` and the status page show, as plain values. The gateway fills it in when asked;
// rendering is here, as JSON and as text for people.
//
// Two audiences. The admin listener may see everything in here; the observe listener may be reachable by others, so
// Audience::observe leaves out addresses, paths and messages. No secret has a place in these structs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/clock.h"

namespace postern::observe {

enum class Audience : std::uint8_t { admin, observe };

struct LoopStatus {
  std::uint64_t generation = 0;  // of the configuration this loop works with
  std::uint64_t connections = 0;
  std::uint64_t draining = 0;  // requests that go on under a trust or identity which is no longer in force
};

struct ListenerStatus {
  std::string address;  // admin only
  std::string kind;     // "http", "observe", "admin"
  std::uint64_t connections = 0;
};

enum class EndpointState : std::uint8_t {
  healthy,
  unhealthy,  // health checks fail
  ejected,    // requests failed; back at `until`
  untested,   // no check has come back yet
};

struct EndpointStatus {
  std::string address;  // admin only
  EndpointState state = EndpointState::untested;
  std::optional<WallTime> until;  // of an ejection
  std::uint64_t ejections = 0;    // since start
  std::uint64_t active = 0;       // requests in flight
};

struct OriginStatus {
  std::string name;
  std::vector<EndpointStatus> endpoints;
  std::uint64_t generation = 0;  // of the configuration that brought its present trust and identity
};

enum class ReloadState : std::uint8_t { never, applied, unchanged, rejected };

struct ReloadStatus {
  ReloadState state = ReloadState::never;
  std::optional<WallTime> at;
  std::string message;  // admin only: what changed, or the first problem
};

enum class StoreState : std::uint8_t { none, ready, failing };

struct StoreStatus {
  StoreState state = StoreState::none;  // none: no consumers are configured
  std::uint64_t consumers = 0;
  std::uint64_t keys = 0;
  std::optional<WallTime> fresh_at;  // when it was last read with success
  std::string problem;               // admin only: why the last look failed; "" if it did not
};

struct InsecureStatus {
  std::string where;   // "origins.orders"
  std::string reason;  // admin only
  WallTime until{};
};

struct CredentialStatus {
  std::string origin;
  std::string method;                      // "shared_secret"
  std::optional<WallTime> switch_at = {};  // when the next value takes over
  std::optional<WallTime> expires = {};
  // Of one that is fetched.
  bool fetched = false;
  bool usable = true;
  std::optional<Duration> age = {};
  std::uint64_t failures = 0;  // of refreshes, since start
  std::string problem = {};    // admin only: of the last refresh; "" if it was good
};

// A certificate in use: of a listener, shown to an origin, or of an authority.
struct CertificateStatus {
  std::string where;        // "listeners[0].tls.certificates[1]", "origins.orders.identity.mtls"
  std::string subject;      // admin only
  std::string fingerprint;  // SHA-256, hexadecimal
  WallTime not_after{};
};

// A key of the gateway's own issuer.
struct IssuerKeyStatus {
  std::string kid;
  std::string algorithm;
  std::string role;  // "next", "signing", "old"
  WallTime signs_from{};
};

struct IssuerStatus {
  std::string url;      // admin only
  bool current = true;  // false: the keys in force are not those of their directory
  std::string problem;  // admin only: why not, or why a key that is due has not been made; "" if all is well
  std::vector<IssuerKeyStatus> keys;
};

struct Status {
  std::string version;
  WallTime now{};
  WallTime started{};
  std::uint64_t generation = 0;  // newest configuration; a loop that lags behind still drains
  bool draining = false;
  std::vector<LoopStatus> loops;
  std::vector<ListenerStatus> listeners;
  std::vector<OriginStatus> origins;
  ReloadStatus reload;
  std::vector<std::string> waiting_for_restart;  // options for which the configuration says other than what runs
  StoreStatus store;
  std::vector<InsecureStatus> insecure;
  std::vector<CredentialStatus> credentials;
  std::vector<CertificateStatus> certificates;
  std::optional<IssuerStatus> issuer = {};  // nullopt: none is configured
  std::uint64_t access_log_dropped = 0;
  std::uint64_t log_dropped = 0;
};

// One JSON object, pure ASCII.
[[nodiscard]] std::string render_json(const Status& status, Audience audience);
// Lines for a terminal; control characters of names are shown as "?".
[[nodiscard]] std::string render_text(const Status& status, Audience audience);

}  // namespace postern::observe
