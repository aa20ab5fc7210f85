// A key set, or a key, from a stranger. Invariants: a set has at most 100 keys, each under a kid of its own for its
// algorithm; every entry is a key or counted; what is written is read again the same and holds nothing private; a
// private key that is taken signs what its public half verifies; errors say why in one short line without the content;
// OpenSSL's error queue stays empty.
#include <openssl/err.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "check.h"
#include "jose/jwk.h"
#include "jose/jwk_set.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::jose;

void check_error(std::string_view detail) {
  check(!detail.empty() && detail.size() < 400, "an error is short", detail);
  check(std::ranges::all_of(detail, [](char c) { return c >= ' ' && c < '\x7f'; }), "an error is one line", detail);
}

void check_public(const PublicKey& key) {
  check(is_key_id(key.kid()) && key.thumbprint().size() == 43, "a key has a name", key.kid());
  check(!is_symmetric(key.algorithm()), "a public key is no secret");
  check(!key.verify("x", "") && !key.verify("x", std::string(64, '\0')) && !key.verify("x", std::string(256, '\0')),
        "nothing is no signature", key.to_jwk());
  const std::string jwk = key.to_jwk();
  const auto again = public_key_from_jwk(Json::parse(jwk).value(), Owner::us);
  check(again || again.error().detail.find("exponent") != std::string::npos, "what is written is read", jwk);
  if (again) check_equal(again->to_jwk(), jwk, "a key is written the same again");
  const auto json = Json::parse(jwk);
  for (const std::string_view name : {"d", "p", "q", "dp", "dq", "qi", "k", "oth", "x5c"}) {
    check(!json->find(name), "only what is public is written", jwk);
  }
}

void check_set(std::string_view text) {
  const auto set = KeySet::parse(text);
  check(ERR_peek_error() == 0, "the error queue is empty after parse()");
  if (!set) return check_error(set.error());
  check(!set->keys().empty() && set->keys().size() <= kMaxKeys, "a set has keys, and not too many");
  const auto json = Json::parse(text, {.bytes = kMaxKeySetText, .values = 16 * 1024});
  check(json && json->find("keys")->if_array()->size() == set->keys().size() + set->skipped().all(),
        "every entry is a key or counted", text);
  for (const PublicKey& key : set->keys()) {
    check(set->find(key.kid(), key.algorithm()) == &key, "a kid and an algorithm lead to one key", key.kid());
    check_public(key);
  }
  if (set->skipped().unusable != 0) check_error(set->skipped().first_unusable);
  const auto again = KeySet::parse(set->to_json());
  check(again && again->to_json() == set->to_json(), "a set that is written is read again", set->to_json());
}

void check_keys(std::string_view text) {
  if (const auto json = Json::parse(text)) {
    const auto key = public_key_from_jwk(*json);
    if (key) check_public(*key);
    if (!key) check_error(key.error().detail);
  }
  for (const auto algorithm : {std::optional<Algorithm>(), std::optional(Algorithm::RS256)}) {
    const auto key = private_key_from_jwk(text, algorithm);
    if (!key) {
      check_error(key.error().detail());
      continue;
    }
    const auto signature = key->sign(text);
    check(signature && key->public_key().verify(text, *signature), "a key that is taken signs", text);
    check_public(key->public_key());
  }
  if (const auto key = symmetric_key_from_jwk(text)) {
    check(key->verify("x", key->sign("x").value()), "a secret that is taken signs", text);
  }
  const auto from_pem = PublicKey::from_pem(text, Algorithm::ES256);
  if (from_pem) check_public(*from_pem);
  if (!from_pem) check_error(from_pem.error().detail());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = view(data, size);
  check_set(input);
  check_keys(input);
  check(ERR_peek_error() == 0, "the error queue is empty after all");
  return 0;
}
