// request_headers: sets, adds and removes header fields on the way to the origin.
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
[[nodiscard]] std::unique_ptr<const Policy> make_request_headers(const config::Node& options,
                                                                 config::Diagnostics& diagnostics,
                                                                 const Services& services);

}  // namespace postern::policies
