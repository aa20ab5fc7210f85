// The identity methods that are built, with the schemas of their options. An explicit table: nothing registers itself.
#pragma once

#include <span>

#include "config/schema.h"

namespace postern::identity {

[[nodiscard]] std::span<const config::SchemaPart> schema_parts() noexcept;

}  // namespace postern::identity
