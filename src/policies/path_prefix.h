// Prefixes of paths that end at a segment: "/v1" is a prefix of "/v1" and "/v1/a", not of "/v10".
#pragma once

#include <string_view>

namespace postern::config {
class Diagnostics;
class Node;
}  // namespace postern::config

namespace postern::policies {

// The canonical `path` without `prefix`: "" or something that starts with '/'; `path` itself if it does not have that
// prefix. `prefix` is "" or passed check_path_prefix().
[[nodiscard]] std::string_view without_prefix(std::string_view path, std::string_view prefix) noexcept;

// "/a/b": canonical, more than "/", without a slash at its end. Reports what is wrong.
[[nodiscard]] bool check_path_prefix(const config::Node& node, config::Diagnostics& diagnostics);

}  // namespace postern::policies
