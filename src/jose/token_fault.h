// TokenFault: why a token is not accepted. A small value, since refusing hostile tokens must cost nothing; callers tell
// causes apart (unknown_key: worth asking for a new key set; expired: the client should get a new token).
#pragma once

#include <cstdint>
#include <expected>
#include <string_view>

#include "base/error.h"

namespace postern::jose {

enum class TokenFault : std::uint8_t {
  too_large,           // over kMaxToken; nothing was decoded
  not_compact,         // not three parts between two dots; five would be JWE
  bad_encoding,        // a part is not base64url as base64url.h has it
  bad_header,          // no JSON object that json.h reads, or a member of the wrong type
  algorithm_missing,   // no alg
  algorithm_refused,   // "none", or a name that is not known here
  critical_header,     // crit: nobody here understands any extension (RFC 7515 4.1.11); b64 (RFC 7797) is one
  wrong_type,          // typ is not the one that was asked for (RFC 8725 3.11)
  unknown_key,         // no key of that kid
  ambiguous_key,       // no kid, and not exactly one key for the algorithm
  algorithm_mismatch,  // alg is not that of the key
  bad_signature,
  bad_claims,      // no JSON object, or a registered claim of the wrong type or out of bounds
  wrong_issuer,    // also: none
  wrong_audience,  // also: none
  wrong_subject,   // also: none
  no_expiry,       // no exp, and the caller wants one
  expired,
  not_yet_valid,     // nbf
  issued_in_future,  // iat
  too_old,           // iat is longer ago than the caller allows
  no_issue_time,     // no iat, and the caller limits age or lifetime
  lives_too_long,    // exp - iat is more than the caller allows
};

// Constant text for people, without anything of the token: "the token has expired".
[[nodiscard]] std::string_view text_of(TokenFault fault) noexcept;

// As the answer to a client that showed the token: credentials_invalid, Side::client.
[[nodiscard]] Error to_error(TokenFault fault);

template <typename T>
using TokenResult = std::expected<T, TokenFault>;

}  // namespace postern::jose
