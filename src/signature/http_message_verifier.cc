#include "signature/http_message_verifier.h"

#include <algorithm>
#include <utility>

#include "signature/content_digest.h"
#include "signature/structured_field.h"

namespace postern::signature {
namespace {

// Bounds for what find_key looks up and remember_nonce keeps.
constexpr std::size_t kMaxKeyid = 256;
constexpr std::size_t kMaxNonce = 256;
constexpr std::string_view kContentDigest = "content-digest";

std::unexpected<Error> refuse(std::string detail) {
  return fail(Code::credentials_invalid, Side::client, "signature: " + std::move(detail));
}

Result<sf::Dictionary> read_dictionary(const Message& message, std::string_view name) {
  std::string text;
  if (!message.fields || !append_field(text, *message.fields, name)) {
    return fail(Code::credentials_missing, Side::client, "no " + std::string(name) + " field");
  }
  auto dictionary = sf::parse_dictionary(text);
  if (!dictionary) return refuse(std::string(name) + ": " + dictionary.error());
  return std::move(*dictionary);
}

// nullopt: absent, or not a string. `bad` tells the two apart.
std::optional<std::string_view> text_parameter(const sf::Parameters& parameters, std::string_view key, bool& bad) {
  const sf::BareItem* const value = sf::find(parameters, key);
  if (!value) return std::nullopt;
  const auto* const text = std::get_if<std::string>(value);
  bad = bad || !text;
  return text ? std::optional<std::string_view>(*text) : std::nullopt;
}

std::optional<std::int64_t> integer_parameter(const sf::Parameters& parameters, std::string_view key, bool& bad) {
  const sf::BareItem* const value = sf::find(parameters, key);
  if (!value) return std::nullopt;
  const auto* const integer = std::get_if<std::int64_t>(value);
  bad = bad || !integer;
  return integer ? std::optional<std::int64_t>(*integer) : std::nullopt;
}

struct Parameters {
  std::optional<std::int64_t> created;
  std::optional<std::int64_t> expires;
  std::optional<std::string_view> keyid;
  std::optional<std::string_view> alg;
  std::optional<std::string_view> nonce;
  std::optional<std::string_view> tag;
};

// nullopt if one of them has the wrong type.
std::optional<Parameters> read_parameters(const sf::Parameters& from) {
  bool bad = false;
  const Parameters out{integer_parameter(from, "created", bad), integer_parameter(from, "expires", bad),
                       text_parameter(from, "keyid", bad),      text_parameter(from, "alg", bad),
                       text_parameter(from, "nonce", bad),      text_parameter(from, "tag", bad)};
  return bad ? std::nullopt : std::optional<Parameters>(out);
}

// The one signature the policy speaks of.
Result<const sf::Member*> choose(const sf::Dictionary& inputs, const VerificationPolicy& policy) {
  if (!policy.label.empty()) {
    const sf::Member* const member = sf::find(inputs, policy.label);
    if (!member) return refuse("none has the label " + policy.label);
    return member;
  }
  const sf::Member* chosen = nullptr;
  for (const sf::Member& member : inputs) {
    const auto* const list = std::get_if<sf::InnerList>(&member.value);
    const sf::BareItem* const tag = list ? sf::find(list->parameters, "tag") : nullptr;
    const bool fits = policy.tag.empty() || (tag && *tag == sf::BareItem(policy.tag));
    if (!fits) continue;
    // Which of two to believe would be a guess.
    if (chosen) return refuse("more than one could be meant");
    chosen = &member;
  }
  if (!chosen) return refuse("none has the tag that is asked for");
  return chosen;
}

Result<void> check_times(const Parameters& parameters, const VerificationPolicy& policy, WallTime now) {
  if (!parameters.created) return refuse("no `created`");
  const std::int64_t seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  const std::int64_t skew = policy.skew.count();
  if (*parameters.created > seconds + skew) return refuse("`created` is in the future");
  if (*parameters.created < seconds - policy.max_age.count() - skew) return refuse("too old");
  if (policy.expires_required && !parameters.expires) return refuse("no `expires`");
  if (!parameters.expires) return {};
  if (*parameters.expires < *parameters.created) return refuse("`expires` is before `created`");
  if (*parameters.expires < seconds - skew) return refuse("expired");
  return {};
}

Result<CoveredComponents> read_components(const sf::InnerList& list, const VerificationPolicy& policy) {
  CoveredComponents components;
  for (const sf::Item& item : list.items) {
    const Result<void> added = components.add(item);
    if (!added) return refuse(std::string(added.error().detail()));
  }
  for (const std::string& name : policy.required_components) {
    if (!components.covers(name)) return refuse("does not cover " + name);
  }
  return components;
}

// Whether the signature and the body belong together; before the signature is checked only whether it says so at all.
Result<void> check_coverage(const CoveredComponents& components, const std::optional<std::string_view>& body) {
  if (!body || body->empty() || components.covers(kContentDigest)) return {};
  return refuse("does not cover content-digest, and there is a body");
}

Result<void> check_body(const Message& message, const CoveredComponents& components, std::string_view body) {
  // With parameters, too: whoever signs a digest in whatever form means it.
  if (std::ranges::find(components.list(), kContentDigest, &Component::name) == components.list().end()) return {};
  std::string text;
  if (!message.fields || !append_field(text, *message.fields, kContentDigest)) return refuse("no content-digest");
  const auto digest = parse_content_digest(text);
  if (!digest) return refuse(digest.error());
  return digest->matches(body) ? Result<void>() : refuse("content-digest is not that of the body");
}

// The bytes of the signature with that label.
const std::string* signature_of(const sf::Dictionary& signatures, std::string_view label) {
  const sf::Member* const member = sf::find(signatures, label);
  const auto* const item = member ? std::get_if<sf::Item>(&member->value) : nullptr;
  const auto* const bytes = item ? std::get_if<sf::Bytes>(&item->value) : nullptr;
  return bytes ? &bytes->data : nullptr;
}

// Until when a replay would pass the check of times.
WallTime replayable_until(std::int64_t created, const VerificationPolicy& policy) {
  return WallTime(std::chrono::seconds(created) + policy.max_age + policy.skew + std::chrono::seconds(1));
}

}  // namespace

Result<VerifiedSignature> verify_message(const Message& message, const VerificationPolicy& policy,
                                         const FindKey& find_key, WallTime now, std::optional<std::string_view> body) {
  const Result<sf::Dictionary> inputs = read_dictionary(message, "signature-input");
  if (!inputs) return fail(inputs.error().code(), Side::client, std::string(inputs.error().detail()));
  const Result<sf::Dictionary> signatures = read_dictionary(message, "signature");
  if (!signatures) return fail(signatures.error().code(), Side::client, std::string(signatures.error().detail()));

  const Result<const sf::Member*> chosen = choose(*inputs, policy);
  if (!chosen) return fail(chosen.error().code(), Side::client, std::string(chosen.error().detail()));
  const sf::Member& input = **chosen;
  const auto* const list = std::get_if<sf::InnerList>(&input.value);
  if (!list) return refuse("Signature-Input is no list of components");
  const std::string* const signature = signature_of(*signatures, input.key);
  if (!signature) return refuse("Signature has no bytes for the label " + input.key);

  const std::optional<Parameters> parameters = read_parameters(list->parameters);
  if (!parameters) return refuse("a parameter has the wrong type");
  if (!policy.tag.empty() && parameters->tag != policy.tag) return refuse("not the tag that is asked for");
  if (!parameters->keyid || parameters->keyid->size() > kMaxKeyid) return refuse("no `keyid`, or too long");
  if (policy.remember_nonce && (!parameters->nonce || parameters->nonce->empty())) return refuse("no `nonce`");
  if (parameters->nonce && parameters->nonce->size() > kMaxNonce) return refuse("`nonce` is too long");
  const Result<void> in_time = check_times(*parameters, policy, now);
  if (!in_time) return fail(in_time.error().code(), Side::client, std::string(in_time.error().detail()));
  Result<CoveredComponents> components = read_components(*list, policy);
  if (!components) return std::unexpected(std::move(components).error());
  if (Result<void> covered = check_coverage(*components, body); !covered) {
    return std::unexpected(std::move(covered).error());
  }

  const MessageVerifier* const key = find_key(*parameters->keyid);
  if (!key) return refuse("unknown `keyid`");
  if (parameters->alg && *parameters->alg != key->algorithm()) return refuse("`alg` is not the key's");

  // Written again from what was parsed: RFC 9421 2.3 wants the strict serialisation.
  std::string params;
  if (!sf::append(params, *list)) return refuse("Signature-Input cannot be written again");
  Result<std::string> base = signature_base(message, *components, params);
  if (!base) return refuse(std::string(base.error().detail()));
  if (!key->verify(*base, *signature)) return refuse("does not fit the message and the key");
  if (body) {
    if (Result<void> fits = check_body(message, *components, *body); !fits) {
      return std::unexpected(std::move(fits).error());
    }
  }
  if (policy.remember_nonce &&
      !policy.remember_nonce(*parameters->keyid, *parameters->nonce, replayable_until(*parameters->created, policy))) {
    return refuse("`nonce` was used before");
  }
  return VerifiedSignature{
      input.key,       std::string(*parameters->keyid), *parameters->created, std::move(*components), std::move(*base),
      body.has_value()};
}

}  // namespace postern::signature
