#include "tokens/azure.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "base/strings.h"
#include "jose/base64url.h"
#include "jose/json.h"
#include "jose/jwt.h"
#include "signature/digest.h"

namespace postern::tokens {
namespace {

using Obtained = std::expected<Credential, SourceError>;

constexpr std::array<std::string_view, 1> kInstanceHosts = {"169.254.169.254"};
constexpr std::string_view kEntra = "Entra ID";
constexpr std::string_view kManaged = "the managed identity endpoint";
constexpr std::string_view kAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
constexpr Duration kAssertionLife = std::chrono::minutes(10);
constexpr Duration kBackDated = std::chrono::seconds(30);
constexpr jose::JsonLimits kErrorLimits{.bytes = 64 * 1024, .depth = 8, .values = 256};

std::unexpected<Error> bad_option(std::string detail) {
  return fail(Code::io_failed, Side::gateway, std::move(detail));
}

// A part of the path or of an address: GUIDs and domains.
bool is_plain_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 253 && text.front() != '.' && std::ranges::all_of(text, [](char c) {
    return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_';
  });
}

// What the codes that are met most mean for whoever set this up; AADSTS numbers are for people, nothing is decided by
// them.
std::string_view hint_for(std::int64_t code) noexcept {
  constexpr std::pair<std::int64_t, std::string_view> kHints[] = {
      {7000215, "the client secret is wrong: its value is needed, not its id"},
      {7000222, "the client secret has expired"},
      {700016, "the tenant does not know this client_id"},
      {90002, "there is no such tenant"},
      {500011, "the tenant does not know this resource, or nobody has consented to it"},
      {700027, "the certificate is not registered with the application, or its key is another"},
      {700024, "the assertion is not of now: look at this machine's clock"},
      {1002012, "the scope is none: resource has to be an App ID URI or a GUID"},
      {70011, "the scope is none: resource has to be an App ID URI or a GUID"},
      {70021, "no federated credential of the application fits; a new one takes minutes until it is known everywhere"},
      {700211, "the federated credential has another issuer: compare iss, byte for byte"},
      {700212, "the federated credential has another audience: compare aud"},
      {700213, "the federated credential has another subject: compare sub, byte for byte"},
      {7002138, "issuer, subject or audience differ from the federated credential in upper and lower case"},
      {50013, "the signature of the assertion is not of a key that the issuer publishes"},
  };
  for (const auto& [number, hint] : kHints) {
    if (number == code) return hint;
  }
  return {};
}

std::string_view hint_in(std::string_view body) {
  const auto json = jose::Json::parse(body, kErrorLimits);
  const jose::Json* const codes = json ? json->find("error_codes") : nullptr;
  if (!codes || !codes->if_array()) return {};
  for (const jose::Json& code : *codes->if_array()) {
    const std::string_view hint = hint_for(code.if_int64().value_or(0));
    if (!hint.empty()) return hint;
  }
  return {};
}

// Fills in nothing, takes a "/.default" off that somebody wrote after all.
Result<void> check_app(AzureApp& app) {
  while (app.authority.ends_with('/')) app.authority.pop_back();
  if (auto good = cloud::check_endpoint("authority", app.authority); !good) return good;
  if (app.authority.find('?') != std::string::npos) return bad_option("authority has a query");
  if (!is_plain_name(app.tenant)) return bad_option("tenant is neither a GUID nor a domain");
  for (const std::string_view shared : {"common", "organizations", "consumers"}) {
    if (iequals(app.tenant, shared)) return bad_option("tenant has to be the tenant's own: applications log in there");
  }
  if (!is_plain_name(app.client_id)) return bad_option("client_id is no application's id");
  constexpr std::string_view kDefault = "/.default";
  if (app.resource.ends_with(kDefault)) app.resource.resize(app.resource.size() - kDefault.size());
  if (!cloud::is_name(app.resource, 512)) return bad_option("resource is no App ID URI, and no GUID");
  return {};
}

// What all three ways of an application to log in have in common.
class Application : public Source {
 public:
  explicit Application(AzureApp app)
      : app_(std::move(app)), token_url_(app_.authority + "/" + app_.tenant + "/oauth2/v2.0/token") {}

  std::string key() const override {
    return std::string(kind()) + ":" + token_url_ + "|" + app_.client_id + "|" + app_.resource + "|" + by();
  }

  Task<Obtained> obtain(Context context) const final {
    Result<config::Secret> proof = prove(context);
    if (!proof) co_return std::unexpected(cloud::failed(proof.error().to_string()));
    const std::array<std::string_view, 1> secrets = {proof->reveal()};
    FetchRequest request = cloud::post_form(token_url_, form(*proof));
    auto answer = co_await context.fetcher.fetch(std::move(request));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    if (answer->status != 200) {
      const std::string_view hint = hint_in(answer->body.reveal());
      co_return std::unexpected(cloud::refused(kEntra, *answer, context.clock, secrets, hint));
    }
    co_return cloud::read_token(kEntra, *answer, "access_token", context.clock, secrets);
  }

 protected:
  const AzureApp& app() const noexcept { return app_; }
  const std::string& token_url() const noexcept { return token_url_; }
  std::string scope() const { return app_.resource + "/.default"; }

 private:
  // The secret or the assertion, afresh.
  virtual Result<config::Secret> prove(const Context& context) const = 0;
  virtual config::Secret form(const config::Secret& proof) const {
    return cloud::form_of({{"grant_type", "client_credentials"},
                           {"client_id", app_.client_id},
                           {"scope", scope()},
                           {"client_assertion_type", kAssertionType},
                           {"client_assertion", proof.reveal()}});
  }
  // What it is proved with, for key().
  virtual std::string by() const = 0;

  AzureApp app_;
  std::string token_url_;
};

class WithSecret final : public Application {
 public:
  WithSecret(AzureApp app, config::Secret secret) : Application(std::move(app)), secret_(std::move(secret)) {}
  std::string_view kind() const noexcept override { return "azure_ad"; }

 private:
  Result<config::Secret> prove(const Context&) const override { return secret_.clone(); }
  config::Secret form(const config::Secret& proof) const override {
    return cloud::form_of({{"grant_type", "client_credentials"},
                           {"client_id", app().client_id},
                           {"scope", scope()},
                           {"client_secret", proof.reveal()}});
  }
  std::string by() const override { return "secret " + cloud::fingerprint({secret_.reveal()}); }
  config::Secret secret_;
};

class WithCertificate final : public Application {
 public:
  WithCertificate(AzureApp app, jose::PrivateKey key, std::string thumbprint)
      : Application(std::move(app)), key_(std::move(key)), thumbprint_(std::move(thumbprint)) {}
  std::string_view kind() const noexcept override { return "azure_ad"; }

 private:
  Result<config::Secret> prove(const Context& context) const override {
    const WallTime now = context.clock.wall();
    jose::ClaimsWriter claims;
    claims.audience(token_url()).issuer(app().client_id).subject(app().client_id).jwt_id(cloud::uuid(context.entropy));
    claims.issued_at(now - kBackDated).not_before(now - kBackDated).expires(now - kBackDated + kAssertionLife);
    const auto payload = claims.finish();
    if (!payload) return fail(payload.error().code(), Side::gateway, std::string(payload.error().detail()));
    const std::pair<std::string_view, std::string_view> thumbprint[] = {{"x5t#S256", thumbprint_}};
    const auto token = jose::sign_jws(key_, *payload, {.key_id = jose::JwsOptions::KeyId::omitted, .more = thumbprint});
    if (!token) return fail(token.error().code(), Side::gateway, std::string(token.error().detail()));
    return config::Secret(*token);
  }
  std::string by() const override { return "certificate " + thumbprint_; }
  jose::PrivateKey key_;
  std::string thumbprint_;  // of the certificate, as Entra knows it
};

class Federated final : public Application {
 public:
  Federated(AzureApp app, MintAssertion mint, std::string name)
      : Application(std::move(app)), mint_(std::move(mint)), name_(std::move(name)) {}
  std::string_view kind() const noexcept override { return "azure_federated"; }

 private:
  Result<config::Secret> prove(const Context& context) const override { return mint_(context.clock.wall()); }
  std::string by() const override { return "issuer " + name_; }
  MintAssertion mint_;
  std::string name_;
};

// ---- managed identity ----------------------------------------------------------------------------------------------

Result<void> check_identity(AzureManagedIdentity& identity) {
  constexpr std::string_view kDefault = "/.default";
  if (identity.resource.ends_with(kDefault)) identity.resource.resize(identity.resource.size() - kDefault.size());
  if (!cloud::is_name(identity.resource, 512)) return bad_option("resource is no App ID URI");
  int selectors = 0;
  for (const std::string* const selector : {&identity.client_id, &identity.object_id, &identity.resource_id}) {
    if (selector->empty()) continue;
    ++selectors;
    if (!cloud::is_name(*selector, 512)) return bad_option("the id of the managed identity is none");
  }
  if (selectors > 1) return bad_option("a managed identity is named by one id");
  return {};
}

// Both speak alike; they differ in addresses, versions and what shows that no web page asks.
class ManagedIdentity final : public Source {
 public:
  // `header` empty: the instance's.
  ManagedIdentity(AzureManagedIdentity identity, std::string endpoint, config::Secret header)
      : identity_(std::move(identity)), endpoint_(std::move(endpoint)), header_(std::move(header)) {}

  std::string key() const override {
    return "azure_managed:" + endpoint_ + "|" + identity_.resource + "|" + identity_.client_id + "|" +
           identity_.object_id + "|" + identity_.resource_id;
  }
  std::string_view kind() const noexcept override { return "azure_ad"; }

  Task<Obtained> obtain(Context context) const override {
    FetchRequest request = cloud::get_metadata(url());
    // IMDS may talk to Entra first.
    request.total_timeout = std::chrono::seconds(10);
    if (header_.empty()) {
      request.fields.push_back({"Metadata", config::Secret("true")});
    } else {
      request.fields.push_back({"X-IDENTITY-HEADER", header_.clone()});
    }
    const std::array<std::string_view, 1> secrets = {header_.reveal()};
    auto answer = co_await context.fetcher.fetch(std::move(request));
    if (!answer) co_return std::unexpected(SourceError{std::move(answer.error())});
    if (answer->status == 200) {
      co_return cloud::read_token(kManaged, *answer, "access_token", context.clock, secrets);
    }
    SourceError error = cloud::refused(kManaged, *answer, context.clock, secrets, hint(answer->status));
    if (answer->status == 404) error.permanent = false;  // not yet known, says IMDS's own list of what passes
    if (answer->status == 410) error.retry_after = std::chrono::seconds(10);
    co_return std::unexpected(std::move(error));
  }

 private:
  static std::string_view hint(int status) noexcept {
    if (status == 400) return "has this machine an identity, and does the tenant know the resource?";
    if (status == 410) return "IMDS is being upgraded, which takes up to 70 s";
    return {};
  }
  std::string url() const {
    const bool instance = header_.empty();
    std::string out = instance ? endpoint_ + "/metadata/identity/oauth2/token" : endpoint_;
    out = cloud::with_query(
        out, {{"api-version", instance ? "2018-02-01" : "2019-08-01"}, {"resource", identity_.resource}});
    if (!identity_.client_id.empty()) return cloud::with_query(out, {{"client_id", identity_.client_id}});
    if (!identity_.object_id.empty()) {
      return cloud::with_query(out, {{instance ? "object_id" : "principal_id", identity_.object_id}});
    }
    if (!identity_.resource_id.empty()) {
      return cloud::with_query(out, {{instance ? "msi_res_id" : "mi_res_id", identity_.resource_id}});
    }
    return out;
  }

  AzureManagedIdentity identity_;
  std::string endpoint_;
  config::Secret header_;
};

}  // namespace

Result<std::unique_ptr<Source>> make_azure_secret(AzureApp app, config::Secret client_secret) {
  if (auto good = check_app(app); !good) return std::unexpected(std::move(good.error()));
  if (client_secret.empty()) return bad_option("client_secret is empty");
  return std::make_unique<WithSecret>(std::move(app), std::move(client_secret));
}

Result<std::unique_ptr<Source>> make_azure_certificate(AzureApp app, std::shared_ptr<const tls::CertifiedKey> key) {
  if (auto good = check_app(app); !good) return std::unexpected(std::move(good.error()));
  if (EVP_PKEY_get_base_id(key->key()) != EVP_PKEY_RSA) {
    return bad_option("the certificate's key is " + key->leaf().key_type() + "; Entra takes RSA only");
  }
  EVP_PKEY_up_ref(key->key());
  auto signing = jose::PrivateKey::from_evp(tls::KeyPtr(key->key()), jose::Algorithm::PS256);
  if (!signing) return std::unexpected(std::move(signing.error()));
  const signature::Sha256 digest = signature::sha256(key->leaf().to_der());
  return std::make_unique<WithCertificate>(std::move(app), std::move(*signing),
                                           jose::to_base64url(signature::bytes_of(digest)));
}

Result<std::unique_ptr<Source>> make_azure_federated(AzureApp app, MintAssertion mint, std::string assertion_name) {
  if (auto good = check_app(app); !good) return std::unexpected(std::move(good.error()));
  return std::make_unique<Federated>(std::move(app), std::move(mint), std::move(assertion_name));
}

Result<std::unique_ptr<Source>> make_azure_instance(AzureManagedIdentity identity, std::string endpoint) {
  if (auto good = check_identity(identity); !good) return std::unexpected(std::move(good.error()));
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (auto good = cloud::check_endpoint("endpoint", endpoint, kInstanceHosts); !good) {
    return std::unexpected(std::move(good.error()));
  }
  return std::make_unique<ManagedIdentity>(std::move(identity), std::move(endpoint), config::Secret());
}

Result<std::unique_ptr<Source>> make_azure_app_service(AzureManagedIdentity identity, std::string endpoint,
                                                       config::Secret header) {
  if (auto good = check_identity(identity); !good) return std::unexpected(std::move(good.error()));
  // App Service listens on a link-local address of its own.
  const std::array<std::string_view, 1> hosts = {"169.254.129.2"};
  if (auto good = cloud::check_endpoint("IDENTITY_ENDPOINT", endpoint, hosts); !good) {
    return std::unexpected(std::move(good.error()));
  }
  if (!cloud::is_token_text(header.reveal())) return bad_option("IDENTITY_HEADER cannot stand in a header field");
  return std::make_unique<ManagedIdentity>(std::move(identity), std::move(endpoint), std::move(header));
}

Result<std::unique_ptr<Source>> make_azure_managed(AzureManagedIdentity identity,
                                                   const config::Environment& environment) {
  const auto endpoint = environment.get("IDENTITY_ENDPOINT");
  const auto header = environment.get("IDENTITY_HEADER");
  if (!endpoint || endpoint->empty()) return make_azure_instance(std::move(identity));
  return make_azure_app_service(std::move(identity), *endpoint, config::Secret(header.value_or("")));
}

}  // namespace postern::tokens
