// ServiceAccount: the key file of a Google service account (AIP-4112), read strictly.
//
// An immutable value; the private key is in it once, in OpenSSL's hands, and is never shown.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "jose/key.h"

namespace postern::tokens {

class ServiceAccount {
 public:
  // The text of service.json, at most 32 KiB. Needed: type "service_account", client_email, private_key_id, private_key
  // (an RSA key that can sign) and token_uri (https, or http for loopback). Other members are not looked at: a file
  // says where a login page is, and nobody here needs one. Errors: io_failed, Side::gateway; the detail names the
  // member and what is wrong with it, and shows nothing of the file. What was read is wiped, but for the caller's text.
  [[nodiscard]] static Result<std::shared_ptr<const ServiceAccount>> parse(std::string_view json);

  // "name@project.iam.gserviceaccount.com"
  [[nodiscard]] const std::string& email() const noexcept [[clang::lifetimebound]] { return email_; }
  [[nodiscard]] const std::string& token_uri() const noexcept [[clang::lifetimebound]] { return token_uri_; }
  // RS256; its kid is private_key_id, by which Google finds the public half.
  [[nodiscard]] const jose::PrivateKey& key() const noexcept [[clang::lifetimebound]] { return key_; }

 private:
  ServiceAccount(std::string email, std::string token_uri, jose::PrivateKey key) noexcept
      : email_(std::move(email)), token_uri_(std::move(token_uri)), key_(std::move(key)) {}

  std::string email_;
  std::string token_uri_;
  jose::PrivateKey key_;
};

}  // namespace postern::tokens
