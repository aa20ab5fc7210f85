#include "tls/authority.h"

#include <openssl/ec.h>
#include <openssl/pem.h>

#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "tls/openssl.h"
#include "tls/pem.h"
#include "tls/x509_builder.h"

namespace postern::tls {
namespace {

constexpr std::size_t kMaxDnsName = 253;  // RFC 1035 2.3.4, without the dots that are not written
constexpr std::size_t kMaxDnsLabel = 63;
constexpr std::size_t kMaxUri = 1024;
constexpr std::size_t kMaxNames = 100;
constexpr std::size_t kMaxCommonName = 64;  // RFC 5280, ub-common-name

std::unexpected<Error> bad_name(std::string_view kind, std::string_view name) {
  return fail(Code::bad_request, Side::client,
              visible(name.substr(0, kMaxDnsName)) + " is no " + std::string(kind) + " that a certificate can bear");
}
std::unexpected<Error> no_resources() { return fail(Code::internal, Side::gateway, "OpenSSL made no certificate"); }

const char* usage_of(CertifiedKey::Use use) { return use == CertifiedKey::Use::server ? "serverAuth" : "clientAuth"; }

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= kMaxDnsLabel && label.front() != '-' && label.back() != '-' &&
         std::ranges::all_of(label, [](char c) { return is_alpha(c) || is_digit(c) || c == '-' || c == '_'; });
}

// A host name as RFC 9525 2 has them in certificates; "*" may be the whole of the leftmost label.
bool is_dns_name(std::string_view name) {
  if (name.size() > kMaxDnsName) return false;
  if (name.starts_with("*.")) name.remove_prefix(2);
  // An address is no name, and four numbers are not its only spelling.
  if (const std::size_t last = name.rfind('.'); last != std::string_view::npos) {
    if (parse_decimal(name.substr(last + 1))) return false;
  } else if (parse_decimal(name)) {
    return false;
  }
  for (;;) {
    const std::size_t dot = name.find('.');
    if (!is_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

bool is_uri(std::string_view uri) {
  return uri.size() <= kMaxUri && uri.find(':') != std::string_view::npos && uri.front() != ':' &&
         std::ranges::all_of(uri, [](char c) { return c > ' ' && c < '\x7f'; });
}

Result<SubjectNames> names_of(const LeafRequest& request) {
  if (request.common_name.size() > kMaxCommonName ||
      std::ranges::any_of(request.common_name, [](char c) { return c < ' ' || c >= '\x7f'; })) {
    return bad_name("common name (64 characters of ASCII)", request.common_name);
  }
  for (const std::string& name : request.dns_names) {
    if (!is_dns_name(name)) return bad_name("DNS name", name);
  }
  for (const std::string& address : request.ip_addresses) {
    if (!IpAddress::parse(address)) return bad_name("IP address", address);
  }
  for (const std::string& uri : request.uris) {
    if (!is_uri(uri)) return bad_name("URI", uri);
  }
  SubjectNames names{request.dns_names, request.ip_addresses, request.uris, {}};
  const std::size_t count = names.dns_names.size() + names.ip_addresses.size() + names.uris.size();
  if (count == 0 && request.common_name.empty()) {
    return fail(Code::bad_request, Side::client, "a certificate needs a name");
  }
  if (count > kMaxNames) {
    return fail(Code::bad_request, Side::client, "a certificate bears at most " + std::to_string(kMaxNames) + " names");
  }
  for (std::string& name : names.dns_names) name = to_lower(name);
  return names;
}

// A leaf for `public_key`, signed by `issuer` (nullptr: by itself).
Result<X509Ptr> make_leaf(const LeafRequest& request, EVP_PKEY* public_key, X509* issuer, EVP_PKEY* issuer_key) {
  const Result<SubjectNames> names = names_of(request);
  if (!names) return fail(names.error().code(), names.error().side(), std::string(names.error().detail()));
  X509Builder builder(public_key);
  builder.subject(request.common_name).issuer(issuer).validity(request.not_before, request.not_after);
  builder.extension(NID_basic_constraints, "critical,CA:FALSE")
      .extension(NID_key_usage, "critical,digitalSignature")
      .extension(NID_ext_key_usage, usage_of(request.use))
      .names(*names)
      .extension(NID_subject_key_identifier, "hash");
  if (issuer) builder.extension(NID_authority_key_identifier, "keyid:always");
  X509Ptr made = builder.sign(issuer_key, EVP_sha256());
  if (!made) return no_resources();
  return made;
}

Result<std::shared_ptr<const CertifiedKey>> with_key(Result<X509Ptr> leaf, KeyPtr key) {
  if (!leaf) return std::unexpected(std::move(leaf.error()));
  return CertifiedKey::from({Certificate::from(leaf->get())}, std::move(key));
}

}  // namespace

std::string to_pem(EVP_PKEY* key) {
  const CleanErrorQueue errors;
  const BioPtr out(BIO_new(BIO_s_secmem()));
  if (!out || PEM_write_bio_PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) return {};
  return content_of(out.get());
}

Result<KeyPtr> make_key() {
  const CleanErrorQueue errors;
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return fail(Code::internal, Side::gateway, "OpenSSL made no key");
  return key;
}

Result<std::string> make_request(EVP_PKEY* key, const LeafRequest& names) {
  const CleanErrorQueue errors;
  const Result<SubjectNames> good = names_of(names);
  if (!good) return fail(good.error().code(), good.error().side(), std::string(good.error().detail()));
  const RequestPtr request(X509_REQ_new());
  const NamePtr subject = subject_name(names.common_name);
  const GeneralNamesPtr list = general_names(*good);
  const std::unique_ptr<STACK_OF(X509_EXTENSION), decltype([](STACK_OF(X509_EXTENSION) * stack) {
                          sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
                        })>
      extensions(sk_X509_EXTENSION_new_null());
  STACK_OF(X509_EXTENSION)* into = extensions.get();
  bool made = request && subject && list && into && X509_REQ_set_pubkey(request.get(), key) == 1 &&
              X509_REQ_set_subject_name(request.get(), subject.get()) == 1;
  if (made && sk_GENERAL_NAME_num(list.get()) > 0) {
    made = X509V3_add1_i2d(&into, NID_subject_alt_name, list.get(), 0, X509V3_ADD_DEFAULT) == 1 &&
           X509_REQ_add_extensions(request.get(), into) == 1;
  }
  const EVP_MD* const digest = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  const BioPtr out(BIO_new(BIO_s_mem()));
  made = made && X509_REQ_sign(request.get(), key, digest) > 0 && out &&
         PEM_write_bio_X509_REQ(out.get(), request.get()) == 1;
  if (!made) return fail(Code::internal, Side::gateway, "OpenSSL made no certificate request");
  return content_of(out.get());
}

Result<std::shared_ptr<const CertifiedKey>> make_self_signed(const LeafRequest& request) {
  const CleanErrorQueue errors;
  Result<KeyPtr> key = make_key();
  if (!key) return std::unexpected(std::move(key.error()));
  Result<X509Ptr> leaf = make_leaf(request, key->get(), nullptr, key->get());
  return with_key(std::move(leaf), std::move(*key));
}

Result<Authority> Authority::make(std::string_view common_name, CertifiedKey::Use use, WallTime not_before,
                                  WallTime not_after) {
  const CleanErrorQueue errors;
  Result<KeyPtr> key = make_key();
  if (!key) return std::unexpected(std::move(key.error()));
  X509Builder builder(key->get());
  builder.subject(std::string(common_name)).validity(not_before, not_after);
  builder.extension(NID_basic_constraints, "critical,CA:TRUE,pathlen:0")
      .extension(NID_key_usage, "critical,keyCertSign,cRLSign")
      .extension(NID_ext_key_usage, usage_of(use))
      .extension(NID_subject_key_identifier, "hash");
  const X509Ptr made = builder.sign(key->get(), EVP_sha256());
  if (!made) return no_resources();
  Authority out;
  out.certificate_ = Certificate::from(made.get());
  out.key_ = std::move(*key);
  return out;
}

Result<Authority> Authority::parse(std::string_view certificate_pem, std::string_view key_pem) {
  const CleanErrorQueue errors;
  const auto certificates = Certificate::parse_all(certificate_pem);
  if (!certificates) return unusable("certificate: " + std::string(certificates.error().detail()));
  if (certificates->size() != 1)
    return unusable("certificate: " + std::to_string(certificates->size()) + " instead of one");
  Authority out;
  out.certificate_ = certificates->front();
  X509* const x509 = out.certificate_->native();
  if (!out.certificate_->is_ca() || (X509_get_key_usage(x509) & KU_KEY_CERT_SIGN) == 0) {
    return unusable("certificate: it may not sign others (" + name_for_people(*out.certificate_) + ")");
  }
  if (const std::string weakness = weakness_of(X509_get0_pubkey(x509)); !weakness.empty()) {
    return unusable("certificate: " + weakness);
  }
  if (key_pem.empty()) return out;
  Result<KeyPtr> key = parse_key(key_pem);
  if (!key) return unusable("key: " + std::string(key.error().detail()));
  if (X509_check_private_key(x509, key->get()) != 1) return unusable("the key is not that of the certificate");
  out.key_ = std::move(*key);
  return out;
}

std::string Authority::key_pem() const { return key_ ? to_pem(key_.get()) : std::string(); }

Result<LeafRequest> Authority::permitted(const LeafRequest& request) const {
  const std::string name = " (" + name_for_people(*certificate_) + ")";
  if (!key_) return unusable("the key of this authority is not here" + name);
  const bool server = request.use == CertifiedKey::Use::server;
  if ((X509_get_extended_key_usage(certificate_->native()) & (server ? XKU_SSL_SERVER : XKU_SSL_CLIENT)) == 0) {
    return unusable(std::string("this authority does not sign certificates of ") + (server ? "servers" : "clients") +
                    name);
  }
  LeafRequest out = request;
  out.not_before = std::max(request.not_before, certificate_->not_before());
  out.not_after = std::min(request.not_after, certificate_->not_after());
  if (out.not_after > out.not_before) return out;
  return unusable("the authority is not in force during any of the time that was asked for" + name);
}

Result<std::shared_ptr<const CertifiedKey>> Authority::issue(const LeafRequest& request) const {
  const CleanErrorQueue errors;
  const Result<LeafRequest> clipped = permitted(request);
  if (!clipped) return unusable(std::string(clipped.error().detail()));
  Result<KeyPtr> key = make_key();
  if (!key) return std::unexpected(std::move(key.error()));
  Result<X509Ptr> leaf = make_leaf(*clipped, key->get(), certificate_->native(), key_.get());
  return with_key(std::move(leaf), std::move(*key));
}

Result<std::shared_ptr<const Certificate>> Authority::sign(std::string_view csr_pem, const LeafRequest& request) const {
  const CleanErrorQueue errors;
  const Result<LeafRequest> clipped = permitted(request);
  if (!clipped) return unusable(std::string(clipped.error().detail()));
  const Result<RequestPtr> csr = parse_request(csr_pem);
  if (!csr) return unusable(std::string(csr.error().detail()));
  EVP_PKEY* const key = X509_REQ_get0_pubkey(csr->get());
  if (!key) return unusable("the certificate request has no key that can be read");
  if (const std::string weakness = weakness_of(key); !weakness.empty()) return unusable(weakness);
  // Who signs for a key must know that the one who asks has it (RFC 2986 3).
  if (X509_REQ_verify(csr->get(), key) != 1) return unusable("the certificate request is not signed with its own key");
  const Result<X509Ptr> leaf = make_leaf(*clipped, key, certificate_->native(), key_.get());
  if (!leaf) return fail(leaf.error().code(), leaf.error().side(), std::string(leaf.error().detail()));
  return Certificate::from(leaf->get());
}

}  // namespace postern::tls
