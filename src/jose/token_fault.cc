#include "jose/token_fault.h"

#include <string>

namespace postern::jose {

std::string_view text_of(TokenFault fault) noexcept {
  switch (fault) {
    case TokenFault::too_large: return "the token is too large";
    case TokenFault::not_compact: return "this is no signed token: it has not three parts";
    case TokenFault::bad_encoding: return "a part of the token is no base64url";
    case TokenFault::bad_header: return "the header of the token is malformed";
    case TokenFault::algorithm_missing: return "the header of the token names no algorithm";
    case TokenFault::algorithm_refused: return "the algorithm of the token is not accepted";
    case TokenFault::critical_header: return "the token needs an extension that is not known here";
    case TokenFault::wrong_type: return "the token is of another type";
    case TokenFault::unknown_key: return "the key of the token is unknown";
    case TokenFault::ambiguous_key: return "the token does not say which key has signed it";
    case TokenFault::algorithm_mismatch: return "the algorithm of the token is not that of its key";
    case TokenFault::bad_signature: return "the signature of the token is wrong";
    case TokenFault::bad_claims: return "the claims of the token are malformed";
    case TokenFault::wrong_issuer: return "the token is of another issuer";
    case TokenFault::wrong_audience: return "the token is meant for another audience";
    case TokenFault::wrong_subject: return "the token is about another subject";
    case TokenFault::no_expiry: return "the token does not say when it expires";
    case TokenFault::expired: return "the token has expired";
    case TokenFault::not_yet_valid: return "the token is not valid yet";
    case TokenFault::issued_in_future: return "the token says that it was issued in the future";
    case TokenFault::too_old: return "the token is too old";
    case TokenFault::no_issue_time: return "the token does not say when it was issued";
    case TokenFault::lives_too_long: return "the token is valid for too long";
  }
  return "the token is not accepted";
}

Error to_error(TokenFault fault) { return {Code::credentials_invalid, Side::client, std::string(text_of(fault))}; }

}  // namespace postern::jose
