#include "identity/credential_field.h"

#include "base/strings.h"
#include "jose/base64url.h"

namespace postern::identity {

CredentialField::CredentialField(std::string name) : name_(std::move(name)) {
  if (to_lower(name_).ends_with("authorization")) scheme_ = "Bearer ";
}

void CredentialField::append(Attempt& attempt, std::string_view token) const {
  const std::string_view value = attempt.arena.join(scheme_, token);
  attempt.added.append(name_, value, http::HeaderName::other);
  attempt.sensitive.push_back(value.substr(scheme_.size()));
}

std::string claims_of(std::string_view token) {
  const std::size_t first = token.find('.');
  const std::size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) return {};
  const auto claims = jose::from_base64url(token.substr(first + 1, second - first - 1));
  return claims && claims->starts_with('{') ? *claims : std::string();
}

}  // namespace postern::identity
