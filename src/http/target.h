// The canonical target: one form of host, path and query for matching, policies, logs and forwarding. What two servers
// could read differently is normalised if that is harmless and refused if it is not
// (docs/decisions/002-canonical-target.md).
//
// Normalised: percent-encoded unreserved characters are decoded, other triplets get upper-case digits, "." and ".."
// segments are resolved, the host is lower-case without trailing dot. Refused: encoded slash, backslash or NUL, control
// characters, '#', bytes outside of ASCII, broken triplets, text that would decode a second time ("%2541", also if it
// is written "%25%34%31"), invalid UTF-8 after decoding, ".." above the root, "..;x" segments, empty segments ("//").
//
// A canonical target is its own canonical form (tests/fuzz/target_fuzz.cc).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/arena.h"
#include "base/error.h"

namespace postern::http {

enum class TargetForm : std::uint8_t { origin, absolute, asterisk };

struct CanonicalTarget {
  TargetForm form = TargetForm::origin;
  std::string_view host;   // lower-case; IPv6 in brackets
  std::uint16_t port = 0;  // 0: none given
  std::string_view path;   // "/orders/7"; "*" for the asterisk form
  std::string_view query;  // raw, after '?'
  bool has_query = false;  // "/a?" has an empty one

  // As it goes to the origin. Joins in `arena` only if path and query do not already stand side by side.
  [[nodiscard]] std::string_view path_and_query(Arena& arena) const;
  // host[:port]
  [[nodiscard]] std::string_view authority(Arena& arena) const;
};

// Views of `out` borrow from the arguments and from `arena`. An empty `host_header` is refused, in HTTP/1.0 as well: no
// route may be chosen by a name that was not sent. Errors: bad_target, bad_host, both the client's.
[[nodiscard]] Result<void> canonicalize(std::string_view method, std::string_view raw_target,
                                        std::string_view host_header, Arena& arena, CanonicalTarget& out);

// The path part alone, for templates of the configuration and for rewrites.
[[nodiscard]] Result<std::string_view> canonicalize_path(std::string_view raw_path, Arena& arena);

struct HostAndPort {
  std::string_view host;
  std::uint16_t port = 0;
};
// RFC 9110 7.2 and RFC 3986 3.2.2: reg-name or IP literal, optional port; no userinfo, no zone, no percent-encoding.
[[nodiscard]] Result<HostAndPort> canonicalize_host(std::string_view text, Arena& arena);

}  // namespace postern::http
