#include "observe/gateway_metrics.h"

#include <array>
#include <string>

#include "observe/process_metrics.h"

namespace postern::observe {
namespace {

constexpr std::array kCodeIds = {
#define POSTERN_ERROR(name, id, status, title) std::string_view(id),
#include "base/error_codes.inc"
#undef POSTERN_ERROR
};

constexpr bool is_policy_code(std::string_view id) noexcept { return id.starts_with("PST-P"); }

// The row of postern_policy_refusals_total: the codes of policies, then "other".
constexpr std::array<std::uint8_t, kCodeIds.size()> kRefusalIndex = [] {
  std::array<std::uint8_t, kCodeIds.size()> index{};
  std::uint8_t next = 0;
  for (std::size_t i = 0; i < kCodeIds.size(); ++i) {
    if (is_policy_code(kCodeIds[i])) index[i] = next++;
  }
  for (std::size_t i = 0; i < kCodeIds.size(); ++i) {
    if (!is_policy_code(kCodeIds[i])) index[i] = next;
  }
  return index;
}();

std::vector<std::string> code_values() { return {kCodeIds.begin(), kCodeIds.end()}; }

std::vector<std::string> refusal_values() {
  std::vector<std::string> values;
  for (const std::string_view id : kCodeIds) {
    if (is_policy_code(id)) values.emplace_back(id);
  }
  values.emplace_back("other");
  return values;
}

}  // namespace

OriginOutcome origin_outcome(int status) noexcept {
  if (status < 100 || status > 599) return OriginOutcome::malformed;
  return static_cast<OriginOutcome>(status / 100 - 1);
}

OriginOutcome origin_outcome(Code code) noexcept {
  switch (code) {
    case Code::origin_connect_failed:
    case Code::origin_connect_timeout:
    case Code::origin_unresolved: return OriginOutcome::connect_failed;
    case Code::origin_timeout: return OriginOutcome::timeout;
    case Code::origin_closed: return OriginOutcome::closed;
    case Code::origin_malformed:
    case Code::origin_upgrade_failed: return OriginOutcome::malformed;
    case Code::origin_unavailable:
    case Code::origin_overloaded:
    case Code::insecure_expired:
    case Code::identity_unavailable: return OriginOutcome::unavailable;
    case Code::origin_tls_failed: return OriginOutcome::connect_failed;
    default: return OriginOutcome::cancelled;
  }
}

Counter PolicyMetrics::refusal(Code code) const noexcept {
  return refusals.at(kRefusalIndex[static_cast<std::size_t>(code)]);
}

GatewayMetrics::GatewayMetrics(MetricRegistry& registry, WallTime started)
    : registry_(registry),
      started_(started),
      requests_(registry.declare(MetricKind::counter,
                                 {.name = "postern_requests_total",
                                  .help = "Requests answered, by route and class of the status sent; aborted: the "
                                          "client was gone before one was.",
                                  .labels = {"route"},
                                  .row_label = "status",
                                  .row_values = {"1xx", "2xx", "3xx", "4xx", "5xx", "aborted"},
                                  .when_zero = WhenZero::hide})),
      request_duration_(registry.declare(MetricKind::histogram,
                                         {.name = "postern_request_duration_seconds",
                                          .help = "From the complete request head to the last byte of the response.",
                                          .labels = {"route"},
                                          .when_zero = WhenZero::hide})),
      origin_requests_(registry.declare(
          MetricKind::counter, {.name = "postern_origin_requests_total",
                                .help = "Attempts at an origin, by class of the status received or by what went wrong.",
                                .labels = {"origin"},
                                .row_label = "outcome",
                                .row_values = {"1xx", "2xx", "3xx", "4xx", "5xx", "connect_failed", "timeout", "closed",
                                               "malformed", "unavailable", "cancelled"}})),
      origin_duration_(registry.declare(MetricKind::histogram,
                                        {.name = "postern_origin_duration_seconds",
                                         .help = "From the start of an attempt to the complete response head.",
                                         .labels = {"origin"}})),
      endpoint_healthy_(registry.declare(
          MetricKind::gauge, {.name = "postern_origin_endpoint_healthy",
                              .help = "1 if the endpoint takes requests, 0 if it is unhealthy or ejected. Endpoints "
                                      "are numbered as configured.",
                              .labels = {"origin", "endpoint"}})),
      retries_(registry.declare(
          MetricKind::counter,
          {.name = "postern_retries_total", .help = "Attempts after the first one.", .labels = {"origin"}})),
      reflections_(registry.declare(
          MetricKind::counter, {.name = "postern_reflections_total",
                                .help = "Response header fields removed because they carried the gateway's identity. "
                                        "Any is a leak in the origin.",
                                .labels = {"origin"}})),
      policy_refusals_(registry.declare(MetricKind::counter, {.name = "postern_policy_refusals_total",
                                                              .help = "Requests refused by a policy, by error code.",
                                                              .labels = {"policy"},
                                                              .row_label = "code",
                                                              .row_values = refusal_values(),
                                                              .when_zero = WhenZero::hide})),
      connections_(registry.declare(
          MetricKind::gauge,
          {.name = "postern_connections", .help = "Open client connections.", .labels = {"listener"}})),
      connections_total_(registry.declare(
          MetricKind::counter,
          {.name = "postern_connections_total", .help = "Client connections accepted.", .labels = {"listener"}})),
      handshakes_(registry.declare(MetricKind::counter,
                                   {.name = "postern_tls_handshakes_total",
                                    .help = "TLS handshakes of clients that ended well. Others count as PST-R020.",
                                    .labels = {"listener"},
                                    .row_label = "kind",
                                    .row_values = {"full", "resumed"},
                                    .when_zero = WhenZero::hide})),
      client_certificates_(registry.declare(
          MetricKind::counter,
          {.name = "postern_origin_client_certificate_total",
           .help =
               "Attempts over TLS, by what became of the gateway's certificate: not_requested means that the origin "
               "does not ask who comes.",
           .labels = {"origin"},
           .row_label = "state",
           .row_values = {"not_requested", "requested_not_presented", "presented"},
           .when_zero = WhenZero::hide})),
      certificate_days_left_(
          registry.declare(MetricKind::gauge, {.name = "postern_certificate_days_left",
                                               .help = "Whole days until a certificate expires; negative once it has.",
                                               .labels = {"where"}})),
      store_available_(registry.declare(
          MetricKind::gauge,
          {.name = "postern_store_available",
           .help = "1 if the keys of consumers are known, 0 while nobody who needs one is let in. Absent if no policy "
                   "asks for keys."})),
      issuer_current_(registry.declare(
          MetricKind::gauge,
          {.name = "postern_issuer_current",
           .help = "1 if the gateway's issuer signs with the keys of its directory, 0 while it cannot read them and is "
                   "not ready. Absent without an issuer."})),
      issuer_key_age_(registry.declare(
          MetricKind::gauge,
          {.name = "postern_issuer_key_age_seconds",
           .help = "How long the key that signs for an algorithm has done so. Longer than the rotation's period: no "
                   "successor could be made.",
           .labels = {"algorithm"}})),
      token_usable_(registry.declare(MetricKind::gauge,
                                     {.name = "postern_token_usable",
                                      .help = "1 if there is a token that may be sent, 0 while requests that need it "
                                              "are refused.",
                                      .labels = {"credential"}})),
      token_age_(registry.declare(MetricKind::gauge, {.name = "postern_token_age_seconds",
                                                      .help = "Since the token was received; -1 if none was yet.",
                                                      .labels = {"credential"}})),
      token_expires_(registry.declare(MetricKind::gauge,
                                      {.name = "postern_token_expires_seconds",
                                       .help = "Until the token expires, negative or 0 once it has; -1 with a usable "
                                               "one: it never does.",
                                       .labels = {"credential"}})),
      token_skew_(registry.declare(MetricKind::gauge,
                                   {.name = "postern_token_clock_skew_seconds",
                                    .help = "How far the clock of the server that issues the token is ahead of ours, "
                                            "from its Date.",
                                    .labels = {"credential"}})),
      token_refreshes_(registry.declare(
          MetricKind::counter,
          {.name = "postern_token_refreshes_total", .help = "Tokens obtained.", .labels = {"credential"}})),
      token_failures_(registry.declare(MetricKind::counter, {.name = "postern_token_refresh_failures_total",
                                                             .help = "Attempts to obtain a token that failed.",
                                                             .labels = {"credential"}})),
      own_(registry) {
  const FamilyId errors = registry.declare(
      MetricKind::counter, {.name = "postern_errors_total",
                            .help = "Requests that ended in an error, by its stable code and whose fault it was.",
                            .labels = {"side"},
                            .row_label = "code",
                            .row_values = code_values(),
                            .when_zero = WhenZero::hide});
  constexpr std::string_view kSides[] = {"client", "origin", "gateway"};  // in the order of Side
  for (std::size_t i = 0; i < 3; ++i) errors_[i] = own_.counter_row(errors, {&kSides[i], 1});

  declare_http2();

  const FamilyId strips = registry.declare(
      MetricKind::counter, {.name = "postern_header_strips_total",
                            .help = "Header fields of clients that were not passed on, by reason.",
                            .row_label = "reason",
                            .row_values = {"reserved", "nominated", "hop_by_hop", "override", "forwarding"}});
  strips_ = own_.counter_row(strips, {});
  const FamilyId reloads = registry.declare(MetricKind::counter, {.name = "postern_config_reloads_total",
                                                                  .help = "Reloads of the configuration, by outcome.",
                                                                  .row_label = "outcome",
                                                                  .row_values = {"applied", "unchanged", "rejected"}});
  reloads_ = own_.counter_row(reloads, {});
  const FamilyId dropped = registry.declare(
      MetricKind::counter, {.name = "postern_log_dropped_total",
                            .help = "Log lines lost because the log could not be written fast enough or at all.",
                            .row_label = "log",
                            .row_values = {"access", "operational"}});
  log_dropped_ = own_.counter_row(dropped, {});
  const FamilyId generation = registry.declare(
      MetricKind::gauge, {.name = "postern_config_generation", .help = "Generation of the configuration in force."});
  generation_ = own_.gauge(generation, {});
  const FamilyId insecure = registry.declare(
      MetricKind::gauge,
      {.name = "postern_insecure_options", .help = "Insecure exceptions in the configuration in force; should be 0."});
  insecure_options_ = own_.gauge(insecure, {});
}

void GatewayMetrics::declare_http2() {
  const auto declare = [this](std::string_view name, std::string_view help) {
    return registry_.declare(MetricKind::counter, {.name = name, .help = help, .labels = {"side"}});
  };
  const FamilyId connections = declare("postern_http2_connections_total", "HTTP/2 connections.");
  const FamilyId streams = declare("postern_http2_streams_total", "HTTP/2 streams opened.");
  const FamilyId refused =
      declare("postern_http2_streams_refused_total", "HTTP/2 streams that were refused because too many were open.");
  const FamilyId floods = declare("postern_http2_floods_total",
                                  "HTTP/2 connections that were ended because the peer flooded them with what costs it "
                                  "little.");
  const FamilyId resets = registry_.declare(MetricKind::counter, {.name = "postern_http2_resets_total",
                                                                  .help = "RST_STREAM frames.",
                                                                  .labels = {"side"},
                                                                  .row_label = "direction",
                                                                  .row_values = {"sent", "received"}});
  const FamilyId goaways = registry_.declare(
      MetricKind::counter,
      {.name = "postern_http2_goaways_total",
       .help = "GOAWAY frames, by error code; the announcement of a graceful end is not counted.",
       .labels = {"side", "direction"},
       .row_label = "code",
       .row_values = {"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
                      "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
                      "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED", "other"},
       .when_zero = WhenZero::hide});
  constexpr std::string_view kSides[] = {"client", "origin"};
  for (std::size_t i = 0; i < 2; ++i) {
    const std::string_view sent[] = {kSides[i], "sent"};
    const std::string_view received[] = {kSides[i], "received"};
    http2_[i] = {.connections = own_.counter(connections, {&kSides[i], 1}),
                 .streams = own_.counter(streams, {&kSides[i], 1}),
                 .refused = own_.counter(refused, {&kSides[i], 1}),
                 .floods = own_.counter(floods, {&kSides[i], 1}),
                 .resets = own_.counter_row(resets, {&kSides[i], 1}),
                 .goaways_sent = own_.counter_row(goaways, sent),
                 .goaways_received = own_.counter_row(goaways, received)};
  }
}

RouteMetrics GatewayMetrics::route(SeriesSet& set, std::string_view name) const {
  return {.requests = set.counter_row(requests_, {&name, 1}), .duration = set.histogram(request_duration_, {&name, 1})};
}

OriginMetrics GatewayMetrics::origin(SeriesSet& set, std::string_view name, std::size_t endpoints) const {
  OriginMetrics metrics{.requests = set.counter_row(origin_requests_, {&name, 1}),
                        .duration = set.histogram(origin_duration_, {&name, 1}),
                        .retries = set.counter(retries_, {&name, 1}),
                        .reflections = set.counter(reflections_, {&name, 1}),
                        .client_certificate = set.counter_row(client_certificates_, {&name, 1}),
                        .endpoint_healthy = {}};
  for (std::size_t i = 0; i < endpoints; ++i) {
    const std::string index = std::to_string(i);
    const std::string_view values[] = {name, index};
    metrics.endpoint_healthy.push_back(set.gauge(endpoint_healthy_, values));
  }
  return metrics;
}

PolicyMetrics GatewayMetrics::policy(SeriesSet& set, std::string_view name) const {
  return {set.counter_row(policy_refusals_, {&name, 1})};
}

ListenerMetrics GatewayMetrics::listener(SeriesSet& set, std::string_view name) const {
  return {.open = set.gauge(connections_, {&name, 1}),
          .accepted = set.counter(connections_total_, {&name, 1}),
          .handshakes = set.counter_row(handshakes_, {&name, 1})};
}

TokenMetrics GatewayMetrics::token(SeriesSet& set, std::string_view where) const {
  return {.usable = set.gauge(token_usable_, {&where, 1}),
          .age = set.gauge(token_age_, {&where, 1}),
          .expires = set.gauge(token_expires_, {&where, 1}),
          .skew = set.gauge(token_skew_, {&where, 1}),
          .refreshes = set.counter(token_refreshes_, {&where, 1}),
          .failures = set.counter(token_failures_, {&where, 1})};
}

void GatewayMetrics::reloaded(ReloadOutcome outcome) const noexcept {
  registry_.add(reloads_.at(static_cast<std::size_t>(outcome)));
}

void GatewayMetrics::set_generation(std::uint64_t generation) const noexcept {
  registry_.set(generation_, static_cast<std::int64_t>(generation));
}

void GatewayMetrics::set_insecure_options(std::size_t count) const noexcept {
  registry_.set(insecure_options_, static_cast<std::int64_t>(count));
}

void GatewayMetrics::set_log_dropped(std::uint64_t access, std::uint64_t operational) const noexcept {
  registry_.set(log_dropped_.at(0), access);
  registry_.set(log_dropped_.at(1), operational);
}

std::string GatewayMetrics::render() const {
  std::string out;
  registry_.render(out);
  out += "# HELP postern_build_info Constant 1, with the version.\n# TYPE postern_build_info gauge\n";
  out += "postern_build_info{version=\"" POSTERN_VERSION "\"} 1\n";
  append_process_metrics(out, started_);
  return out;
}

}  // namespace postern::observe
