// One parameter of a raw query (application/x-www-form-urlencoded), found the way an origin would find it: names are
// compared after percent-decoding, so that no spelling of the name slips through.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/arena.h"

namespace postern::policies {

struct QueryParameter {
  std::size_t count = 0;   // how often it occurs
  std::string_view value;  // of the last occurrence, percent-decoded
  std::string_view rest;   // the query without it, otherwise unchanged
};

// Views borrow from `query` or from `arena`. A triplet that cannot be decoded stays as it is.
[[nodiscard]] QueryParameter find_query_parameter(std::string_view query, std::string_view name, Arena& arena);

}  // namespace postern::policies
