#include "policies/catalog.h"

#include <algorithm>
#include <array>

#include "policies/api_key/api_key.h"
#include "policies/body_limit/body_limit.h"
#include "policies/client_certificate/client_certificate.h"
#include "policies/cors/cors.h"
#include "policies/ip_filter/ip_filter.h"
#include "policies/rate_limit/rate_limit.h"
#include "policies/redirect/redirect.h"
#include "policies/request_headers/request_headers.h"
#include "policies/respond/respond.h"
#include "policies/response_headers/response_headers.h"
#include "policies/rewrite/rewrite.h"

namespace postern::policies {
namespace {

constexpr char kApiKeySchema[] = {
#embed "api_key/schema.json"
};
constexpr char kBodyLimitSchema[] = {
#embed "body_limit/schema.json"
};
constexpr char kClientCertificateSchema[] = {
#embed "client_certificate/schema.json"
};
constexpr char kCorsSchema[] = {
#embed "cors/schema.json"
};
constexpr char kIpFilterSchema[] = {
#embed "ip_filter/schema.json"
};
constexpr char kRateLimitSchema[] = {
#embed "rate_limit/schema.json"
};
constexpr char kRedirectSchema[] = {
#embed "redirect/schema.json"
};
constexpr char kRequestHeadersSchema[] = {
#embed "request_headers/schema.json"
};
constexpr char kRespondSchema[] = {
#embed "respond/schema.json"
};
constexpr char kResponseHeadersSchema[] = {
#embed "response_headers/schema.json"
};
constexpr char kRewriteSchema[] = {
#embed "rewrite/schema.json"
};

template <std::size_t N>
constexpr std::string_view text(const char (&bytes)[N]) noexcept {
  return {bytes, N};
}

template <Rank rank>
Rank always(const config::Node&) noexcept {
  return rank;
}

constexpr std::array kCatalog = {
    CatalogEntry{"api_key", text(kApiKeySchema), Authenticates::by_key, always<Rank::authenticate>, make_api_key},
    CatalogEntry{"body_limit", text(kBodyLimitSchema), Authenticates::no, always<Rank::body_limit>, make_body_limit},
    CatalogEntry{"client_certificate", text(kClientCertificateSchema), Authenticates::by_certificate,
                 always<Rank::authenticate>, make_client_certificate},
    CatalogEntry{"cors", text(kCorsSchema), Authenticates::no, always<Rank::cors>, make_cors},
    CatalogEntry{"ip_filter", text(kIpFilterSchema), Authenticates::no, always<Rank::ip_filter>, make_ip_filter},
    CatalogEntry{"rate_limit", text(kRateLimitSchema), Authenticates::no, rate_limit_rank, make_rate_limit},
    CatalogEntry{"redirect", text(kRedirectSchema), Authenticates::no, always<Rank::answer>, make_redirect},
    CatalogEntry{"request_headers", text(kRequestHeadersSchema), Authenticates::no, always<Rank::request_headers>,
                 make_request_headers},
    CatalogEntry{"respond", text(kRespondSchema), Authenticates::no, always<Rank::answer>, make_respond},
    CatalogEntry{"response_headers", text(kResponseHeadersSchema), Authenticates::no, always<Rank::response_headers>,
                 make_response_headers},
    CatalogEntry{"rewrite", text(kRewriteSchema), Authenticates::no, always<Rank::rewrite>, make_rewrite},
};
static_assert(std::ranges::is_sorted(kCatalog, {}, &CatalogEntry::name));

}  // namespace

std::span<const CatalogEntry> catalog() noexcept { return kCatalog; }

const CatalogEntry* find_policy(std::string_view name) noexcept {
  const auto* const at = std::ranges::find(kCatalog, name, &CatalogEntry::name);
  return at == kCatalog.end() ? nullptr : at;
}

std::vector<config::SchemaPart> schema_parts() {
  std::vector<config::SchemaPart> parts;
  for (const CatalogEntry& entry : kCatalog) parts.push_back({"policy", entry.name, entry.schema});
  return parts;
}

std::vector<std::string> authenticating_policies() {
  std::vector<std::string> names;
  for (const CatalogEntry& entry : kCatalog) {
    if (entry.authenticates != Authenticates::no) names.emplace_back(entry.name);
  }
  return names;
}

}  // namespace postern::policies
