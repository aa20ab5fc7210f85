#include "identity/gateway_jwt/gateway_jwt.h"

#include <fmt/format.h>

#include <algorithm>

#include "identity/gateway_jwt/bound_jwt.h"
#include "identity/options.h"

namespace postern::identity {
namespace {

using config::Problem;

// The algorithm of the option, or the issuer's first one; nullopt after saying that the issuer has no such key.
std::optional<jose::Algorithm> algorithm_of(const config::Node& options, const issuer::IssuerOptions& issuer,
                                            config::Diagnostics& diagnostics) {
  const config::Node* const wish = options.find("algorithm");
  if (!wish) return issuer.algorithms.front();
  const std::optional<jose::Algorithm> algorithm = jose::algorithm_by_name(wish->text());
  if (algorithm && std::ranges::find(issuer.algorithms, *algorithm) != issuer.algorithms.end()) return algorithm;
  diagnostics.error(
      Problem::policy_option, *wish, fmt::format("the issuer has no key for {}", config::printable(wish->text())),
      fmt::format("add it to `issuer: {{algorithms: [...]}}`, or use {}", jose::name_of(issuer.algorithms.front())));
  return std::nullopt;
}

std::unique_ptr<const IdentityMethod> make_bound(const config::Node& bind, const config::MethodConfig& config,
                                                 issuer::TokenMint::Kind kind,
                                                 std::shared_ptr<const issuer::TokenMint> mint,
                                                 config::Diagnostics& diagnostics) {
  const std::size_t errors = diagnostics.errors();
  if (kind.algorithm == jose::Algorithm::RS256) {
    diagnostics.error(Problem::policy_option, bind, "a signature for every request takes too long with RS256",
                      "give `algorithm: ES256` or `algorithm: EdDSA`, and have it in `issuer: {algorithms: [...]}`");
  }
  if (const config::Node* const type = config.options->find("type")) {
    diagnostics.error(Problem::policy_option, *type, "a token that is bound to its request has a `typ` of its own",
                      "remove `type`; verifiers find " + std::string(BoundJwt::kType));
  }
  const std::optional<std::uint64_t> whole_body = body_limit_of(*config.options, diagnostics);
  if (errors != diagnostics.errors()) return nullptr;
  return std::make_unique<const BoundJwt>(CredentialField(config.headers.front()), std::move(mint), std::move(kind),
                                          whole_body);
}

}  // namespace

GatewayJwt::GatewayJwt(CredentialField field, std::shared_ptr<issuer::TokenMint> mint,
                       std::shared_ptr<issuer::TokenMint::Slot> slot)
    : field_(std::move(field)), mint_(std::move(mint)), slot_(std::move(slot)) {}

Task<Result<void>> GatewayJwt::apply(Attempt& attempt) const { return add(attempt); }

Result<void> GatewayJwt::add(Attempt& attempt) const {
  const Result<std::shared_ptr<const issuer::SignedToken>> token = slot_->current(attempt.now);
  if (!token) {
    return fail(token.error().code(), token.error().side(), std::string(token.error().detail()));
  }
  field_.append(attempt, (*token)->token);
  if (attempt.explanations) explain(attempt, "claims of the token", claims_of((*token)->token));
  return {};
}

std::unique_ptr<const IdentityMethod> make_gateway_jwt(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                       const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  if (!services.mint) {
    diagnostics.error(Problem::missing_key, options, "this gateway has no issuer that could sign the token",
                      "add `issuer: {url: https://id.example.com}` at the top of the file");
    return nullptr;
  }
  const auto algorithm = algorithm_of(options, services.mint->options(), diagnostics);
  if (!algorithm) return nullptr;
  const std::string by_default = "postern/origins/" + config.origin;
  issuer::TokenMint::Kind kind{.subject = std::string(text_of(options, "subject", by_default)),
                               .audience = std::string(text_of(options, "audience")),
                               .algorithm = *algorithm,
                               .type = std::string(text_of(options, "type", "JWT"))};
  if (const config::Node* const bind = options.find("bind")) {
    return make_bound(*bind, config, std::move(kind), services.mint, diagnostics);
  }
  for (const std::string_view key : {"max_body", "unsigned_body"}) {
    const config::Node* const given = options.find(key);
    if (!given) continue;
    diagnostics.error(Problem::policy_option, *given,
                      fmt::format("`{}` is for tokens that are bound to a request", key),
                      "remove it, or add `bind: request`");
    return nullptr;
  }
  auto slot = services.mint->keep(kind, services.clock.wall());
  return std::make_unique<const GatewayJwt>(CredentialField(config.headers.front()), services.mint, std::move(slot));
}

}  // namespace postern::identity
