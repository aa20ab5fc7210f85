#include "identity/aws_sigv4/aws_sigv4.h"

#include <algorithm>
#include <variant>

#include "base/strings.h"
#include "config/config.h"
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
  std::vector<std::string_view> out = {settings_.secret_access_key};
  if (!settings_.session_token.empty()) out.push_back(settings_.session_token);
  return out;
}

bool AwsSigV4::forbids(std::string_view name) const noexcept { return signature::is_taken_off(name, settings_.pass); }

Result<std::shared_ptr<const signature::SigV4Key>> AwsSigV4::key_for(WallTime now) const {
  std::shared_ptr<const signature::SigV4Key> known = key_.load(std::memory_order_acquire);
  if (known && known->fits(now)) return known;
  Result<signature::SigV4Key> derived =
      signature::SigV4Key::derive(settings_.secret_access_key, now, settings_.region, settings_.service);
  if (!derived) return std::unexpected(std::move(derived.error()));
  auto fresh = std::make_shared<const signature::SigV4Key>(std::move(*derived));
  key_.store(fresh, std::memory_order_release);
  return fresh;
}

Task<Result<void>> AwsSigV4::apply(Attempt& attempt) const { return sign(attempt); }

Result<void> AwsSigV4::sign(Attempt& attempt) const {
  Result<std::shared_ptr<const signature::SigV4Key>> key = key_for(attempt.now);
  if (!key) return std::unexpected(std::move(key.error()));
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
      signature::sign_v4(request, settings_.access_key_id, settings_.session_token, **key, attempt.now);
  if (!made) return std::unexpected(std::move(made.error()));

  if (attempt.explanations) {
    explain(attempt, "canonical request (SigV4)", signature::redact_token(made->canonical_request));
    explain(attempt, "string to sign (SigV4)", made->string_to_sign);
  }
  const std::string_view proof = attempt.arena.copy(made->authorization);
  attempt.added.append(http::HeaderName::authorization, proof);
  attempt.added.append(kDate, attempt.arena.copy(made->amz_date), http::HeaderName::other);
  if (!settings_.session_token.empty()) attempt.added.append(kToken, settings_.session_token, http::HeaderName::other);
  if (!made->content_sha256.empty()) {
    attempt.added.append(kHash, attempt.arena.copy(made->content_sha256), http::HeaderName::other);
  }
  // The signature alone: an origin may well repeat the rest.
  attempt.sensitive.push_back(proof.substr(proof.rfind('=') + 1));
  return {};
}

std::unique_ptr<const IdentityMethod> make_aws_sigv4(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                     const Services& /*services*/) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  const config::Node& credentials = *options.find("credentials");
  const std::size_t errors = diagnostics.errors();
  const auto secret_at = [&](std::string_view key) -> std::string_view {
    const config::Node* const at = credentials.find(key);
    if (!at) return {};
    const auto secret = config.secrets.find(at);
    if (secret != config.secrets.end()) return secret->second.reveal();
    if (key == "access_key_id") return at->text();
    diagnostics.error(Problem::secret_literal, *at, "a secret is given by a reference", "use ${file:/path}");
    return {};
  };
  AwsSigV4::Settings settings;
  settings.region = text_of(options, "region");
  settings.service = text_of(options, "service");
  settings.access_key_id = secret_at("access_key_id");
  settings.secret_access_key = secret_at("secret_access_key");
  settings.session_token = secret_at("session_token");
  settings.whole_body = body_limit_of(options, diagnostics);
  const bool well_formed =
      settings.access_key_id.size() >= 16 && settings.access_key_id.size() <= 128 &&
      std::ranges::all_of(settings.access_key_id, [](char c) { return is_alpha(c) || is_digit(c); });
  if (!well_formed) {
    diagnostics.error(Problem::bad_value, *credentials.find("access_key_id"), "this is no access key id",
                      "it has 16 to 128 letters and digits, such as AKIAIOSFODNN7EXAMPLE");
  }
  if (settings.service == "lambda" && !settings.whole_body) {
    diagnostics.error(Problem::bad_value, *options.find("payload"), "Lambda function URLs refuse unsigned payloads",
                      "use `payload: signed` and `max_body`");
  }
  if (settings.service == "vpc-lattice-svcs" && settings.whole_body) {
    diagnostics.error(Problem::bad_value, options, "VPC Lattice takes unsigned payloads only",
                      "add `payload: unsigned`");
  }
  if (const config::Node* const pass = options.find("pass")) {
    for (const config::Node& item : pass->items()) {
      settings.pass.push_back(to_lower(item.text()));
      for (const std::string_view own : {kDate, kToken, kHash}) {
        if (!iequals(own, item.text())) continue;
        diagnostics.error(Problem::reserved_header, item, "this field is a part of the signature",
                          "the gateway sets it; remove it from `pass`");
      }
    }
  }
  if (errors != diagnostics.errors()) return nullptr;
  return std::make_unique<const AwsSigV4>(std::move(settings));
}

}  // namespace postern::identity
