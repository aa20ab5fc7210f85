// The `issuer` section by itself: for load(), and for verbs that must work while another part of the file is wrong,
// such as the rotation of a key that may be stolen.
#pragma once

#include <string>

#include "config/config.h"
#include "config/diagnostics.h"
#include "config/node.h"

namespace postern::config {

// Reports what the section says and cannot mean. What the schema would refuse keeps its default without a word: who has
// not validated the document sees to that.
[[nodiscard]] IssuerConfig read_issuer_section(const Node& node, const std::string& state_directory,
                                               Diagnostics& diagnostics);

}  // namespace postern::config
