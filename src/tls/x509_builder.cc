#include "tls/x509_builder.h"

#include <openssl/rand.h>

#include <array>
#include <optional>

namespace postern::tls {
namespace {

constexpr long kVersion3 = 2;  // numbered from 0

using GeneralNamePtr = std::unique_ptr<GENERAL_NAME, Freed<GENERAL_NAME_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, Freed<ASN1_TIME_free>>;
using NumberPtr = std::unique_ptr<BIGNUM, Freed<BN_free>>;

bool add_name(GENERAL_NAMES* names, int type, int string_type, std::string_view bytes) {
  GeneralNamePtr name(GENERAL_NAME_new());
  ASN1_STRING* const string = ASN1_STRING_type_new(string_type);
  if (!name || !string) {
    ASN1_STRING_free(string);
    return false;
  }
  GENERAL_NAME_set0_value(name.get(), type, string);
  if (ASN1_STRING_set(string, bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
  if (sk_GENERAL_NAME_push(names, name.get()) <= 0) return false;
  static_cast<void>(name.release());
  return true;
}

bool add_address(GENERAL_NAMES* names, const std::string& text) {
  const std::optional<IpAddress> address = IpAddress::parse(text);
  if (!address) return false;
  const auto add = [names](const auto& bytes) {
    return add_name(names, GEN_IPADD, V_ASN1_OCTET_STRING, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  };
  return address->is_v4() ? add(address->v4_bytes()) : add(address->v6_bytes());
}

TimePtr asn1_time(WallTime time) {
  return TimePtr(ASN1_TIME_set(nullptr, std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count()));
}

}  // namespace

GeneralNamesPtr general_names(const SubjectNames& names) {
  GeneralNamesPtr out(sk_GENERAL_NAME_new_null());
  bool good = out != nullptr;
  const auto add = [&](int type, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) good = good && add_name(out.get(), type, V_ASN1_IA5STRING, text);
  };
  add(GEN_DNS, names.dns_names);
  add(GEN_URI, names.uris);
  add(GEN_EMAIL, names.emails);
  for (const std::string& text : names.ip_addresses) good = good && add_address(out.get(), text);
  return good ? std::move(out) : nullptr;
}

NamePtr subject_name(const std::string& common_name) {
  NamePtr name(X509_NAME_new());
  if (!name || common_name.empty()) return name;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(common_name.data());
  const int length = static_cast<int>(common_name.size());
  const bool added = X509_NAME_add_entry_by_NID(name.get(), NID_commonName, MBSTRING_UTF8, bytes, length, -1, 0) == 1;
  return added ? std::move(name) : nullptr;
}

bool set_random_serial(X509* certificate) {
  std::array<unsigned char, 20> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return false;
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x3fU) | 0x40U);
  const NumberPtr number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr));
  return number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr;
}

X509Builder::X509Builder(EVP_PKEY* public_key) : certificate_(X509_new()) {
  issuer_ = certificate_.get();
  good_ = certificate_ && X509_set_version(certificate_.get(), kVersion3) == 1 &&
          set_random_serial(certificate_.get()) && X509_set_pubkey(certificate_.get(), public_key) == 1;
}

X509Builder& X509Builder::subject(const std::string& common_name) {
  const NamePtr name = subject_name(common_name);
  good_ = good_ && name && X509_set_subject_name(certificate_.get(), name.get()) == 1;
  return *this;
}

X509Builder& X509Builder::validity(WallTime not_before, WallTime not_after) {
  const TimePtr from = asn1_time(not_before);
  const TimePtr until = asn1_time(not_after);
  good_ = good_ && from && until && X509_set1_notBefore(certificate_.get(), from.get()) == 1 &&
          X509_set1_notAfter(certificate_.get(), until.get()) == 1;
  return *this;
}

X509Builder& X509Builder::names(const SubjectNames& names) {
  if (names.empty() || !good_) return *this;
  const GeneralNamesPtr list = general_names(names);
  const int critical = X509_NAME_entry_count(X509_get_subject_name(certificate_.get())) == 0 ? 1 : 0;
  good_ = list &&
          X509_add1_ext_i2d(certificate_.get(), NID_subject_alt_name, list.get(), critical, X509V3_ADD_DEFAULT) == 1;
  return *this;
}

X509Builder& X509Builder::extension(int nid, const char* value) {
  if (!good_) return *this;
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer_, certificate_.get(), nullptr, nullptr, 0);
  const ExtensionPtr made(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  good_ = made && X509_add_ext(certificate_.get(), made.get(), -1) == 1;
  return *this;
}

X509Builder& X509Builder::issuer(X509* certificate) {
  if (certificate) issuer_ = certificate;
  return *this;
}

X509Ptr X509Builder::sign(EVP_PKEY* issuer_key, const EVP_MD* digest) {
  if (EVP_PKEY_get_base_id(issuer_key) == EVP_PKEY_ED25519) digest = nullptr;
  good_ = good_ && X509_set_issuer_name(certificate_.get(), X509_get_subject_name(issuer_)) == 1 &&
          X509_sign(certificate_.get(), issuer_key, digest) > 0;
  return good_ ? std::move(certificate_) : nullptr;
}

}  // namespace postern::tls
