#include "issuer/issuer.h"

#include <algorithm>
#include <array>

#include "base/json_writer.h"
#include "jose/base64url.h"
#include "jose/jwk_set.h"
#include "jose/jws.h"
#include "jose/jwt.h"

namespace postern::issuer {
namespace {

using jose::Algorithm;

constexpr std::string_view kDiscovery = "/.well-known/openid-configuration";
constexpr std::string_view kKeys = "/.well-known/jwks.json";
constexpr std::string_view kEdDsa = "/eddsa";

std::string_view path_of(std::string_view url) {
  const std::size_t slash = url.find('/', url.find("://") + 3);
  return slash == std::string_view::npos ? std::string_view() : url.substr(slash);
}

void write_texts(JsonWriter& json, std::string_view name, std::span<const std::string_view> values) {
  json.key(name);
  json.begin_array();
  for (const std::string_view value : values) json.value(value);
  json.end_array();
}

// OpenID Connect Discovery 1.0, 3: what a verifier needs, and what AWS wants to see beside it.
std::string discovery(const std::string& url, std::span<const std::string_view> algorithms) {
  static constexpr std::string_view kClaims[] = {"iss", "sub", "aud", "iat", "nbf", "exp", "jti"};
  static constexpr std::string_view kResponses[] = {"id_token"};
  static constexpr std::string_view kSubjects[] = {"public"};
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.field("issuer", url);
  json.field("jwks_uri", url + std::string(kKeys));
  write_texts(json, "response_types_supported", kResponses);
  write_texts(json, "subject_types_supported", kSubjects);
  write_texts(json, "id_token_signing_alg_values_supported", algorithms);
  write_texts(json, "claims_supported", kClaims);
  json.end_object();
  return out;
}

std::string new_id(const Entropy& entropy) {
  std::array<unsigned char, 16> random;  // NOLINT: filled in the next line
  entropy.fill(random);
  const std::string bytes(random.begin(), random.end());
  return jose::to_base64url(bytes);
}

}  // namespace

Issuer::Issuer(IssuerOptions options, KeyRing ring, std::vector<IssuerKey> keys)
    : options_(std::move(options)), ring_(std::move(ring)), keys_(std::move(keys)) {}

Result<std::shared_ptr<const Issuer>> Issuer::make(IssuerOptions options, KeyRing ring, std::vector<IssuerKey> keys) {
  for (const KeyRing::Entry& entry : ring.entries()) {
    const auto same = [&](const IssuerKey& key) {
      return key.key && key.key->kid() == entry.kid && key.key->algorithm() == entry.algorithm;
    };
    if (std::ranges::any_of(keys, same)) continue;
    return fail(Code::internal, Side::gateway, "a key of the issuer is not there: " + entry.kid);
  }
  for (const Algorithm algorithm : options.algorithms) {
    if (std::ranges::find(ring.entries(), algorithm, &KeyRing::Entry::algorithm) != ring.entries().end()) continue;
    return fail(Code::internal, Side::gateway, "the issuer has no key for " + std::string(jose::name_of(algorithm)));
  }
  return std::shared_ptr<const Issuer>(new Issuer(std::move(options), std::move(ring), std::move(keys)));
}

std::string Issuer::url(Algorithm algorithm) const {
  return algorithm == Algorithm::EdDSA ? options_.url + std::string(kEdDsa) : options_.url;
}

const jose::PrivateKey* Issuer::signing_key(Algorithm algorithm, WallTime now) const noexcept {
  const KeyRing::Entry* const entry = ring_.signing(algorithm, now);
  if (!entry) return nullptr;
  for (const IssuerKey& key : keys_) {
    if (key.key->kid() == entry->kid && key.key->algorithm() == algorithm) return key.key.get();
  }
  return nullptr;
}

Result<SignedToken> Issuer::sign(const TokenRequest& request, WallTime now, const Entropy& entropy) const {
  const Algorithm algorithm = request.algorithm.value_or(options_.algorithms.front());
  const jose::PrivateKey* const key = signing_key(algorithm, now);
  if (!key) {
    return fail(Code::internal, Side::gateway, "the issuer has no key for " + std::string(jose::name_of(algorithm)));
  }
  SignedToken out;
  out.issued_at = now;
  // As it is written: whole seconds.
  out.expires = std::chrono::floor<std::chrono::seconds>(now + request.lifetime.value_or(options_.lifetime));
  const WallTime earlier = now - options_.back_date;
  jose::ClaimsWriter claims;
  claims.issuer(url(algorithm)).subject(request.subject).audience(request.audience);
  claims.issued_at(earlier).not_before(earlier).expires(out.expires).jwt_id(new_id(entropy));
  for (const auto& [name, value] : request.more) claims.text(name, value);
  const Result<std::string> payload = claims.finish();
  if (!payload) return fail(payload.error().code(), payload.error().side(), std::string(payload.error().detail()));
  Result<std::string> token = jose::sign_jws(*key, *payload, {.type = request.type});
  if (!token) return std::unexpected(std::move(token.error()));
  out.token = std::move(*token);
  return out;
}

std::vector<Document> Issuer::documents(WallTime now) const {
  std::vector<Document> out;
  for (const bool eddsa : {false, true}) {
    std::vector<std::string_view> algorithms;
    for (const Algorithm algorithm : options_.algorithms) {
      if ((algorithm == Algorithm::EdDSA) == eddsa) algorithms.push_back(jose::name_of(algorithm));
    }
    if (algorithms.empty()) continue;
    std::vector<jose::PublicKey> published;
    for (const IssuerKey& key : keys_) {
      const auto entry = std::ranges::find(ring_.entries(), key.key->kid(), &KeyRing::Entry::kid);
      if (entry == ring_.entries().end() || (entry->algorithm == Algorithm::EdDSA) != eddsa) continue;
      if (ring_.role(*entry, now, options_.rotation) == KeyRing::Role::gone) continue;
      published.push_back(key.key->public_key());
    }
    const std::string base = url(eddsa ? Algorithm::EdDSA : Algorithm::RS256);
    const std::string path(path_of(base));
    const Result<jose::KeySet> set = jose::KeySet::of(std::move(published));
    out.push_back({path + std::string(kDiscovery), discovery(base, algorithms)});
    out.push_back({path + std::string(kKeys), set ? set->to_json() : std::string("{\"keys\":[]}")});
  }
  return out;
}

std::optional<WallTime> Issuer::next_change(WallTime now) const { return ring_.next_change(now, options_.rotation); }

std::vector<std::string> document_paths(const IssuerOptions& options) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& base) {
    out.push_back(base + std::string(kDiscovery));
    out.push_back(base + std::string(kKeys));
  };
  const std::string path(path_of(options.url));
  const auto eddsa = std::ranges::count(options.algorithms, Algorithm::EdDSA);
  if (std::cmp_less(eddsa, options.algorithms.size())) add(path);
  if (eddsa != 0) add(path + std::string(kEdDsa));
  return out;
}

}  // namespace postern::issuer
