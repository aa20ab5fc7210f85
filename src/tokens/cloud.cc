#include "tokens/cloud.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/ip.h"
#include "base/json_writer.h"
#include "base/strings.h"
#include "config/formats.h"
#include "http/http_date.h"
#include "jose/json.h"
#include "jose/jwt.h"
#include "signature/digest.h"
#include "signature/percent.h"

namespace postern::tokens::cloud {
namespace {

constexpr std::size_t kMaxUrl = 2048;
// From here on a clock is the first thing to look at: the clouds take about five minutes.
constexpr Duration kNoticedSkew = std::chrono::minutes(4);
constexpr Duration kMaxRetryAfter = std::chrono::hours(1);
constexpr jose::JsonLimits kAnswerLimits{.bytes = 256 * 1024, .depth = 16, .values = 4096};

bool is_visible(std::string_view text) noexcept {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

// Seconds, or a date (RFC 9110 10.2.3). What is not one of them was not said.
std::optional<Duration> retry_after_of(const FetchResponse& response, const Clock& clock) noexcept {
  const std::string_view text = trim_ows(response.field("retry-after"));
  if (const auto seconds = parse_decimal(text)) {
    return std::chrono::seconds(std::min<std::uint64_t>(*seconds, 3600));
  }
  if (const auto date = http::parse_http_date(text)) {
    return std::clamp<Duration>(*date - answered_at(response, clock), Duration::zero(), kMaxRetryAfter);
  }
  return std::nullopt;
}

bool may_pass(int status) noexcept {
  return status == 408 || status == 410 || status == 425 || status == 429 || status >= 500;
}

bool is_base64url(char c) noexcept { return is_alpha(c) || is_digit(c) || c == '-' || c == '_'; }

// Replaces what looks like a JWT: it begins as every header does ({" in base64url) and has a dot and more behind it.
std::string without_tokens(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t at = text.find("eyJ");
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) break;
    text.remove_prefix(at);
    const auto end = std::ranges::find_if_not(text, [](char c) { return is_base64url(c) || c == '.'; });
    const std::size_t size = static_cast<std::size_t>(end - text.begin());
    out.append(size >= 16 ? std::string_view("[removed]") : text.substr(0, size));
    text.remove_prefix(size);
  }
  return out;
}

void replace_all(std::string& text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
}

std::string text_in(const jose::Json& json, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const std::string* const text = json.find_string(name)) return *text;
  }
  return {};
}

// A number of seconds as JSON number or text of digits. nullopt: it is there and neither, or out of bounds.
std::optional<Duration> seconds_in(const jose::Json& value) noexcept {
  std::optional<std::uint64_t> seconds = value.if_uint64();
  if (!seconds && value.if_double()) {
    const double number = *value.if_double();
    if (number >= 0 && number < 1e9) seconds = static_cast<std::uint64_t>(number);
  }
  if (!seconds && value.if_string()) seconds = parse_decimal(*value.if_string());
  if (!seconds || *seconds == 0) return std::nullopt;
  const auto most = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(kMaxLifetime).count());
  if (*seconds > most) return std::nullopt;
  return std::chrono::seconds(*seconds);
}

std::string describe(std::string_view type, std::string_view scope) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  writer.field("token_type", type);
  if (!scope.empty()) writer.field("scope", scope.substr(0, 1024));
  writer.end_object();
  return out;
}

}  // namespace

Result<void> check_endpoint(std::string_view what, std::string_view url,
                            std::span<const std::string_view> plain_hosts) {
  const auto bad = [&](std::string_view why) {
    return fail(Code::io_failed, Side::gateway, std::string(what) + " " + std::string(why));
  };
  if (url.size() > kMaxUrl || !is_visible(url)) return bad("is no URL");
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return bad("has to begin with https://");
  const std::size_t path = std::min(url.find_first_of("/?#", scheme_end + 3), url.size());
  if (url.find('#') != std::string_view::npos) return bad("has a fragment");
  if (url.substr(0, path).find('@') != std::string_view::npos) return bad("has a user name in it");
  if (path < url.size() && url[path] == '?') return bad("has a query but no path");
  const auto parts = config::split_url(url.substr(0, path));
  if (!parts || parts->scheme == "unix") return bad("is no URL of the form https://host[:port][/path]");
  if (parts->scheme == "https") return {};
  const std::string_view host = parts->host.host;
  const auto address = IpAddress::parse(host);
  if ((address && address->is_loopback()) || iequals(host, "localhost")) return {};
  if (std::ranges::any_of(plain_hosts, [&](std::string_view allowed) { return iequals(host, allowed); })) return {};
  return bad("is http://, which is for loopback addresses only: the credential would travel in clear");
}

UrlTail tail_of(std::string_view url) noexcept {
  url.remove_prefix(url.find("://") + 3);
  const std::size_t slash = std::min(url.find('/'), url.size());
  return {url.substr(0, slash), slash == url.size() ? std::string_view("/") : url.substr(slash)};
}

bool is_name(std::string_view text, std::size_t max) noexcept {
  return !text.empty() && text.size() <= max && is_visible(text);
}

bool is_token_text(std::string_view text) noexcept { return is_name(text, kMaxTokenText); }

config::Secret form_of(Pairs fields) {
  std::string body;
  const auto append = [&](std::string_view text) {
    // Spaces apart, since '%20' is read as well but '+' is what a form has.
    for (std::size_t at = 0;;) {
      const std::size_t space = text.find(' ', at);
      signature::append_percent_encoded(body, text.substr(at, space - at));
      if (space == std::string_view::npos) return;
      body += '+';
      at = space + 1;
    }
  };
  for (const auto& [name, value] : fields) {
    if (!body.empty()) body += '&';
    append(name);
    body += '=';
    append(value);
  }
  config::Secret out(body);
  OPENSSL_cleanse(body.data(), body.size());
  return out;
}

std::string with_query(std::string_view url, Pairs parts) {
  std::string out(url);
  char separator = url.find('?') == std::string_view::npos ? '?' : '&';
  for (const auto& [name, value] : parts) {
    out += std::exchange(separator, '&');
    signature::append_percent_encoded(out, name);
    out += '=';
    signature::append_percent_encoded(out, value);
  }
  return out;
}

FetchRequest post_form(std::string_view url, config::Secret form) {
  FetchRequest request;
  request.method = "POST";
  request.url = url;
  request.content_type = "application/x-www-form-urlencoded";
  request.fields.push_back({"Accept", config::Secret("application/json")});
  request.body = std::move(form);
  return request;
}

FetchRequest get_metadata(std::string url) {
  FetchRequest request;
  request.url = std::move(url);
  request.max_body = 64 * 1024;
  request.connect_timeout = std::chrono::seconds(1);
  request.total_timeout = std::chrono::seconds(5);
  request.proxy = FetchRequest::Proxy::never;
  return request;
}

std::string fingerprint(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (const std::string_view part : parts) all += std::to_string(part.size()) + ':' + std::string(part);
  std::string digest;
  signature::append_hex(digest, signature::bytes_of(signature::sha256(all)));
  OPENSSL_cleanse(all.data(), all.size());
  return digest.substr(0, 16);
}

std::string uuid(const Entropy& entropy) {
  std::array<unsigned char, 16> bytes{};
  entropy.fill(bytes);
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0fU) | 0x40U);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3fU) | 0x80U);
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += "0123456789abcdef"[bytes[i] >> 4];
    out += "0123456789abcdef"[bytes[i] & 15];
  }
  return out;
}

WallTime answered_at(const FetchResponse& response, const Clock& clock) noexcept {
  return http::parse_http_date(response.field("date")).value_or(clock.wall());
}

std::optional<MonoTime> expiry_at(WallTime theirs, const FetchResponse& response, const Clock& clock) noexcept {
  const Duration left = theirs - answered_at(response, clock);
  if (left <= Duration::zero() || left > kMaxLifetime) return std::nullopt;
  return clock.now() + left;
}

std::string quote(std::string_view text, std::span<const std::string_view> secrets) {
  // A cut would make half a secret that nobody recognises, so it comes last; but nobody sends a megabyte of reasons.
  std::string out(text.substr(0, 16 * 1024));
  for (const std::string_view secret : secrets) {
    if (secret.size() >= 8) replace_all(out, secret, "[removed]");
  }
  out = without_tokens(out);
  for (char& c : out) {
    if (c < ' ' || c > '~') c = c == '\r' || c == '\n' || c == '\t' ? ' ' : '?';
  }
  if (out.size() > kMaxQuote) out = out.substr(0, kMaxQuote - 3) + "...";
  return out;
}

Refusal refusal_in(std::string_view body) {
  auto json = jose::Json::parse(body, kAnswerLimits);
  if (!json || !json->if_object()) return {};
  Refusal out;
  const jose::Json* const error = json->find("error");
  if (error && error->if_object()) {
    out = {text_in(*error, {"status", "code"}), text_in(*error, {"message"})};
  } else {
    out = {text_in(*json, {"error", "code", "Code"}), text_in(*json, {"error_description", "message", "Message"})};
  }
  json->wipe();
  return out;
}

SourceError failed(std::string detail, bool permanent) {
  return {Error(Code::token_unavailable, Side::gateway, std::move(detail), permanent ? Retry::never : Retry::yes),
          std::nullopt, permanent};
}

SourceError refused(std::string_view who, const FetchResponse& response, const Clock& clock,
                    std::span<const std::string_view> secrets, std::string_view hint) {
  return refused(who, response, refusal_in(response.body.reveal()), clock, secrets, hint);
}

SourceError refused(std::string_view who, const FetchResponse& response, const Refusal& refusal, const Clock& clock,
                    std::span<const std::string_view> secrets, std::string_view hint) {
  std::string detail = std::string(who) + " answered " + std::to_string(response.status);
  if (!refusal.code.empty()) detail += " " + quote(refusal.code, secrets).substr(0, 64);
  if (!refusal.text.empty()) detail += ": " + quote(refusal.text, secrets);
  if (response.status >= 300 && response.status < 400) detail += " (redirects are not followed)";
  if (!hint.empty()) detail += " (" + std::string(hint) + ")";
  const Duration skew = answered_at(response, clock) - clock.wall();
  if (skew >= kNoticedSkew || skew <= -kNoticedSkew) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(skew).count();
    detail += "; this machine's clock is " + std::to_string(seconds > 0 ? seconds : -seconds) + " s " +
              (seconds > 0 ? "behind" : "ahead of") + " the server's";
  }
  // An answer that should have been a token and was not is the server's mistake, or a page of something in between.
  const bool permanent = response.status >= 300 && !may_pass(response.status);
  SourceError out = failed(std::move(detail), permanent);
  out.retry_after = retry_after_of(response, clock);
  return out;
}

std::expected<Credential, SourceError> read_token(std::string_view who, const FetchResponse& response,
                                                  std::string_view member, const Clock& clock,
                                                  std::span<const std::string_view> secrets) {
  if (response.status != 200) return std::unexpected(refused(who, response, clock, secrets));
  const auto bad = [&](std::string_view why) {
    SourceError error = failed(std::string(who) + " answered 200 " + std::string(why));
    error.retry_after = retry_after_of(response, clock);
    return std::unexpected(std::move(error));
  };
  auto json = jose::Json::parse(response.body.reveal(), kAnswerLimits);
  if (!json) return bad("with a body that is not JSON: " + json.error().to_string());
  struct Wiper {
    jose::Json& json;
    ~Wiper() { json.wipe(); }
  } wiper{*json};
  if (!json->if_object()) return bad("with JSON that is no object");
  const std::string* const token = json->find_string(member);
  if (!token) {
    if (const Refusal refusal = refusal_in(response.body.reveal()); !refusal.code.empty()) {
      return std::unexpected(refused(who, response, refusal, clock, secrets, ""));
    }
    return bad("without " + std::string(member));
  }
  if (!is_token_text(*token)) return bad("with a token that cannot stand in a header field");
  if (member == "id_token") return read_jwt(who, *token, response, clock);

  const std::string* const type = json->find_string("token_type");
  if (!type) return bad("without token_type");
  if (!iequals(*type, "Bearer")) return bad("with a token of another type than Bearer");
  const jose::Json* const lifetime = json->find("expires_in");
  if (!lifetime) return bad("without expires_in");
  const auto expires_in = seconds_in(*lifetime);
  if (!expires_in) return bad("with an expires_in that is no time between 1 s and 48 h");
  Credential out;
  out.token = config::Secret(*token);
  out.expires = clock.now() + *expires_in;
  if (const jose::Json* const refresh = json->find("refresh_in")) {
    const auto refresh_in = seconds_in(*refresh);
    if (refresh_in && *refresh_in < *expires_in) out.refresh_at = clock.now() + *refresh_in;
  }
  const std::string* const scope = json->find_string("scope");
  out.description = describe("Bearer", scope ? quote(*scope, secrets) : "");
  return out;
}

std::expected<Credential, SourceError> read_jwt(std::string_view who, std::string_view token,
                                                const FetchResponse& response, const Clock& clock) {
  const auto bad = [&](std::string_view why) {
    return std::unexpected(failed(std::string(who) + " gave an ID token " + std::string(why)));
  };
  const auto jws = jose::Jws::parse(token);
  if (!jws) return bad("that is no JWT: " + std::string(jose::text_of(jws.error())));
  auto claims = jose::unverified_claims(*jws);
  if (!claims || !claims->expires) return bad("without usable claims");
  const auto expires = expiry_at(*claims->expires, response, clock);
  if (!expires) return bad("that has expired already, or lives for days");
  Credential out;
  out.token = config::Secret(token);
  out.expires = *expires;
  out.description = std::move(claims->text);
  return out;
}

}  // namespace postern::tokens::cloud
