#include "identity/catalog.h"

#include <algorithm>
#include <array>
#include <variant>

#include "identity/aws_federated/aws_federated.h"
#include "identity/aws_sigv4/aws_sigv4.h"
#include "identity/azure_ad/azure_ad.h"
#include "identity/azure_federated/azure_federated.h"
#include "identity/gateway_jwt/gateway_jwt.h"
#include "identity/gcp_access_token/gcp_access_token.h"
#include "identity/gcp_federated/gcp_federated.h"
#include "identity/gcp_id_token/gcp_id_token.h"
#include "identity/gcp_jwt/gcp_jwt.h"
#include "identity/hmac/hmac.h"
#include "identity/http_signature/http_signature.h"
#include "identity/mtls/mtls.h"
#include "identity/oauth2_client_credentials/oauth2_client_credentials.h"
#include "identity/shared_secret/shared_secret.h"

namespace postern::identity {
namespace {

constexpr char kAwsFederated[] = {
#embed "aws_federated/schema.json"
};
constexpr char kAwsSigV4[] = {
#embed "aws_sigv4/schema.json"
};
constexpr char kAzureAd[] = {
#embed "azure_ad/schema.json"
};
constexpr char kAzureFederated[] = {
#embed "azure_federated/schema.json"
};
constexpr char kGatewayJwt[] = {
#embed "gateway_jwt/schema.json"
};
constexpr char kGcpAccessToken[] = {
#embed "gcp_access_token/schema.json"
};
constexpr char kGcpFederated[] = {
#embed "gcp_federated/schema.json"
};
constexpr char kGcpIdToken[] = {
#embed "gcp_id_token/schema.json"
};
constexpr char kGcpJwt[] = {
#embed "gcp_jwt/schema.json"
};
constexpr char kHmac[] = {
#embed "hmac/schema.json"
};
constexpr char kHttpSignature[] = {
#embed "http_signature/schema.json"
};
constexpr char kMtls[] = {
#embed "mtls/schema.json"
};
constexpr char kOauth2ClientCredentials[] = {
#embed "oauth2_client_credentials/schema.json"
};
constexpr char kSharedSecret[] = {
#embed "shared_secret/schema.json"
};

template <std::size_t N>
constexpr std::string_view text(const char (&bytes)[N]) noexcept {
  return {bytes, N};
}

std::unique_ptr<const IdentityMethod> make_mtls(const config::IdentityUse& /*use*/,
                                                config::Diagnostics& /*diagnostics*/, const Services& /*services*/) {
  return std::make_unique<Mtls>();
}

std::unique_ptr<const IdentityMethod> make_shared_secret(const config::IdentityUse& use,
                                                         config::Diagnostics& /*diagnostics*/,
                                                         const Services& /*services*/) {
  return std::make_unique<SharedSecret>(std::get<config::SharedSecretConfig>(use.config));
}

constexpr std::string_view kAwsFields[] = {"X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"};
constexpr std::string_view kHmacFields[] = {"Webhook-Id", "Webhook-Timestamp"};
constexpr std::string_view kSignatureFields[] = {"Signature", "Signature-Input", "Content-Digest"};
constexpr std::string_view kSignatureDocuments[] = {"key"};

constexpr std::array<std::string_view, 4> kOauth2Documents = {"ca", "certificate", "certificate_key", "key"};
constexpr std::string_view kCertificateDocuments[] = {"certificate", "key"};
constexpr std::string_view kServiceAccount[] = {"service_account"};

constexpr std::array kCatalog = {
    CatalogEntry{"aws_federated", text(kAwsFederated), "Authorization", kAwsFields, {}, 3, make_aws_federated},
    CatalogEntry{"aws_sigv4", text(kAwsSigV4), "Authorization", kAwsFields, {}, 3, make_aws_sigv4},
    CatalogEntry{"azure_ad", text(kAzureAd), "Authorization", {}, kCertificateDocuments, 2, make_azure_ad},
    CatalogEntry{"azure_federated", text(kAzureFederated), "Authorization", {}, {}, 2, make_azure_federated},
    CatalogEntry{"gateway_jwt", text(kGatewayJwt), "Authorization", {}, {}, 2, make_gateway_jwt},
    CatalogEntry{
        "gcp_access_token", text(kGcpAccessToken), "Authorization", {}, kServiceAccount, 2, make_gcp_access_token},
    CatalogEntry{"gcp_federated", text(kGcpFederated), "Authorization", {}, {}, 2, make_gcp_federated},
    CatalogEntry{"gcp_id_token", text(kGcpIdToken), "Authorization", {}, kServiceAccount, 2, make_gcp_id_token},
    CatalogEntry{"gcp_jwt", text(kGcpJwt), "Authorization", {}, kServiceAccount, 2, make_gcp_jwt},
    CatalogEntry{"hmac", text(kHmac), "Webhook-Signature", kHmacFields, {}, 2, make_hmac},
    CatalogEntry{"http_signature", text(kHttpSignature), "", kSignatureFields, kSignatureDocuments, 3,
                 make_http_signature},
    CatalogEntry{"mtls", text(kMtls), "", {}, {}, 3, make_mtls},
    CatalogEntry{"oauth2_client_credentials",
                 text(kOauth2ClientCredentials),
                 "Authorization",
                 {},
                 kOauth2Documents,
                 2,
                 make_oauth2_client_credentials},
    CatalogEntry{"shared_secret", text(kSharedSecret), "", {}, {}, 1, make_shared_secret},
};
static_assert(std::ranges::is_sorted(kCatalog, {}, &CatalogEntry::name));

std::vector<std::string> copy(std::span<const std::string_view> names) { return {names.begin(), names.end()}; }

}  // namespace

std::span<const CatalogEntry> catalog() noexcept { return kCatalog; }

std::unique_ptr<const IdentityMethod> make_method(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                  const Services& services) {
  const auto* const entry = std::ranges::find(kCatalog, std::string_view(use.method), &CatalogEntry::name);
  return entry == kCatalog.end() ? nullptr : entry->make(use, diagnostics, services);
}

std::vector<config::SchemaPart> schema_parts() {
  std::vector<config::SchemaPart> parts;
  for (const CatalogEntry& entry : kCatalog) parts.push_back({"identity", entry.name, entry.schema});
  return parts;
}

std::vector<config::IdentityTraits> traits() {
  std::vector<config::IdentityTraits> out;
  for (const CatalogEntry& entry : kCatalog) {
    if (entry.make == make_mtls || entry.make == make_shared_secret) continue;  // read by `config` itself
    out.push_back({std::string(entry.name), std::string(entry.default_header), copy(entry.headers),
                   copy(entry.documents), entry.assurance});
  }
  return out;
}

}  // namespace postern::identity
