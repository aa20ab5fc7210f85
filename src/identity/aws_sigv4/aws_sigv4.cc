#include "identity/aws_sigv4/aws_sigv4.h"

#include <algorithm>
#include <variant>

#include "base/strings.h"
#include "config/config.h"
#include "identity/bearer_token.h"
#include "identity/options.h"

namespace postern::identity {
namespace {

using config::Problem;

constexpr std::string_view kDate = "X-Amz-Date";
constexpr std::string_view kToken = "X-Amz-Security-Token";
constexpr std::string_view kHash = "X-Amz-Content-Sha256";

}  // namespace

std::vector<std::string_view> AwsSigV4::headers() const { return {"Authorization", kDate, kToken, kHash}; }

std::vector<std::string_view> AwsSigV4::secrets() const {
  if (settings_.fetched) return {};  // they change: Attempt::sensitive has what was sent
  std::vector<std::string_view> out = {settings_.secret_access_key};
  if (!settings_.session_token.empty()) out.push_back(settings_.session_token);
  return out;
}

bool AwsSigV4::forbids(std::string_view name) const noexcept { return signature::is_taken_off(name, settings_.pass); }

Result<std::shared_ptr<const AwsSigV4::Derived>> AwsSigV4::key_for(const Keys& keys, WallTime now) const {
  std::shared_ptr<const Derived> known = key_.load(std::memory_order_acquire);
  // An access key id has one secret, for as long as it lives.
  if (known && known->key.fits(now) && known->access_key_id == keys.access_key_id) return known;
  Result<signature::SigV4Key> derived =
      signature::SigV4Key::derive(keys.secret_access_key, now, settings_.region, settings_.service);
  if (!derived) return std::unexpected(std::move(derived.error()));
  auto fresh = std::make_shared<const Derived>(std::string(keys.access_key_id), std::move(*derived));
  key_.store(fresh, std::memory_order_release);
  return fresh;
}

Task<Result<void>> AwsSigV4::apply(Attempt& attempt) const {
  if (!settings_.fetched) {
    return sign(attempt, {settings_.access_key_id, settings_.secret_access_key, settings_.session_token});
  }
  if (!settings_.token) {
    return Result<void>(fail(Code::token_unavailable, Side::gateway, "credentials are not fetched here"));
  }
  const auto credential = settings_.token->current(attempt.loop.now());
  if (credential && credential.get() != tokens::find_use(attempt.refused, *settings_.token)) {
    return sign_with(attempt, credential);
  }
  return sign_when_there(attempt);
}

Task<Result<void>> AwsSigV4::sign_when_there(Attempt& attempt) const {
  const tokens::Credential* const refused = tokens::find_use(attempt.refused, *settings_.token);
  auto waiting = refused ? settings_.token->another(*refused, attempt.loop, attempt.deadline)
                         : settings_.token->get(attempt.loop, attempt.deadline);
  auto credential = co_await std::move(waiting);
  attempt.now = attempt.loop.wall();
  if (!credential) co_return std::unexpected(std::move(credential.error()));
  co_return sign_with(attempt, std::move(*credential));
}

Result<void> AwsSigV4::sign_with(Attempt& attempt, std::shared_ptr<const tokens::Credential> credential) const {
  const std::string_view session_token = attempt.arena.copy(credential->session_token.reveal());
  if (!session_token.empty()) attempt.sensitive.push_back(session_token);
  if (!credential->description.empty()) explain(attempt, "whose keys sign", credential->description);
  Result<void> done = sign(attempt, {credential->access_key_id, credential->secret_access_key.reveal(), session_token});
  if (done && attempt.tokens) attempt.tokens->push_back({settings_.token, std::move(credential)});
  return done;
}

Result<void> AwsSigV4::sign(Attempt& attempt, const Keys& keys) const {
  const Result<std::shared_ptr<const Derived>> derived = key_for(keys, attempt.now);
  if (!derived) return fail(derived.error().code(), derived.error().side(), std::string(derived.error().detail()));
  const std::string hash =
      settings_.whole_body ? signature::payload_hash_of(attempt.body) : std::string(signature::kUnsignedPayload);
  const SentTarget target = sent_target(attempt);
  const signature::SigV4Request request{.method = sent_method(attempt),
                                        .path = target.path,
                                        .query = target.query,
                                        .host = attempt.host,
                                        .fields = &attempt.request.headers,
                                        .payload_hash = hash,
                                        .also_signed = settings_.pass,
                                        .hash_header = signature::HashHeader::always};
  Result<signature::SigV4Signature> made =
      signature::sign_v4(request, keys.access_key_id, keys.session_token, (*derived)->key, attempt.now);
  if (!made) return std::unexpected(std::move(made.error()));

  if (attempt.explanations) {
    explain(attempt, "canonical request (SigV4)", signature::redact_token(made->canonical_request));
    explain(attempt, "string to sign (SigV4)", made->string_to_sign);
  }
  const std::string_view proof = attempt.arena.copy(made->authorization);
  attempt.added.append(http::HeaderName::authorization, proof);
  attempt.added.append(kDate, attempt.arena.copy(made->amz_date), http::HeaderName::other);
  if (!keys.session_token.empty()) attempt.added.append(kToken, keys.session_token, http::HeaderName::other);
  if (!made->content_sha256.empty()) {
    attempt.added.append(kHash, attempt.arena.copy(made->content_sha256), http::HeaderName::other);
  }
  // The signature alone: an origin may well repeat the rest.
  attempt.sensitive.push_back(proof.substr(proof.rfind('=') + 1));
  return {};
}

void read_signing_options(AwsSigV4::Settings& settings, const config::Node& options, config::Diagnostics& diagnostics) {
  settings.region = text_of(options, "region");
  settings.service = text_of(options, "service");
  settings.whole_body = body_limit_of(options, diagnostics);
  if (settings.service == "lambda" && !settings.whole_body) {
    diagnostics.error(Problem::bad_value, *options.find("payload"), "Lambda function URLs refuse unsigned payloads",
                      "use `payload: signed` and `max_body`");
  }
  if (settings.service == "vpc-lattice-svcs" && settings.whole_body) {
    diagnostics.error(Problem::bad_value, options, "VPC Lattice takes unsigned payloads only",
                      "add `payload: unsigned`");
  }
  const config::Node* const pass = options.find("pass");
  if (!pass) return;
  for (const config::Node& item : pass->items()) {
    settings.pass.push_back(to_lower(item.text()));
    for (const std::string_view own : {kDate, kToken, kHash}) {
      if (!iequals(own, item.text())) continue;
      diagnostics.error(Problem::reserved_header, item, "this field is a part of the signature",
                        "the gateway sets it; remove it from `pass`");
    }
  }
}

tokens::AwsRoleOptions read_role(const config::Node& role, std::string_view region,
                                 const config::MethodConfig& config) {
  tokens::AwsRoleOptions out;
  out.region = text_of(role, "sts_region", region);
  out.role_arn = text_of(role, "role_arn");
  out.session_name = text_of(role, "session_name", "postern-" + config.origin);
  out.duration = seconds_of(role, "duration", out.duration);
  out.external_id = text_of(role, "external_id");
  out.endpoint = text_of(role, "sts_url");
  return out;
}

namespace {

// The keys as they stand in the configuration; reports what is wrong.
void read_keys(AwsSigV4::Settings& settings, const config::MethodConfig& config, const config::Node& credentials,
               config::Diagnostics& diagnostics) {
  const auto secret_at = [&](std::string_view key) -> std::string_view {
    const config::Node* const at = credentials.find(key);
    if (!at) return {};
    const auto secret = config.secrets.find(at);
    if (secret != config.secrets.end()) return secret->second.reveal();
    if (key == "access_key_id") return at->text();
    diagnostics.error(Problem::secret_literal, *at, "a secret is given by a reference", "use ${file:/path}");
    return {};
  };
  settings.access_key_id = secret_at("access_key_id");
  settings.secret_access_key = secret_at("secret_access_key");
  settings.session_token = secret_at("session_token");
  for (const std::string_view needed : {"access_key_id", "secret_access_key"}) {
    if (credentials.find(needed)) continue;
    diagnostics.error(Problem::missing_key, credentials, "`" + std::string(needed) + "` is missing",
                      "give the keys, or `from: ambient` for what the machine offers");
    return;
  }
  const bool well_formed =
      settings.access_key_id.size() >= 16 && settings.access_key_id.size() <= 128 &&
      std::ranges::all_of(settings.access_key_id, [](char c) { return is_alpha(c) || is_digit(c); });
  if (!well_formed) {
    diagnostics.error(Problem::bad_value, *credentials.find("access_key_id"), "this is no access key id",
                      "it has 16 to 128 letters and digits, such as AKIAIOSFODNN7EXAMPLE");
  }
}

// The source of what `credentials` says; with keys that are given, these.
Result<std::unique_ptr<tokens::Source>> base_source(const AwsSigV4::Settings& settings, const config::Node& credentials,
                                                    const Services& services) {
  const std::string_view from = text_of(credentials, "from");
  const config::ProcessEnvironment process;
  const config::Environment& environment = services.environment ? *services.environment : process;
  if (from.empty()) {
    return tokens::make_aws_static({std::string(settings.access_key_id), config::Secret(settings.secret_access_key),
                                    config::Secret(settings.session_token)});
  }
  if (from == "environment") {
    auto keys = tokens::aws_keys_from(environment);
    if (!keys) return std::unexpected(std::move(keys.error()));
    return tokens::make_aws_static(std::move(*keys));
  }
  if (from == "instance") {
    tokens::AwsInstanceOptions options;
    options.endpoint = text_of(credentials, "endpoint", options.endpoint);
    return tokens::make_aws_instance(std::move(options));
  }
  if (from == "ambient") return tokens::make_aws_ambient(environment);
  auto container = tokens::aws_container_from(environment);
  if (!container) {
    return fail(Code::io_failed, Side::gateway,
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set: this is no container of AWS");
  }
  return tokens::make_aws_container(std::move(*container));
}

}  // namespace

std::unique_ptr<const IdentityMethod> make_aws_sigv4(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                     const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  const config::Node& credentials = *options.find("credentials");
  const config::Node* const role = options.find("role");
  const config::Node* const from = credentials.find("from");
  const std::size_t errors = diagnostics.errors();
  AwsSigV4::Settings settings;
  if (!from) read_keys(settings, config, credentials, diagnostics);
  for (const std::string_view given : {"access_key_id", "secret_access_key", "session_token"}) {
    const config::Node* const at = credentials.find(given);
    if (from && at) {
      diagnostics.error(Problem::ambiguous, *at, "both keys and a place that has them", "remove `from` or the keys");
    }
  }
  if (const config::Node* const endpoint = credentials.find("endpoint");
      endpoint && text_of(credentials, "from") != "instance") {
    diagnostics.error(Problem::ambiguous, *endpoint, "`endpoint` is that of `from: instance`", "remove it");
  }
  constexpr std::string_view kOfFetched[] = {"cold_start"};
  if (!from && !role) refuse_unused(options, kOfFetched, "keys that are given need no start", diagnostics);
  read_signing_options(settings, options, diagnostics);
  if (errors != diagnostics.errors()) return nullptr;
  settings.fetched = from || role;
  if (!settings.fetched) return std::make_unique<const AwsSigV4>(std::move(settings));

  auto source = base_source(settings, credentials, services);
  if (source && role) {
    source = tokens::make_aws_assumed_role(read_role(*role, settings.region, config), std::move(*source));
  }
  if (!source) {
    diagnostics.error(Problem::bad_value, role ? *role : credentials, std::string(source.error().detail()),
                      "see docs/aws_sigv4.md");
    return nullptr;
  }
  settings.token = keep_fresh(config, std::move(*source), services);
  return std::make_unique<const AwsSigV4>(std::move(settings));
}

}  // namespace postern::identity
