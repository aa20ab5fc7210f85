#include "jose/jws.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/json_writer.h"
#include "base/strings.h"
#include "jose/base64url.h"

namespace postern::jose {
namespace {

constexpr JsonLimits kHeaderLimits{.bytes = kMaxTokenHeader, .depth = 8, .values = 256};
constexpr std::array<std::string_view, 5> kReserved = {"alg", "typ", "kid", "crit", "b64"};

std::unexpected<TokenFault> refuse(TokenFault fault) { return std::unexpected(fault); }

// A member that is text if it is there at all; nullopt if it is something else.
std::optional<std::string_view> text_member(const Json& header, std::string_view name) {
  const Json* const member = header.find(name);
  if (!member) return std::string_view();
  if (!member->if_string()) return std::nullopt;
  return std::string_view(*member->if_string());
}

TokenResult<JwsHeader> read_header(std::string_view text) {
  const auto json = Json::parse(text, kHeaderLimits);
  if (!json || !json->if_object()) return refuse(TokenFault::bad_header);
  // RFC 7515 4.1.11: whoever does not understand it refuses the token, whether the list is well formed or not.
  if (json->find("crit") || json->find("b64")) return refuse(TokenFault::critical_header);
  const std::optional<std::string_view> alg = text_member(*json, "alg");
  const std::optional<std::string_view> kid = text_member(*json, "kid");
  const std::optional<std::string_view> typ = text_member(*json, "typ");
  if (!alg || !kid || !typ) return refuse(TokenFault::bad_header);
  if (!json->find("alg")) return refuse(TokenFault::algorithm_missing);
  const std::optional<Algorithm> algorithm = algorithm_by_name(*alg);
  if (!algorithm) return refuse(TokenFault::algorithm_refused);
  if (json->find("kid") && !is_key_id(*kid)) return refuse(TokenFault::bad_header);
  return JwsHeader{*algorithm, std::string(*kid), std::string(*typ)};
}

std::string_view short_type(std::string_view type) {
  constexpr std::string_view kPrefix = "application/";
  const bool prefixed = type.size() > kPrefix.size() && iequals(type.substr(0, kPrefix.size()), kPrefix);
  const std::string_view rest = type.substr(prefixed ? kPrefix.size() : 0);
  // RFC 7515 4.1.9: only a name without another slash may leave the prefix out.
  return rest.find('/') == std::string_view::npos ? rest : type;
}

template <typename Key>
Result<std::string> sign_with(const Key& key, std::string_view payload, const JwsOptions& options) {
  const auto internal = [](const char* why) { return fail(Code::internal, Side::gateway, why); };
  std::string header;
  JsonWriter writer(header);
  writer.begin_object();
  writer.field("alg", name_of(key.algorithm()));
  if (!options.type.empty()) writer.field("typ", options.type);
  if (options.key_id == JwsOptions::KeyId::written && !key.kid().empty()) writer.field("kid", key.kid());
  for (std::size_t i = 0; i < options.more.size(); ++i) {
    const std::string_view name = options.more[i].first;
    const auto before = options.more.first(i);
    if (std::ranges::find(kReserved, name) != kReserved.end() ||
        std::ranges::any_of(before, [&](const auto& other) { return other.first == name; })) {
      return internal("a member of a token's header is given twice");
    }
    writer.field(name, options.more[i].second);
  }
  writer.end_object();

  std::string token;
  token.reserve((header.size() + payload.size()) * 4 / 3 + 800);
  append_base64url(token, header);
  token += '.';
  append_base64url(token, payload);
  Result<std::string> signature = key.sign(token);
  if (!signature) return signature;
  token += '.';
  append_base64url(token, *signature);
  if (header.size() > kMaxTokenHeader || token.size() > kMaxToken) return internal("a token is larger than 16 KiB");
  return token;
}

}  // namespace

TokenResult<Jws> Jws::parse(std::string_view token) {
  if (token.size() > kMaxToken) return refuse(TokenFault::too_large);
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos || token.find('.', second + 1) != std::string_view::npos) {
    return refuse(TokenFault::not_compact);
  }
  const std::optional<std::string> header = from_base64url(token.substr(0, first));
  std::optional<std::string> payload = from_base64url(token.substr(first + 1, second - first - 1));
  std::optional<std::string> signature = from_base64url(token.substr(second + 1));
  if (!header || !payload || !signature) return refuse(TokenFault::bad_encoding);
  TokenResult<JwsHeader> read = read_header(*header);
  if (!read) return refuse(read.error());
  Jws out;
  out.signing_input_ = token.substr(0, second);
  out.header_ = std::move(*read);
  out.payload_ = std::move(*payload);
  out.signature_ = std::move(*signature);
  return out;
}

template <typename Key>
TokenResult<VerifiedPayload> Jws::verify_with(const Key& key) const {
  if (header_.algorithm != key.algorithm()) return refuse(TokenFault::algorithm_mismatch);
  if (!key.verify(signing_input_, signature_)) return refuse(TokenFault::bad_signature);
  return VerifiedPayload(payload_);
}

TokenResult<VerifiedPayload> Jws::verify(const PublicKey& key) const { return verify_with(key); }
TokenResult<VerifiedPayload> Jws::verify(const SymmetricKey& key) const { return verify_with(key); }

TokenResult<VerifiedPayload> Jws::verify(const KeySet& keys) const {
  if (header_.kid.empty()) {
    const PublicKey* const key = keys.only(header_.algorithm);
    if (key) return verify_with(*key);
    const bool some = std::ranges::count(keys.keys(), header_.algorithm, &PublicKey::algorithm) != 0;
    return refuse(some ? TokenFault::ambiguous_key : TokenFault::unknown_key);
  }
  if (const PublicKey* const key = keys.find(header_.kid, header_.algorithm)) return verify_with(*key);
  return refuse(keys.has_kid(header_.kid) ? TokenFault::algorithm_mismatch : TokenFault::unknown_key);
}

bool Jws::has_type(std::string_view wanted) const noexcept {
  return iequals(short_type(header_.type), short_type(wanted));
}

Result<std::string> sign_jws(const PrivateKey& key, std::string_view payload, const JwsOptions& options) {
  return sign_with(key, payload, options);
}
Result<std::string> sign_jws(const SymmetricKey& key, std::string_view payload, const JwsOptions& options) {
  return sign_with(key, payload, options);
}

}  // namespace postern::jose
