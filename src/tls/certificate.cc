#include "tls/certificate.h"

#include <openssl/pem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "tls/openssl.h"
#include "tls/pem.h"

namespace postern::tls {
namespace {

constexpr std::size_t kMaxNameText = 1024;
constexpr std::size_t kMaxNameInError = 160;
constexpr std::string_view kEllipsis = "\xe2\x80\xa6";
constexpr int kMinSecurityBits = 112;

struct Curve {
  std::string_view openssl;
  std::string_view nist;
};
constexpr std::array<Curve, 3> kCurves = {{{"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}}};

std::string limited(std::string text, std::size_t max) {
  if (text.size() <= max) return text;
  text.resize(max);
  return text.append(kEllipsis);
}

std::string name_text(const X509_NAME* name) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  if (!out || !name || X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  return limited(content_of(out.get()), kMaxNameText);
}

std::string to_hex(std::span<const unsigned char> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const unsigned char byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::string serial_text(const X509* certificate) {
  // 20 octets are the limit of RFC 5280 4.1.2.2; what is longer is shown so far.
  const ASN1_INTEGER* const serial = X509_get0_serialNumber(certificate);
  const auto length = static_cast<std::size_t>(std::max(0, ASN1_STRING_length(serial)));
  return to_hex({ASN1_STRING_get0_data(serial), std::min<std::size_t>(length, 20)});
}

// nullopt if it is no date.
std::optional<WallTime> wall_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (!time || ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  // 2250 leaves room to add spans.
  constexpr std::time_t kLatest = 8'835'955'200;
  return WallTime(std::chrono::seconds(std::clamp<std::time_t>(::timegm(&parts), 0, kLatest)));
}

// Of all certificates DER has an encoding; an empty result means that there was no memory.
template <auto Encode, typename T>
std::string der_of(T* object) {
  const int length = Encode(object, nullptr);
  if (length <= 0) return {};
  std::string out(static_cast<std::size_t>(length), '\0');
  unsigned char* at = reinterpret_cast<unsigned char*>(out.data());
  Encode(object, &at);
  return out;
}

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;
Digest sha256(std::string_view bytes) {
  Digest digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return digest;
}

std::string base64(const Digest& digest) {
  std::array<unsigned char, 4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1> out{};
  const int length = EVP_EncodeBlock(out.data(), digest.data(), static_cast<int>(digest.size()));
  return {reinterpret_cast<const char*>(out.data()), static_cast<std::size_t>(length)};
}

std::string curve_of(EVP_PKEY* key) {
  std::array<char, 64> name{};
  std::size_t length = 0;
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), &length) != 1) return "of an unnamed curve";
  const std::string_view group(name.data(), length);
  const auto known = std::ranges::find(kCurves, group, &Curve::openssl);
  return std::string(known == kCurves.end() ? group : known->nist);
}

std::string key_type_of(EVP_PKEY* key) {
  if (!key) return "unknown";
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA: return "RSA " + std::to_string(EVP_PKEY_get_bits(key));
    case EVP_PKEY_RSA_PSS: return "RSA-PSS " + std::to_string(EVP_PKEY_get_bits(key));
    case EVP_PKEY_EC: return "EC " + curve_of(key);
    case EVP_PKEY_ED25519: return "Ed25519";
    default: break;
  }
  const char* const name = EVP_PKEY_get0_type_name(key);
  return name ? name : "unknown";
}

std::unexpected<Error> about(const Certificate& certificate, std::string_view what) {
  return unusable(std::string(what) + " (" + name_for_people(certificate) + ")");
}

bool is_self_signed(const Certificate& certificate) {
  return (X509_get_extension_flags(certificate.native()) & EXFLAG_SS) != 0;
}

// What OpenSSL would refuse later, with less to say about it.
Result<void> check_strength(const Certificate& certificate) {
  X509* const x509 = certificate.native();
  if ((X509_get_extension_flags(x509) & EXFLAG_INVALID) != 0) {
    return about(certificate, "the extensions of the certificate cannot be read");
  }
  const std::string weakness = weakness_of(X509_get0_pubkey(x509));
  if (!weakness.empty()) return about(certificate, weakness);
  int digest = NID_undef;
  int bits = 0;
  if (!is_self_signed(certificate) && X509_get_signature_info(x509, &digest, nullptr, &bits, nullptr) == 1 &&
      bits < kMinSecurityBits) {
    return about(certificate, "the certificate is signed with a broken hash, " + std::string(OBJ_nid2ln(digest)) +
                                  ", which clients and origins refuse");
  }
  return {};
}

Result<void> check_use(const Certificate& leaf, CertifiedKey::Use use) {
  const bool server = use == CertifiedKey::Use::server;
  const std::uint32_t extended = X509_get_extended_key_usage(leaf.native());  // UINT32_MAX: no such extension
  if ((extended & ((server ? XKU_SSL_SERVER : XKU_SSL_CLIENT) | XKU_ANYEKU)) == 0) {
    return about(leaf, std::string("the certificate's extended key usage does not allow it to be shown by a ") +
                           (server ? "server: it lacks serverAuth" : "client: it lacks clientAuth"));
  }
  if ((X509_get_key_usage(leaf.native()) & KU_DIGITAL_SIGNATURE) == 0) {
    return about(leaf,
                 "the certificate's key usage lacks digitalSignature, without which it proves nothing in TLS 1.3");
  }
  return {};
}

// Whether what the one signs the other accepts: a damaged private key has the public half of the whole one.
bool key_works(EVP_PKEY* key, EVP_PKEY* public_key) {
  const DigestContextPtr context(EVP_MD_CTX_new());
  if (!context) return false;
  const EVP_MD* const digest = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256();
  constexpr std::array<unsigned char, 16> kMessage{};
  std::array<unsigned char, 2048> signature{};
  std::size_t length = signature.size();
  if (EVP_DigestSignInit(context.get(), nullptr, digest, nullptr, key) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &length, kMessage.data(), kMessage.size()) != 1) {
    return false;
  }
  EVP_MD_CTX_reset(context.get());
  return EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, public_key) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), length, kMessage.data(), kMessage.size()) == 1;
}

// Every certificate after the leaf has signed one before it. That permits a second, cross-signed way up and nothing
// that a client could not use.
Result<void> check_order(std::span<const std::shared_ptr<const Certificate>> chain) {
  for (std::size_t i = 1; i < chain.size(); ++i) {
    const auto signed_by_this = [&](const auto& earlier) {
      return X509_check_issued(chain[i]->native(), earlier->native()) == X509_V_OK;
    };
    if (std::ranges::none_of(chain.first(i), signed_by_this)) {
      return about(*chain[i], "certificate " + std::to_string(i + 1) +
                                  " of the file has signed none of those before it: the leaf comes first, then who "
                                  "signed it, and so on");
    }
  }
  return {};
}

Result<void> check_pair(std::span<const std::shared_ptr<const Certificate>> chain, EVP_PKEY* key) {
  const auto has_key = [key](const auto& certificate) {
    return X509_check_private_key(certificate->native(), key) == 1;
  };
  const auto owner = std::ranges::find_if(chain, has_key);
  if (owner == chain.end()) {
    return about(*chain.front(), "the private key is not that of the certificate: they do not belong together");
  }
  if (owner != chain.begin()) {
    return about(**owner, "the private key is that of certificate " + std::to_string(owner - chain.begin() + 1) +
                              " of the file: the leaf comes first");
  }
  if (!key_works(key, X509_get0_pubkey(chain.front()->native()))) {
    return about(*chain.front(), "the private key is damaged: what it signs does not verify");
  }
  return {};
}

// What X509_verify_cert_error_string() leaves to the reader.
std::string_view explanation(long verify_error) {
  switch (verify_error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return ": none of the trusted authorities signed it, and no intermediate came with it that one of them signed";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: return ": its authority is not among the trusted ones";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: return ": it is not among the trusted ones";
    case X509_V_ERR_INVALID_PURPOSE: return ": its extended key usage is for another use";
    default: return {};
  }
}

}  // namespace

std::string content_of(BIO* memory) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(memory, &data);
  return length > 0 ? std::string(data, static_cast<std::size_t>(length)) : std::string();
}

std::string weakness_of(EVP_PKEY* key) {
  const std::string type = key_type_of(key);
  const int kind = key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
  if (kind == EVP_PKEY_ED25519) return {};
  if (kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS) {
    return EVP_PKEY_get_bits(key) >= 2048 ? std::string()
                                          : "the key is too weak: " + type + ", at least 2048 bits count";
  }
  if (kind == EVP_PKEY_EC &&
      std::ranges::any_of(kCurves, [&](const Curve& curve) { return type == "EC " + std::string(curve.nist); })) {
    return {};
  }
  return "the key is of a kind that TLS peers do not take: " + type +
         "; RSA, EC on P-256, P-384 or P-521, and Ed25519 do";
}

std::string name_for_people(const Certificate& certificate) {
  if (!certificate.subject().empty()) return limited(certificate.subject(), kMaxNameInError);
  for (const auto* names : {&certificate.dns_names(), &certificate.uris(), &certificate.ip_addresses()}) {
    if (!names->empty()) return limited(names->front(), kMaxNameInError);
  }
  return "no subject";
}

std::shared_ptr<const Certificate> Certificate::from(X509* x509) {
  const CleanErrorQueue errors;
  X509_up_ref(x509);
  std::shared_ptr<Certificate> out(new Certificate());
  out->x509_.reset(x509);
  out->subject_ = name_text(X509_get_subject_name(x509));
  out->issuer_ = name_text(X509_get_issuer_name(x509));
  out->serial_ = serial_text(x509);
  out->key_type_ = key_type_of(X509_get0_pubkey(x509));
  out->spki_pin_ = base64(sha256(der_of<i2d_X509_PUBKEY>(X509_get_X509_PUBKEY(x509))));
  out->fingerprint_ = to_hex(sha256(der_of<i2d_X509>(x509)));
  out->not_before_ = wall_time(X509_get0_notBefore(x509)).value_or(WallTime::max());
  out->not_after_ = wall_time(X509_get0_notAfter(x509)).value_or(WallTime());
  out->is_ca_ = X509_check_ca(x509) == 1;
  out->list_names();
  return out;
}

void Certificate::list_names() {
  // The only copy of the extension, or nothing: two of them contradict each other (RFC 5280 4.2).
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(x509_.get(), NID_subject_alt_name, nullptr, nullptr)));
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < std::min(count, static_cast<int>(kMaxListedNames)); ++i) {
    int type = 0;
    const void* const value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type);
    if (type != GEN_DNS && type != GEN_URI && type != GEN_EMAIL && type != GEN_IPADD) continue;
    const auto* const string = static_cast<const ASN1_STRING*>(value);
    const unsigned char* const data = ASN1_STRING_get0_data(string);
    const auto length = static_cast<std::size_t>(ASN1_STRING_length(string));
    if (type == GEN_IPADD) {
      if (length == 4) {
        ip_addresses_.push_back(IpAddress::from_v4({data[0], data[1], data[2], data[3]}).to_string());
      } else if (length == 16) {
        std::array<std::uint8_t, 16> bytes{};
        std::copy_n(data, bytes.size(), bytes.begin());
        ip_addresses_.push_back(IpAddress::from_v6(bytes).to_string());
      }
      continue;
    }
    std::string text(reinterpret_cast<const char*>(data), length);
    if (text.empty() || !std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; })) continue;
    (type == GEN_DNS ? dns_names_ : type == GEN_URI ? uris_ : emails_).push_back(std::move(text));
  }
}

Result<std::vector<std::shared_ptr<const Certificate>>> Certificate::parse_all(std::string_view pem) {
  const Result<std::vector<PemBlock>> blocks = split_pem(pem);
  if (!blocks) return unusable(std::string(blocks.error().detail()));
  std::vector<std::shared_ptr<const Certificate>> out;
  out.reserve(blocks->size());
  for (const PemBlock& block : *blocks) {
    Result<X509Ptr> decoded = decode_certificate(block);
    if (!decoded) return std::unexpected(std::move(decoded.error()));
    out.push_back(from(decoded->get()));
  }
  return out;
}

std::string Certificate::to_der() const { return der_of<i2d_X509>(x509_.get()); }

std::string Certificate::to_pem() const {
  const CleanErrorQueue errors;
  const BioPtr out(BIO_new(BIO_s_mem()));
  return out && PEM_write_bio_X509(out.get(), x509_.get()) == 1 ? content_of(out.get()) : std::string();
}

Result<std::shared_ptr<const CertifiedKey>> CertifiedKey::parse(std::string_view chain_pem, std::string_view key_pem,
                                                                Use use) {
  const CleanErrorQueue errors;
  const auto in = [](std::string_view which, const Error& error) {
    return unusable(std::string(which) + ": " + std::string(error.detail()));
  };
  if (chain_pem.size() > kMaxChainText) return unusable("certificate: the text is larger than 64 KiB");
  if (key_pem.size() > kMaxChainText) return unusable("key: the text is larger than 64 KiB");
  auto chain = Certificate::parse_all(chain_pem);
  if (!chain) return in("certificate", chain.error());
  if (chain->size() > kMaxChainLength) {
    return unusable("certificate: " + std::to_string(chain->size()) + " certificates, a chain has at most " +
                    std::to_string(kMaxChainLength));
  }
  Result<KeyPtr> key = parse_key(key_pem);
  if (!key) return in("key", key.error());
  // What the person has to mend first comes first: files that do not belong together, then what is in them.
  Result<void> good = check_pair(*chain, key->get());
  if (good) good = check_order(*chain);
  for (std::size_t i = 0; good && i < chain->size(); ++i) good = check_strength(*(*chain)[i]);
  if (good) good = check_use(*chain->front(), use);
  if (!good) return std::unexpected(std::move(good.error()));
  return from(std::move(*chain), std::move(*key));
}

std::shared_ptr<const CertifiedKey> CertifiedKey::from(std::vector<std::shared_ptr<const Certificate>> chain,
                                                       KeyPtr key) {
  std::shared_ptr<CertifiedKey> out(new CertifiedKey());
  out->chain_ = std::move(chain);
  out->key_ = std::move(key);
  return out;
}

std::string verify_error_text(long verify_error, const Certificate* at) {
  std::string text = X509_verify_cert_error_string(verify_error);
  text += explanation(verify_error);
  return at ? text + " (" + name_for_people(*at) + ")" : text;
}

}  // namespace postern::tls
