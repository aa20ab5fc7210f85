// What the methods that sign requests have in common: how they read their options, and the request as they see it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/config.h"
#include "config/diagnostics.h"
#include "config/node.h"
#include "identity/identity.h"

namespace postern::identity {

// The text of an option, or `otherwise` if it is not given. REQUIRES: the schema says that it is a text.
[[nodiscard]] std::string_view text_of(const config::Node& options, std::string_view key,
                                       std::string_view otherwise = {}) noexcept;

// Reports each of `keys` that is given: it does nothing beside what was chosen, for the reason in `why`. True if there
// was none.
bool refuse_unused(const config::Node& options, std::span<const std::string_view> keys, std::string_view why,
                   config::Diagnostics& diagnostics);

// `max_body` (1 MiB if it is not given), or nothing with `unsigned_body` or `payload: unsigned`. What is kept until it
// is sent costs memory, so `max_body` ends at kMostBody. Reports both at once, and a limit that is too high.
inline constexpr std::uint64_t kDefaultBody = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kMostBody = std::uint64_t{64} << 20;
[[nodiscard]] std::optional<std::uint64_t> body_limit_of(const config::Node& options, config::Diagnostics& diagnostics);

// Path and query of a request as it will be sent.
struct SentTarget {
  std::string_view path;
  std::string_view query;  // behind '?'
  bool has_query = false;  // of an empty one
};
[[nodiscard]] SentTarget sent_target(const Attempt& attempt) noexcept;
// The method as it will be sent: an HTTP/2 origin sees a WebSocket handshake as CONNECT (RFC 8441 4).
[[nodiscard]] std::string_view sent_method(const Attempt& attempt) noexcept;

// For `origin test`; costs nothing if nobody asked.
void explain(Attempt& attempt, std::string_view title, std::string_view text);

}  // namespace postern::identity
