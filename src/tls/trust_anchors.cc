#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include "platform/whole_file.h"
#include "tls/certificate.h"
#include "tls/openssl.h"
#include "tls/pem.h"

namespace postern::tls {
namespace {

using Certificates = std::vector<std::shared_ptr<const Certificate>>;

// Certificates between a leaf and its anchor, as OpenSSL counts them.
constexpr int kMaxDepth = static_cast<int>(kMaxChainLength) - 2;
constexpr int kSecurityLevel = 2;

// Where distributions keep their bundle, after what OpenSSL was built with.
constexpr std::array<const char*, 5> kSystemBundles = {
    "/etc/ssl/certs/ca-certificates.crt",                 // Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",                   // Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  // RHEL 7 and later
    "/etc/ssl/ca-bundle.pem",                             // openSUSE
    "/etc/ssl/cert.pem",                                  // Alpine, BSD
};
constexpr std::size_t kMaxSystemBundle = 8 * 1024 * 1024;

// "" if there is none that can be read: then the next place is looked at.
std::string read_file(const std::string& path) {
  Result<std::optional<WholeFile>> file = read_whole_file(path, kMaxSystemBundle);
  return file && *file ? std::move((*file)->content) : std::string();
}

// The bundle of an operating system is not ours to judge: what cannot be used in it is left out.
Certificates usable_certificates(std::string_view bundle) {
  Certificates out;
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----";
  for (std::size_t at = bundle.find(kBegin); at != std::string_view::npos; at = bundle.find(kBegin, at + 1)) {
    const std::size_t end = bundle.find(kEnd, at);
    if (end == std::string_view::npos) break;
    const Result<X509Ptr> decoded =
        decode_certificate({.label = "CERTIFICATE", .text = bundle.substr(at, end + kEnd.size() - at), .line = 0});
    // Version 1 roots, which say nothing about being a CA, are still among them.
    if (decoded && X509_check_ca(decoded->get()) != 0) out.push_back(Certificate::from(decoded->get()));
  }
  return out;
}

Certificates system_certificates() {
  if (const char* const named = ::secure_getenv(X509_get_default_cert_file_env())) {
    return usable_certificates(read_file(named));
  }
  Certificates out = usable_certificates(read_file(X509_get_default_cert_file()));
  for (const char* const bundle : kSystemBundles) {
    if (out.empty()) out = usable_certificates(read_file(bundle));
  }
  return out;
}

// Equal for equal sets, whatever their order. 64 bits of SHA-256 suffice: what the sets are is the operator's choice.
std::uint64_t id_of(const Certificates& certificates) {
  std::vector<std::string_view> fingerprints;
  fingerprints.reserve(certificates.size());
  for (const auto& certificate : certificates) fingerprints.push_back(certificate->fingerprint());
  std::ranges::sort(fingerprints);
  const auto repeated = std::ranges::unique(fingerprints);
  fingerprints.erase(repeated.begin(), repeated.end());
  std::string all;
  for (const std::string_view fingerprint : fingerprints) all += fingerprint;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(all.data()), all.size(), digest.data());
  std::uint64_t id = 0;
  for (std::size_t i = 0; i < sizeof id; ++i) id = id << 8 | digest[i];
  return id;
}

StorePtr store_of(const Certificates& certificates) {
  StorePtr store(X509_STORE_new());
  for (const auto& certificate : certificates) {
    if (store && X509_STORE_add_cert(store.get(), certificate->native()) != 1) store.reset();
  }
  return store;
}

bool may_be_anchor(const Certificate& certificate) {
  return certificate.is_ca() || (X509_get_extension_flags(certificate.native()) & EXFLAG_SS) != 0;
}

}  // namespace

Result<std::shared_ptr<const TrustAnchors>> TrustAnchors::of(std::vector<std::shared_ptr<const Certificate>> all,
                                                             bool list) {
  std::shared_ptr<TrustAnchors> out(new TrustAnchors());
  out->store_ = store_of(all);
  if (!out->store_) return fail(Code::internal, Side::gateway, "no memory for trust anchors");
  out->id_ = id_of(all);
  if (list) out->certificates_ = std::move(all);
  return out;
}

Result<std::shared_ptr<const TrustAnchors>> TrustAnchors::parse(std::string_view pem) {
  const CleanErrorQueue errors;
  auto certificates = Certificate::parse_all(pem);
  if (!certificates) return std::unexpected(std::move(certificates.error()));
  for (std::size_t i = 0; i < certificates->size(); ++i) {
    const Certificate& certificate = *(*certificates)[i];
    if (may_be_anchor(certificate)) continue;
    return unusable("certificate " + std::to_string(i + 1) + " is not that of an authority: its basic constraints do " +
                    "not say CA:TRUE (" + name_for_people(certificate) + ")");
  }
  return of(std::move(*certificates), true);
}

Result<std::shared_ptr<const TrustAnchors>> TrustAnchors::system() {
  const CleanErrorQueue errors;
  Certificates certificates = system_certificates();
  if (certificates.empty()) {
    return unusable(
        "the operating system has no trusted authorities where they are looked for; its package is called "
        "ca-certificates, and SSL_CERT_FILE names another bundle");
  }
  return of(std::move(certificates), false);
}

Result<void> TrustAnchors::verify_client(std::span<const std::shared_ptr<const Certificate>> chain,
                                         WallTime now) const {
  const CleanErrorQueue errors;
  if (chain.empty()) return fail(Code::certificate_missing, Side::client, "no client certificate");
  if (chain.size() > kMaxChainLength) {
    return fail(Code::certificate_refused, Side::client,
                std::to_string(chain.size()) + " certificates, a chain has at most " + std::to_string(kMaxChainLength));
  }
  // The stack borrows: it is freed without what is on it.
  const std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })> untrusted(
      sk_X509_new_null());
  const StoreContextPtr context(X509_STORE_CTX_new());
  bool ready = untrusted != nullptr && context != nullptr;
  for (const auto& certificate : chain.subspan(1)) {
    ready = ready && sk_X509_push(untrusted.get(), certificate->native()) > 0;
  }
  ready = ready && X509_STORE_CTX_init(context.get(), store_.get(), chain.front()->native(), untrusted.get()) == 1 &&
          X509_STORE_CTX_set_default(context.get(), "ssl_client") == 1;
  if (!ready) return fail(Code::internal, Side::gateway, "no memory to verify a certificate");
  X509_VERIFY_PARAM* const param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT);
  X509_VERIFY_PARAM_set_auth_level(param, kSecurityLevel);
  X509_VERIFY_PARAM_set_depth(param, kMaxDepth);
  X509_VERIFY_PARAM_set_time(param, std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count());
  if (X509_verify_cert(context.get()) == 1) return {};
  const int error = X509_STORE_CTX_get_error(context.get());
  X509* const at = X509_STORE_CTX_get_current_cert(context.get());
  const auto certificate = at ? Certificate::from(at) : chain.front();
  return fail(Code::certificate_refused, Side::client, verify_error_text(error, certificate.get()));
}

}  // namespace postern::tls
