#include "observe/status.h"

#include <algorithm>

#include "observe/json_text.h"

namespace postern::observe {
namespace {

std::string_view text_of(EndpointState state) noexcept {
  switch (state) {
    case EndpointState::healthy: return "healthy";
    case EndpointState::unhealthy: return "unhealthy";
    case EndpointState::ejected: return "ejected";
    case EndpointState::untested: return "untested";
  }
  return "untested";
}

std::string_view text_of(ReloadState state) noexcept {
  switch (state) {
    case ReloadState::never: return "never";
    case ReloadState::applied: return "applied";
    case ReloadState::unchanged: return "unchanged";
    case ReloadState::rejected: return "rejected";
  }
  return "never";
}

std::string_view text_of(StoreState state) noexcept {
  switch (state) {
    case StoreState::none: return "none";
    case StoreState::ready: return "ready";
    case StoreState::failing: return "failing";
  }
  return "failing";
}

void time_if(JsonBuilder& json, std::string_view key, const std::optional<WallTime>& time) {
  if (time) json.time(key, *time);
}

void text_if(JsonBuilder& json, std::string_view key, std::string_view value) {
  if (!value.empty()) json.text(key, value);
}

void origins_json(JsonBuilder& json, const Status& status, Audience audience) {
  json.begin_array("origins");
  for (const OriginStatus& origin : status.origins) {
    json.begin_object().text("name", origin.name).number("generation", origin.generation).begin_array("endpoints");
    for (const EndpointStatus& endpoint : origin.endpoints) {
      json.begin_object();
      if (audience == Audience::admin) json.text("address", endpoint.address);
      json.text("state", text_of(endpoint.state));
      time_if(json, "until", endpoint.until);
      json.number("ejections", endpoint.ejections).number("active", endpoint.active);
      json.end_object();
    }
    json.end_array().end_object();
  }
  json.end_array();
}

void gateway_json(JsonBuilder& json, const Status& status, Audience audience) {
  json.begin_array("loops");
  for (const LoopStatus& loop : status.loops) {
    json.begin_object().number("generation", loop.generation).number("connections", loop.connections);
    json.number("draining", loop.draining);
    json.end_object();
  }
  json.end_array().begin_array("listeners");
  for (const ListenerStatus& listener : status.listeners) {
    json.begin_object();
    if (audience == Audience::admin) json.text("address", listener.address);
    json.text("kind", listener.kind).number("connections", listener.connections).end_object();
  }
  json.end_array().begin_object("reload").text("state", text_of(status.reload.state));
  time_if(json, "at", status.reload.at);
  if (audience == Audience::admin) text_if(json, "message", status.reload.message);
  json.end_object().begin_array("waiting_for_restart");
  for (const std::string& name : status.waiting_for_restart) {
    json.begin_object().text("option", name).end_object();
  }
  json.end_array().begin_object("store").text("state", text_of(status.store.state));
  json.number("consumers", status.store.consumers).number("keys", status.store.keys);
  time_if(json, "fresh_at", status.store.fresh_at);
  if (audience == Audience::admin) text_if(json, "problem", status.store.problem);
  json.end_object();
}

void trust_json(JsonBuilder& json, const Status& status, Audience audience) {
  json.begin_array("insecure");
  for (const InsecureStatus& insecure : status.insecure) {
    json.begin_object().text("where", insecure.where);
    if (audience == Audience::admin) json.text("reason", insecure.reason);
    json.time("until", insecure.until).text("state", insecure.until > status.now ? "in_force" : "expired").end_object();
  }
  json.end_array().begin_array("credentials");
  for (const CredentialStatus& credential : status.credentials) {
    json.begin_object().text("origin", credential.origin).text("method", credential.method);
    time_if(json, "switch_at", credential.switch_at);
    time_if(json, "expires", credential.expires);
    if (credential.fetched) {
      json.text("state", credential.usable ? "usable" : "unavailable").number("failures", credential.failures);
      if (credential.age) {
        const auto age = std::chrono::floor<std::chrono::seconds>(*credential.age).count();
        json.number("age_seconds", static_cast<std::uint64_t>(std::max<std::int64_t>(age, 0)));
      }
      if (audience == Audience::admin && !credential.problem.empty()) json.text("problem", credential.problem);
    }
    json.end_object();
  }
  json.end_array().begin_array("certificates");
  for (const CertificateStatus& certificate : status.certificates) {
    json.begin_object().text("where", certificate.where);
    if (audience == Audience::admin) json.text("subject", certificate.subject);
    json.text("fingerprint", certificate.fingerprint).time("not_after", certificate.not_after);
    json.text("state", certificate.not_after > status.now ? "in_force" : "expired").end_object();
  }
  json.end_array();
}

void issuer_json(JsonBuilder& json, const Status& status, Audience audience) {
  if (!status.issuer) return;
  const IssuerStatus& issuer = *status.issuer;
  json.begin_object("issuer");
  if (audience == Audience::admin) json.text("url", issuer.url);
  json.text("state", issuer.current ? "current" : "other_keys_in_directory");
  if (audience == Audience::admin) text_if(json, "problem", issuer.problem);
  json.begin_array("keys");
  for (const IssuerKeyStatus& key : issuer.keys) {
    json.begin_object().text("kid", key.kid).text("algorithm", key.algorithm).text("role", key.role);
    json.time("signs_from", key.signs_from).end_object();
  }
  json.end_array().end_object();
}

// ---- text -----------------------------------------------------------------------------------------------------------

// Names come from a configuration file or an operating system; neither may drive the reader's terminal.
std::string shown(std::string_view text) {
  std::string out(text);
  for (std::size_t i = 0; i < out.size();) {
    const auto c = static_cast<unsigned char>(out[i]);
    const std::size_t length = utf8_length(std::string_view(out).substr(i));
    const bool control =
        c < 0x20 || c == 0x7F || length == 0 || (c == 0xC2 && static_cast<unsigned char>(out[i + 1]) < 0xA0);
    const std::size_t used = std::max<std::size_t>(length, 1);
    if (control) std::fill_n(out.begin() + static_cast<std::ptrdiff_t>(i), used, '?');
    i += used;
  }
  return out;
}

// "3d 4h", "4h 5m", "5m 6s", "6s"
std::string span_text(Duration span) {
  const std::int64_t seconds = std::max<std::int64_t>(std::chrono::floor<std::chrono::seconds>(span).count(), 0);
  const std::int64_t units[] = {seconds / 86'400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60};
  constexpr char kUnits[] = {'d', 'h', 'm', 's'};
  std::size_t first = 0;
  while (first < 3 && units[first] == 0) ++first;
  std::string out = std::to_string(units[first]) + kUnits[first];
  if (first < 3) out += " " + std::to_string(units[first + 1]) + kUnits[first + 1];
  return out;
}

std::string when_text(WallTime time, WallTime now) {
  if (time > now) return timestamp_text(time) + " (in " + span_text(time - now) + ")";
  return timestamp_text(time) + " (" + span_text(now - time) + " ago)";
}

void gateway_text(std::string& out, const Status& status, Audience audience) {
  out += "postern " + shown(status.version) + ", up " + span_text(status.now - status.started) + ", generation " +
         std::to_string(status.generation) + (status.draining ? ", draining\n" : "\n");
  out += "reload: " + std::string(text_of(status.reload.state));
  if (status.reload.at) out += " " + when_text(*status.reload.at, status.now);
  if (audience == Audience::admin && !status.reload.message.empty()) out += ": " + shown(status.reload.message);
  out += '\n';
  if (!status.waiting_for_restart.empty()) {
    out += "takes effect at the next start:";
    for (const std::string& name : status.waiting_for_restart) out += " " + shown(name);
    out += '\n';
  }
  for (std::size_t i = 0; i < status.loops.size(); ++i) {
    const LoopStatus& loop = status.loops[i];
    out += "loop " + std::to_string(i) + ": generation " + std::to_string(loop.generation) + ", " +
           std::to_string(loop.connections) + " connections";
    if (loop.draining != 0) out += ", " + std::to_string(loop.draining) + " requests of an older generation";
    out += '\n';
  }
  for (std::size_t i = 0; i < status.listeners.size(); ++i) {
    const ListenerStatus& listener = status.listeners[i];
    out += "listener " + std::to_string(i) + ": " + shown(listener.kind);
    if (audience == Audience::admin) out += " " + shown(listener.address);
    out += ", " + std::to_string(listener.connections) + " connections\n";
  }
  if (status.access_log_dropped + status.log_dropped != 0) {
    out += "log lines lost: " + std::to_string(status.access_log_dropped) + " access, " +
           std::to_string(status.log_dropped) + " operational\n";
  }
}

void origins_text(std::string& out, const Status& status, Audience audience) {
  for (const OriginStatus& origin : status.origins) {
    out += "origin " + shown(origin.name) + ": generation " + std::to_string(origin.generation) + '\n';
    for (std::size_t i = 0; i < origin.endpoints.size(); ++i) {
      const EndpointStatus& endpoint = origin.endpoints[i];
      out += "  endpoint " + std::to_string(i);
      if (audience == Audience::admin) out += " " + shown(endpoint.address);
      out += ": " + std::string(text_of(endpoint.state));
      if (endpoint.until) out += " until " + when_text(*endpoint.until, status.now);
      out += ", " + std::to_string(endpoint.active) + " active, " + std::to_string(endpoint.ejections) + " ejections";
      out += '\n';
    }
  }
}

void trust_text(std::string& out, const Status& status, Audience audience) {
  out += "store: " + std::string(text_of(status.store.state));
  if (status.store.state != StoreState::none) {
    out += ", " + std::to_string(status.store.consumers) + " consumers, " + std::to_string(status.store.keys) + " keys";
    if (status.store.fresh_at) out += ", read " + when_text(*status.store.fresh_at, status.now);
  }
  if (audience == Audience::admin && !status.store.problem.empty()) out += ": " + shown(status.store.problem);
  out += '\n';
  for (const CredentialStatus& credential : status.credentials) {
    out += "credential " + shown(credential.origin) + " " + shown(credential.method) + ":";
    if (credential.switch_at) out += " next value " + when_text(*credential.switch_at, status.now);
    if (credential.expires) out += " expires " + when_text(*credential.expires, status.now);
    if (credential.fetched && !credential.usable) out += " UNAVAILABLE";
    if (!credential.switch_at && !credential.expires && credential.usable) out += " no end";
    if (credential.fetched && credential.age) {
      const auto age = std::chrono::floor<std::chrono::seconds>(*credential.age).count();
      out += ", " + std::to_string(age) + " s old";
    }
    if (credential.failures != 0) out += ", " + std::to_string(credential.failures) + " refreshes failed";
    if (audience == Audience::admin && !credential.problem.empty()) out += ": " + shown(credential.problem);
    out += '\n';
  }
  for (const CertificateStatus& certificate : status.certificates) {
    out += "certificate " + shown(certificate.where);
    if (audience == Audience::admin) out += " " + shown(certificate.subject);
    out += certificate.not_after > status.now ? ": until " : ": EXPIRED ";
    out += when_text(certificate.not_after, status.now) + '\n';
  }
  for (const InsecureStatus& insecure : status.insecure) {
    out += "INSECURE " + shown(insecure.where) + (insecure.until > status.now ? " until " : " EXPIRED ") +
           when_text(insecure.until, status.now);
    if (audience == Audience::admin) out += ": " + shown(insecure.reason);
    out += '\n';
  }
}

void issuer_text(std::string& out, const Status& status, Audience audience) {
  if (!status.issuer) return;
  const IssuerStatus& issuer = *status.issuer;
  out += "issuer";
  if (audience == Audience::admin) out += " " + shown(issuer.url);
  out += issuer.current ? ": current" : ": NOT THE KEYS OF THE DIRECTORY";
  if (audience == Audience::admin && !issuer.problem.empty()) out += ": " + shown(issuer.problem);
  out += '\n';
  for (const IssuerKeyStatus& key : issuer.keys) {
    out += "  key " + shown(key.algorithm) + " " + shown(key.kid) + " " + shown(key.role) + ", signs from " +
           when_text(key.signs_from, status.now) + '\n';
  }
}

}  // namespace

std::string render_json(const Status& status, Audience audience) {
  std::string out;
  JsonBuilder json(out);
  json.begin_object().text("version", status.version).time("now", status.now).time("started", status.started);
  json.number("generation", status.generation).text("state", status.draining ? "draining" : "running");
  gateway_json(json, status, audience);
  origins_json(json, status, audience);
  trust_json(json, status, audience);
  issuer_json(json, status, audience);
  json.begin_object("log_dropped").number("access", status.access_log_dropped);
  json.number("operational", status.log_dropped).end_object().end_object();
  out += '\n';
  return out;
}

std::string render_text(const Status& status, Audience audience) {
  std::string out;
  gateway_text(out, status, audience);
  origins_text(out, status, audience);
  trust_text(out, status, audience);
  issuer_text(out, status, audience);
  return out;
}

}  // namespace postern::observe
