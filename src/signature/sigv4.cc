#include "signature/sigv4.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "signature/digest.h"
#include "signature/percent.h"

namespace postern::signature {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view kTerminator = "aws4_request";
constexpr std::string_view kDateHeader = "x-amz-date";
constexpr std::string_view kTokenHeader = "x-amz-security-token";
constexpr std::string_view kHashHeader = "x-amz-content-sha256";

std::unexpected<Error> internal(std::string detail) { return fail(Code::internal, Side::gateway, std::move(detail)); }

void append_number(std::string& out, unsigned number, std::size_t digits) {
  const std::size_t begin = out.size();
  out.resize(begin + digits);
  for (std::size_t i = digits; i-- > 0; number /= 10) out[begin + i] = static_cast<char>('0' + number % 10);
}

bool fits_scope(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](char c) {
    return is_alpha(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
  });
}

// Those of STS have up to 128 characters, those of other stores more kinds of them; what ends a part of Authorization
// is in none.
bool is_access_key_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 128 &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f' && c != ',' && c != '/' && c != '='; });
}

bool is_payload_hash(std::string_view text) noexcept {
  if (text == kUnsignedPayload) return true;
  return text.size() == 64 && std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

constexpr bool is_white_space(char c) noexcept {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

// Resolves "", "." and ".." as IAM does: ".." above the root is dropped, a slash at the end stays.
std::string normalize(std::string_view path) {
  std::vector<std::string_view> segments;
  for (std::string_view rest = path; !rest.empty();) {
    const std::string_view segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(std::min(segment.size() + 1, rest.size()));
    if (segment.empty() || segment == ".") continue;
    if (segment != "..") {
      segments.push_back(segment);
    } else if (!segments.empty()) {
      segments.pop_back();
    }
  }
  std::string out;
  for (const std::string_view segment : segments) {
    out.push_back('/');
    out += segment;
  }
  if (out.empty() || path.ends_with('/')) out.push_back('/');
  return out;
}

// '/' that was written "%2F" stays apart from '/': an object key may hold both.
std::string encode_object_key(std::string_view path) {
  std::string out;
  while (true) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    append_percent_encoded(out, percent_decode(path.substr(0, slash), Plus::is_plus));
    if (slash == path.size()) return out;
    out.push_back('/');
    path.remove_prefix(slash + 1);
  }
}

struct SignedHeader {
  std::string name;  // lower-case
  std::string value;
  std::size_t position = 0;  // in which it was added
};

class SignedHeaders {
 public:
  SignedHeaders() { headers_.reserve(8); }

  void add(std::string_view name, std::string_view value) {
    SignedHeader& header = headers_.emplace_back(to_lower(name), std::string(), headers_.size());
    append_canonical_value(header.value, value);
  }

  // Sorts, and joins what has the same name in the order it was added.
  void finish() {
    std::ranges::sort(headers_, [](const SignedHeader& a, const SignedHeader& b) {
      const int order = a.name.compare(b.name);
      return order != 0 ? order < 0 : a.position < b.position;
    });
    std::size_t kept = 0;
    for (std::size_t i = 1; i < headers_.size(); ++i) {
      if (headers_[i].name == headers_[kept].name) {
        headers_[kept].value.push_back(',');
        headers_[kept].value += headers_[i].value;
      } else if (++kept != i) {
        headers_[kept] = std::move(headers_[i]);
      }
    }
    headers_.resize(kept + 1);
    for (const SignedHeader& header : headers_) {
      if (!names_.empty()) names_.push_back(';');
      names_ += header.name;
    }
  }

  [[nodiscard]] const std::vector<SignedHeader>& headers() const noexcept { return headers_; }
  [[nodiscard]] const std::string& names() const noexcept { return names_; }

 private:
  std::vector<SignedHeader> headers_;
  std::string names_;
};

bool is_named(std::string_view name, std::span<const std::string> names) noexcept {
  return std::ranges::any_of(names, [name](const std::string& other) { return iequals(other, name); });
}

bool is_chosen(std::string_view name, std::span<const std::string> also_signed) noexcept {
  if (iequals(name, "host") || is_taken_off(name, also_signed)) return false;
  return iequals(name, "content-type") || is_named(name, also_signed);
}

SignedHeaders choose_headers(const SigV4Request& request, const SigV4Signature& made, std::string_view session_token) {
  SignedHeaders out;
  out.add("host", request.host);
  out.add(kDateHeader, made.amz_date);
  if (!made.content_sha256.empty()) out.add(kHashHeader, made.content_sha256);
  if (!session_token.empty()) out.add(kTokenHeader, session_token);
  if (request.fields) {
    for (const http::Field& field : *request.fields) {
      if (is_chosen(field.name, request.also_signed)) out.add(field.name, field.value);
    }
  }
  out.finish();
  return out;
}

std::string canonical_request_of(const SigV4Request& request, PathRule path_rule, const SignedHeaders& headers) {
  std::string out;
  out.reserve(512);
  out += request.method;
  out.push_back('\n');
  out += canonical_path(request.path, path_rule);
  out.push_back('\n');
  out += canonical_query(request.query);
  out.push_back('\n');
  for (const SignedHeader& header : headers.headers()) {
    out += header.name;
    out.push_back(':');
    out += header.value;
    out.push_back('\n');
  }
  out.push_back('\n');
  out += headers.names();
  out.push_back('\n');
  out += request.payload_hash;
  return out;
}

}  // namespace

std::string amz_date(WallTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(time - day));
  std::string out;
  append_number(out, static_cast<unsigned>(std::clamp(static_cast<int>(date.year()), 0, 9999)), 4);
  append_number(out, static_cast<unsigned>(date.month()), 2);
  append_number(out, static_cast<unsigned>(date.day()), 2);
  out.push_back('T');
  append_number(out, static_cast<unsigned>(clock.hours().count()), 2);
  append_number(out, static_cast<unsigned>(clock.minutes().count()), 2);
  append_number(out, static_cast<unsigned>(clock.seconds().count()), 2);
  out.push_back('Z');
  return out;
}

Result<SigV4Key> SigV4Key::derive(std::string_view secret_access_key, WallTime now, std::string_view region,
                                  std::string_view service) {
  if (!fits_scope(region) || !fits_scope(service)) return internal("SigV4: region or service is malformed");
  if (secret_access_key.empty()) return internal("SigV4: the secret access key is empty");
  const std::string day = amz_date(now).substr(0, 8);
  // Reserved at once, so that the secret has one copy to cleanse.
  std::string first;
  first.reserve(4 + secret_access_key.size());
  first += "AWS4";
  first += secret_access_key;
  HmacSha256::Tag key = HmacSha256(first).compute(day);
  OPENSSL_cleanse(first.data(), first.size());
  for (const std::string_view part : {region, service, kTerminator}) key = HmacSha256(bytes_of(key)).compute(part);
  HmacSha256 derived(bytes_of(key));
  OPENSSL_cleanse(key.data(), key.size());

  std::string scope = day;
  for (const std::string_view part : {region, service, kTerminator}) {
    scope.push_back('/');
    scope += part;
  }
  return SigV4Key(std::move(derived), std::move(scope), service);
}

bool SigV4Key::fits(WallTime now) const { return amz_date(now).substr(0, 8) == std::string_view(scope_).substr(0, 8); }

PathRule path_rule_of(std::string_view service) noexcept {
  const bool is_s3 =
      service == "s3" || service == "s3-object-lambda" || service == "s3-outposts" || service == "s3express";
  return is_s3 ? PathRule::object_key : PathRule::normalize_and_encode;
}

bool is_taken_off(std::string_view name, std::span<const std::string> also_signed) noexcept {
  constexpr std::string_view kPrefix = "x-amz-";
  const auto same = [name](std::string_view own) { return http::is_alias_of(name, own); };
  if (std::ranges::any_of(kSigV4Fields, same)) return true;
  return http::is_alias_of(name.substr(0, kPrefix.size()), kPrefix) && !is_named(name, also_signed);
}

std::string payload_hash_of(std::string_view body) {
  const Sha256 hash = sha256(body);
  std::string out;
  append_hex(out, bytes_of(hash));
  return out;
}

std::string canonical_path(std::string_view path, PathRule rule) {
  if (path.empty()) path = "/";
  if (rule == PathRule::object_key) return encode_object_key(path);
  std::string out;
  append_percent_encoded(out, rule == PathRule::encode ? std::string(path) : normalize(path), "/");
  return out;
}

std::string canonical_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    auto& [name, value] = pairs.emplace_back();
    append_percent_encoded(name, percent_decode(pair.substr(0, equals), Plus::is_plus));
    if (equals < pair.size()) append_percent_encoded(value, percent_decode(pair.substr(equals + 1), Plus::is_plus));
  }
  std::ranges::sort(pairs);
  std::string out;
  for (const auto& [name, value] : pairs) {
    if (!out.empty()) out.push_back('&');
    out += name;
    out.push_back('=');
    out += value;
  }
  return out;
}

void append_canonical_value(std::string& out, std::string_view value) {
  const std::size_t begin = out.size();
  bool gap = false;
  for (const char c : value) {
    if (is_white_space(c)) {
      gap = true;
      continue;
    }
    if (gap && out.size() != begin) out.push_back(' ');
    gap = false;
    out.push_back(c);
  }
}

Result<SigV4Signature> sign_v4(const SigV4Request& request, std::string_view access_key_id,
                               std::string_view session_token, const SigV4Key& key, WallTime now) {
  if (!request.path.empty() && !request.path.starts_with('/')) {
    return fail(Code::bad_target, Side::client, "a request without a path cannot be signed");
  }
  if (!key.fits(now)) return internal("SigV4: the key is of another day");
  if (!is_payload_hash(request.payload_hash)) return internal("SigV4: the payload hash is malformed");
  if (!is_access_key_id(access_key_id)) return internal("SigV4: the access key id is malformed");
  // It becomes a field of the request, and it comes from a server's answer.
  const bool plain = std::ranges::all_of(session_token, [](char c) { return c > ' ' && c < '\x7f'; });
  if (!plain) return internal("SigV4: the session token is malformed");

  SigV4Signature out;
  out.amz_date = amz_date(now);
  const PathRule service_rule = path_rule_of(key.service());
  const PathRule path_rule = request.path_rule.value_or(service_rule);
  const bool sends_hash = request.hash_header == HashHeader::always || request.payload_hash == kUnsignedPayload ||
                          service_rule == PathRule::object_key || path_rule == PathRule::object_key;
  if (sends_hash) out.content_sha256 = request.payload_hash;
  const SignedHeaders headers = choose_headers(request, out, session_token);
  out.canonical_request = canonical_request_of(request, path_rule, headers);

  out.string_to_sign.reserve(192);
  out.string_to_sign += kAlgorithm;
  out.string_to_sign.push_back('\n');
  out.string_to_sign += out.amz_date;
  out.string_to_sign.push_back('\n');
  out.string_to_sign += key.scope();
  out.string_to_sign.push_back('\n');
  const Sha256 hash = sha256(out.canonical_request);
  append_hex(out.string_to_sign, bytes_of(hash));

  const HmacSha256::Tag tag = key.sign(out.string_to_sign);
  out.authorization.reserve(256);
  out.authorization += kAlgorithm;
  out.authorization += " Credential=";
  out.authorization += access_key_id;
  out.authorization.push_back('/');
  out.authorization += key.scope();
  out.authorization += ", SignedHeaders=";
  out.authorization += headers.names();
  out.authorization += ", Signature=";
  append_hex(out.authorization, bytes_of(tag));
  return out;
}

std::string redact_token(std::string_view canonical_request) {
  constexpr std::string_view kLine = "\nx-amz-security-token:";
  const std::size_t begin = canonical_request.find(kLine);
  if (begin == std::string_view::npos) return std::string(canonical_request);
  const std::size_t value = begin + kLine.size();
  const std::size_t end = std::min(canonical_request.find('\n', value), canonical_request.size());
  std::string out(canonical_request.substr(0, value));
  out += "[redacted]";
  out += canonical_request.substr(end);
  return out;
}

}  // namespace postern::signature
