#include "jose/jwt.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/json_writer.h"

namespace postern::jose {
namespace {

constexpr std::size_t kMaxText = 2048;
constexpr std::size_t kMaxAudiences = 100;
constexpr JsonLimits kClaimsLimits{.bytes = kMaxToken, .depth = 16, .values = 4096};
constexpr std::int64_t kLatest = 8'836'128'000;  // 2250-01-01T00:00:00Z, in seconds

std::unexpected<TokenFault> refuse(TokenFault fault) { return std::unexpected(fault); }

// What is compared, logged or put into a header field.
bool is_plain(std::string_view text) {
  return !text.empty() && text.size() <= kMaxText &&
         std::ranges::none_of(text, [](char c) { return (c >= '\0' && c < ' ') || c == '\x7f'; });
}

// False if the claim is there and no such text.
bool read_text(const Json& claims, std::string_view name, std::string& out) {
  const Json* const claim = claims.find(name);
  if (!claim) return true;
  if (!claim->if_string() || !is_plain(*claim->if_string())) return false;
  out = *claim->if_string();
  return true;
}

bool read_time(const Json& claims, std::string_view name, std::optional<WallTime>& out) {
  const Json* const claim = claims.find(name);
  if (!claim) return true;
  if (const std::optional<std::int64_t> seconds = claim->if_int64()) {
    if (*seconds < 0) return false;
    out = WallTime(std::chrono::seconds(std::min(*seconds, kLatest)));
    return true;
  }
  const std::optional<double> seconds = claim->if_double();
  if (!seconds || !(*seconds >= 0)) return false;
  const double bounded = std::min(*seconds, static_cast<double>(kLatest));
  const double whole = std::floor(bounded);
  out = WallTime(std::chrono::seconds(static_cast<std::int64_t>(whole)) +
                 std::chrono::nanoseconds(static_cast<std::int64_t>((bounded - whole) * 1e9)));
  return true;
}

bool read_audience(const Json& claims, std::vector<std::string>& out) {
  const Json* const claim = claims.find("aud");
  if (!claim) return true;
  const auto add = [&](const Json& item) {
    if (!item.if_string() || !is_plain(*item.if_string())) return false;
    out.push_back(*item.if_string());
    return true;
  };
  const Json::Array* const list = claim->if_array();
  if (!list) return add(*claim);
  return list->size() <= kMaxAudiences && std::ranges::all_of(*list, add);
}

template <typename Keys>
TokenResult<Claims> verify_with(std::string_view token, const Keys& keys, const Expectations& expected) {
  const TokenResult<Jws> jws = Jws::parse(token);
  if (!jws) return refuse(jws.error());
  if (!expected.type.empty() && !jws->has_type(expected.type)) return refuse(TokenFault::wrong_type);
  const TokenResult<VerifiedPayload> payload = jws->verify(keys);
  if (!payload) return refuse(payload.error());
  TokenResult<Claims> claims = Claims::parse(*payload);
  if (!claims) return claims;
  if (const TokenResult<void> good = validate(*claims, expected); !good) return refuse(good.error());
  return claims;
}

}  // namespace

TokenResult<Claims> Claims::read(std::string_view text) {
  auto json = Json::parse(text, kClaimsLimits);
  if (!json || !json->if_object()) return refuse(TokenFault::bad_claims);
  Claims out;
  out.json_ = std::move(*json);
  const bool good = read_text(out.json_, "iss", out.issuer_) && read_text(out.json_, "sub", out.subject_) &&
                    read_text(out.json_, "jti", out.jwt_id_) && read_audience(out.json_, out.audience_) &&
                    read_time(out.json_, "exp", out.expires_) && read_time(out.json_, "nbf", out.not_before_) &&
                    read_time(out.json_, "iat", out.issued_at_);
  if (!good) return refuse(TokenFault::bad_claims);
  return out;
}

TokenResult<Claims> Claims::parse(const VerifiedPayload& payload) { return read(payload.text()); }

TokenResult<UnverifiedClaims> unverified_claims(const Jws& jws) {
  TokenResult<Claims> claims = Claims::read(jws.payload_);
  if (!claims) return refuse(claims.error());
  return UnverifiedClaims{std::move(claims->issuer_), claims->expires_, jws.payload_};
}

TokenResult<void> validate(const Claims& claims, const Expectations& expected) {
  if (expected.issuer.empty() || claims.issuer() != expected.issuer) return refuse(TokenFault::wrong_issuer);
  const bool meant = std::ranges::any_of(claims.audience(), [&](const std::string& audience) {
    return std::ranges::find(expected.audiences, std::string_view(audience)) != expected.audiences.end();
  });
  if (!meant) return refuse(TokenFault::wrong_audience);
  if (!expected.subject.empty() && claims.subject() != expected.subject) return refuse(TokenFault::wrong_subject);

  // Whoever forgets to say what time it is would take everything that has not begun to be too old.
  if (expected.now == WallTime{}) return refuse(TokenFault::expired);
  // RFC 7519 4.1.4: "on or after" exp it must not be accepted.
  if (!claims.expires() && expected.expiry == Expectations::Expiry::required) return refuse(TokenFault::no_expiry);
  if (claims.expires() && expected.now >= *claims.expires() + expected.leeway) return refuse(TokenFault::expired);
  if (claims.not_before() && expected.now + expected.leeway < *claims.not_before()) {
    return refuse(TokenFault::not_yet_valid);
  }
  const std::optional<WallTime> issued = claims.issued_at();
  if (issued && *issued > expected.now + expected.leeway) return refuse(TokenFault::issued_in_future);
  if ((expected.max_age || expected.max_lifetime) && !issued) return refuse(TokenFault::no_issue_time);
  if (expected.max_age && expected.now - *issued > *expected.max_age + expected.leeway) {
    return refuse(TokenFault::too_old);
  }
  if (!expected.max_lifetime) return {};
  if (!claims.expires()) return refuse(TokenFault::no_expiry);
  if (*claims.expires() - *issued > *expected.max_lifetime) return refuse(TokenFault::lives_too_long);
  return {};
}

TokenResult<Claims> verify_jwt(std::string_view token, const KeySet& keys, const Expectations& expected) {
  return verify_with(token, keys, expected);
}
TokenResult<Claims> verify_jwt(std::string_view token, const PublicKey& key, const Expectations& expected) {
  return verify_with(token, key, expected);
}
TokenResult<Claims> verify_jwt(std::string_view token, const SymmetricKey& key, const Expectations& expected) {
  return verify_with(token, key, expected);
}

void ClaimsWriter::begin(std::string_view name) {
  twice_ = twice_ || std::ranges::find(names_, name) != names_.end();
  names_.emplace_back(name);
  if (!members_.empty()) members_ += ',';
  append_json_string(members_, name);
  members_ += ':';
}

ClaimsWriter& ClaimsWriter::text(std::string_view name, std::string_view value) {
  begin(name);
  append_json_string(members_, value);
  return *this;
}

ClaimsWriter& ClaimsWriter::number(std::string_view name, std::int64_t value) {
  begin(name);
  members_ += std::to_string(value);
  return *this;
}

ClaimsWriter& ClaimsWriter::truth(std::string_view name, bool value) {
  begin(name);
  members_ += value ? "true" : "false";
  return *this;
}

ClaimsWriter& ClaimsWriter::texts(std::string_view name, std::span<const std::string_view> values) {
  begin(name);
  JsonWriter writer(members_);
  writer.begin_array();
  for (const std::string_view value : values) writer.value(value);
  writer.end_array();
  return *this;
}

ClaimsWriter& ClaimsWriter::seconds(std::string_view name, WallTime when) {
  return number(name, std::chrono::floor<std::chrono::seconds>(when).time_since_epoch().count());
}

Result<std::string> ClaimsWriter::finish() const {
  if (twice_) return fail(Code::internal, Side::gateway, "a claim is written twice");
  return "{" + members_ + "}";
}

}  // namespace postern::jose
