// Content-Digest (RFC 9530): a hash of the body as it is sent in this hop, after any content coding. Covered by a
// signature it binds the body to it; alone it protects nothing.
//
// Pure functions; any thread.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "signature/digest.h"

namespace postern::signature {

// "sha-256" or "sha-512" (RFC 9530 7.2). The insecure ones of the registry (md5, sha, unixsum, ...) are never written,
// and prove nothing when they are read.
[[nodiscard]] std::string_view digest_name(DigestAlgorithm algorithm) noexcept;

// The value of the field for a body whose hash is known: sha-256=:...:. `hash` is what Digester::finish() gave.
[[nodiscard]] std::string content_digest_value(DigestAlgorithm algorithm, std::string_view hash);
// The same for a body that lies in memory.
[[nodiscard]] std::string content_digest_of(DigestAlgorithm algorithm, std::string_view body);

// What a received field promises. At least one of the two is there.
struct ContentDigest {
  std::optional<std::string> sha_256;  // 32 bytes
  std::optional<std::string> sha_512;  // 64 bytes

  // All that is promised must hold: a digest that is right does not excuse another that is wrong.
  [[nodiscard]] bool matches(std::string_view body) const;
};

// Lines of the field joined with ", ". Members that we do not know are passed over (RFC 9530 2); a known one that is no
// byte sequence of its length, or a field with none that we know, is an error: a text for people, with nothing of the
// field. The caller knows whose field it is, a client's or an origin's, and makes an Error of it.
[[nodiscard]] std::expected<ContentDigest, std::string> parse_content_digest(std::string_view value);

}  // namespace postern::signature
