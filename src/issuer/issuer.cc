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

constexpr std::string_view kDiscovery = "/.well-known/openid-configuration";
constexpr std::string_view kKeySet = "/.well-known/jwks.json";
constexpr std::string_view kEdDsaPath = "/eddsa";
constexpr std::string_view kScheme = "https://";
constexpr std::size_t kJtiBytes = 16;
constexpr Duration kMaxLifetime = std::chrono::hours(1);

constexpr std::array<std::string_view, 7> kClaims = {"iss", "sub", "aud", "iat", "nbf", "exp", "jti"};

std::unexpected<Error> broken(std::string what) {
  return fail(Code::internal, Side::gateway, "issuer: " + std::move(what));
}

// "/tenant" of "https://id.example.com/tenant"; "" if there is none.
std::string_view path_of(std::string_view url) noexcept {
  const std::size_t slash = url.find('/', kScheme.size());
  return slash == std::string_view::npos ? std::string_view() : url.substr(slash);
}

std::string new_jwt_id(const Entropy& entropy) {
  std::array<unsigned char, kJtiBytes> random{};
  entropy.fill(random);
  return jose::to_base64url({reinterpret_cast<const char*>(random.data()), random.size()});
}

std::string discovery(std::string_view url, std::span<const jose::PublicKey> keys) {
  std::string out;
  JsonWriter json(out);
  const auto list = [&](std::string_view name, const auto& values) {
    json.key(name);
    json.begin_array();
    for (const std::string_view value : values) json.value(value);
    json.end_array();
  };
  std::vector<std::string_view> algorithms;
  for (const jose::PublicKey& key : keys) {
    const std::string_view name = name_of(key.algorithm());
    if (std::ranges::find(algorithms, name) == algorithms.end()) algorithms.push_back(name);
  }
  json.begin_object();
  json.field("issuer", url);
  json.field("jwks_uri", std::string(url) + std::string(kKeySet));
  list("response_types_supported", std::array<std::string_view, 1>{"id_token"});
  list("subject_types_supported", std::array<std::string_view, 1>{"public"});
  list("id_token_signing_alg_values_supported", algorithms);
  list("claims_supported", kClaims);
  json.end_object();
  return out;
}

bool is_apart(jose::Algorithm algorithm) noexcept { return algorithm == jose::Algorithm::EdDSA; }

}  // namespace

Issuer::Issuer(IssuerOptions options, KeyRing ring, std::vector<IssuerKey> keys)
    : options_(std::move(options)), ring_(std::move(ring)), keys_(std::move(keys)) {}

Result<std::shared_ptr<const Issuer>> Issuer::make(IssuerOptions options, KeyRing ring, std::vector<IssuerKey> keys) {
  if (options.algorithms.empty()) return broken("no algorithm");
  for (const KeyRing::Entry& entry : ring.entries()) {
    const auto it = std::ranges::find(keys, entry.kid, [](const IssuerKey& key) { return key.entry.kid; });
    if (it == keys.end() || !it->key) return broken("no private key for " + entry.kid);
    if (it->key->kid() != entry.kid || it->key->algorithm() != entry.algorithm) {
      return broken(entry.kid + " stands for another key");
    }
  }
  for (const jose::Algorithm algorithm : options.algorithms) {
    const auto entries = ring.entries();
    if (std::ranges::find(entries, algorithm, &KeyRing::Entry::algorithm) == entries.end()) {
      return broken("no key for " + std::string(name_of(algorithm)));
    }
  }
  return std::shared_ptr<const Issuer>(new Issuer(std::move(options), std::move(ring), std::move(keys)));
}

std::string Issuer::url(jose::Algorithm algorithm) const {
  return is_apart(algorithm) ? options_.url + std::string(kEdDsaPath) : options_.url;
}

const jose::PrivateKey* Issuer::private_key(std::string_view kid) const noexcept {
  for (const IssuerKey& key : keys_) {
    if (key.entry.kid == kid) return key.key.get();
  }
  return nullptr;
}

const jose::PrivateKey* Issuer::signing_key(jose::Algorithm algorithm, WallTime now) const noexcept {
  // Keys of an algorithm that is not asked for any more are published, and sign nothing.
  if (std::ranges::find(options_.algorithms, algorithm) == options_.algorithms.end()) return nullptr;
  const KeyRing::Entry* const entry = ring_.signing(algorithm, now);
  return entry ? private_key(entry->kid) : nullptr;
}

Result<SignedToken> Issuer::sign(const TokenRequest& request, WallTime now, const Entropy& entropy) const {
  const jose::Algorithm algorithm = request.algorithm.value_or(options_.algorithms.front());
  const jose::PrivateKey* const key = signing_key(algorithm, now);
  if (!key) return broken("it does not sign with " + std::string(name_of(algorithm)));
  if (request.subject.empty() || request.audience.empty()) return broken("a token without subject or audience");
  const Duration lifetime = request.lifetime.value_or(options_.lifetime);
  if (lifetime < std::chrono::seconds(1) || lifetime > kMaxLifetime)
    return broken("a token that lives too long or not");

  const WallTime expires = std::chrono::floor<std::chrono::seconds>(now + lifetime);
  jose::ClaimsWriter claims;
  claims.issuer(url(algorithm))
      .subject(request.subject)
      .audience(request.audience)
      .issued_at(now - options_.back_date)
      .not_before(now - options_.back_date)
      .expires(expires)
      .jwt_id(new_jwt_id(entropy));
  for (const auto& [name, value] : request.more) claims.text(name, value);
  const Result<std::string> payload = claims.finish();
  if (!payload) return std::unexpected(Error(Code::internal, Side::gateway, std::string(payload.error().detail())));
  Result<std::string> token = jose::sign_jws(*key, *payload, {.type = request.type});
  if (!token) return std::unexpected(std::move(token.error()));
  return SignedToken{std::move(*token), now, expires};
}

std::vector<Document> Issuer::documents(WallTime now) const {
  std::vector<Document> out;
  for (const bool apart : {false, true}) {
    std::vector<jose::PublicKey> keys;
    for (const KeyRing::Entry& entry : ring_.entries()) {
      if (is_apart(entry.algorithm) != apart || ring_.role(entry, now, options_.rotation) == KeyRing::Role::gone)
        continue;
      keys.push_back(private_key(entry.kid)->public_key());
    }
    if (keys.empty()) continue;  // an issuer that nobody has tokens of
    const std::string issuer = url(keys.front().algorithm());
    const std::string path(path_of(issuer));
    out.push_back({path + std::string(kDiscovery), discovery(issuer, keys)});
    // Cannot fail: no kid is in a ring twice.
    out.push_back({path + std::string(kKeySet), jose::KeySet::of(std::move(keys)).value().to_json()});
  }
  return out;
}

std::optional<WallTime> Issuer::next_change(WallTime now) const { return ring_.next_change(now, options_.rotation); }

std::vector<std::string> document_paths(const IssuerOptions& options) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& base) {
    out.push_back(base + std::string(kDiscovery));
    out.push_back(base + std::string(kKeySet));
  };
  const std::string path(path_of(options.url));
  const auto is_eddsa = [](jose::Algorithm algorithm) { return algorithm == jose::Algorithm::EdDSA; };
  if (!std::ranges::all_of(options.algorithms, is_eddsa)) add(path);
  if (std::ranges::any_of(options.algorithms, is_eddsa)) add(path + std::string(kEdDsaPath));
  return out;
}

}  // namespace postern::issuer
