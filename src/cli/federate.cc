// postern federate aws|gcp|azure|alb: what the cloud has to be told so that it trusts this gateway's issuer, with
// audience and subject pinned; --check says what can be known from here about whether it will.
#include <fmt/format.h>

#include <algorithm>

#include "base/json_writer.h"
#include "base/strings.h"
#include "cli/failure.h"
#include "cli/federation.h"
#include "cli/http_client.h"
#include "cli/run_to_end.h"
#include "cli/verbs.h"
#include "config/formats.h"
#include "gateway/dry_run.h"
#include "origins/resolver.h"
#include "platform/socket_network.h"

namespace postern::cli {
namespace {

constexpr Duration kResolveTime = std::chrono::seconds(5);

void write(const std::vector<Finding>& findings, JsonWriter& json) {
  json.key("findings");
  json.begin_array();
  for (const Finding& finding : findings) {
    json.begin_object();
    json.key("good");
    json.value_bool(finding.good);
    json.field("what", finding.what);
    if (!finding.fix.empty()) json.field("fix", finding.fix);
    json.end_object();
  }
  json.end_array();
}

std::string text_of(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& finding : findings) {
    out += fmt::format("{} {}\n", finding.good ? "ok  " : "FAIL", visible(finding.what));
    if (!finding.fix.empty()) out += fmt::format("     fix: {}\n", visible(finding.fix));
  }
  return out;
}

// A URL of the issuer, taken apart; nullopt if the configuration would not have it either.
struct Place {
  bool secure = false;
  std::string host;
  std::uint16_t port = 0;
  std::string path;
};
std::optional<Place> place_of(std::string_view url) {
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return std::nullopt;
  const std::string_view rest = url.substr(scheme_end + 3);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const auto parts = config::split_host_port(rest.substr(0, slash));
  const bool secure = url.substr(0, scheme_end) == "https";
  if (!parts || (!secure && url.substr(0, scheme_end) != "http")) return std::nullopt;
  const std::uint16_t usual = secure ? 443 : 80;
  return Place{secure, std::string(parts->host), config::parse_port(parts->port).value_or(usual),
               std::string(slash == rest.size() ? "/" : rest.substr(slash))};
}

// As a cloud does: by name, over TLS with the public authorities, without following a redirect.
Result<std::string> read(std::string_view url) {
  const std::optional<Place> place = place_of(url);
  if (!place) return fail(Code::origin_malformed, Side::origin, "no http or https URL");
  std::vector<IpAddress> addresses;
  if (const auto literal = IpAddress::parse(place->host)) {
    addresses.push_back(*literal);
  } else {
    const origins::KnownAddresses known = origins::resolve_now({place->host}, kResolveTime);
    if (const auto at = known.find(place->host); at != known.end()) addresses = at->second;
  }
  if (addresses.empty()) return fail(Code::origin_unresolved, Side::origin, place->host);
  SystemClock clock;
  Loop loop(clock);
  SocketNetwork network;
  ClientRequest request{
      .address = {addresses.front(), place->port, {}}, .path = place->path, .host = place->host, .headers = {}};
  if (place->secure) {
    Result<std::shared_ptr<const tls::TrustAnchors>> anchors = tls::TrustAnchors::system();
    if (!anchors) return std::unexpected(std::move(anchors.error()));
    const bool literal = IpAddress::parse(place->host).has_value();
    Result<std::shared_ptr<const tls::ClientContext>> context =
        tls::ClientContext::make({.anchors = std::move(*anchors),
                                  .names = {place->host},
                                  .pins = {},
                                  .server_name = literal ? "" : place->host,
                                  .certificate = nullptr});
    if (!context) return std::unexpected(std::move(context.error()));
    request.tls = std::move(*context);
  }
  std::optional<Result<ClientAnswer>> answer = run_to_end(loop, fetch(loop, network, std::move(request)));
  if (!answer) return fail(Code::internal, Side::gateway);
  if (!*answer) return std::unexpected(std::move(answer->error()));
  if ((*answer)->status != 200) {
    return fail(Code::origin_malformed, Side::origin, fmt::format("status {}", (*answer)->status));
  }
  return std::move((*answer)->body);
}

// The documents as they are reached under the issuer's own URL.
std::vector<Finding> fetch_published(Cloud cloud, const issuer::IssuerOptions& options) {
  const auto unreachable = [](std::string what, const Error& error) {
    return Finding{false, std::move(what) + " cannot be read: " + error.to_string(),
                   "a cloud reads it as any stranger does: by its name, over https, without redirect"};
  };
  const std::string url = options.url + "/.well-known/openid-configuration";
  const Result<std::string> discovery = read(url);
  if (!discovery) return {unreachable(url, discovery.error())};
  const std::string keys_url = jwks_uri_of(*discovery).value_or("");
  const Result<std::string> keys = read(keys_url);
  if (!keys) return {unreachable(keys_url.empty() ? "the key set" : keys_url, keys.error())};
  return check_published(cloud, options, *discovery, *keys);
}

}  // namespace

Exit federate(const FederateOptions& options, const Console& console) {
  config::Diagnostics diagnostics(options.config);
  const auto run = gateway::DryRun::build(options.config, diagnostics, gateway::DryRun::Purpose::inspect);
  if (!run) return report(diagnostics, "", options.format, console);
  const config::Config& config = *run->snapshot().config;
  if (!config.issuer) {
    return report({.what = "this gateway has no issuer that a cloud could trust",
                   .why = "federation means that the cloud verifies tokens which the gateway signs",
                   .code = {},
                   .fix = "add `issuer: {url: https://id.example.com}` at the top of the file"},
                  Exit::configuration, options.format, console);
  }
  const Cloud cloud = *cloud_by_name(options.cloud);
  const issuer::IssuerOptions& issuer = config.issuer->options;
  FederationFacts facts{.issuer = issuer.url,
                        .jwks_uri = issuer.url + "/.well-known/jwks.json",
                        .audience = options.audience,
                        .subject = options.subject,
                        .account = options.account,
                        .name = options.name};
  if (facts.audience.empty()) facts.audience = default_audience(cloud, options.account);
  if (facts.audience.empty()) {
    return report({.what = "an audience is needed: the name by which the load balancer's application knows itself",
                   .why = {},
                   .code = {},
                   .fix = "name it with --audience"},
                  Exit::usage, options.format, console);
  }
  std::string out;
  if (!options.check) {
    const std::string recipe = federation_recipe(cloud, facts);
    if (options.format == Format::text) return console.out(recipe) ? Exit::ok : Exit::runtime;
    JsonWriter json(out);
    json.begin_object();
    json.field("cloud", name_of(cloud));
    json.field("issuer", facts.issuer);
    json.field("audience", facts.audience);
    json.field("subject", facts.subject);
    json.field("recipe", recipe);
    json.end_object();
    return console.out(out + "\n") ? Exit::ok : Exit::runtime;
  }
  std::vector<Finding> findings = check_issuer(cloud, issuer, facts.audience, facts.subject);
  for (Finding& finding : fetch_published(cloud, issuer)) findings.push_back(std::move(finding));
  bool good = true;
  for (const Finding& finding : findings) good = good && finding.good;
  if (options.format == Format::json) {
    JsonWriter json(out);
    json.begin_object();
    json.field("cloud", name_of(cloud));
    json.field("issuer", facts.issuer);
    json.key("good");
    json.value_bool(good);
    write(findings, json);
    json.end_object();
    out += "\n";
  } else {
    out = text_of(findings);
  }
  if (!console.out(out)) return Exit::runtime;
  return good ? Exit::ok : Exit::proof_failed;
}

}  // namespace postern::cli
