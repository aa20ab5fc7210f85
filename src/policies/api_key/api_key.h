// api_key: lets in who presents a valid API key, says to the origin who that is, and takes the key off.
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
[[nodiscard]] std::unique_ptr<const Policy> make_api_key(const config::Node& options, config::Diagnostics& diagnostics,
                                                         const Services& services);

}  // namespace postern::policies
