// Reads the text of one configuration file into a Document.
//
// YAML 1.2 core by libyaml's events, less what makes a file hard to judge: duplicate keys, anchors, aliases, merge
// keys, tags, several documents, keys that are not scalars. A file named *.json must be strict JSON (RFC 8259) first
// and is then read the same way, so both give the same tree with the same positions.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "config/diagnostics.h"
#include "config/node.h"

namespace postern::config {

inline constexpr std::size_t kMaxFileBytes = 16 * 1024 * 1024;
inline constexpr std::size_t kMaxDepth = 64;
inline constexpr std::size_t kMaxNodes = 1'000'000;

// nullptr after reporting at least one error. The root may be of any kind.
[[nodiscard]] std::shared_ptr<Document> read_document(std::string file, std::string_view text,
                                                      Diagnostics& diagnostics);

}  // namespace postern::config
