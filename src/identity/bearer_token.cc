#include "identity/bearer_token.h"

#include <algorithm>
#include <variant>

#include "config/units.h"
#include "identity/options.h"
#include "issuer/token_mint.h"
#include "tokens/manager.h"

namespace postern::identity {

using config::Problem;

Task<Result<void>> BearerToken::apply(Attempt& attempt) const {
  if (!token_) {
    return Result<void>(fail(Code::token_unavailable, Side::gateway, "tokens are not fetched here"));
  }
  const auto credential = token_->current(attempt.loop.now());
  if (credential && credential.get() != tokens::find_use(attempt.refused, *token_)) return add(attempt, credential);
  return wait(attempt);
}

Task<Result<void>> BearerToken::wait(Attempt& attempt) const {
  const tokens::Credential* const refused = tokens::find_use(attempt.refused, *token_);
  auto waiting =
      refused ? token_->another(*refused, attempt.loop, attempt.deadline) : token_->get(attempt.loop, attempt.deadline);
  auto credential = co_await std::move(waiting);
  attempt.now = attempt.loop.wall();  // what is signed after this one is signed now
  if (!credential) co_return std::unexpected(std::move(credential.error()));
  co_return add(attempt, std::move(*credential));
}

Result<void> BearerToken::add(Attempt& attempt, std::shared_ptr<const tokens::Credential> credential) const {
  field_.append(attempt, credential->token.reveal());
  if (attempt.explanations && credential->expires != MonoTime::max()) {
    const auto left = std::chrono::floor<std::chrono::seconds>(credential->expires - attempt.loop.now());
    explain(attempt, "how long the token is good", std::to_string(left.count()) + " s");
  }
  if (!credential->description.empty()) explain(attempt, "what the token says", credential->description);
  if (attempt.tokens) attempt.tokens->push_back({token_, std::move(credential)});
  return {};
}

std::shared_ptr<tokens::Token> keep_fresh(const config::MethodConfig& config, std::unique_ptr<tokens::Source> source,
                                          const Services& services) {
  if (!services.tokens) return nullptr;
  const bool refuse = text_of(*config.options, "cold_start") == "refuse";
  return services.tokens->token(config.where, std::move(source),
                                refuse ? tokens::ColdStart::refuse : tokens::ColdStart::wait);
}

std::unique_ptr<const IdentityMethod> make_bearer(std::string_view name, const config::IdentityUse& use,
                                                  Result<std::unique_ptr<tokens::Source>> source,
                                                  config::Diagnostics& diagnostics, const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  if (!source) {
    diagnostics.error(Problem::bad_value, *config.options, std::string(source.error().detail()),
                      name.starts_with("gcp") ? "see docs/gcp.md" : "see docs/azure_ad.md");
    return nullptr;
  }
  auto token = keep_fresh(config, std::move(*source), services);
  return std::make_unique<const BearerToken>(name, CredentialField(config.headers.front()), std::move(token));
}

std::shared_ptr<const tokens::ServiceAccount> service_account_of(const config::MethodConfig& config,
                                                                 config::Diagnostics& diagnostics) {
  const config::Secret* const text = config.secret("service_account");
  if (!text) return nullptr;  // resolving it has said why
  auto account = tokens::ServiceAccount::parse(text->reveal());
  if (account) return std::move(*account);
  diagnostics.error(Problem::bad_value, *config.options->find("service_account"),
                    "this is no key file of a service account: " + std::string(account.error().detail()),
                    "make one: gcloud iam service-accounts keys create service.json --iam-account=ACCOUNT");
  return nullptr;
}

std::optional<Assertion> assertion_of(const config::MethodConfig& config, std::string audience,
                                      config::Diagnostics& diagnostics, const Services& services) {
  const config::Node& options = *config.options;
  if (!services.mint) {
    diagnostics.error(Problem::missing_key, options, "this gateway has no issuer that could sign the token",
                      "add `issuer: {url: https://id.example.com}` at the top of the file");
    return std::nullopt;
  }
  const issuer::IssuerOptions& issuer = services.mint->options();
  if (std::ranges::find(issuer.algorithms, jose::Algorithm::RS256) == issuer.algorithms.end()) {
    diagnostics.error(Problem::policy_option, options, "the issuer has no key for RS256, and clouds take no other",
                      "add RS256 to `issuer: {algorithms: [...]}`");
    return std::nullopt;
  }
  const std::string subject(text_of(options, "subject", "postern/origins/" + config.origin));
  // A mint that was replaced has other keys: what was fetched by the old one is not taken over.
  Assertion out;
  out.name =
      issuer.url + " " + audience + " " + subject + " " + std::to_string(std::hash<const void*>{}(services.mint.get()));
  out.mint = [mint = services.mint, audience = std::move(audience), subject](WallTime now) -> Result<config::Secret> {
    auto token = mint->sign({.subject = subject, .audience = audience, .algorithm = jose::Algorithm::RS256}, now);
    if (!token) return std::unexpected(std::move(token.error()));
    return config::Secret(token->token);
  };
  return out;
}

std::chrono::seconds seconds_of(const config::Node& options, std::string_view key, std::chrono::seconds otherwise) {
  const config::Node* const value = options.find(key);
  const auto duration = value ? config::parse_duration(value->text()) : std::nullopt;
  return duration ? std::chrono::duration_cast<std::chrono::seconds>(*duration) : otherwise;
}

std::string joined(const config::Node* list, char separator) {
  if (!list) return {};
  if (list->is(config::Kind::string)) return std::string(list->text());
  std::string out;
  for (const config::Node& item : list->items()) {
    if (!out.empty()) out += separator;
    out += item.text();
  }
  return out;
}

}  // namespace postern::identity
