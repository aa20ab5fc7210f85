// The origin's side of an HTTP Message Signature (RFC 9421 3.2): `postern verify`, and the reference for verifiers in
// other languages.
//
// A signature says no more than what it covers, so a policy without required components accepts a proof that fits every
// request (RFC 9421 7.2.1); the default one demands what names a request. A signature covers fields: it says something
// of the body only if it covers content-digest and somebody compares the two, so the body is an argument here. Pure;
// any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "platform/clock.h"
#include "signature/http_message_signature.h"
#include "signature/message.h"

namespace postern::signature {

struct VerificationPolicy {
  // Each must be covered, without parameters. Not covering @authority or @query is the classic hole.
  std::vector<std::string> required_components = {"@method", "@authority", "@path", "@query"};
  std::string label;                 // of the signature to check; "": the only one that has `tag`
  std::string tag;                   // must be the signature's; "": any
  std::chrono::seconds max_age{60};  // since `created`, which is always required
  std::chrono::seconds skew{30};     // of the two clocks, both ways
  bool expires_required = false;
  // Called after the signature was found good: true if (keyid, nonce) was not seen before, and is remembered at least
  // until `until`. Not set: a signature may be used again within max_age. Set: a nonce is required.
  std::function<bool(std::string_view keyid, std::string_view nonce, WallTime until)> remember_nonce;
};

// The key for a keyid; nullptr if there is none. `keyid` comes from a stranger: an index, never a file name or URL. The
// key lives until the verification is over. What the key's algorithm is, is the key's business; a signature whose `alg`
// says something else is refused.
using FindKey = std::function<const MessageVerifier*(std::string_view keyid)>;

struct VerifiedSignature {
  std::string label;
  std::string keyid;
  std::int64_t created = 0;
  CoveredComponents components;
  std::string base;
  bool body_bound = false;  // with another body this signature would have been refused; false: nobody has looked
};

// Reads Signature-Input and Signature from the message's fields. `body` is the whole body as it was received in this
// hop, with any content coding: if it is not empty, content-digest (RFC 9530) must be covered, without parameters; if
// content-digest is covered, it must be that of the body, so a body that was taken away is noticed. nullopt: the caller
// does not have the body, and must not act on it before it has compared it (signature/content_digest.h). Errors, all
// Side::client, with a detail that says which rule was broken and holds nothing of the key: credentials_missing if
// there is no signature at all, credentials_invalid for everything else.
[[nodiscard]] Result<VerifiedSignature> verify_message(const Message& message, const VerificationPolicy& policy,
                                                       const FindKey& find_key, WallTime now,
                                                       std::optional<std::string_view> body);

}  // namespace postern::signature
