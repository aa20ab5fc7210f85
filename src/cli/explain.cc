// postern explain: what would happen to one request, and where each step comes from.
#include <fmt/format.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/strings.h"
#include "cli/failure.h"
#include "cli/run_to_end.h"
#include "cli/verbs.h"
#include "gateway/dry_run.h"
#include "gateway/request_rules.h"
#include "http/h1/request_parser.h"
#include "prove/assurance.h"

namespace postern::cli {
namespace {

using gateway::OriginPlan;
using gateway::RoutePlan;

struct AskedRequest {
  std::string method;
  std::string host;
  std::string target;
};

// "GET https://host/path?query"; without a method it is GET.
Result<AskedRequest> parse_request(std::string_view text) {
  AskedRequest out;
  const std::size_t space = text.find(' ');
  out.method = space == std::string_view::npos ? "GET" : std::string(text.substr(0, space));
  const std::string_view url = space == std::string_view::npos ? text : trim_ows(text.substr(space + 1));
  const std::size_t scheme_end = url.find("://");
  const std::string_view scheme = url.substr(0, scheme_end);
  if (scheme_end == std::string_view::npos || (scheme != "http" && scheme != "https")) {
    return fail(Code::bad_request, Side::client,
                "write a method and a whole URL: \"GET https://api.example.com/orders/7\"");
  }
  const std::string_view rest = url.substr(scheme_end + 3);
  const std::size_t slash = rest.find_first_of("/?");
  out.host = rest.substr(0, slash);
  out.target = slash == std::string_view::npos ? "/" : std::string(rest.substr(slash));
  if (out.target[0] == '?') out.target.insert(0, 1, '/');
  return out;
}

std::string_view level_text(config::Level level) {
  switch (level) {
    case config::Level::gateway: return "gateway";
    case config::Level::origin: return "origin";
    case config::Level::route: return "route";
  }
  return "";
}

std::string_view host_mode_text(config::HostMode mode) {
  switch (mode) {
    case config::HostMode::origin: return "origin";
    case config::HostMode::preserve: return "preserve";
    case config::HostMode::name: return "name";
  }
  return "";
}

// Whom the gateway believes to be the origin.
std::string trust_text(const config::OriginConfig& origin) {
  const config::TrustConfig& trust = origin.trust;
  if (origin.insecure) return "UNVERIFIED: " + origin.insecure->reason;
  const std::string ca = trust.ca == config::TrustConfig::Ca::system    ? "the system's authorities"
                         : trust.ca == config::TrustConfig::Ca::managed ? "the managed server CA"
                                                                        : trust.ca_path;
  const std::string names =
      trust.names.empty() ? "the host of its URL" : fmt::format("{}", fmt::join(trust.names, " or "));
  return fmt::format("signed by {}, for {}{}", ca, names, trust.pins.empty() ? "" : ", with a pinned key");
}

// Everything that `explain` says, found once and written twice.
class Explanation {
 public:
  Explanation(const std::string& file, const gateway::Snapshot& snapshot) : file_(file), snapshot_(snapshot) {}

  // The way of a real request: through the parser, the canonical target and the router.
  Result<void> find(const AskedRequest& asked) {
    const std::string_view head =
        exchange_.arena.join(asked.method, " ", asked.target, " HTTP/1.1\r\nHost: ", asked.host, "\r\n\r\n");
    http::h1::RequestParser parser;
    const Result<http::h1::Parse> parsed = parser.parse(head, {}, exchange_.request);
    if (!parsed)
      return std::unexpected(Error(parsed.error().code(), Side::client, std::string(parsed.error().detail())));
    if (*parsed != http::h1::Parse::done || parser.head_size() != head.size())
      return fail(Code::bad_request, Side::client);
    Result<void> accepted = gateway::check_method(exchange_.request);
    if (!accepted) return accepted;
    accepted =
        http::canonicalize(exchange_.request.method_text, exchange_.request.target,
                           exchange_.request.headers.value(http::HeaderName::host), exchange_.arena, exchange_.target);
    if (!accepted) return accepted;
    Result<const RoutePlan*> found = gateway::find_route(snapshot_, exchange_);
    if (!found) return std::unexpected(std::move(found.error()));
    route_ = *found;
    if (route_->origin >= 0) origin_ = &snapshot_.origins[static_cast<std::size_t>(route_->origin)];
    asked_target_ = exchange_.target.path_and_query(exchange_.arena);
    asked_path_ = exchange_.target.path;
    return rewrite();
  }

  [[nodiscard]] std::string text() const {
    std::string out;
    const auto line = [&](std::string_view label, std::string_view content) {
      out += fmt::format("{:<11}{}\n", label, content);
    };
    line("request", fmt::format("{} {}{}", exchange_.request.method_text, authority(), asked_target_));
    line("route", fmt::format("{}  ({})", route_->config->name, place(route_->config->position)));
    line("access", access());
    std::string_view label = "policies";
    if (route_->steps.empty()) line(label, "none");
    for (const gateway::PolicyStep& step : route_->steps) {
      line(label, fmt::format("{}  (from the {}, {})", step.use->name, level_text(step.use->level),
                              place(step.use->position)));
      label = "";
    }
    label = "dropped";
    for (const auto& [without, owner] : dropped()) {
      line(label, fmt::format("{}  (by the {}: {})", fmt::join(without->names, ", "), owner, without->reason));
      label = "";
    }
    if (!origin_) {
      line("origin", "none: the route answers by itself");
      return out;
    }
    const config::OriginConfig& config = origin_->origin->config;
    line("origin", fmt::format("{}  ({})", config.name, place(config.position)));
    label = "endpoints";
    for (const config::EndpointConfig& endpoint : config.endpoints) {
      line(label, endpoint.url);
      label = "";
    }
    const std::string sent = sent_target();
    line("target", sent == asked_target_ ? sent : sent + "  (rewritten)");
    line("host", fmt::format("{}  (host: {})", host_sent(config.endpoints.front()), host_mode_text(config.host_mode)));
    line("removed", fmt::format("every spelling of: {}", fmt::join(removed(), ", ")));
    line("", "connection-specific fields, Forwarded, X-Forwarded-*, X-Real-IP, " + overrides_text());
    if (config.tls) line("trust", trust_text(config));
    label = "identity";
    if (config.identity.empty()) line(label, "none");
    for (const auto& method : origin_->origin->identity) {
      line(label, method->headers().empty()
                      ? fmt::format("{} in the TLS handshake", method->name())
                      : fmt::format("{} in {}", method->name(), fmt::join(method->headers(), ", ")));
      label = "";
    }
    line("added", fmt::format("{}", fmt::join(added(), ", ")));
    const prove::Assurance assurance = prove::assess(config);
    line("assurance", fmt::format("{} of 5: {}", assurance.level, assurance.reason));
    return out;
  }

  [[nodiscard]] std::string json() const {
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    json.field("method", exchange_.request.method_text);
    json.field("host", exchange_.target.host);
    json.field("path", asked_path_);
    json.field("route", route_->config->name);
    json.field("route_at", place(route_->config->position));
    json.key("public");
    json.value_bool(route_->config->access == config::Access::open_to_public);
    json.key("policies");
    json.begin_array();
    for (const gateway::PolicyStep& step : route_->steps) {
      json.begin_object();
      json.field("name", step.use->name);
      json.field("from", level_text(step.use->level));
      json.field("at", place(step.use->position));
      json.end_object();
    }
    json.end_array();
    json.key("dropped");
    json.begin_array();
    for (const auto& [without, owner] : dropped()) {
      for (const std::string& name : without->names) {
        json.begin_object();
        json.field("name", name);
        json.field("by", owner);
        json.field("reason", without->reason);
        json.end_object();
      }
    }
    json.end_array();
    if (origin_) write_origin(json);
    json.end_object();
    out += "\n";
    return out;
  }

 private:
  void write_origin(JsonWriter& json) const {
    const config::OriginConfig& config = origin_->origin->config;
    const auto list = [&](std::string_view key, const auto& items) {
      json.key(key);
      json.begin_array();
      for (const auto& item : items) json.value(std::string_view(item));
      json.end_array();
    };
    json.key("origin");
    json.begin_object();
    json.field("name", config.name);
    json.field("at", place(config.position));
    std::vector<std::string_view> urls;
    for (const config::EndpointConfig& endpoint : config.endpoints) urls.push_back(endpoint.url);
    list("endpoints", urls);
    json.field("target", sent_target());
    json.field("host", host_sent(config.endpoints.front()));
    if (config.tls) json.field("trust", trust_text(config));
    json.key("identity");
    json.begin_array();
    for (const auto& method : origin_->origin->identity) {
      json.begin_object();
      json.field("method", method->name());
      list("headers", method->headers());
      json.end_object();
    }
    json.end_array();
    list("headers_added", added());
    list("headers_removed", removed());
    const prove::Assurance assurance = prove::assess(config);
    json.key("assurance");
    json.begin_object();
    json.field("level", assurance.level);
    json.field("reason", assurance.reason);
    json.end_object();
    json.end_object();
  }

  [[nodiscard]] std::string place(config::Position position) const {
    return fmt::format("{}:{}", file_, position.line);
  }
  [[nodiscard]] std::string authority() const {
    Arena arena;
    return std::string(exchange_.target.authority(arena));
  }
  [[nodiscard]] std::string sent_target() const {
    Arena arena;
    return std::string(exchange_.target.path_and_query(arena));
  }
  [[nodiscard]] std::string_view access() const {
    return route_->config->access == config::Access::open_to_public ? "public: nobody has to say who they are"
                                                                    : "authenticated";
  }
  [[nodiscard]] std::string overrides_text() const {
    const std::vector<std::string>& allowed = origin_->origin->config.allow_headers;
    std::string out = "X-HTTP-Method-Override and kin";
    if (!allowed.empty()) out += fmt::format(" (but not {})", fmt::join(allowed, ", "));
    return out;
  }
  [[nodiscard]] std::string host_sent(const config::EndpointConfig& endpoint) const {
    const config::OriginConfig& config = origin_->origin->config;
    switch (config.host_mode) {
      case config::HostMode::origin: return endpoint.authority;
      case config::HostMode::preserve: return authority();
      case config::HostMode::name: return config.host_name;
    }
    return {};
  }
  // The policies that change what is asked for; none of the others has to run to be explained.
  Result<void> rewrite() {
    SystemClock clock;
    Loop loop(clock);
    for (const gateway::PolicyStep& step : route_->steps) {
      if (step.use->name != "rewrite") continue;
      std::optional<Result<policies::Flow>> flow = run_to_end(loop, step.policy->on_request(exchange_));
      if (!flow) return fail(Code::internal, Side::gateway);
      if (!*flow) return std::unexpected(std::move(flow->error()));
    }
    return {};
  }
  // Client's copies of what the gateway vouches for, and what a policy takes off.
  [[nodiscard]] std::vector<std::string_view> removed() const {
    std::vector<std::string_view> names;
    for (const auto& name : snapshot_.reserved.names()) names.emplace_back(name);
    for (const gateway::PolicyStep& step : route_->steps) {
      for (const std::string_view name : removed_by(step)) names.push_back(name);
    }
    return names;
  }
  // written_headers() of a policy has them, too: nobody may remove a reserved field either.
  static std::vector<std::string_view> removed_by(const gateway::PolicyStep& step) {
    std::vector<std::string_view> names;
    const config::Node* const list = step.use->name == "request_headers" ? step.use->options->find("remove") : nullptr;
    if (!list) return names;
    for (const config::Node& item : list->items()) names.push_back(item.text());
    return names;
  }
  // What goes out beside the client's own fields, the values aside.
  [[nodiscard]] std::vector<std::string_view> added() const {
    std::vector<std::string_view> names;
    for (const auto& method : origin_->origin->identity) {
      for (const std::string_view header : method->headers()) names.push_back(header);
    }
    for (const gateway::PolicyStep& step : route_->steps) {
      for (const std::string_view header : step.policy->reserved_headers()) names.push_back(header);
      const std::vector<std::string_view> taken_off = removed_by(step);
      for (const std::string_view header : step.policy->written_headers()) {
        if (std::ranges::find(taken_off, header) == taken_off.end()) names.push_back(header);
      }
    }
    for (const std::string_view header :
         {"Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Request-Id"}) {
      names.push_back(header);
    }
    return names;
  }
  [[nodiscard]] std::vector<std::pair<const config::Without*, std::string_view>> dropped() const {
    std::vector<std::pair<const config::Without*, std::string_view>> out;
    if (origin_ && !origin_->origin->config.without.names.empty()) {
      out.emplace_back(&origin_->origin->config.without, "origin");
    }
    if (!route_->config->without.names.empty()) out.emplace_back(&route_->config->without, "route");
    return out;
  }

  const std::string& file_;
  const gateway::Snapshot& snapshot_;
  http::Exchange exchange_;
  std::string_view asked_target_;  // before any policy rewrote it
  std::string_view asked_path_;
  const RoutePlan* route_ = nullptr;
  const OriginPlan* origin_ = nullptr;
};

}  // namespace

Exit explain(const ExplainOptions& options, const Console& console) {
  const Result<AskedRequest> asked = parse_request(options.request);
  if (!asked) {
    return report({std::string(asked.error().detail()), {}, {}, {}}, Exit::usage, options.format, console);
  }
  config::Diagnostics diagnostics(options.config);
  const std::unique_ptr<gateway::DryRun> plan =
      gateway::DryRun::build(options.config, diagnostics, gateway::DryRun::Purpose::inspect);
  if (!plan) return report(diagnostics, "", options.format, console);
  static_cast<void>(console.error(diagnostics.to_text()));
  Explanation explanation(options.config, plan->snapshot());
  const Result<void> found = explanation.find(*asked);
  if (found) {
    const std::string text = options.format == Format::json ? explanation.json() : explanation.text();
    return console.out(text) ? Exit::ok : Exit::runtime;
  }
  // The gateway would refuse it: that is an answer, too.
  const CodeInfo& code = info(found.error().code());
  std::string text;
  if (options.format == Format::json) {
    JsonWriter json(text);
    json.begin_object();
    json.key("refused");
    json.begin_object();
    json.field("status", code.status);
    json.field("code", code.id);
    json.field("title", code.title);
    json.field("detail", found.error().detail());
    json.end_object();
    json.end_object();
    text += "\n";
  } else {
    text = fmt::format("refused    {} {}\n", code.status, found.error().to_string());
  }
  return console.out(text) ? Exit::ok : Exit::runtime;
}

}  // namespace postern::cli
