#include "tokens/gcp.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/json_writer.h"
#include "base/strings.h"
#include "config/units.h"
#include "jose/json.h"
#include "jose/jwt.h"

namespace postern::tokens {
namespace {

using Obtained = std::expected<Credential, SourceError>;

constexpr std::array<std::string_view, 2> kMetadataHosts = {"metadata.google.internal", "169.254.169.254"};
constexpr std::string_view kTokenEndpoint = "Google's token endpoint";
constexpr std::string_view kMetadata = "Google's metadata server";
constexpr std::string_view kSts = "Google STS";
constexpr std::string_view kIam = "Google's iamcredentials";
// Google wants iat in the past, and clocks differ.
constexpr Duration kBackDated = std::chrono::seconds(10);
constexpr Duration kAssertionLife = std::chrono::hours(1);
constexpr jose::JsonLimits kAnswerLimits{.bytes = 256 * 1024, .depth = 8, .values = 256};

std::unexpected<Error> bad_option(std::string detail) {
  return fail(Code::io_failed, Side::gateway, std::move(detail));
}

// Visible ASCII with single spaces between.
bool is_scope(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 4096 && text.front() != ' ' && text.back() != ' ' &&
         text.find("  ") == std::string_view::npos &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c < '\x7f'; });
}

bool is_account(std::string_view text) noexcept {
  return cloud::is_name(text, 320) && text.find_first_of("/?#%:") == std::string_view::npos;
}

Result<void> check_wanted(const GcpWanted& wanted) {
  const bool access = wanted.kind == GcpWanted::Kind::access_token;
  if (access && !wanted.audience.empty()) return bad_option("an access token has scopes, and no audience");
  if (!access && !wanted.scope.empty()) return bad_option("an ID token has an audience, and no scopes");
  if (access && !is_scope(wanted.scope)) return bad_option("scope is a list of scopes with a space between them");
  if (!access && !cloud::is_name(wanted.audience)) return bad_option("audience is 1 to 1024 visible characters");
  return {};
}

std::string text_of(const GcpWanted& wanted) {
  return wanted.kind == GcpWanted::Kind::access_token ? "access:" + wanted.scope : "identity:" + wanted.audience;
}

// What Google's codes mean for whoever set this up; nothing is decided by them.
std::string_view hint_for(const cloud::Refusal& why) noexcept {
  if (why.text.find("JWT Signature") != std::string::npos)
    return "the key was deleted, or the file is another account's";
  if (why.text.find("reasonable timeframe") != std::string::npos) return "look at this machine's clock";
  if (why.text.find("account not found") != std::string::npos) return "the service account was deleted";
  return {};
}

Obtained token_from(std::string_view who, const FetchResponse& response, std::string_view member, const Clock& clock,
                    std::span<const std::string_view> secrets) {
  if (response.status == 200) return cloud::read_token(who, response, member, clock, secrets);
  const cloud::Refusal why = cloud::refusal_in(response.body.reveal());
  return std::unexpected(cloud::refused(who, response, why, clock, secrets, hint_for(why)));
}

std::unexpected<SourceError> not_signed(const Error& error) {
  return std::unexpected(cloud::failed("the assertion cannot be signed: " + std::string(error.detail())));
}

// ---- with the key of a service account -----------------------------------------------------------------------------

class ServiceAccountGrant final : public Source {
 public:
  explicit ServiceAccountGrant(GcpServiceAccountOptions options) : options_(std::move(options)) {}

  std::string key() const override {
    return "gcp:account:" + options_.token_url + "|" + options_.account->email() + "|" +
           options_.account->key().public_key().thumbprint() + "|" + options_.subject + "|" + text_of(options_.wanted);
  }
  std::string_view kind() const noexcept override {
    return options_.wanted.kind == GcpWanted::Kind::access_token ? "gcp_access_token" : "gcp_id_token";
  }

  Task<Obtained> obtain(Context context) const override {
    const auto assertion = sign(context.clock.wall(), cloud::uuid(context.entropy));
    if (!assertion) co_return not_signed(assertion.error());
    const std::array<std::string_view, 1> secrets = {*assertion};
    FetchRequest request = cloud::post_form(
        options_.token_url,
        cloud::form_of({{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"}, {"assertion", *assertion}}));
    auto answer = co_await context.fetcher.fetch(std::move(request));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    const bool access = options_.wanted.kind == GcpWanted::Kind::access_token;
    co_return token_from(kTokenEndpoint, *answer, access ? "access_token" : "id_token", context.clock, secrets);
  }

 private:
  Result<std::string> sign(WallTime now, std::string_view jti) const {
    const WallTime issued = now - kBackDated;
    jose::ClaimsWriter claims;
    claims.issuer(options_.account->email()).audience(options_.token_url).jwt_id(jti);
    claims.issued_at(issued).expires(issued + kAssertionLife);
    if (options_.wanted.kind == GcpWanted::Kind::access_token) {
      claims.text("scope", options_.wanted.scope);
      if (!options_.subject.empty()) claims.subject(options_.subject);
    } else {
      claims.subject(options_.account->email()).text("target_audience", options_.wanted.audience);
    }
    auto payload = claims.finish();
    if (!payload) return std::unexpected(std::move(payload.error()));
    return jose::sign_jws(options_.account->key(), *payload);
  }

  GcpServiceAccountOptions options_;
};

class SelfSigned final : public Source {
 public:
  explicit SelfSigned(GcpSelfSignedOptions options) : options_(std::move(options)) {}

  std::string key() const override {
    return "gcp:self_signed:" + options_.account->email() + "|" + options_.account->key().public_key().thumbprint() +
           "|" + options_.audience + "|" + options_.scope;
  }
  std::string_view kind() const noexcept override { return "gcp_jwt"; }

  Task<Obtained> obtain(Context context) const override {
    const WallTime issued = std::chrono::floor<std::chrono::seconds>(context.clock.wall() - kBackDated);
    const std::string& email = options_.account->email();
    jose::ClaimsWriter claims;
    claims.issuer(email).subject(email);
    if (options_.scope.empty()) {
      claims.audience(options_.audience);
    } else {
      claims.text("scope", options_.scope);
    }
    claims.jwt_id(cloud::uuid(context.entropy)).issued_at(issued).expires(issued + kAssertionLife);
    auto payload = claims.finish();
    if (!payload) return Obtained(not_signed(payload.error()));
    const auto token = jose::sign_jws(options_.account->key(), *payload);
    if (!token) return Obtained(not_signed(token.error()));
    Credential out;
    out.token = config::Secret(*token);
    out.expires = context.clock.now() + (issued + kAssertionLife - context.clock.wall());
    out.description = std::move(*payload);
    return Obtained(std::move(out));
  }

 private:
  GcpSelfSignedOptions options_;
};

// ---- metadata ------------------------------------------------------------------------------------------------------

class MetadataToken final : public Source {
 public:
  explicit MetadataToken(GcpMetadataOptions options) : options_(std::move(options)) {}

  std::string key() const override {
    return "gcp:metadata:" + options_.endpoint + "|" + options_.account + "|" + text_of(options_.wanted);
  }
  std::string_view kind() const noexcept override {
    return options_.wanted.kind == GcpWanted::Kind::access_token ? "gcp_access_token" : "gcp_id_token";
  }

  Task<Obtained> obtain(Context context) const override {
    const bool access = options_.wanted.kind == GcpWanted::Kind::access_token;
    FetchRequest request = cloud::get_metadata(url());
    request.fields.push_back({"Metadata-Flavor", config::Secret("Google")});
    auto answer = co_await context.fetcher.fetch(std::move(request));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    if (answer->field("metadata-flavor") != "Google") {
      co_return std::unexpected(cloud::failed(
          "what answered at the address of Google's metadata server is none: it does not say Metadata-Flavor: Google"));
    }
    if (answer->status != 200) {
      const std::string_view hint = answer->status == 404 ? "no such service account is attached" : "";
      co_return std::unexpected(cloud::refused(kMetadata, *answer, context.clock, {}, hint));
    }
    if (access) co_return cloud::read_token(kMetadata, *answer, "access_token", context.clock);
    co_return cloud::read_jwt(kMetadata, trim_ows(answer->body.reveal()), *answer, context.clock);
  }

 private:
  std::string url() const {
    const std::string base =
        options_.endpoint + "/computeMetadata/v1/instance/service-accounts/" + options_.account + "/";
    if (options_.wanted.kind == GcpWanted::Kind::id_token) {
      // Without format=full the email is not in it, by which one's own verifier knows the account.
      return cloud::with_query(base + "identity", {{"audience", options_.wanted.audience}, {"format", "full"}});
    }
    std::string scopes = options_.wanted.scope;
    std::ranges::replace(scopes, ' ', ',');
    return cloud::with_query(base + "token", {{"scopes", scopes}});
  }

  GcpMetadataOptions options_;
};

// ---- federation ----------------------------------------------------------------------------------------------------

class Federation final : public Source {
 public:
  Federation(GcpFederationOptions options, MintAssertion mint, std::string assertion_name)
      : options_(std::move(options)), mint_(std::move(mint)), assertion_name_(std::move(assertion_name)) {}

  std::string key() const override {
    return "gcp:federation:" + options_.sts_url + "|" + options_.provider + "|" + options_.iamcredentials_url + "|" +
           options_.service_account + "|" + std::to_string(options_.lifetime.count()) + "|" + text_of(options_.wanted) +
           "|" + assertion_name_;
  }
  std::string_view kind() const noexcept override { return "gcp_federated"; }

  Task<Obtained> obtain(Context context) const override {
    const auto assertion = mint_(context.clock.wall());
    if (!assertion) co_return std::unexpected(cloud::failed(assertion.error().to_string()));
    const std::array<std::string_view, 1> subject = {assertion->reveal()};
    // Who impersonates needs the right to do that, and shows it with this scope; the one that is wanted comes after.
    const std::string_view scope =
        options_.service_account.empty() ? std::string_view(options_.wanted.scope) : kGcpPlatformScope;
    FetchRequest exchange = cloud::post_form(
        options_.sts_url, cloud::form_of({{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"},
                                          {"audience", options_.provider},
                                          {"scope", scope},
                                          {"requested_token_type", "urn:ietf:params:oauth:token-type:access_token"},
                                          {"subject_token_type", "urn:ietf:params:oauth:token-type:jwt"},
                                          {"subject_token", assertion->reveal()}}));
    auto answer = co_await context.fetcher.fetch(std::move(exchange));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    Obtained federated = token_from(kSts, *answer, "access_token", context.clock, subject);
    if (!federated || options_.service_account.empty()) co_return federated;

    const std::array<std::string_view, 2> secrets = {assertion->reveal(), federated->token.reveal()};
    auto impersonated = co_await context.fetcher.fetch(impersonation(federated->token));
    if (!impersonated) co_return std::unexpected(SourceError{std::move(impersonated.error())});
    if (impersonated->status != 200) {
      const std::string_view hint =
          impersonated->status == 403
              ? "does the federated identity have roles/iam.workloadIdentityUser on the account?"
              : "";
      co_return std::unexpected(cloud::refused(kIam, *impersonated, context.clock, secrets, hint));
    }
    co_return read_impersonated(*impersonated, context.clock);
  }

 private:
  FetchRequest impersonation(const config::Secret& token) const {
    const bool access = options_.wanted.kind == GcpWanted::Kind::access_token;
    std::string body;
    JsonWriter writer(body);
    writer.begin_object();
    if (access) {
      writer.key("scope");
      writer.begin_array();
      for (std::string_view rest = options_.wanted.scope; !rest.empty();) {
        const std::string_view one = rest.substr(0, rest.find(' '));
        writer.value(one);
        rest.remove_prefix(std::min(one.size() + 1, rest.size()));
      }
      writer.end_array();
      writer.field("lifetime", std::to_string(options_.lifetime.count()) + "s");
    } else {
      writer.field("audience", options_.wanted.audience);
      writer.key("includeEmail");
      writer.value_bool(true);
    }
    writer.end_object();
    FetchRequest request;
    request.method = "POST";
    request.url = options_.iamcredentials_url + "/v1/projects/-/serviceAccounts/" + options_.service_account +
                  (access ? ":generateAccessToken" : ":generateIdToken");
    request.content_type = "application/json";
    request.fields.push_back({"Authorization", config::Secret("Bearer " + std::string(token.reveal()))});
    request.fields.push_back({"Accept", config::Secret("application/json")});
    request.body = config::Secret(body);
    return request;
  }

  // {"accessToken","expireTime"} or {"token"}.
  Obtained read_impersonated(const FetchResponse& response, const Clock& clock) const {
    const auto bad = [](std::string_view why) {
      return std::unexpected(cloud::failed(std::string(kIam) + " answered 200 " + std::string(why)));
    };
    auto json = jose::Json::parse(response.body.reveal(), kAnswerLimits);
    if (!json) return bad("with a body that is not JSON: " + json.error().to_string());
    struct Wiper {
      jose::Json& json;
      ~Wiper() { json.wipe(); }
    } wiper{*json};
    if (options_.wanted.kind == GcpWanted::Kind::id_token) {
      const std::string* const token = json->find_string("token");
      if (!token || !cloud::is_token_text(*token)) return bad("without token");
      return cloud::read_jwt(kIam, *token, response, clock);
    }
    const std::string* const token = json->find_string("accessToken");
    const std::string* const expires = json->find_string("expireTime");
    if (!token || !cloud::is_token_text(*token)) return bad("without accessToken");
    const auto until = expires ? config::parse_timestamp(*expires) : std::nullopt;
    if (!until) return bad("without expireTime");
    const auto end = cloud::expiry_at(*until, response, clock);
    if (!end) return bad("with a token that has expired already, or lives for days");
    Credential out;
    out.token = config::Secret(*token);
    out.expires = *end;
    JsonWriter writer(out.description);
    writer.begin_object();
    writer.field("token_type", "Bearer");
    writer.field("scope", options_.wanted.scope);
    writer.field("service_account", options_.service_account);
    writer.end_object();
    return out;
  }

  GcpFederationOptions options_;
  MintAssertion mint_;
  std::string assertion_name_;
};

}  // namespace

Result<std::unique_ptr<Source>> make_gcp_service_account(GcpServiceAccountOptions options) {
  if (auto good = check_wanted(options.wanted); !good) return std::unexpected(std::move(good.error()));
  if (options.token_url.empty()) options.token_url = options.account->token_uri();
  if (auto good = cloud::check_endpoint("token_url", options.token_url); !good) {
    return std::unexpected(std::move(good.error()));
  }
  if (!options.subject.empty() && options.wanted.kind == GcpWanted::Kind::id_token) {
    return bad_option("subject is for access tokens only");
  }
  if (!options.subject.empty() && !cloud::is_name(options.subject, 320)) return bad_option("subject is no address");
  return std::make_unique<ServiceAccountGrant>(std::move(options));
}

Result<std::unique_ptr<Source>> make_gcp_self_signed(GcpSelfSignedOptions options) {
  if (options.audience.empty() == options.scope.empty()) return bad_option("either audience or scope is needed");
  if (!options.scope.empty() && !is_scope(options.scope)) {
    return bad_option("scope is a list of scopes with a space between them");
  }
  if (!options.audience.empty() && !cloud::is_name(options.audience)) {
    return bad_option("audience is 1 to 1024 visible characters");
  }
  return std::make_unique<SelfSigned>(std::move(options));
}

Result<std::unique_ptr<Source>> make_gcp_metadata(GcpMetadataOptions options) {
  if (auto good = check_wanted(options.wanted); !good) return std::unexpected(std::move(good.error()));
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  if (auto good = cloud::check_endpoint("endpoint", options.endpoint, kMetadataHosts); !good) {
    return std::unexpected(std::move(good.error()));
  }
  if (!is_account(options.account)) return bad_option("account is \"default\" or the address of a service account");
  return std::make_unique<MetadataToken>(std::move(options));
}

Result<std::unique_ptr<Source>> make_gcp_federation(GcpFederationOptions options, MintAssertion mint,
                                                    std::string assertion_name) {
  if (auto good = check_wanted(options.wanted); !good) return std::unexpected(std::move(good.error()));
  if (!options.provider.starts_with("//iam.googleapis.com/") || !cloud::is_name(options.provider, 1024)) {
    return bad_option(
        "provider is //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/NAME");
  }
  if (options.service_account.empty() && options.wanted.kind == GcpWanted::Kind::id_token) {
    return bad_option("an ID token needs service_account: only a service account has one");
  }
  if (!options.service_account.empty() &&
      (!is_account(options.service_account) || options.service_account.find('@') == std::string::npos)) {
    return bad_option("service_account is the address of a service account");
  }
  if (options.lifetime < std::chrono::seconds(600) || options.lifetime > std::chrono::hours(12)) {
    return bad_option("lifetime is 10m to 12h");
  }
  while (options.iamcredentials_url.ends_with('/')) options.iamcredentials_url.pop_back();
  for (const auto& [name, url] : {std::pair<std::string_view, std::string_view>{"sts_url", options.sts_url},
                                  {"iamcredentials_url", options.iamcredentials_url}}) {
    if (auto good = cloud::check_endpoint(name, url); !good) return std::unexpected(std::move(good.error()));
  }
  return std::make_unique<Federation>(std::move(options), std::move(mint), std::move(assertion_name));
}

}  // namespace postern::tokens
