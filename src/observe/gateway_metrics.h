// GatewayMetrics: the families that Postern exposes, each with its name, help and labels in one place, and the handles
// by which the other rooms count. docs: src/observe/README.md lists them.
//
// Labels are names from the configuration, stable error ids and the constants below. Never in a label: an address, a
// path, a header value, a consumer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "observe/metrics.h"

namespace postern::observe {

// What an attempt at an origin came to: the class of its status, or what went wrong.
enum class OriginOutcome : std::uint8_t {
  status_1xx,  // 101: switched protocols
  status_2xx,
  status_3xx,
  status_4xx,
  status_5xx,
  connect_failed,  // unreachable, unresolved, or not in time
  timeout,
  closed,
  malformed,
  unavailable,  // not tried: no healthy endpoint, limit, credential or permission missing
  cancelled,    // the client or a shutdown ended it
};
inline constexpr std::size_t kOriginOutcomes = 11;
[[nodiscard]] OriginOutcome origin_outcome(int status) noexcept;
[[nodiscard]] OriginOutcome origin_outcome(Code code) noexcept;

// Why a field of a client's request did not go to the origin.
enum class StripReason : std::uint8_t {
  reserved,    // a copy or alias of a header that the gateway vouches for
  nominated,   // named by Connection
  hop_by_hop,  // RFC 9110 7.6.1
  override,    // X-Original-URL, X-HTTP-Method-Override and kin
  forwarding,  // Via, Forwarded, X-Forwarded-* of a stranger
};
inline constexpr std::size_t kStripReasons = 5;

enum class ReloadOutcome : std::uint8_t { applied, unchanged, rejected };

struct RouteMetrics {
  CounterRow requests;
  Histogram duration;
  // The status that was sent to the client; 0 if the client was gone before one was.
  [[nodiscard]] Counter status(int code) const noexcept {
    return requests.at(code >= 100 && code <= 599 ? static_cast<std::size_t>(code / 100 - 1) : 5);
  }
};

struct OriginMetrics {
  CounterRow requests;
  Histogram duration;  // of an attempt, from its start to the end of the response head
  Counter retries;
  Counter reflections;
  CounterRow client_certificate;        // attempts over TLS, in the order of tls::ClientCertificate
  std::vector<Gauge> endpoint_healthy;  // by endpoint index: 1 or 0, set by MetricRegistry::set
  [[nodiscard]] Counter outcome(OriginOutcome value) const noexcept {
    return requests.at(static_cast<std::size_t>(value));
  }
};

struct PolicyMetrics {
  CounterRow refusals;
  [[nodiscard]] Counter refusal(Code code) const noexcept;
};

struct ListenerMetrics {
  Gauge open;
  Counter accepted;
  CounterRow handshakes;  // of TLS that ended well; the others are errors
  [[nodiscard]] Counter handshake(bool resumed) const noexcept { return handshakes.at(resumed ? 1 : 0); }
};

// A token that others issue, under the name of its place in the configuration.
struct TokenMetrics {
  Gauge usable;   // 1 or 0
  Gauge age;      // seconds; -1: there was none yet
  Gauge expires;  // seconds from now; -1: never
  Gauge skew;     // seconds that the server's clock is ahead
  Counter refreshes;
  Counter failures;
};

// HTTP/2 towards one side.
struct Http2Metrics {
  Counter connections;
  Counter streams;
  Counter refused;
  Counter floods;
  CounterRow resets;            // sent, received
  CounterRow goaways_sent;      // by error code: RFC 9113 7, the last for all others
  CounterRow goaways_received;  // likewise
};

// Immutable after construction, apart from what the registry counts: any thread.
class GatewayMetrics final {
 public:
  // `registry` outlives this. `started` is when the process did.
  GatewayMetrics(MetricRegistry& registry, WallTime started);
  GatewayMetrics(const GatewayMetrics&) = delete;
  GatewayMetrics& operator=(const GatewayMetrics&) = delete;
  ~GatewayMetrics() = default;

  // The handles of a snapshot; `set` lives in that snapshot. `listener` is its position, not its address: "0".
  [[nodiscard]] RouteMetrics route(SeriesSet& set, std::string_view name) const;
  [[nodiscard]] OriginMetrics origin(SeriesSet& set, std::string_view name, std::size_t endpoints) const;
  [[nodiscard]] PolicyMetrics policy(SeriesSet& set, std::string_view name) const;
  [[nodiscard]] ListenerMetrics listener(SeriesSet& set, std::string_view name) const;
  // Whole days until a certificate expires, negative afterwards; `where` is its place in the configuration.
  [[nodiscard]] Gauge certificate_days_left(SeriesSet& set, std::string_view where) const {
    return set.gauge(certificate_days_left_, {&where, 1});
  }
  // While there is an issuer: 1 if it signs with the keys of its directory, else 0; and for how long the key that signs
  // for an algorithm has done so, in seconds.
  [[nodiscard]] Gauge issuer_current(SeriesSet& set) const { return set.gauge(issuer_current_, {}); }
  [[nodiscard]] Gauge issuer_key_age(SeriesSet& set, std::string_view algorithm) const {
    return set.gauge(issuer_key_age_, {&algorithm, 1});
  }
  [[nodiscard]] TokenMetrics token(SeriesSet& set, std::string_view where) const;
  // While a key store is open: 1 or 0, set by MetricRegistry::set.
  [[nodiscard]] Gauge store_available(SeriesSet& set) const { return set.gauge(store_available_, {}); }

  [[nodiscard]] Counter error(Code code, Side side) const noexcept {
    return errors_[static_cast<std::size_t>(side)].at(static_cast<std::size_t>(code));
  }
  [[nodiscard]] Counter error(const Error& error_value) const noexcept {
    return error(error_value.code(), error_value.side());
  }
  // Towards clients or origins.
  [[nodiscard]] const Http2Metrics& http2(Side side) const noexcept { return http2_[side == Side::client ? 0 : 1]; }
  [[nodiscard]] Counter strip(StripReason reason) const noexcept {
    return strips_.at(static_cast<std::size_t>(reason));
  }

  void reloaded(ReloadOutcome outcome) const noexcept;
  void set_generation(std::uint64_t generation) const noexcept;
  void set_insecure_options(std::size_t count) const noexcept;
  // Totals that the logs keep themselves; told before each scrape.
  void set_log_dropped(std::uint64_t access, std::uint64_t operational) const noexcept;

  // The whole answer of /metrics: all families, build and process.
  [[nodiscard]] std::string render() const;

 private:
  void declare_http2();

  MetricRegistry& registry_;
  const WallTime started_;
  FamilyId requests_, request_duration_;
  FamilyId origin_requests_, origin_duration_, endpoint_healthy_, retries_, reflections_;
  FamilyId policy_refusals_;
  FamilyId connections_, connections_total_, handshakes_;
  FamilyId client_certificates_, certificate_days_left_;
  FamilyId store_available_;
  FamilyId issuer_current_, issuer_key_age_;
  FamilyId token_usable_, token_age_, token_expires_, token_skew_, token_refreshes_, token_failures_;
  SeriesSet own_;
  CounterRow errors_[3];
  Http2Metrics http2_[2];
  CounterRow strips_, reloads_, log_dropped_;
  Gauge generation_, insecure_options_;
};

}  // namespace postern::observe
