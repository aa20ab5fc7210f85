// Tokens of Google Cloud: with the key of a service account, from the metadata server, signed by ourselves, or for a
// token of our issuer (Workload Identity Federation).
//
// Every make_*() checks its options and fails with io_failed, Side::gateway, and a detail for whoever wrote them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokens/cloud.h"
#include "tokens/service_account.h"
#include "tokens/source.h"

namespace postern::tokens {

// What is wanted of Google: an access token for its APIs, or an ID token that names an audience (Cloud Run, Functions,
// IAP, one's own verifier). Never both (AIP-4116).
struct GcpWanted {
  enum class Kind : std::uint8_t { access_token, id_token };
  Kind kind = Kind::access_token;
  std::string scope = {};     // access token: scopes with a space between them
  std::string audience = {};  // ID token

  static GcpWanted access(std::string scope) { return {Kind::access_token, std::move(scope), {}}; }
  static GcpWanted identity(std::string audience) { return {Kind::id_token, {}, std::move(audience)}; }
};

inline constexpr std::string_view kGcpPlatformScope = "https://www.googleapis.com/auth/cloud-platform";

// The JWT-bearer grant (RFC 7523, AIP-4112) at the account's token_uri, or at `token_url`. The assertion is signed
// anew for every attempt, back-dated by 10 s and good for an hour, which is what Google demands.
struct GcpServiceAccountOptions {
  std::shared_ptr<const ServiceAccount> account;
  GcpWanted wanted;
  std::string subject = {};    // domain-wide delegation: whom to act for; access tokens only
  std::string token_url = {};  // "": the account's
};
[[nodiscard]] Result<std::unique_ptr<Source>> make_gcp_service_account(GcpServiceAccountOptions options);

// A JWT that the account's key signs and no server sees (AIP-4111): for APIs of Google that take it, for IAP, and for
// one's own verifier. Either audience or scope; with a scope there is no audience. exp is iat + 3600 s.
struct GcpSelfSignedOptions {
  std::shared_ptr<const ServiceAccount> account;
  std::string audience = {};
  std::string scope = {};
};
[[nodiscard]] Result<std::unique_ptr<Source>> make_gcp_self_signed(GcpSelfSignedOptions options);

// The metadata server of a machine, a Cloud Run service or a pod. Its answer must say Metadata-Flavor: Google, else it
// was something else that answered.
struct GcpMetadataOptions {
  std::string endpoint = "http://metadata.google.internal";  // or http://169.254.169.254, or loopback
  std::string account = "default";                           // or the address of another one that is attached
  GcpWanted wanted;
};
[[nodiscard]] Result<std::unique_ptr<Source>> make_gcp_metadata(GcpMetadataOptions options);

// Our JWT for a token of Google's: token exchange (RFC 8693) at STS, then, with a service account, impersonation.
struct GcpFederationOptions {
  // "//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
  std::string provider;
  GcpWanted wanted;                                            // an ID token needs a service account
  std::string service_account = {};                            // "": the federated identity itself
  std::chrono::seconds lifetime = std::chrono::seconds(3600);  // of an impersonated access token: 600 to 43,200
  std::string sts_url = "https://sts.googleapis.com/v1/token";
  std::string iamcredentials_url = "https://iamcredentials.googleapis.com";
};
// `assertion_name` tells apart what `mint` mints; it stands in key().
[[nodiscard]] Result<std::unique_ptr<Source>> make_gcp_federation(GcpFederationOptions options, MintAssertion mint,
                                                                  std::string assertion_name);

}  // namespace postern::tokens
