// AWS Signature Version 4: the Authorization header of one request, from bytes and a time.
//
// IAM computes the same signature from the request as it arrives, so what is signed must be what is sent: path and
// query byte for byte, Host as the origin sees it. Fields that a hop may change (Via, Connection, User-Agent, ...) are
// not signed; Host, Content-Type and what the caller names are.
//
// X-Amz-* are orders to the service (copy that object, grant this right, do this action), and signed they are the
// gateway's own. So only those are signed that the caller names, and a client's others have to go: is_taken_off().
//
// Two rules are a matter of the service: S3 takes the path as an object key, encoded once and never normalised; all
// others normalise it and encode what is already encoded once more. S3 also wants the payload's hash as a header.
//
// No I/O and no clock; SigV4Key is immutable and may be used on several threads at once, the rest is pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/headers.h"
#include "platform/clock.h"
#include "signature/hmac.h"

namespace postern::signature {

// "20150830T123600Z": X-Amz-Date. Its first 8 characters are the day of the scope. Years 0 to 9999.
[[nodiscard]] std::string amz_date(WallTime time);

// The derived key: HMAC over day, region and service, five hashes that a caller saves by keeping it until fits() says
// no. The secret itself is not kept.
class SigV4Key {
 public:
  // Errors: internal, Side::gateway: a region or service that is empty or has characters that a scope cannot hold.
  [[nodiscard]] static Result<SigV4Key> derive(std::string_view secret_access_key, WallTime now,
                                               std::string_view region, std::string_view service);

  // True while `now` is on the key's day (UTC).
  [[nodiscard]] bool fits(WallTime now) const;
  // "20150830/us-east-1/service/aws4_request".
  [[nodiscard]] const std::string& scope() const noexcept { return scope_; }
  [[nodiscard]] const std::string& service() const noexcept { return service_; }
  [[nodiscard]] HmacSha256::Tag sign(std::string_view string_to_sign) const { return key_.compute(string_to_sign); }

 private:
  SigV4Key(HmacSha256 key, std::string scope, std::string_view service)
      : key_(std::move(key)), scope_(std::move(scope)), service_(service) {}

  HmacSha256 key_;
  std::string scope_;
  std::string service_;
};

// How the path is written in the canonical request.
enum class PathRule : std::uint8_t {
  normalize_and_encode,  // every service but S3: "//", "." and ".." resolved, then encoded once more
  encode,                // the same without resolving, for services that keep the segments
  object_key,            // S3 and its kin: the decoded path, encoded once
};
[[nodiscard]] PathRule path_rule_of(std::string_view service) noexcept;

// The payload's hash if it is not to be known: S3 over TLS takes it, VPC Lattice demands it, Lambda URLs refuse it.
inline constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";
// Of no payload at all.
inline constexpr std::string_view kEmptyPayloadHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
// 64 lower-case digits.
[[nodiscard]] std::string payload_hash_of(std::string_view body);

enum class HashHeader : std::uint8_t {
  as_needed,  // X-Amz-Content-Sha256 for S3 and whatever has its path rule, and wherever the payload is unsigned
  always,
};

// The fields that a signature may bring, in lower case. All four are taken off a client's request, whether or not there
// is one to take its place.
inline constexpr std::array<std::string_view, 4> kSigV4Fields = {"authorization", "x-amz-content-sha256", "x-amz-date",
                                                                 "x-amz-security-token"};

// Whether a client's field of that name must not go out beside a signature: one of kSigV4Fields, or an X-Amz-* that is
// not in `also_signed`, also in another spelling that a service might fold into it (x_amz_acl).
[[nodiscard]] bool is_taken_off(std::string_view name, std::span<const std::string> also_signed) noexcept;

struct SigV4Request {
  std::string_view method;
  std::string_view path;   // as it is sent, from '/' to before '?'; empty means "/"
  std::string_view query;  // behind '?', as it is sent
  std::string_view host;   // as it is sent in Host, with a port if that has one
  // All other fields; nullptr: none. Host and what is_taken_off() is passed over.
  const http::Headers* fields = nullptr;
  std::string_view payload_hash = kEmptyPayloadHash;  // 64 lower-case digits, or kUnsignedPayload
  std::span<const std::string> also_signed = {};      // names of more fields to sign, X-Amz-* among them, in any case
  std::optional<PathRule> path_rule = {};             // nullopt: as the key's service has it
  HashHeader hash_header = HashHeader::as_needed;
};

struct SigV4Signature {
  std::string authorization;   // Authorization
  std::string amz_date;        // X-Amz-Date
  std::string content_sha256;  // X-Amz-Content-Sha256; "": not to be sent
  // The session token goes out as X-Amz-Security-Token if there is one: it is signed.
  std::string
      canonical_request;       // for `postern origin test`; holds the session token: redact_token() before it is shown
  std::string string_to_sign;  // holds no secret
};

// `now` should be right to five minutes: IAM refuses other dates, S3 those beyond fifteen. `key` must fit it.
// Errors: internal, Side::gateway: the key is of another day, the payload hash is malformed, the access key id is not 1
// to 128 visible characters without ',', '/' and '=', or the session token has a character that is not visible ASCII.
// bad_target, Side::client: a path that does not begin with '/'.
[[nodiscard]] Result<SigV4Signature> sign_v4(const SigV4Request& request, std::string_view access_key_id,
                                             std::string_view session_token, const SigV4Key& key, WallTime now);

// The canonical request with the token's value replaced, to be shown to a person.
[[nodiscard]] std::string redact_token(std::string_view canonical_request);

// The parts, for tests and fuzz targets. Whatever goes in, path and query come out as unreserved characters, triplets
// and their separators.
[[nodiscard]] std::string canonical_path(std::string_view path, PathRule rule);
// Pairs sorted by encoded name, then encoded value; "a" is "a="; '+' is itself. Idempotent.
[[nodiscard]] std::string canonical_query(std::string_view query);
// Trimmed, every run of white space one space. Idempotent, and without line breaks.
void append_canonical_value(std::string& out, std::string_view value);

}  // namespace postern::signature
