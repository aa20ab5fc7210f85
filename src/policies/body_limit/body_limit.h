// body_limit: refuses request bodies over a size; a streamed body is cut where it passes the limit.
#pragma once

#include <memory>

namespace postern::config {
class Diagnostics;
class Node;
}  // namespace postern::config

namespace postern::policies {

class Policy;
struct Services;

// nullptr after reporting why; `options` satisfies schema.json.
[[nodiscard]] std::unique_ptr<const Policy> make_body_limit(const config::Node& options,
                                                            config::Diagnostics& diagnostics, const Services& services);

}  // namespace postern::policies
