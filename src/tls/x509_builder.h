// X509Builder: puts a certificate together and signs it. It makes what it is told, sound or not: authority.cc uses it
// for what the product issues, test_certificates.h for what the product must refuse. Internal to this room.
#pragma once

#include <string>
#include <vector>

#include "platform/clock.h"
#include "tls/openssl.h"

namespace postern::tls {

// Subject alternative names. Texts go into the certificate byte for byte; addresses must be addresses.
struct SubjectNames {
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  std::vector<std::string> uris;
  std::vector<std::string> emails;
  [[nodiscard]] bool empty() const noexcept {
    return dns_names.empty() && ip_addresses.empty() && uris.empty() && emails.empty();
  }
};

// nullptr if an address is none, or without memory.
[[nodiscard]] GeneralNamesPtr general_names(const SubjectNames& names);
// A name with the CN alone, or empty. nullptr if it is longer than 64 characters (RFC 5280, ub-common-name) or no
// UTF-8.
[[nodiscard]] NamePtr subject_name(const std::string& common_name);
// 20 random octets, positive, without leading zeros (RFC 5280 4.1.2.2). False if there is no randomness.
[[nodiscard]] bool set_random_serial(X509* certificate);

class X509Builder {
 public:
  // Version 3, with a random serial. `public_key` outlives the builder.
  explicit X509Builder(EVP_PKEY* public_key);

  X509Builder& subject(const std::string& common_name);
  // Whole seconds; years 0 to 9999.
  X509Builder& validity(WallTime not_before, WallTime not_after);
  // The extension is critical if there is no subject (RFC 5280 4.2.1.6). No names, no extension.
  X509Builder& names(const SubjectNames& names);
  // An extension in OpenSSL's language ("critical,CA:TRUE"), for constants only: in it a comma begins the next value.
  // Those that depend on the issuer (authorityKeyIdentifier) come last.
  X509Builder& extension(int nid, const char* value);
  // Who signs; nullptr: the certificate itself. Before the extensions that depend on it.
  X509Builder& issuer(X509* certificate);

  // nullptr if anything of the above failed, or signing did. `digest` is not used by Ed25519.
  [[nodiscard]] X509Ptr sign(EVP_PKEY* issuer_key, const EVP_MD* digest);

 private:
  X509Ptr certificate_;
  X509* issuer_ = nullptr;
  bool good_ = false;
};

}  // namespace postern::tls
