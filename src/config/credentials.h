// Credentials that stand in the configuration as plain text, where only header fields with fixed values are expected.
// Nobody can tell a credential from other text, but names can be trusted to say what they are for.
#pragma once

#include <string_view>

namespace postern::config {

struct Config;
class Diagnostics;
class Node;

// True for names of fields whose values are credentials: Authorization, Cookie, and what ends in -key or has "secret",
// "token", "password" or "credential" in it; in any spelling.
[[nodiscard]] bool names_credential(std::string_view name);
// True if the value of a field of that name must not be shown: text, not a reference or a placeholder.
[[nodiscard]] bool is_literal_credential(std::string_view name, const Node& value);

// Warns of each of them that a policy sends to an origin.
void warn_of_literal_credentials(const Config& config, Diagnostics& diagnostics);

}  // namespace postern::config
