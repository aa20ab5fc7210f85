#include "identity/catalog.h"

#include <array>

namespace postern::identity {
namespace {

constexpr char kSharedSecret[] = {
#embed "shared_secret/schema.json"
};

constexpr std::array<config::SchemaPart, 1> kParts = {{
    {"identity", "shared_secret", {kSharedSecret, sizeof kSharedSecret}},
}};

}  // namespace

std::span<const config::SchemaPart> schema_parts() noexcept { return kParts; }

}  // namespace postern::identity
