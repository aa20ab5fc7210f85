// The header field that carries a token.
#pragma once

#include <string>
#include <string_view>

#include "identity/identity.h"

namespace postern::identity {

class CredentialField {
 public:
  // Fields of authentication (RFC 9110 11.6.2, 11.7.2, and Cloud Run's own) hold a scheme and then the token (RFC 6750
  // 2.1); any other one the token alone.
  explicit CredentialField(std::string name);

  [[nodiscard]] std::string_view name() const noexcept [[clang::lifetimebound]] { return name_; }
  // Adds it to the attempt, as what must not come back in a response. Copies the token.
  void append(Attempt& attempt, std::string_view token) const;

 private:
  std::string name_;
  std::string_view scheme_;  // "Bearer ", or nothing
};

// The claims of a JWT as JSON text, for a person: unverified, without the signature, so nobody can log in with it. ""
// if it is none.
[[nodiscard]] std::string claims_of(std::string_view token);

}  // namespace postern::identity
