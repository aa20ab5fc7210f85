// redirect: answers with a Location that is fixed but for the path and query of the request.
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
[[nodiscard]] std::unique_ptr<const Policy> make_redirect(const config::Node& options, config::Diagnostics& diagnostics,
                                                          const Services& services);

}  // namespace postern::policies
