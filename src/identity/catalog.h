// The identity methods that are built: one explicit table, nothing registers itself. To add one, write its folder and a
// row. `mtls` and `shared_secret` are read by the room `config` itself; every other one gets its options as they were
// written and validated (config::MethodConfig).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/config.h"
#include "config/diagnostics.h"
#include "config/schema.h"
#include "identity/identity.h"
#include "issuer/token_mint.h"

namespace postern::tokens {
class TokenManager;
}  // namespace postern::tokens

namespace postern::identity {

// What methods may use beyond their options. All outlive every method and are thread-safe.
struct Services {
  const Clock& clock;
  const Entropy& entropy;
  std::shared_ptr<issuer::TokenMint> mint = nullptr;  // of the gateway's issuer; nullptr: none is configured
  tokens::TokenManager* tokens = nullptr;             // nullptr: no token is fetched, the configuration is looked at
  const config::Environment* environment = nullptr;   // nullptr: the one of the process
};

struct CatalogEntry {
  std::string_view name;
  std::string_view schema;  // JSON Schema of its options
  // The field that carries the credential unless the option `header` names another; "" for a method without that
  // option, whose fields are all in `headers`.
  std::string_view default_header;
  std::span<const std::string_view> headers;
  std::span<const std::string_view> documents;  // options whose secret is a text of several lines
  int assurance;                                // config::IdentityTraits
  // nullptr after reporting what is wrong with the options. `use` outlives the method.
  std::unique_ptr<const IdentityMethod> (*make)(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                const Services& services);
};

// All of them, by name.
[[nodiscard]] std::span<const CatalogEntry> catalog() noexcept;
// As its entry does. REQUIRES: `use` is from a configuration that was loaded with schema_parts() and traits().
[[nodiscard]] std::unique_ptr<const IdentityMethod> make_method(const config::IdentityUse& use,
                                                                config::Diagnostics& diagnostics,
                                                                const Services& services);

// For config::compile_schema() and config::LoadInput.
[[nodiscard]] std::vector<config::SchemaPart> schema_parts();
[[nodiscard]] std::vector<config::IdentityTraits> traits();

}  // namespace postern::identity
