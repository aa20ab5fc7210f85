#include "identity/http_signature/http_signature.h"

#include <algorithm>
#include <array>
#include <variant>

#include "base/strings.h"
#include "config/config.h"
#include "config/units.h"
#include "identity/options.h"
#include "signature/content_digest.h"
#include "signature/digest.h"
#include "signature/message_keys.h"

namespace postern::identity {
namespace {

using config::Problem;

constexpr std::string_view kDigestField = "Content-Digest";
constexpr auto kLongest = std::chrono::hours(1);

// Written by the connection and not by us, split and joined on the way, or signed already under another name.
constexpr std::string_view kNotSignable =
    " connection content-digest content-length cookie expect host keep-alive proxy-connection signature "
    "signature-input te trailer transfer-encoding upgrade ";

bool is_signable(std::string_view field) {
  return kNotSignable.find(" " + to_lower(field) + " ") == std::string_view::npos;
}

// The kind of the key decides the algorithm; nobody has to say it a second time, and nobody can say it wrongly.
std::shared_ptr<const signature::MessageSigner> read_key(std::string_view pem, std::string& keyid,
                                                         std::string& problem) {
  using jose::Algorithm;
  for (const Algorithm algorithm : {Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::PS512}) {
    Result<jose::PrivateKey> key = jose::PrivateKey::from_pem(pem, algorithm);
    // The last one says what is wrong with a text that is no key at all.
    if (!key) problem = key.error().detail();
    if (!key) continue;
    if (keyid.empty()) keyid = key->kid();
    auto signer = signature::PrivateMessageKey::make(std::make_shared<const jose::PrivateKey>(std::move(*key)));
    if (signer) return *std::move(signer);
    problem = signer.error().detail();
  }
  return nullptr;
}

}  // namespace

Result<std::unique_ptr<const HttpSignature>> HttpSignature::make(Settings settings, const Entropy& entropy) {
  signature::CoveredComponents components;
  std::vector<std::string_view> names = {"@method", "@authority", "@path", "@query"};
  if (settings.whole_body) names.push_back(kDigestField);
  for (const std::string_view name : names) {
    Result<void> added = components.add(name);
    if (!added) return std::unexpected(std::move(added.error()));
  }
  for (const std::string& field : settings.cover) {
    Result<void> added = components.add(field, signature::Presence::if_present);
    if (!added) return std::unexpected(std::move(added.error()));
  }
  return std::unique_ptr<const HttpSignature>(new HttpSignature(std::move(settings), std::move(components), entropy));
}

std::vector<std::string_view> HttpSignature::headers() const { return {"Signature", "Signature-Input", kDigestField}; }

std::vector<std::string_view> HttpSignature::secrets() const {
  if (settings_.secret.empty()) return {};
  return {settings_.secret};
}

Task<Result<void>> HttpSignature::apply(Attempt& attempt) const { return sign(attempt); }

Result<void> HttpSignature::sign(Attempt& attempt) const {
  http::Headers fields;
  std::string_view digest;
  if (settings_.whole_body) {
    digest = attempt.arena.copy(signature::content_digest_of(signature::DigestAlgorithm::sha_256, attempt.body));
    fields.append(kDigestField, digest, http::HeaderName::other);
  }
  // In the order in which they are sent: the client's and ours, then those of the methods before this one.
  for (const std::string& name : settings_.cover) {
    for (const http::Headers* const sent :
         {&attempt.request.headers, static_cast<const http::Headers*>(&attempt.added)}) {
      for (const http::Field& field : *sent) {
        if (iequals(field.name, name)) fields.append(field.name, field.value, field.id);
      }
    }
  }

  const SentTarget target = sent_target(attempt);
  const signature::Message message{.method = sent_method(attempt),
                                   .scheme = attempt.scheme,
                                   .authority = attempt.host,
                                   .path = target.path,
                                   .query = target.query,
                                   .has_query = target.has_query,
                                   .fields = &fields};
  std::array<unsigned char, 16> random;  // NOLINT: filled in the next line
  entropy_.fill(random);
  std::string nonce;
  signature::append_hex(nonce, signature::bytes_of(random));
  const std::int64_t created = std::chrono::duration_cast<std::chrono::seconds>(attempt.now.time_since_epoch()).count();
  const signature::SignatureParameters parameters{.created = created,
                                                  .expires = created + settings_.lifetime.count(),
                                                  .keyid = settings_.keyid,
                                                  .alg = {},
                                                  .nonce = nonce,
                                                  .tag = settings_.tag};
  const Result<signature::SignedFields> made =
      signature::sign_message(message, components_, parameters, settings_.label, *settings_.signer);
  if (!made)
    return std::unexpected(Error(made.error().code(), made.error().side(), std::string(made.error().detail())));

  explain(attempt, "signature base (RFC 9421 2.5)", made->base);
  const std::string_view proof = attempt.arena.copy(made->signature);
  if (!digest.empty()) attempt.added.append(kDigestField, digest, http::HeaderName::other);
  attempt.added.append("Signature-Input", attempt.arena.copy(made->signature_input), http::HeaderName::other);
  attempt.added.append("Signature", proof, http::HeaderName::other);
  attempt.sensitive.push_back(proof);
  return {};
}

std::unique_ptr<const IdentityMethod> make_http_signature(const config::IdentityUse& use,
                                                          config::Diagnostics& diagnostics, const Services& services) {
  const auto& config = std::get<config::MethodConfig>(use.config);
  const config::Node& options = *config.options;
  const std::size_t errors = diagnostics.errors();
  const config::Secret* const key = config.secret("key");
  const config::Secret* const secret = config.secret("secret");
  for (const std::string_view option : {"key", "secret"}) {
    const config::Node* const literal = config.secret(option) ? nullptr : options.find(option);
    if (!literal) continue;
    diagnostics.error(Problem::secret_literal, *literal, "a key is given by a reference", "use ${file:/path}");
  }

  HttpSignature::Settings settings;
  settings.keyid = text_of(options, "keyid");
  settings.label = text_of(options, "label", "gateway");
  settings.tag = text_of(options, "tag", "postern-origin");
  settings.whole_body = body_limit_of(options, diagnostics);
  if (const config::Node* const expires = options.find("expires")) {
    const auto lifetime = config::parse_duration(expires->text()).value_or(std::chrono::seconds(60));
    if (lifetime < std::chrono::seconds(1) || lifetime > kLongest || lifetime % std::chrono::seconds(1) != Duration{}) {
      diagnostics.error(Problem::bad_value, *expires, "the life of a signature is whole seconds, 1s to 1h",
                        "60s leaves room for clocks that differ; the longer, the longer a copied request is good");
    }
    settings.lifetime = std::chrono::duration_cast<std::chrono::seconds>(lifetime);
  }
  if (const config::Node* const cover = options.find("cover")) {
    for (const config::Node& item : cover->items()) {
      settings.cover.emplace_back(item.text());
      if (is_signable(item.text())) continue;
      diagnostics.error(Problem::bad_value, item,
                        "this field cannot be signed: it is covered already, or made anew on the way",
                        "@authority stands for Host, and the digest for the length and form of the body");
    }
  }
  if (key && secret) {
    diagnostics.error(Problem::ambiguous, options, "both `key` and `secret`", "remove one of the two");
  } else if (secret) {
    if (secret->reveal().size() < signature::SharedSecret::kMinSize) {
      diagnostics.error(Problem::secret_weak, *options.find("secret"), "a secret for signatures has 32 bytes or more",
                        "make one: openssl rand -hex 32");
    }
    if (settings.keyid.empty()) {
      diagnostics.error(Problem::missing_key, options, "`keyid` is missing: a secret has no name of its own",
                        "give `keyid: NAME`, by which the origin finds the secret");
    }
    settings.signer = std::make_shared<const signature::SharedSecret>(secret->reveal());
    settings.secret = secret->reveal();
  } else if (key) {
    std::string problem;
    settings.signer = read_key(key->reveal(), settings.keyid, problem);
    if (!settings.signer) {
      diagnostics.error(Problem::bad_value, *options.find("key"), "this is no key for signatures: " + problem,
                        "make one: openssl genpkey -algorithm ed25519 -out sign.pem");
    }
  } else if (errors == diagnostics.errors()) {
    diagnostics.error(Problem::missing_key, options, "neither `key` nor `secret`",
                      "give `key: \"${file:/etc/postern/sign.pem}\"`");
  }
  if (errors != diagnostics.errors()) return nullptr;
  Result<std::unique_ptr<const HttpSignature>> made = HttpSignature::make(std::move(settings), services.entropy);
  if (made) return *std::move(made);
  diagnostics.error(Problem::bad_value, options, std::string(made.error().detail()), "see `cover`");
  return nullptr;
}

}  // namespace postern::identity
