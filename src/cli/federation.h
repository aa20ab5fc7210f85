// What a cloud has to be told so that it trusts the gateway's issuer, and whether that issuer, as it is published, is
// one that the cloud takes. Texts in, texts out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "issuer/issuer.h"

namespace postern::cli {

enum class Cloud : std::uint8_t { aws, gcp, azure, alb };
[[nodiscard]] std::optional<Cloud> cloud_by_name(std::string_view name) noexcept;
[[nodiscard]] std::string_view name_of(Cloud cloud) noexcept;

// What stands in the commands. Empty members become words in capitals for the reader to replace.
struct FederationFacts {
  std::string issuer;    // URL
  std::string jwks_uri;  // ...
  std::string audience;
  std::string subject;  // pinned: no other token of the issuer is taken
  std::string account;  // aws, alb: the account's number; gcp: the project's number
  std::string name;     // aws: role; gcp: service account; azure: application (client) id; alb: ARN of the listener
};

// The audience that the cloud expects if nothing else is agreed, for `account` as in FederationFacts; "" if there is
// none (alb).
[[nodiscard]] std::string default_audience(Cloud cloud, std::string_view account);
// Commands and policies, and the lines of Postern's own configuration, ready to be copied.
[[nodiscard]] std::string federation_recipe(Cloud cloud, const FederationFacts& facts);

struct Finding {
  bool good = false;
  std::string what;  // "the issuer is an https URL without port"
  std::string fix;   // "" if good
};
// What can be known without fetching anything: form of the URL, algorithms, limits of the cloud.
[[nodiscard]] std::vector<Finding> check_issuer(Cloud cloud, const issuer::IssuerOptions& options,
                                                std::string_view audience, std::string_view subject);
// What the published documents say: discovery as it came from the issuer's URL, and the key set from its jwks_uri.
[[nodiscard]] std::vector<Finding> check_published(Cloud cloud, const issuer::IssuerOptions& options,
                                                   std::string_view discovery, std::string_view key_set);
// Where the document says that the keys are; nullopt if it is no such document.
[[nodiscard]] std::optional<std::string> jwks_uri_of(std::string_view discovery);

}  // namespace postern::cli
