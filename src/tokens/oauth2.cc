#include "tokens/oauth2.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <array>
#include <span>

#include "jose/jwt.h"
#include "signature/base64.h"
#include "signature/percent.h"
#include "tokens/cloud.h"

namespace postern::tokens {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kWho = "the token endpoint";
constexpr Duration kAssertionLife = 60s;
constexpr Duration kBackDated = 5s;  // for servers whose clock is a little behind
constexpr std::size_t kMaxParams = 16 * 1024;
// What the method writes itself: one of these among the free ones would be there twice, or change who asks.
constexpr std::array<std::string_view, 5> kOwn = {"grant_type", "client_id", "client_secret", "client_assertion",
                                                  "client_assertion_type"};

// Text that is a secret, or holds one, and is wiped.
struct Wiped {
  std::string text;
  ~Wiped() { OPENSSL_cleanse(text.data(), text.size()); }
};

// application/x-www-form-urlencoded (RFC 6749 Appendix B).
void append_form(std::string& out, std::string_view text) {
  for (;;) {
    const std::size_t space = text.find(' ');
    signature::append_percent_encoded(out, text.substr(0, space));
    if (space == std::string_view::npos) return;
    out += '+';
    text.remove_prefix(space + 1);
  }
}
void append_pair(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty()) out += '&';
  append_form(out, name);
  out += '=';
  append_form(out, value);
}

class ClientCredentials final : public Source {
 public:
  explicit ClientCredentials(ClientCredentialsOptions options) : options_(std::move(options)) {}

  [[nodiscard]] std::string key() const override {
    std::string own = options_.key ? options_.key->public_key().thumbprint() : std::string();
    if (options_.certificate) own += options_.certificate->leaf().fingerprint();
    own += "|" + options_.key_id + "|" + options_.assertion_audience;
    std::string params;
    for (const auto& [name, value] : options_.params) append_pair(params, name, value);
    const auto trust = options_.trust ? std::to_string(options_.trust->id()) : std::string();
    return "oauth2_client_credentials " + options_.token_url + " " + options_.client_id + " " +
           cloud::fingerprint({std::to_string(static_cast<int>(options_.authentication)),
                               options_.client_secret.reveal(), own, params, trust});
  }
  [[nodiscard]] std::string_view kind() const noexcept override { return "oauth2_client_credentials"; }

  [[nodiscard]] Task<std::expected<Credential, SourceError>> obtain(Context context) const override {
    Wiped assertion;
    if (options_.authentication == ClientAuthentication::private_key_jwt) {
      Result<std::string> signed_ = assert_self(context);
      if (!signed_) co_return std::unexpected(cloud::failed("the assertion cannot be signed"));
      assertion.text = std::move(*signed_);
    }
    Wiped basic;
    FetchRequest request = make_request(assertion.text, basic.text);
    Result<FetchResponse> response = co_await context.fetcher.fetch(std::move(request));
    if (!response) {
      co_return std::unexpected(cloud::failed(std::string(kWho) + ": " + std::string(response.error().detail())));
    }
    const std::array<std::string_view, 3> secrets = {options_.client_secret.reveal(), assertion.text, basic.text};
    std::expected<Credential, SourceError> out =
        cloud::read_token(kWho, *response, "access_token", context.clock, secrets);
    if (out) describe(*out);
    co_return out;
  }

 private:
  [[nodiscard]] Result<std::string> assert_self(const Context& context) const {
    const WallTime now = context.clock.wall();
    const std::string_view audience =
        options_.assertion_audience.empty() ? std::string_view(options_.token_url) : options_.assertion_audience;
    Result<std::string> claims = jose::ClaimsWriter()
                                     .issuer(options_.client_id)
                                     .subject(options_.client_id)
                                     .audience(audience)
                                     .jwt_id(cloud::uuid(context.entropy))
                                     .issued_at(now - kBackDated)
                                     .not_before(now - kBackDated)
                                     .expires(now + kAssertionLife)
                                     .finish();
    if (!claims) return claims;
    // The key was made with key_id if there is one.
    const auto kid = options_.key_id.empty() ? jose::JwsOptions::KeyId::omitted : jose::JwsOptions::KeyId::written;
    return jose::sign_jws(*options_.key, *claims, {.type = "JWT", .key_id = kid});
  }

  // `basic` becomes what stands behind "Basic ".
  [[nodiscard]] FetchRequest make_request(std::string_view assertion, std::string& basic) const {
    Wiped body;
    append_pair(body.text, "grant_type", "client_credentials");
    switch (options_.authentication) {
      case ClientAuthentication::client_secret_basic: {
        Wiped pair;
        append_form(pair.text, options_.client_id);
        pair.text += ':';
        append_form(pair.text, options_.client_secret.reveal());
        signature::append_base64(basic, pair.text);
        break;
      }
      case ClientAuthentication::client_secret_post:
        append_pair(body.text, "client_id", options_.client_id);
        append_pair(body.text, "client_secret", options_.client_secret.reveal());
        break;
      case ClientAuthentication::private_key_jwt:
        append_pair(body.text, "client_id", options_.client_id);
        append_pair(body.text, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        append_pair(body.text, "client_assertion", assertion);
        break;
      case ClientAuthentication::tls_client_auth: append_pair(body.text, "client_id", options_.client_id); break;
    }
    for (const auto& [name, value] : options_.params) append_pair(body.text, name, value);
    FetchRequest request = cloud::post_form(options_.token_url, config::Secret(body.text));
    if (!basic.empty()) {
      Wiped value{"Basic " + basic};
      request.fields.push_back({"Authorization", config::Secret(value.text)});
    }
    request.trust = options_.trust;
    request.certificate = options_.certificate;
    return request;
  }

  // The claims, if the token is a JWT: without the signature nobody can log in with them.
  static void describe(Credential& credential) {
    const std::string_view token = credential.token.reveal();
    const auto jws = jose::Jws::parse(token);
    if (!jws) return;
    auto claims = jose::unverified_claims(*jws);
    if (claims) credential.description = std::move(claims->text);
  }

  ClientCredentialsOptions options_;
};

std::unexpected<Error> bad(std::string what) { return fail(Code::io_failed, Side::gateway, std::move(what)); }

}  // namespace

Result<std::unique_ptr<Source>> make_client_credentials(ClientCredentialsOptions options) {
  Result<void> endpoint = cloud::check_endpoint("token_url", options.token_url);
  if (!endpoint) return std::unexpected(std::move(endpoint.error()));
  if (options.client_id.empty() || options.client_id.size() > 1024) return bad("client_id has 1 to 1024 characters");
  const bool by_secret = options.authentication == ClientAuthentication::client_secret_basic ||
                         options.authentication == ClientAuthentication::client_secret_post;
  if (by_secret == options.client_secret.empty()) {
    return bad(by_secret ? "client_secret is missing" : "client_secret is not used by this client_authentication");
  }
  const bool by_key = options.authentication == ClientAuthentication::private_key_jwt;
  if (by_key != (options.key != nullptr)) {
    return bad(by_key ? "key is missing" : "key is not used by this client_authentication");
  }
  const bool by_certificate = options.authentication == ClientAuthentication::tls_client_auth;
  if (by_certificate != (options.certificate != nullptr)) {
    return bad(by_certificate ? "certificate and certificate_key are missing"
                              : "certificate is not used by this client_authentication");
  }
  if (by_certificate && !options.token_url.starts_with("https://")) {
    return bad("token_url has to begin with https:// where a certificate is shown");
  }
  std::size_t size = 0;
  for (std::size_t i = 0; i < options.params.size(); ++i) {
    const auto& [name, value] = options.params[i];
    size += name.size() + value.size();
    if (name.empty() || std::ranges::find(kOwn, name) != kOwn.end()) {
      return bad("params has `" + name + "`, which is not a free one");
    }
    const auto twice = [&](const auto& other) { return other.first == name; };
    // RFC 8707 2: more than one resource may be named. RFC 6749 3.2: anything else stands once.
    if (name != "resource" &&
        std::any_of(options.params.begin(), options.params.begin() + static_cast<std::ptrdiff_t>(i), twice)) {
      return bad("`" + name + "` is given twice");
    }
  }
  if (size > kMaxParams) return bad("params are larger than 16 KiB");
  return std::make_unique<ClientCredentials>(std::move(options));
}

}  // namespace postern::tokens
