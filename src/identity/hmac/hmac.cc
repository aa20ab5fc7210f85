#include "identity/hmac/hmac.h"

#include <openssl/crypto.h>

#include <array>
#include <variant>

#include "config/config.h"
#include "identity/options.h"
#include "signature/digest.h"

namespace postern::identity {
namespace {

using config::Problem;
using signature::WebhookForm;

constexpr std::string_view kId = "Webhook-Id";
constexpr std::string_view kTimestamp = "Webhook-Timestamp";
constexpr std::size_t kMinText = 32;

// False after saying why.
bool add_key(Hmac::Settings& settings, const config::Node& at, const config::Secret& secret,
             config::Diagnostics& diagnostics) {
  const std::string_view text = secret.reveal();
  if (settings.form == WebhookForm::stripe && text.size() < kMinText) {
    diagnostics.error(Problem::secret_weak, at, "a secret for signatures has 32 bytes or more",
                      "make one: openssl rand -hex 32");
    return false;
  }
  std::optional<std::string> decoded;
  if (settings.form == WebhookForm::standard) {
    decoded = signature::decode_webhook_secret(text);
    if (!decoded) {
      diagnostics.error(Problem::bad_value, at, "this is no secret of Standard Webhooks",
                        "make one: echo whsec_$(openssl rand -base64 32)");
      return false;
    }
  }
  const Result<void> added = settings.keys.add(decoded ? std::string_view(*decoded) : text);
  if (decoded) OPENSSL_cleanse(decoded->data(), decoded->size());
  if (!added) {
    diagnostics.error(Problem::bad_value, at, std::string(added.error().detail()), "give fewer secrets");
    return false;
  }
  settings.secrets.push_back(text);
  return true;
}

}  // namespace

std::vector<std::string_view> Hmac::headers() const { return {settings_.header, kId, kTimestamp}; }

Task<Result<void>> Hmac::apply(Attempt& attempt) const { return sign(attempt); }

Result<void> Hmac::sign(Attempt& attempt) const {
  const bool standard = settings_.form == WebhookForm::standard;
  std::string id;
  if (standard) {
    std::array<unsigned char, 16> random;  // NOLINT: filled in the next line
    entropy_.fill(random);
    id = "msg_";
    signature::append_hex(id, signature::bytes_of(random));
  }
  Result<signature::WebhookSigner> signer =
      signature::WebhookSigner::begin(settings_.form, settings_.keys, attempt.now, id);
  if (!signer) return std::unexpected(std::move(signer.error()));
  signer->update(attempt.body);
  const std::string_view proof = attempt.arena.copy(signer->finish());
  if (standard) {
    attempt.added.append(kId, attempt.arena.copy(id), http::HeaderName::other);
    attempt.added.append(kTimestamp, attempt.arena.copy(signer->timestamp()), http::HeaderName::other);
  }
  attempt.added.append(settings_.header, proof, http::HeaderName::other);
  attempt.sensitive.push_back(proof);
  if (attempt.explanations) {
    const std::string size = std::to_string(attempt.body.size());
    explain(attempt, "what is signed",
            (standard ? id + "." : std::string()) + signer->timestamp() + ".<body of " + size + " bytes>");
  }
  return {};
}

std::unique_ptr<const IdentityMethod> make_hmac(const config::IdentityUse& use, config::Diagnostics& diagnostics,
                                                const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  const std::size_t errors = diagnostics.errors();
  Hmac::Settings settings;
  settings.form = text_of(options, "form") == "stripe" ? WebhookForm::stripe : WebhookForm::standard;
  settings.header = config.headers.front();
  for (const std::string_view own : {kId, kTimestamp}) {
    if (!http::is_alias_of(settings.header, own)) continue;
    diagnostics.error(Problem::duplicate, *options.find("header"),
                      "`" + std::string(own) + "` is another field of the same signature",
                      "give the signature a field of its own, such as Webhook-Signature");
  }
  settings.whole_body = body_limit_of(options, diagnostics).value_or(0);
  const auto add = [&](const config::Node& at) {
    const auto secret = config.secrets.find(&at);
    if (secret != config.secrets.end()) return static_cast<void>(add_key(settings, at, secret->second, diagnostics));
    diagnostics.error(Problem::secret_literal, at, "a secret is given by a reference", "use ${file:/path}");
  };
  add(*options.find("secret"));
  if (const config::Node* const also = options.find("also")) {
    for (const config::Node& item : also->items()) add(item);
  }
  if (errors != diagnostics.errors()) return nullptr;
  return std::make_unique<const Hmac>(std::move(settings), services.entropy);
}

}  // namespace postern::identity
