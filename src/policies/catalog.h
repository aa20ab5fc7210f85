// The policies that this gateway has: one explicit table, no self-registration. To add one, write its folder and a row.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"
#include "platform/clock.h"
#include "policies/policy.h"

namespace postern::store {
class KeyStore;
class RateTable;
}  // namespace postern::store

namespace postern::tls {
class TrustAnchors;
}  // namespace postern::tls

namespace postern::policies {

// What policies may use beyond their options. All outlive every policy and are thread-safe.
struct Services {
  const Clock& clock;
  // nullptr where nothing is let in (`check`, `explain`): policies are built and checked, and refuse every request.
  const store::KeyStore* keys = nullptr;
  store::RateTable* rates = nullptr;
  // Where this instance stands, such as "gateway/0", "origins.orders/1", "routes.NAME/0": unique among all instances
  // and the same after a reload, because counters belong to it. Only read while the policy is made.
  std::string_view scope;
  // Of this use of client_certificate: what its `ca` holds (config::PolicyUse::authorities). Shared with the policy.
  std::shared_ptr<const tls::TrustAnchors> authorities = nullptr;
};

// Whether a policy says who the client is, and by what.
enum class Authenticates : std::uint8_t { no, by_key, by_certificate };

// Where in the chain of a route a policy runs: inbound by ascending rank, outbound in reverse. Within a rank the order
// is gateway, origin, route, and then as written. The order is fixed because most other orders are mistakes.
enum class Rank : std::uint8_t {
  // The cheapest refusal, and it needs nothing but the address.
  ip_filter,
  // Before every refusal that a browser application should be able to read, and before authentication: a preflight
  // request carries no credentials.
  cors,
  // Before authentication, so that guessing keys is limited too.
  rate_limit_address,
  // Only now is the consumer known.
  authenticate,
  // Counts consumers.
  rate_limit_consumer,
  // Cheap, but nobody who is not let in needs to learn the limit.
  body_limit,
  // May use the consumer; after authentication has taken the key off.
  request_headers,
  // After everything that judges the target as the client wrote it.
  rewrite,
  // Outbound only; high in the list, so that cors has the last word on its fields.
  response_headers,
  // Ends the chain: whatever came before has let the request in.
  answer,
};

struct CatalogEntry {
  std::string_view name;
  std::string_view schema;  // JSON Schema of its options
  Authenticates authenticates;
  Rank (*rank)(const config::Node& options) noexcept;
  // nullptr after reporting why. `options` satisfies `schema` and outlives the policy.
  std::unique_ptr<const Policy> (*make)(const config::Node& options, config::Diagnostics& diagnostics,
                                        const Services& services);
};

// All of them, by name.
[[nodiscard]] std::span<const CatalogEntry> catalog() noexcept;
// nullptr if there is no such policy.
[[nodiscard]] const CatalogEntry* find_policy(std::string_view name) noexcept;

// For config::compile_schema() and config::LoadInput.
[[nodiscard]] std::vector<config::SchemaPart> schema_parts();
[[nodiscard]] std::vector<std::string> authenticating_policies();

}  // namespace postern::policies
