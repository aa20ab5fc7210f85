// A token from anybody, against a fixed set of keys. Invariants: nothing verifies but what was signed with one of them;
// a token that is taken apart has one spelling and a kid that is fit for a log; claims can be calculated with and
// logged; what we sign ourselves comes back, whatever is in it; OpenSSL's error queue stays empty. The input is a
// token, a header, a payload, and something to sign.
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "check.h"
#include "jose/base64url.h"
#include "jose/jwk.h"
#include "jose/jwt.h"
#include "jose/test_vectors.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::jose;

constexpr WallTime kNow{std::chrono::seconds(1'300'819'379)};
constexpr std::array<std::string_view, 3> kSigned = {test::kRs256Token, test::kEs256Token, test::kEd25519Token};

struct Keys {
  KeySet set;
  PrivateKey key;
  SymmetricKey secret;
};

const Keys& keys() {
  static const Keys made = [] {
    std::vector<PublicKey> all;
    for (const std::string_view jwk : {test::kRs256PublicKey, test::kEs256PublicKey, test::kEd25519PublicKey}) {
      all.push_back(public_key_from_jwk(Json::parse(jwk).value()).value());
    }
    return Keys{KeySet::of(std::move(all)).value(), private_key_from_jwk(test::kEd25519Key).value(),
                SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value()};
  }();
  return made;
}

bool is_plain(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return (c >= '\0' && c < ' ') || c == '\x7f'; });
}

// Claims that were signed: nothing else is read.
TokenResult<Claims> read_claims(std::string_view text) {
  const auto token = sign_jws(keys().secret, text);
  if (!token) return std::unexpected(TokenFault::bad_claims);  // too large for a token
  const auto payload = Jws::parse(*token).value().verify(keys().secret);
  check(payload.has_value(), "what was signed verifies", *token);
  return Claims::parse(*payload);
}

void check_claims(std::string_view text) {
  const auto claims = read_claims(text);
  if (!claims) return check(claims.error() == TokenFault::bad_claims, "claims that cannot be read are bad claims");
  for (const std::string* it : {&claims->issuer(), &claims->subject(), &claims->jwt_id()}) {
    check(is_plain(*it) && it->size() <= 2048, "names in claims are fit for a log", *it);
  }
  for (const std::string& it : claims->audience())
    check(!it.empty() && is_plain(it), "audiences are fit for a log", it);
  for (const auto& time : {claims->expires(), claims->not_before(), claims->issued_at()}) {
    check(!time || (*time >= WallTime() && *time + std::chrono::hours(24 * 3650) > *time), "times can be added to");
  }
  check(!validate(*claims, {.now = kNow}), "claims are not good for nobody", text);
  const std::array<std::string_view, 1> audiences = {"me"};
  const Expectations expected{.issuer = "joe", .audiences = audiences, .now = kNow};
  if (!validate(*claims, expected)) return;
  check(claims->issuer() == "joe" && claims->expires() && *claims->expires() > kNow &&
            (!claims->not_before() || *claims->not_before() <= kNow) &&
            (!claims->issued_at() || *claims->issued_at() <= kNow) &&
            std::ranges::find(claims->audience(), "me") != claims->audience().end(),
        "claims that are good are what was expected", text);
}

void check_token(std::string_view token) {
  const auto jws = Jws::parse(token);
  check(ERR_peek_error() == 0, "the error queue is empty after parse()");
  if (!jws) return check(!text_of(jws.error()).empty(), "a fault has a text");
  check(token.size() <= kMaxToken, "a token is bounded");
  check(jws->header().kid.empty() || is_key_id(jws->header().kid), "a kid is one", jws->header().kid);
  const std::size_t first = token.find('.');
  const std::size_t second = token.rfind('.');
  const std::string_view encoded = token.substr(first + 1, second - first - 1);
  const std::string decoded = from_base64url(encoded).value();
  check_equal(to_base64url(decoded), encoded, "a payload has one spelling");
  check_equal(to_base64url(from_base64url(token.substr(second + 1)).value()), token.substr(second + 1),
              "a signature has one spelling");
  check_claims(decoded);
  const auto unverified = unverified_claims(*jws);
  check(!unverified || (is_plain(unverified->issuer) && unverified->issuer.size() <= 2048),
        "the name of an issuer is fit for a log");

  const auto payload = jws->verify(keys().set);
  check(ERR_peek_error() == 0, "the error queue is empty after verify()");
  check(!jws->verify(keys().secret), "nobody knows the secret", token);
  if (!payload) return;
  const std::string_view input = token.substr(0, second);
  const auto signed_by_us = [&](std::string_view known) { return known.substr(0, known.rfind('.')) == input; };
  check(std::ranges::any_of(kSigned, signed_by_us), "only what was signed verifies", token);
  check_equal(payload->text(), decoded, "the payload that was signed is given");
  std::string changed(token);
  const std::size_t at = number_of(token) % second;
  changed[at] = changed[at] == 'A' ? 'B' : 'A';
  const auto other = Jws::parse(changed);
  check(!other || !other->verify(keys().set), "a change is noticed", changed);
}

void check_header(std::string_view header) {
  const std::string token = to_base64url(header) + ".e30.AAAA";
  const auto jws = Jws::parse(token);
  if (!jws) return;
  const auto json = Json::parse(header);
  check(json && !json->find("crit") && !json->find("b64"), "a header that is taken is JSON without extensions", header);
  check_equal(*json->find_string("alg"), name_of(jws->header().algorithm), "alg is what the header says");
}

template <typename Key, typename Verifier>
void check_signing(const Key& key, const Verifier& verifier, std::string_view payload) {
  const auto token = sign_jws(key, payload);
  if (!token) return check(payload.size() > kMaxToken / 2, "a short payload can be signed", token.error().detail());
  const auto jws = Jws::parse(*token);
  const auto verified = jws.value().verify(verifier);
  check(verified && verified->text() == payload, "what was signed verifies", *token);
  const auto claims = ClaimsWriter().issuer("joe").text("x", payload).number("exp", 1).finish();
  const auto read = read_claims(*claims);
  check(claims->size() > kMaxToken / 2 || (read && read->issuer() == "joe"), "what was written is read", *claims);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = view(data, size);
  check_token(input);
  check_header(input);
  check_claims(input);
  check_signing(keys().key, keys().key.public_key(), input);
  check_signing(keys().secret, keys().secret, input);
  const auto bytes = from_base64url(input);
  check(!bytes || to_base64url(*bytes) == input, "base64url has one spelling", input);
  check(from_base64url(to_base64url(input)) == input, "bytes survive base64url");
  check(ERR_peek_error() == 0, "the error queue is empty after all");
  return 0;
}
