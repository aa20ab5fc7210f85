#include "identity/oauth2_client_credentials/oauth2_client_credentials.h"

#include <array>
#include <variant>

#include "identity/bearer_token.h"
#include "identity/options.h"
#include "tokens/oauth2.h"

namespace postern::identity {
namespace {

using config::Problem;
using jose::Algorithm;
using tokens::ClientAuthentication;

ClientAuthentication authentication_of(const config::Node& options) noexcept {
  const std::string_view text = text_of(options, "client_authentication");
  if (text == "client_secret_post") return ClientAuthentication::client_secret_post;
  if (text == "private_key_jwt") return ClientAuthentication::private_key_jwt;
  if (text == "tls_client_auth") return ClientAuthentication::tls_client_auth;
  return ClientAuthentication::client_secret_basic;
}

// nullptr after saying why.
std::shared_ptr<const jose::PrivateKey> key_of(const config::MethodConfig& config, config::Diagnostics& diagnostics) {
  const config::Node& options = *config.options;
  const config::Secret* const pem = config.secret("key");
  if (!pem) return nullptr;  // resolving it has said why
  std::vector<Algorithm> candidates = {Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA};
  if (const auto named = jose::algorithm_by_name(text_of(options, "algorithm"))) candidates = {*named};
  std::string why;
  for (const Algorithm algorithm : candidates) {
    Result<jose::PrivateKey> key = jose::PrivateKey::from_pem(pem->reveal(), algorithm, text_of(options, "key_id"));
    if (key) return std::make_shared<const jose::PrivateKey>(std::move(*key));
    if (why.empty()) why = key.error().detail();
  }
  if (candidates.size() > 1) why = "it is no RSA key of 2048 bits or more, and none for ES256, ES384 or EdDSA";
  diagnostics.error(Problem::bad_value, *options.find("key"), "this key cannot sign assertions: " + why,
                    "make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out client.key");
  return nullptr;
}

// False after saying why.
bool read_certificate(const config::MethodConfig& config, tokens::ClientCredentialsOptions& out,
                      config::Diagnostics& diagnostics) {
  const config::Node& options = *config.options;
  const config::Secret* const chain = config.secret("certificate");
  const config::Secret* const key = config.secret("certificate_key");
  if (!chain && !key) return true;
  if (!chain || !key) {
    diagnostics.error(Problem::missing_key, options, "certificate and certificate_key belong together", "give both");
    return false;
  }
  auto parsed = tls::CertifiedKey::parse(chain->reveal(), key->reveal(), tls::CertifiedKey::Use::client);
  if (parsed) {
    out.certificate = std::move(*parsed);
    return true;
  }
  diagnostics.error(Problem::certificate_unreadable, *options.find("certificate"), std::string(parsed.error().detail()),
                    "give the chain, the gateway's certificate first, and its key");
  return false;
}

}  // namespace

std::unique_ptr<const IdentityMethod> make_oauth2_client_credentials(const config::IdentityUse& use,
                                                                     config::Diagnostics& diagnostics,
                                                                     const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  tokens::ClientCredentialsOptions out;
  out.token_url = text_of(options, "token_url");
  out.client_id = text_of(options, "client_id");
  out.authentication = authentication_of(options);
  if (const config::Secret* const secret = config.secret("client_secret")) out.client_secret = secret->clone();
  if (options.find("key")) {
    out.key = key_of(config, diagnostics);
    if (!out.key) return nullptr;
  }
  out.key_id = text_of(options, "key_id");
  out.assertion_audience = text_of(options, "assertion_audience");
  if (!out.key) {
    // An option that would do nothing.
    for (const std::string_view name : {"algorithm", "key_id", "assertion_audience"}) {
      const config::Node* const at = options.find(name);
      if (!at) continue;
      diagnostics.error(Problem::policy_option, *at, "`" + std::string(name) + "` is for private_key_jwt only",
                        "remove it, or give `key` and `client_authentication: private_key_jwt`");
      return nullptr;
    }
  }
  if (!read_certificate(config, out, diagnostics)) return nullptr;
  if (const config::Secret* const ca = config.secret("ca")) {
    auto anchors = tls::TrustAnchors::parse(ca->reveal());
    if (!anchors) {
      diagnostics.error(Problem::trust, *options.find("ca"), std::string(anchors.error().detail()),
                        "give a PEM file with the certificates of the authorities");
      return nullptr;
    }
    out.trust = std::move(*anchors);
  }
  for (const std::string_view name : {"scope", "audience", "resource"}) {
    if (options.find(name)) out.params.emplace_back(name, text_of(options, name));
  }
  if (const config::Node* const params = options.find("params")) {
    for (const config::Entry& entry : params->entries()) out.params.emplace_back(entry.key, entry.value.text());
  }
  return make_bearer("oauth2_client_credentials", use, tokens::make_client_credentials(std::move(out)), diagnostics,
                     services);
}

}  // namespace postern::identity
