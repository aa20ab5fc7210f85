// Authority: the private certificate authorities of one deployment, for managed mTLS. Two of them, so that neither side
// can play the other: the client CA signs what gateways show to origins, the server CA what origins show to gateways.
//
// A CA has path length 0: it signs leaves only. Keys are EC P-256. How a CA lies on disk: authority_store.h.
//
// Values: nothing is read or written, and time comes from the caller. A name that a certificate cannot bear is
// Code::bad_request, Side::client; a text that cannot be used, or an authority that cannot do what is asked,
// Code::io_failed, Side::gateway.
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
  std::string common_name = {};                       // up to 64 characters of ASCII; may be empty if there are names
  std::vector<std::string> dns_names = {};            // "*.example.com" for one label; become lower-case
  std::vector<std::string> ip_addresses = {};
  std::vector<std::string> uris = {};
  // Clipped to those of the authority.
  WallTime not_before{};
  WallTime not_after{};
};

class Authority {
 public:
  // Self-signed, path length 0, key usage keyCertSign and cRLSign; `use` becomes its extended key usage, so that what
  // it signs can serve for nothing else.
  [[nodiscard]] static Result<Authority> make(std::string_view common_name, CertifiedKey::Use use, WallTime not_before,
                                              WallTime not_after);
  // From PEM; `key_pem` may be empty: the key is kept offline, and nothing can be signed. Fails if the certificate is
  // not that of a CA, or the key not its own.
  [[nodiscard]] static Result<Authority> parse(std::string_view certificate_pem, std::string_view key_pem);

  [[nodiscard]] const Certificate& certificate() const noexcept { return *certificate_; }
  [[nodiscard]] bool has_key() const noexcept { return key_ != nullptr; }
  // PKCS #8, "" without key. Whoever takes it wipes it.
  [[nodiscard]] std::string key_pem() const;

  // A fresh P-256 key and its certificate, never longer in force than the CA; chain without the CA. Fails for a use
  // that is not the CA's. The leaf: not a CA, digitalSignature, the one extended key usage, a random serial of 20
  // octets.
  [[nodiscard]] Result<std::shared_ptr<const CertifiedKey>> issue(const LeafRequest& request) const;
  // The same for the key of a PKCS #10 request (PEM). Only its public key is taken over, after its signature was
  // checked; names come from `request`.
  [[nodiscard]] Result<std::shared_ptr<const Certificate>> sign(std::string_view csr_pem,
                                                                const LeafRequest& request) const;

 private:
  Authority() = default;
  // `request` with its dates clipped, if this authority can grant it.
  [[nodiscard]] Result<LeafRequest> permitted(const LeafRequest& request) const;
  std::shared_ptr<const Certificate> certificate_;
  KeyPtr key_;
};

// A private key as PKCS #8 PEM, not encrypted.
[[nodiscard]] std::string to_pem(EVP_PKEY* key);
// EC P-256.
[[nodiscard]] Result<KeyPtr> make_key();
// A request (PKCS #10) for `key`; dates and use are not part of one.
[[nodiscard]] Result<std::string> make_request(EVP_PKEY* key, const LeafRequest& names);
// A self-signed certificate for development, and its fresh key. It is no CA: who trusts it trusts it alone.
[[nodiscard]] Result<std::shared_ptr<const CertifiedKey>> make_self_signed(const LeafRequest& request);

}  // namespace postern::tls
