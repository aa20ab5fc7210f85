// Certificates, keys and trust anchors as values: parsed once from PEM, immutable afterwards, shared by all loops.
// Every error says in words of X.509 what is wrong, because a person has to mend the file: a text that cannot be used
// is Code::io_failed, Side::gateway, with all of it in the detail. A detail names subjects, never a key.
//
// Texts may come from a peer (a client's certificate): they are ASCII, without control characters, and bounded.
// OpenSSL's error queue is empty after each call.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/ip.h"
#include "platform/clock.h"

namespace postern::tls {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using X509Ptr = std::unique_ptr<X509, Freed<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Freed<SSL_free>>;
using SessionPtr = std::unique_ptr<SSL_SESSION, Freed<SSL_SESSION_free>>;

// Limits of what is read: a chain or a key in a file, the bundle of a CA, the certificates of a chain, and the names
// that are listed of one certificate.
inline constexpr std::size_t kMaxChainText = 64 * 1024;
inline constexpr std::size_t kMaxBundleText = 1024 * 1024;
inline constexpr std::size_t kMaxChainLength = 10;
inline constexpr std::size_t kMaxListedNames = 1000;

// One X.509 certificate, and what stands in it as texts: read once, so that asking costs nothing. Nothing of it has
// been verified by being here.
class Certificate {
 public:
  // One certificate, of any origin. Takes its own reference. What cannot be read in it is empty, and dates that cannot
  // be read are those of a certificate that was never in force.
  [[nodiscard]] static std::shared_ptr<const Certificate> from(X509* x509);
  // All certificates of a PEM text of at most 1 MiB, in their order; at least one. Other PEM blocks are an error.
  [[nodiscard]] static Result<std::vector<std::shared_ptr<const Certificate>>> parse_all(std::string_view pem);

  // For OpenSSL, which counts references in it; never changed.
  [[nodiscard]] X509* native() const noexcept { return x509_.get(); }
  // RFC 4514, other characters than ASCII escaped. One of more than 1,024 bytes is cut and ends with U+2026, which no
  // whole one does.
  [[nodiscard]] const std::string& subject() const noexcept { return subject_; }
  [[nodiscard]] const std::string& issuer() const noexcept { return issuer_; }
  [[nodiscard]] const std::string& serial() const noexcept { return serial_; }  // hexadecimal, lower-case
  // Subject alternative names, as they stand in the certificate. A name with anything but visible ASCII in it is left
  // out: it is not compared with anything, and not shown.
  [[nodiscard]] const std::vector<std::string>& dns_names() const noexcept { return dns_names_; }
  [[nodiscard]] const std::vector<std::string>& uris() const noexcept { return uris_; }
  [[nodiscard]] const std::vector<std::string>& emails() const noexcept { return emails_; }
  [[nodiscard]] const std::vector<std::string>& ip_addresses() const noexcept { return ip_addresses_; }
  // Whole seconds; clipped to 1970 and 2250, which WallTime can still be calculated with.
  [[nodiscard]] WallTime not_before() const noexcept { return not_before_; }
  [[nodiscard]] WallTime not_after() const noexcept { return not_after_; }
  // Version 3 with basic constraints CA:TRUE (RFC 5280 4.2.1.9).
  [[nodiscard]] bool is_ca() const noexcept { return is_ca_; }
  [[nodiscard]] const std::string& key_type() const noexcept { return key_type_; }  // "EC P-256", "RSA 2048"
  // base64 of the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 2.4), and of the whole certificate in hexadecimal.
  [[nodiscard]] const std::string& spki_pin() const noexcept { return spki_pin_; }
  [[nodiscard]] const std::string& fingerprint() const noexcept { return fingerprint_; }
  // "" only without memory.
  [[nodiscard]] std::string to_der() const;
  [[nodiscard]] std::string to_pem() const;

 private:
  Certificate() = default;
  void list_names();
  X509Ptr x509_;
  std::string subject_, issuer_, serial_, key_type_, spki_pin_, fingerprint_;
  std::vector<std::string> dns_names_, uris_, emails_, ip_addresses_;
  WallTime not_before_{}, not_after_{};
  bool is_ca_ = false;
};

// A certificate chain, leaf first, and the private key of the leaf.
class CertifiedKey {
 public:
  enum class Use : std::uint8_t { server, client };

  // Fails if the chain or the key cannot be read (half-written, encrypted), if they do not belong together or the order
  // of the chain is wrong, if a key or a signature is too weak (RSA < 2048, curves other than P-256/384/521, Ed25519;
  // SHA-1), or if the leaf's key usage or extended key usage forbids `use`. Dates are the caller's affair. Neither text
  // is kept, or copied where it would stay.
  [[nodiscard]] static Result<std::shared_ptr<const CertifiedKey>> parse(std::string_view chain_pem,
                                                                         std::string_view key_pem, Use use);
  // What is known to belong together; nothing is checked. The chain is not empty.
  [[nodiscard]] static std::shared_ptr<const CertifiedKey> from(std::vector<std::shared_ptr<const Certificate>> chain,
                                                                KeyPtr key);

  // Leaf first; never empty.
  [[nodiscard]] const Certificate& leaf() const noexcept { return *chain_.front(); }
  [[nodiscard]] std::span<const std::shared_ptr<const Certificate>> chain() const noexcept { return chain_; }
  [[nodiscard]] EVP_PKEY* key() const noexcept { return key_.get(); }

 private:
  CertifiedKey() = default;
  std::vector<std::shared_ptr<const Certificate>> chain_;
  KeyPtr key_;
};

// Certificate authorities that are believed. Every verification goes up to one of them: an intermediate that is trusted
// does not end a chain (no "partial chains").
class TrustAnchors {
 public:
  // At least one CA certificate, at most 1 MiB; anything else in the text is an error. A self-signed certificate that
  // is no CA is believed for itself alone.
  [[nodiscard]] static Result<std::shared_ptr<const TrustAnchors>> parse(std::string_view pem);
  // The roots of the operating system, all read now: nothing is looked up on disk during a handshake. SSL_CERT_FILE
  // names another bundle, as it does for everything built on OpenSSL. Fails if there are none.
  [[nodiscard]] static Result<std::shared_ptr<const TrustAnchors>> system();

  // For OpenSSL, which locks it; never changed. Its flags are the defaults: purpose, names and time are the caller's.
  [[nodiscard]] X509_STORE* store() const noexcept { return store_.get(); }
  // Differs between different sets of certificates: what was verified under one is not verified under another. The same
  // set, read again, has the same.
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  [[nodiscard]] std::span<const std::shared_ptr<const Certificate>> certificates() const noexcept {
    return certificates_;  // empty for system()
  }

  // Whether a chain that a TLS client presented (leaf first) leads to one of these, is in force at `now` and is meant
  // for clients (EKU). The detail of the error names the reason: certificate_missing if the chain is empty, else
  // certificate_refused; Side::client. About 100 us.
  [[nodiscard]] Result<void> verify_client(std::span<const std::shared_ptr<const Certificate>> chain,
                                           WallTime now) const;

 private:
  TrustAnchors() = default;
  [[nodiscard]] static Result<std::shared_ptr<const TrustAnchors>> of(
      std::vector<std::shared_ptr<const Certificate>> all, bool list);
  StorePtr store_;
  std::uint64_t id_ = 0;
  std::vector<std::shared_ptr<const Certificate>> certificates_;
};

// "certificate has expired (CN=...)" and so on, for people: X509_V_ERR_* and the certificate that it is about, which
// may be nullptr. Fit for logs, whoever made the certificate.
[[nodiscard]] std::string verify_error_text(long verify_error, const Certificate* at);

}  // namespace postern::tls
