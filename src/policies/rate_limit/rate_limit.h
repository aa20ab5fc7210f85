// rate_limit: so many requests in so much time (GCRA), per consumer, address or header value; exact across loops.
#pragma once

#include <cstdint>
#include <memory>

namespace postern::config {
class Diagnostics;
class Node;
}  // namespace postern::config

namespace postern::policies {

class Policy;
struct Services;
enum class Rank : std::uint8_t;

// By address: before authentication. By consumer or header: after it.
[[nodiscard]] Rank rate_limit_rank(const config::Node& options) noexcept;

// nullptr after reporting why; `options` satisfies schema.json.
[[nodiscard]] std::unique_ptr<const Policy> make_rate_limit(const config::Node& options,
                                                            config::Diagnostics& diagnostics, const Services& services);

}  // namespace postern::policies
