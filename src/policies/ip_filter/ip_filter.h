// ip_filter: lets clients in or keeps them out by their address.
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
[[nodiscard]] std::unique_ptr<const Policy> make_ip_filter(const config::Node& options,
                                                           config::Diagnostics& diagnostics, const Services& services);

}  // namespace postern::policies
