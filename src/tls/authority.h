// Authority: the private certificate authorities of one deployment, for managed mTLS. Two of them, so that neither side
// can play the other: the client CA signs what gateways show to origins, the server CA what origins show to gateways.
//
// A CA has path length 0: it signs leaves only. Keys are EC P-256, files 0600 in a 0700 directory. Two gateways share
// them only through a common directory; whoever writes there holds its lock file.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/clock.h"
#include "platform/entropy.h"
#include "tls/certificate.h"

namespace postern::tls {

struct LeafRequest {
  CertifiedKey::Use use = CertifiedKey::Use::client;  // extended key usage
  std::string common_name;                            // for people; nothing is decided by it
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  std::vector<std::string> uris;
  WallTime not_before{};
  WallTime not_after{};
};

class Authority {
 public:
  // Self-signed, path length 0, key usage keyCertSign and cRLSign; `use` becomes its extended key usage, so that what
  // it signs can serve for nothing else.
  [[nodiscard]] static Result<Authority> make(std::string_view common_name, CertifiedKey::Use use, WallTime not_before,
                                              WallTime not_after);
  // From PEM; `key_pem` may be empty: the key is kept offline, and issue() fails.
  [[nodiscard]] static Result<Authority> parse(std::string_view certificate_pem, std::string_view key_pem);

  [[nodiscard]] const Certificate& certificate() const noexcept { return *certificate_; }
  [[nodiscard]] bool has_key() const noexcept { return key_ != nullptr; }
  [[nodiscard]] std::string key_pem() const;

  // A fresh P-256 key and its certificate, never longer in force than the CA; chain without the CA.
  [[nodiscard]] Result<std::shared_ptr<const CertifiedKey>> issue(const LeafRequest& request) const;
  // Signs a PKCS #10 request (PEM). Only its public key is taken over, after its signature was checked; names come from
  // `request`.
  [[nodiscard]] Result<std::shared_ptr<const Certificate>> sign(std::string_view csr_pem,
                                                                const LeafRequest& request) const;

 private:
  Authority() = default;
  std::shared_ptr<const Certificate> certificate_;
  KeyPtr key_;
};

// A private key as PKCS #8 PEM, and a request (PKCS #10) for it.
[[nodiscard]] std::string to_pem(EVP_PKEY* key);
[[nodiscard]] Result<KeyPtr> make_key();
[[nodiscard]] Result<std::string> make_request(EVP_PKEY* key, const LeafRequest& names);
// A self-signed server certificate for development.
[[nodiscard]] Result<std::shared_ptr<const CertifiedKey>> make_self_signed(const LeafRequest& request);

}  // namespace postern::tls
