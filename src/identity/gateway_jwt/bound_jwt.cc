#include "identity/gateway_jwt/bound_jwt.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "identity/options.h"
#include "jose/base64url.h"
#include "signature/digest.h"

namespace postern::identity {

using config::Problem;

namespace {

std::string digest_of(std::string_view bytes) {
  return jose::to_base64url(signature::bytes_of(signature::sha256(bytes)));
}

}  // namespace

BoundJwt::BoundJwt(CredentialField field, std::shared_ptr<const issuer::TokenMint> mint, issuer::TokenMint::Kind kind,
                   std::optional<std::uint64_t> whole_body)
    : field_(std::move(field)), mint_(std::move(mint)), kind_(std::move(kind)), whole_body_(whole_body) {}

Task<Result<void>> BoundJwt::apply(Attempt& attempt) const { return add(attempt); }

Result<void> BoundJwt::add(Attempt& attempt) const {
  const std::string path = digest_of(attempt.path_and_query);
  const std::string body = whole_body_ ? digest_of(attempt.body) : std::string();
  const std::array<std::pair<std::string_view, std::string_view>, 3> claims = {
      {{"htm", sent_method(attempt)}, {"path_sha256", path}, {"body_sha256", body}}};
  const std::size_t said = whole_body_ ? claims.size() : claims.size() - 1;
  const Result<issuer::SignedToken> made = mint_->sign({.subject = kind_.subject,
                                                        .audience = kind_.audience,
                                                        .algorithm = kind_.algorithm,
                                                        .type = kType,
                                                        .more = std::span(claims).first(said),
                                                        .lifetime = kLifetime},
                                                       attempt.now);
  if (!made) return fail(made.error().code(), made.error().side(), std::string(made.error().detail()));
  field_.append(attempt, made->token);
  if (attempt.explanations) explain(attempt, "claims of the token", claims_of(made->token));
  return {};
}

void check_bound_keys(const config::Config& config, config::Diagnostics& diagnostics) {
  if (!config.issuer) return;
  // By the name of its algorithm: who else signs with that key.
  const std::string_view first = jose::name_of(config.issuer->options.algorithms.front());
  struct Use {
    std::string_view algorithm;
    const config::Node* options;
    bool bound;
  };
  std::vector<Use> uses;
  for (const config::OriginConfig& origin : config.origins) {
    for (const config::IdentityUse& use : origin.identity) {
      const auto* const method = std::get_if<config::MethodConfig>(&use.config);
      if (!method || use.method != "gateway_jwt") continue;
      const config::Node& options = *method->options;
      uses.push_back({text_of(options, "algorithm", first), &options, options.find("bind") != nullptr});
    }
  }
  for (const Use& use : uses) {
    if (!use.bound) continue;
    const bool shared = use.algorithm == first || std::ranges::any_of(uses, [&](const Use& other) {
                          return !other.bound && other.algorithm == use.algorithm;
                        });
    if (!shared) continue;
    diagnostics.error(
        Problem::policy_option, *use.options,
        fmt::format("a token that is bound to its request needs a key of its own, but {} signs other tokens, too",
                    use.algorithm),
        use.algorithm == "EdDSA" ? "use ES256, and add it behind the first one of `issuer: {algorithms: [...]}`"
                                 : "use ES256 or EdDSA, whichever signs nothing else, and have it in `issuer: "
                                   "{algorithms: [...]}`, not as the first one");
  }
}

}  // namespace postern::identity
