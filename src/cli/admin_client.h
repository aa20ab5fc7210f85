// One request to the admin socket of a running gateway.
#pragma once

#include <string>
#include <string_view>

#include "cli/http_client.h"
#include "cli/verbs.h"

namespace postern::cli {

// The error's detail says why nobody answered.
[[nodiscard]] Result<ClientAnswer> ask_admin(const std::string& socket, std::string_view method, std::string_view path,
                                             Format format);

// The socket of `options`: given, or as the configuration file says. Empty after explaining why it is not known.
[[nodiscard]] std::string admin_socket_of(const AdminOptions& options, const Console& console);
// Why ask_admin() got no answer.
[[nodiscard]] Exit explain_unreachable(const std::string& socket, const Error& error, Format format,
                                       const Console& console);

}  // namespace postern::cli
