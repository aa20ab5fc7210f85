#include "jose/jwk_set.h"

#include <algorithm>
#include <utility>

#include "jose/json.h"
#include "jose/jwk.h"
#include "tls/pem.h"

namespace postern::jose {
namespace {

using tls::unusable;

// Room for x5c chains and what else issuers put into their keys.
constexpr JsonLimits kSetLimits{.bytes = kMaxKeySetText, .depth = 16, .values = 16 * 1024};

std::unexpected<std::string> refuse(std::string why) { return std::unexpected(std::move(why)); }
std::string key_number(std::size_t index) { return "key " + std::to_string(index + 1); }

}  // namespace

std::expected<KeySet, std::string> KeySet::parse(std::string_view text, const Options& options) {
  const auto json = Json::parse(text, kSetLimits);
  if (!json) return refuse("the key set is no JSON that can be read: " + json.error().to_string());
  const Json* const list = json->find("keys");
  if (!list || !list->if_array()) return refuse("this is no key set: it has no list \"keys\"");
  const Json::Array& entries = *list->if_array();
  if (entries.size() > kMaxKeys) return refuse("the key set has more than " + std::to_string(kMaxKeys) + " keys");

  KeySet out;
  Skipped& skipped = out.skipped_;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto key = public_key_from_jwk(entries[i], options.owner, options.rsa_algorithm);
    if (!key) {
      switch (key.error().fault) {
        case JwkFault::private_members: return refuse(key_number(i) + ": " + key.error().detail);
        case JwkFault::unknown_type:
        case JwkFault::unknown_algorithm: ++skipped.unknown; break;
        case JwkFault::not_for_signing: ++skipped.not_for_signing; break;
        case JwkFault::unusable:
          if (skipped.unusable++ == 0) skipped.first_unusable = key_number(i) + ": " + key.error().detail;
          break;
      }
      continue;
    }
    const PublicKey* const same = out.find(key->kid(), key->algorithm());
    if (!same) {
      out.keys_.push_back(std::move(*key));
    } else if (same->thumbprint() == key->thumbprint()) {
      ++skipped.repeated;
    } else {
      return refuse(key_number(i) + " has the kid and the algorithm of another key before it");
    }
  }
  if (!out.keys_.empty()) return out;
  std::string detail = "the key set has no key that can be used";
  if (skipped.all() != 0) {
    detail += ": " + std::to_string(skipped.unknown) + " of unknown type or algorithm, " +
              std::to_string(skipped.not_for_signing) + " not for signatures, " + std::to_string(skipped.unusable) +
              " unusable";
  }
  if (!skipped.first_unusable.empty()) detail += " (" + skipped.first_unusable + ")";
  return refuse(std::move(detail));
}

Result<KeySet> KeySet::of(std::vector<PublicKey> keys) {
  if (keys.size() > kMaxKeys) return unusable("more than " + std::to_string(kMaxKeys) + " keys");
  KeySet out;
  for (PublicKey& key : keys) {
    if (out.find(key.kid(), key.algorithm())) return unusable("two keys have the same kid and the same algorithm");
    out.keys_.push_back(std::move(key));
  }
  return out;
}

const PublicKey* KeySet::find(std::string_view kid, Algorithm algorithm) const noexcept {
  const auto it = std::ranges::find_if(
      keys_, [&](const PublicKey& key) { return key.algorithm() == algorithm && key.kid() == kid; });
  return it == keys_.end() ? nullptr : &*it;
}

const PublicKey* KeySet::only(Algorithm algorithm) const noexcept {
  const PublicKey* found = nullptr;
  for (const PublicKey& key : keys_) {
    if (key.algorithm() != algorithm) continue;
    if (found) return nullptr;
    found = &key;
  }
  return found;
}

bool KeySet::has_kid(std::string_view kid) const noexcept {
  return std::ranges::any_of(keys_, [&](const PublicKey& key) { return key.kid() == kid; });
}

std::string KeySet::to_json() const {
  std::string out = "{\"keys\":[";
  for (const PublicKey& key : keys_) {
    if (&key != keys_.data()) out += ',';
    out += key.to_jwk();
  }
  out += "]}";
  return out;
}

}  // namespace postern::jose
