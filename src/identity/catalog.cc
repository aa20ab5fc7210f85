#include "identity/catalog.h"

#include <array>

namespace postern::identity {
namespace {

constexpr char kMtls[] = {
#embed "mtls/schema.json"
};
constexpr char kSharedSecret[] = {
#embed "shared_secret/schema.json"
};

constexpr std::array<config::SchemaPart, 2> kParts = {{
    {"identity", "mtls", {kMtls, sizeof kMtls}},
    {"identity", "shared_secret", {kSharedSecret, sizeof kSharedSecret}},
}};

}  // namespace

std::span<const config::SchemaPart> schema_parts() noexcept { return kParts; }

}  // namespace postern::identity
