#include "tokens/service_account.h"

#include <algorithm>
#include <array>
#include <utility>

#include "jose/json.h"
#include "tokens/cloud.h"

namespace postern::tokens {
namespace {

constexpr jose::JsonLimits kLimits{.bytes = jose::kMaxKeyText, .depth = 8, .values = 256};

std::unexpected<Error> bad(std::string detail) { return fail(Code::io_failed, Side::gateway, std::move(detail)); }

// The other kinds of files that Google hands out under the same name, by what they would need instead.
std::string_view other_kind(std::string_view type) noexcept {
  constexpr std::pair<std::string_view, std::string_view> kKinds[] = {
      {"external_account", "type is external_account: that is federation, which has a method of its own"},
      {"authorized_user", "type is authorized_user: that is a person's login, not the key of a service account"},
      {"impersonated_service_account", "type is impersonated_service_account, which holds no key"},
      {"gdch_service_account", "type is gdch_service_account, which is not supported"},
  };
  for (const auto& [name, why] : kKinds) {
    if (name == type) return why;
  }
  return "type is not service_account";
}

// An address as IAM makes them: it becomes a claim.
bool is_email(std::string_view text) noexcept {
  const std::size_t at = text.find('@');
  return cloud::is_name(text, 320) && at != 0 && at != std::string_view::npos && at + 1 < text.size() &&
         text.find('@', at + 1) == std::string_view::npos && text.find_first_of("\"\\<>") == std::string_view::npos;
}

}  // namespace

Result<std::shared_ptr<const ServiceAccount>> ServiceAccount::parse(std::string_view text) {
  auto json = jose::Json::parse(text, kLimits);
  if (!json) return bad("the file is no JSON: " + json.error().to_string());
  struct Wiper {
    jose::Json& json;
    ~Wiper() { json.wipe(); }
  } wiper{*json};
  if (!json->if_object()) return bad("the file is no JSON object");
  for (const std::string_view name : {"type", "client_email", "private_key_id", "private_key", "token_uri"}) {
    const jose::Json* const member = json->find(name);
    if (!member) return bad(std::string(name) + " is missing");
    if (!member->if_string()) return bad(std::string(name) + " is no text");
    if (member->if_string()->empty()) return bad(std::string(name) + " is empty");
  }
  if (const std::string& type = *json->find_string("type"); type != "service_account") {
    return bad(std::string(other_kind(type)));
  }
  const std::string& email = *json->find_string("client_email");
  if (!is_email(email)) return bad("client_email is no address");
  const std::string& kid = *json->find_string("private_key_id");
  if (!jose::is_key_id(kid)) return bad("private_key_id is not visible ASCII of at most 256 bytes");
  const std::string& token_uri = *json->find_string("token_uri");
  if (auto good = cloud::check_endpoint("token_uri", token_uri); !good) return std::unexpected(std::move(good.error()));
  auto key = jose::PrivateKey::from_pem(*json->find_string("private_key"), jose::Algorithm::RS256, kid);
  if (!key) return bad("private_key cannot be used: " + std::string(key.error().detail()));
  return std::shared_ptr<const ServiceAccount>(new ServiceAccount(email, token_uri, std::move(*key)));
}

}  // namespace postern::tokens
