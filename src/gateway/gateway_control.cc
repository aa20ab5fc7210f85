// The control listeners' answers: metrics, health, readiness, status, reload.
#include <algorithm>
#include <set>

#include "base/json_writer.h"
#include "gateway/gateway.h"
#include "gateway/tls_plans.h"

namespace postern::gateway {
namespace {

ControlAnswer text(int status, std::string body) { return {status, "text/plain; charset=utf-8", std::move(body)}; }
ControlAnswer not_found() { return text(404, "not found\n"); }
ControlAnswer wrong_method() { return text(405, "method not allowed\n"); }

}  // namespace

bool Gateway::ready() const {
  return !draining_ && (!key_store_ || key_store_->status().available) && (!issuer_ || issuer_->current());
}

ControlAnswer Gateway::observe_request(const ControlRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") return wrong_method();
  if (request.path == "/healthz") return text(200, "ok\n");
  if (request.path == "/readyz") {
    if (ready()) return text(200, "ready\n");
    if (draining_) return text(503, "draining\n");
    return text(503, issuer_ && !issuer_->current() ? "the keys of the issuer are others than those in its directory\n"
                                                    : "the key store is unavailable\n");
  }
  if (request.path == "/metrics") {
    update_gauges();
    metrics_->set_log_dropped(access_log_ ? access_log_->dropped() : 0, options_.log.dropped());
    return {200, "text/plain; version=0.0.4; charset=utf-8", metrics_->render()};
  }
  if (request.path == "/status") {
    if (request.json) return {200, "application/json", render_json(status(), observe::Audience::observe)};
    return text(200, render_text(status(), observe::Audience::observe));
  }
  return not_found();
}

ControlAnswer Gateway::admin_request(const ControlRequest& request) {
  if (request.path == "/reload") return request.method == "POST" ? reload_request(request) : wrong_method();
  if (request.path == "/keys/refresh") return request.method == "POST" ? refresh_keys() : wrong_method();
  if (request.path != "/status") return not_found();
  if (request.method != "GET") return wrong_method();
  if (request.json) return {200, "application/json", render_json(status(), observe::Audience::admin)};
  return text(200, render_text(status(), observe::Audience::admin));
}

ControlAnswer Gateway::reload_request(const ControlRequest& request) {
  const LoadReport report = reload();
  const std::string_view outcome = report.outcome == LoadReport::Outcome::applied     ? "applied"
                                   : report.outcome == LoadReport::Outcome::unchanged ? "unchanged"
                                   : report.outcome == LoadReport::Outcome::rejected  ? "rejected"
                                                                                      : "failed";
  const int status = report.outcome == LoadReport::Outcome::rejected ? 422
                     : report.outcome == LoadReport::Outcome::failed ? 500
                                                                     : 200;
  if (!request.json) {
    std::string body = std::string(outcome) + ", generation " + std::to_string(generation_) + "\n";
    for (const std::string& line : report.changes) body += line + "\n";
    for (const std::string& line : report.notes) body += "note: " + line + "\n";
    return text(status, body + report.problems);
  }
  std::string body;
  JsonWriter json(body);
  json.begin_object();
  json.field("outcome", outcome);
  json.field("generation", generation_);
  json.key("changes");
  json.begin_array();
  for (const std::string& line : report.changes) json.value(line);
  json.end_array();
  json.key("notes");
  json.begin_array();
  for (const std::string& line : report.notes) json.value(line);
  json.end_array();
  json.field("problems", report.problems);
  json.end_object();
  return {status, "application/json", body + "\n"};
}

// A key that was made or revoked counts when `postern keys` returns, not only at the store's next look.
ControlAnswer Gateway::refresh_keys() {
  if (!key_store_) return text(200, "no policy uses keys\n");
  const Result<void> looked = key_store_->refresh();
  return looked ? text(200, "ok\n") : text(503, std::string(looked.error().detail()) + "\n");
}

observe::Status Gateway::status() const {
  observe::Status out;
  out.version = POSTERN_VERSION;
  out.now = options_.clock.wall();
  out.started = started_;
  out.generation = generation_;
  out.draining = draining_;
  const MonoTime now = loop_.now();
  const std::vector<tokens::TokenStatus> tokens_in_use = token_manager_->status();
  for (const auto& worker : workers_) {
    out.loops.push_back({worker->generation(), worker->connections(), worker->old_exchanges()});
  }
  for (const ListenerPlan& listener : snapshot_->listeners) {
    out.listeners.push_back(
        {listener.config->address.text, listener.tls.empty() ? "http" : "https", listener.open_connections->load()});
  }
  if (observe_server_) out.listeners.push_back({observe_server_->address().to_string(), "observe", 0});
  if (admin_server_) out.listeners.push_back({admin_server_->address().to_string(), "admin", 0});
  for (const OriginPlan& plan : snapshot_->origins) {
    observe::OriginStatus origin{plan.origin->config.name, {}, plan.origin->generation};
    for (const auto& endpoint : *plan.origin->state->endpoints()) {
      observe::EndpointStatus& shown = origin.endpoints.emplace_back();
      shown.address = endpoint->address.to_string();
      shown.active = endpoint->in_flight.load();
      shown.ejections = endpoint->ejections.load();
      shown.state = !endpoint->healthy.load() ? observe::EndpointState::unhealthy
                    : endpoint->ejected(now)  ? observe::EndpointState::ejected
                                              : observe::EndpointState::healthy;
      if (endpoint->ejected(now)) {
        shown.until = out.now + (MonoTime(Duration(endpoint->ejected_until.load())) - now);
      }
    }
    out.origins.push_back(std::move(origin));
    const config::OriginConfig& config = plan.origin->config;
    if (config.insecure) {
      out.insecure.push_back({"origins." + config.name, config.insecure->reason, config.insecure->until});
    }
    for (const config::IdentityUse& use : config.identity) {
      observe::CredentialStatus credential;
      credential.origin = config.name;
      credential.method = use.method;
      if (const auto* const secret = std::get_if<config::SharedSecretConfig>(&use.config); secret && secret->next) {
        credential.switch_at = secret->next->switch_at;
      }
      if (std::holds_alternative<config::MtlsConfig>(use.config)) credential.expires = plan.origin->certificate_ends;
      if (const auto* const method = std::get_if<config::MethodConfig>(&use.config)) {
        const auto token = std::ranges::find(tokens_in_use, method->where, &tokens::TokenStatus::name);
        if (token != tokens_in_use.end()) {
          credential.fetched = true;
          credential.usable = token->usable;
          credential.age = token->age;
          credential.failures = token->failures;
          credential.problem = token->problem;
          if (token->expires && token->usable) credential.expires = out.now + *token->expires;
        }
      }
      out.credentials.push_back(std::move(credential));
    }
  }
  for (const CertificateInUse& used : certificates_in_use(*snapshot_, managed_.get())) {
    const tls::Certificate& certificate = *used.certificate;
    out.certificates.push_back({used.where, certificate.subject(), certificate.fingerprint(), certificate.not_after()});
  }
  if (issuer_) out.issuer = issuer_->status(out.now);
  out.reload = last_reload_;
  out.waiting_for_restart = waiting_for_restart(*snapshot_->config);
  if (key_store_) {
    const store::KeyStore::Status keys = key_store_->status();
    out.store.state = keys.available ? observe::StoreState::ready : observe::StoreState::failing;
    out.store.keys = keys.keys;
    out.store.problem = keys.problem;
    out.store.fresh_at = out.now - (options_.clock.now() - keys.confirmed);
    std::set<std::string_view> consumers;
    const std::shared_ptr<const store::KeyIndex> index = key_store_->shared_index();
    if (index) {
      for (const store::KeyRecord& record : index->records()) consumers.insert(record.consumer.id);
    }
    out.store.consumers = consumers.size();
  }
  out.access_log_dropped = access_log_ ? access_log_->dropped() : 0;
  out.log_dropped = options_.log.dropped();
  return out;
}

}  // namespace postern::gateway
