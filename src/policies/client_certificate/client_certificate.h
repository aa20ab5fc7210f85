// client_certificate: lets in who shows a TLS client certificate of an authority, and tells the origin which one it
// was.
//
// The handshake proves that the client has the key (http::ConnectionFacts::tls); here, for every request, it is judged
// whether that certificate is worth anything on this route, today.
#pragma once

#include <memory>

namespace postern::config {
class Diagnostics;
class Node;
}  // namespace postern::config

namespace postern::policies {

class Policy;
struct Services;

// nullptr after reporting why; `options` satisfies schema.json. Needs services.authorities.
[[nodiscard]] std::unique_ptr<const Policy> make_client_certificate(const config::Node& options,
                                                                    config::Diagnostics& diagnostics,
                                                                    const Services& services);

}  // namespace postern::policies
