#include "tls/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>

#include "tls/test_certificates.h"

namespace postern::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Use = CertifiedKey::Use;

// Nothing may be left for the next SSL_get_error() of this thread.
class CertificateTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u) << ERR_error_string(ERR_peek_error(), nullptr); }
};

template <typename T>
std::string detail_of(const Result<T>& result) {
  return result ? "no error" : std::string(result.error().detail());
}

std::string encrypted_key_pem(const TestIdentity& identity, bool old_form) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  const unsigned char pass[] = {'x', 'y', 'z', 'z', 'y'};
  const int wrote =
      old_form ? PEM_write_bio_PrivateKey_traditional(out.get(), identity.key.get(), EVP_aes_128_cbc(), pass, 5,
                                                      nullptr, nullptr)
               : PEM_write_bio_PrivateKey(out.get(), identity.key.get(), EVP_aes_128_cbc(), pass, 5, nullptr, nullptr);
  EXPECT_EQ(wrote, 1);
  return content_of(out.get());
}

std::string traditional_key_pem(const TestIdentity& identity) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_PrivateKey_traditional(out.get(), identity.key.get(), nullptr, nullptr, 0, nullptr, nullptr),
            1);
  return content_of(out.get());
}

using Certificates = CertificateTest;

TEST_F(Certificates, SayWhatStandsInThem) {
  const TestIdentity ca = make_test_ca({.common_name = "A, \"quoted\" root"});
  const TestIdentity leaf = make_test_certificate({.common_name = "orders",
                                                   .dns_names = {"a.example", "*.b.example"},
                                                   .ip_addresses = {"192.0.2.7", "2001:db8::1"},
                                                   .uris = {"postern://d/gateway/g/origin/o"},
                                                   .emails = {"ops@example.com"}},
                                                  &ca);
  const Certificate& it = leaf.certificate();
  EXPECT_EQ(it.subject(), "CN=orders");
  EXPECT_EQ(it.issuer(), "CN=A\\, \\\"quoted\\\" root");
  EXPECT_THAT(it.dns_names(), ElementsAre("a.example", "*.b.example"));
  EXPECT_THAT(it.ip_addresses(), ElementsAre("192.0.2.7", "2001:db8::1"));
  EXPECT_THAT(it.uris(), ElementsAre("postern://d/gateway/g/origin/o"));
  EXPECT_THAT(it.emails(), ElementsAre("ops@example.com"));
  EXPECT_EQ(it.not_before(), kTestFrom);
  EXPECT_EQ(it.not_after(), kTestUntil);
  EXPECT_FALSE(it.is_ca());
  EXPECT_TRUE(ca.certificate().is_ca());
  EXPECT_EQ(it.key_type(), "EC P-256");
  EXPECT_EQ(it.serial().size(), 40u);
  EXPECT_EQ(it.fingerprint().size(), 64u);
  EXPECT_EQ(it.spki_pin().size(), 44u);
}

TEST_F(Certificates, HaveFingerprintsThatOtherToolsCompute) {
  // `openssl x509 -fingerprint -sha256` and `openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst
  // -sha256 -binary | base64` of this certificate.
  constexpr std::string_view kPem =
      "-----BEGIN CERTIFICATE-----\n"
      "MIIB3TCCAYOgAwIBAgIUAQIDBAUGBwgJCgsMDQ4PEBESExQwCgYIKoZIzj0EAwIw\n"
      "NzELMAkGA1UEBhMCREUxEDAOBgNVBAoMB0V4YW1wbGUxFjAUBgNVBAMMDWZpeGVk\n"
      "LmV4YW1wbGUwHhcNMjYxMTI1MDIyMzI0WhcNMzYxMTIyMDIyMzI0WjA3MQswCQYD\n"
      "VQQGEwJERTEQMA4GA1UECgwHRXhhbXBsZTEWMBQGA1UEAwwNZml4ZWQuZXhhbXBs\n"
      "ZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBWfpFj9dVU0oDBqTxVovi5fHzIm\n"
      "WeDqlPAQ5fu178GfDN9K8sHc8bjKj8H6qPUzImFCCFsDQRD/nLWVFFzUuxejbTBr\n"
      "MB0GA1UdDgQWBBTvAN7SZRo985aw9gTmpj3kmVRvnjAfBgNVHSMEGDAWgBTvAN7S\n"
      "ZRo985aw9gTmpj3kmVRvnjAPBgNVHRMBAf8EBTADAQH/MBgGA1UdEQQRMA+CDWZp\n"
      "eGVkLmV4YW1wbGUwCgYIKoZIzj0EAwIDSAAwRQIhAPUaUNYGCuqmr4RrIziLwRTd\n"
      "yb9+maPuC3W1MCBvp+chAiBTsJomfeAKz96SEdEIqXOIoAGO8rerFXdjmj45+aH4\n"
      "bA==\n"
      "-----END CERTIFICATE-----\n";
  const auto parsed = Certificate::parse_all(kPem);
  ASSERT_TRUE(parsed) << detail_of(parsed);
  const Certificate& it = *parsed->front();
  EXPECT_EQ(it.fingerprint(), "1add0be3367e305444c3ba9670d3bd299f4b785dfddd6ec0692214bc1413b167");
  EXPECT_EQ(it.spki_pin(), "QoylHvDzpz/2jDPT1NE7OEBlBt1LNcDiA91f3iBsbeA=");
  EXPECT_EQ(it.serial(), "0102030405060708090a0b0c0d0e0f1011121314");
  EXPECT_EQ(it.subject(), "CN=fixed.example,O=Example,C=DE");
}

TEST_F(Certificates, NameTheirKeys) {
  const std::pair<TestKey, std::string_view> table[] = {
      {TestKey::ec, "EC P-256"},     {TestKey::ec_p384, "EC P-384"}, {TestKey::ec_secp256k1, "EC secp256k1"},
      {TestKey::ed25519, "Ed25519"}, {TestKey::rsa, "RSA 2048"},     {TestKey::weak_rsa, "RSA 1024"},
  };
  for (const auto& [key, text] : table) {
    EXPECT_EQ(make_test_certificate({.key = key}).certificate().key_type(), text);
  }
}

TEST_F(Certificates, DoNotListNamesThatAreNotVisibleAscii) {
  using namespace std::string_literals;
  const TestIdentity leaf = make_test_certificate({.dns_names = {"bank.example\0.evil.example"s, "good.example", "",
                                                                 "new\nline.example", "sp ace.example", "b\xc3\xbc"},
                                                   .uris = {"urn:a\0b"s},
                                                   .emails = {"a@b\x7f"}});
  EXPECT_THAT(leaf.certificate().dns_names(), ElementsAre("good.example"));
  EXPECT_THAT(leaf.certificate().uris(), IsEmpty());
  EXPECT_THAT(leaf.certificate().emails(), IsEmpty());
}

TEST_F(Certificates, ListABoundedNumberOfNames) {
  TestCertificate what;
  for (int i = 0; i < 1200; ++i) what.dns_names.push_back("n" + std::to_string(i) + ".example");
  EXPECT_EQ(make_test_certificate(what).certificate().dns_names().size(), kMaxListedNames);
}

TEST_F(Certificates, EscapeAndBoundTheirSubjects) {
  const TestIdentity control = make_test_certificate({.common_name = "a\n\x1b[31mb"});
  EXPECT_EQ(control.certificate().subject(), "CN=a\\0A\\1B[31mb");
  const TestIdentity umlaut = make_test_certificate({.common_name = "M\xc3\xbcller"});
  EXPECT_EQ(umlaut.certificate().subject(), "CN=M\\C3\\BCller");

  // Longer than any allow list would have it: many organisational units.
  const X509Ptr x509(X509_dup(umlaut.certificate().native()));
  X509_NAME* const name = X509_get_subject_name(x509.get());
  const std::string unit(60, 'u');
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(X509_NAME_add_entry_by_NID(name, NID_organizationalUnitName, MBSTRING_ASC,
                                         reinterpret_cast<const unsigned char*>(unit.data()), 60, -1, 0),
              1);
  }
  const auto long_one = Certificate::from(x509.get());
  EXPECT_EQ(long_one->subject().size(), 1024u + 3);
  EXPECT_TRUE(long_one->subject().ends_with("\xe2\x80\xa6"));
  EXPECT_LT(verify_error_text(X509_V_ERR_CERT_HAS_EXPIRED, long_one.get()).size(), 300u);
}

TEST_F(Certificates, HaveDatesThatCanBeCalculatedWith) {
  const auto far = WallTime::max();
  const TestIdentity distant =
      make_test_certificate({.not_before = WallTime(std::chrono::hours(-24 * 3650)), .not_after = far});
  EXPECT_EQ(distant.certificate().not_before(), WallTime());
  EXPECT_GT(distant.certificate().not_after(), kTestUntil);
  EXPECT_LT(distant.certificate().not_after() + std::chrono::hours(24 * 365), far);
  EXPECT_EQ(make_test_certificate({.not_after = kTestFrom + std::chrono::milliseconds(999)}).certificate().not_after(),
            kTestFrom)
      << "whole seconds";

  const X509Ptr x509(X509_dup(distant.certificate().native()));
  ASN1_STRING_set(X509_getm_notAfter(x509.get()), "nonsense", 8);
  ASN1_STRING_set(X509_getm_notBefore(x509.get()), "nonsense", 8);
  const auto broken = Certificate::from(x509.get());
  EXPECT_EQ(broken->not_after(), WallTime()) << "never in force";
  EXPECT_EQ(broken->not_before(), WallTime::max());
}

TEST_F(Certificates, CanBeWrittenAndReadAgain) {
  const TestIdentity leaf = make_test_certificate({});
  const auto again = Certificate::parse_all("a comment\n" + leaf.chain_pem() + "\n\n" + leaf.chain_pem());
  ASSERT_TRUE(again) << detail_of(again);
  ASSERT_EQ(again->size(), 2u);
  EXPECT_EQ((*again)[1]->to_der(), leaf.certificate().to_der());
  EXPECT_EQ((*again)[1]->to_pem(), leaf.chain_pem());
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  return text.replace(text.find(what), what.size(), by);
}

TEST_F(Certificates, ThatCannotBeReadSayWhy) {
  const TestIdentity leaf = make_test_certificate({});
  const std::string pem = leaf.chain_pem();
  const std::string key = leaf.key_pem();
  std::string crlf;
  for (const char c : pem) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_TRUE(Certificate::parse_all(crlf)) << "line ends of Windows";
  EXPECT_TRUE(Certificate::parse_all("----- my root -----\nsubject=CN = x\n" + pem)) << "ornaments";
  EXPECT_TRUE(Certificate::parse_all(pem.substr(0, pem.size() - 1))) << "without newline at the end";

  const std::pair<std::string, std::string_view> table[] = {
      {"", "the text is empty"},
      {" \r\n\t\n", "the text is empty"},
      {"not a certificate\n", "this is no PEM"},
      {leaf.certificate().to_der(), ""},
      {pem + key, "a private key, where only certificates belong"},
      {key, "line 1: a private key"},
      {pem + "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n", "this is \"DH PARAMETERS\""},
      {pem + "-----BEGIN GARBAGE-----\n!!\n-----END GARBAGE-----\n", "this is \"GARBAGE\""},
      {pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "damaged"},
      {pem + "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "damaged"},
      {pem + "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "damaged"},
      {pem + "-----BEGIN certi\x1b[31m-----\n", "neither BEGIN nor END"},
      {pem + "  " + pem, "neither BEGIN nor END"},
      {"\xef\xbb\xbf" + pem, "neither BEGIN nor END"},
      {replaced(pem, "END CERTIFICATE", "END X509 CRL"), "END of another kind"},
      {pem + pem.substr(28), "END without BEGIN"},
      {pem.substr(0, pem.size() - 26) + pem, "the one before it is incomplete"},
      {pem + std::string(1, '\0'), "a NUL byte"},
      {replaced(pem, "CERTIFICATE-----\n", "CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n\n"), "damaged"},
      {pem + std::string(1024 * 1024, '\n'), "larger than 1 MiB"},
  };
  for (const auto& [text, expected] : table) {
    const auto parsed = Certificate::parse_all(text);
    EXPECT_FALSE(parsed) << expected;
    EXPECT_THAT(detail_of(parsed), HasSubstr(std::string(expected)));
    EXPECT_EQ(ERR_peek_error(), 0u) << expected;
  }
}

TEST_F(Certificates, HalfWrittenAreNeverTaken) {
  const TestIdentity leaf = make_test_certificate({});
  const std::string one = leaf.chain_pem();
  const std::string two = one + one;
  for (std::size_t length = 0; length < two.size(); ++length) {
    // Cut between the two, or before the last newline, nothing is missing that could be missed.
    const bool whole = length == one.size() - 1 || length == one.size() || length == two.size() - 1;
    EXPECT_EQ(Certificate::parse_all(two.substr(0, length)).has_value(), whole) << length;
  }
}

TEST_F(Certificates, WithTrailingBytesInTheDerAreRefused) {
  const TestIdentity leaf = make_test_certificate({});
  const std::string der = leaf.certificate().to_der() + "extra";
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio(out.get(), "CERTIFICATE", "", reinterpret_cast<const unsigned char*>(der.data()),
                static_cast<long>(der.size()));
  EXPECT_THAT(detail_of(Certificate::parse_all(content_of(out.get()))), HasSubstr("damaged or incomplete"));
}

using CertifiedKeys = CertificateTest;

TEST_F(CertifiedKeys, OfEveryKindThatTlsPeersTake) {
  for (const TestKey kind : {TestKey::ec, TestKey::ec_p384, TestKey::ed25519, TestKey::rsa}) {
    const TestIdentity leaf = make_test_certificate({.key = kind});
    for (const Use use : {Use::server, Use::client}) {
      const auto parsed = CertifiedKey::parse(leaf.chain_pem(), leaf.key_pem(), use);
      ASSERT_TRUE(parsed) << detail_of(parsed);
      EXPECT_EQ((*parsed)->leaf().fingerprint(), leaf.certificate().fingerprint());
      EXPECT_EQ(EVP_PKEY_eq((*parsed)->key(), leaf.key.get()), 1);
    }
  }
}

TEST_F(CertifiedKeys, ReadTheOlderFormsOfAKey) {
  for (const TestKey kind : {TestKey::ec, TestKey::rsa}) {
    const TestIdentity leaf = make_test_certificate({.key = kind});
    const std::string key = traditional_key_pem(leaf);
    EXPECT_THAT(key, HasSubstr(kind == TestKey::ec ? "BEGIN EC PRIVATE KEY" : "BEGIN RSA PRIVATE KEY"));
    EXPECT_TRUE(CertifiedKey::parse(leaf.chain_pem(), key, Use::server));
    const std::string curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    EXPECT_TRUE(CertifiedKey::parse(leaf.chain_pem(), curve + key, Use::server)) << "as `openssl ecparam` writes it";
    EXPECT_FALSE(CertifiedKey::parse(leaf.chain_pem(), key + curve, Use::server));
  }
}

TEST_F(CertifiedKeys, WhoseKeyCannotBeReadSayWhy) {
  const TestIdentity leaf = make_test_certificate({});
  const std::string key = leaf.key_pem();
  const BioPtr public_key(BIO_new(BIO_s_mem()));
  PEM_write_bio_PUBKEY(public_key.get(), leaf.key.get());
  const std::pair<std::string, std::string_view> table[] = {
      {"", "key: the text is empty"},
      {leaf.chain_pem(), "key: line 1: this is a certificate, where a private key belongs"},
      {key + leaf.chain_pem(), "this is a certificate, where a private key belongs"},
      {content_of(public_key.get()), "this is a public key"},
      {key + key, "a second private key"},
      {encrypted_key_pem(leaf, false), "the private key is encrypted"},
      {encrypted_key_pem(leaf, true), "the private key is encrypted"},
      {replaced(key, "BEGIN PRIVATE KEY-----\n", "BEGIN PRIVATE KEY-----\nAAAA"), "damaged"},
      {replaced(replaced(key, "BEGIN PRIVATE", "BEGIN OPENSSH PRIVATE"), "END PRIVATE", "END OPENSSH PRIVATE"),
       "this is \"OPENSSH PRIVATE KEY\""},
      {key.substr(0, key.size() / 2), "BEGIN without END"},
      {std::string(64 * 1024 + 1, '\n'), "larger than 64 KiB"},
      {make_test_certificate({}).key_pem(), "they do not belong together"},
      {make_test_certificate({.key = TestKey::rsa}).key_pem(), "they do not belong together"},
  };
  for (const auto& [text, expected] : table) {
    const auto parsed = CertifiedKey::parse(leaf.chain_pem(), text, Use::server);
    EXPECT_FALSE(parsed) << expected;
    EXPECT_THAT(detail_of(parsed), HasSubstr(std::string(expected)));
    // Not even a part of a key may reach a log.
    EXPECT_THAT(detail_of(parsed), Not(HasSubstr(key.substr(40, 16))));
    EXPECT_EQ(ERR_peek_error(), 0u) << expected;
  }
}

TEST_F(CertifiedKeys, HalfWrittenKeysAreNeverTaken) {
  const TestIdentity leaf = make_test_certificate({});
  const std::string key = leaf.key_pem();
  for (std::size_t length = 0; length < key.size() - 1; ++length) {
    EXPECT_FALSE(CertifiedKey::parse(leaf.chain_pem(), key.substr(0, length), Use::server)) << length;
  }
}

TEST_F(CertifiedKeys, WithADamagedPrivateHalfAreRefused) {
  // The public key is that of the certificate, the private number is another one.
  const TestIdentity leaf = make_test_certificate({});
  const TestIdentity other = make_test_certificate({});
  BIGNUM* scalar = nullptr;
  ASSERT_EQ(EVP_PKEY_get_bn_param(other.key.get(), "priv", &scalar), 1);
  const std::unique_ptr<BIGNUM, Freed<BN_free>> free_scalar(scalar);
  unsigned char* der = nullptr;
  const int length = i2d_PrivateKey(leaf.key.get(), &der);
  ASSERT_GT(length, 7 + 32);
  // ECPrivateKey (RFC 5915 3): SEQUENCE, version, OCTET STRING of 32 bytes.
  ASSERT_EQ(BN_bn2binpad(scalar, der + 7, 32), 32);
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio(out.get(), "EC PRIVATE KEY", "", der, length);
  OPENSSL_free(der);
  const auto parsed = CertifiedKey::parse(leaf.chain_pem(), content_of(out.get()), Use::server);
  EXPECT_FALSE(parsed);
  EXPECT_THAT(detail_of(parsed), HasSubstr("damaged"));
}

TEST_F(CertifiedKeys, ThatPeersWouldRefuseAreRefused) {
  const TestIdentity root = make_test_ca({.common_name = "root", .key = TestKey::rsa});  // MD5 goes with RSA only
  const std::pair<TestCertificate, std::string_view> table[] = {
      {{.key = TestKey::weak_rsa}, "the key is too weak: RSA 1024"},
      {{.key = TestKey::ec_secp256k1}, "of a kind that TLS peers do not take: EC secp256k1"},
      {{.digest = EVP_sha1()}, "signed with a broken hash, sha1"},
      {{.digest = EVP_md5()}, "signed with a broken hash, md5"},
      {{.extended_key_usage = "clientAuth"}, "it lacks serverAuth"},
      {{.extended_key_usage = "codeSigning"}, "it lacks serverAuth"},
      {{.key_usage = "critical,keyEncipherment"}, "lacks digitalSignature"},
      {{.extended_key_usage = "serverAuth"}, "no error"},
      {{.extended_key_usage = "anyExtendedKeyUsage"}, "no error"},
      {{.extended_key_usage = ""}, "no error"},
      {{.key_usage = ""}, "no error"},
  };
  for (const auto& [what, expected] : table) {
    const TestIdentity leaf = make_test_certificate(what, &root);
    EXPECT_THAT(detail_of(CertifiedKey::parse(leaf.chain_pem(), leaf.key_pem(), Use::server)),
                HasSubstr(std::string(expected)));
  }
  const TestIdentity server = make_test_certificate({.extended_key_usage = "serverAuth"}, &root);
  EXPECT_THAT(detail_of(CertifiedKey::parse(server.chain_pem(), server.key_pem(), Use::client)),
              HasSubstr("it lacks clientAuth"));
  const TestIdentity old = make_test_certificate({.digest = EVP_sha1()});
  EXPECT_TRUE(CertifiedKey::parse(old.chain_pem(), old.key_pem(), Use::server))
      << "nobody looks at the signature of a self-signed one";
}

TEST_F(CertifiedKeys, ShowTheirChainInOrder) {
  const TestIdentity root = make_test_ca();
  const TestIdentity middle = make_test_ca({.common_name = "middle"}, &root);
  const TestIdentity leaf = make_test_certificate({}, &middle);
  ASSERT_EQ(leaf.chain.size(), 2u);
  const std::string key = leaf.key_pem();
  const std::string leaf_pem = leaf.certificate().to_pem();
  const std::string middle_pem = middle.certificate().to_pem();
  const std::string root_pem = root.certificate().to_pem();
  const auto parse = [&](const std::string& chain) { return CertifiedKey::parse(chain, key, Use::server); };
  EXPECT_TRUE(parse(leaf_pem));
  EXPECT_TRUE(parse(leaf_pem + middle_pem));
  ASSERT_TRUE(parse(leaf_pem + middle_pem + root_pem));
  EXPECT_EQ((*parse(leaf_pem + middle_pem + root_pem))->chain().size(), 3u);
  EXPECT_THAT(detail_of(parse(middle_pem + leaf_pem)), HasSubstr("that of certificate 2 of the file"));
  EXPECT_THAT(detail_of(parse(leaf_pem + root_pem + middle_pem)),
              HasSubstr("certificate 2 of the file has signed none"));
  EXPECT_THAT(detail_of(parse(leaf_pem + make_test_ca({.common_name = "stranger"}).chain_pem())),
              HasSubstr("has signed none of those before it"));
  const TestIdentity weak = make_test_ca({.common_name = "weak", .key = TestKey::weak_rsa}, &root);
  const TestIdentity below = make_test_certificate({}, &weak);
  EXPECT_THAT(detail_of(CertifiedKey::parse(below.chain_pem(), below.key_pem(), Use::server)), HasSubstr("RSA 1024"));
  std::string many = leaf_pem;
  for (int i = 0; i < 10; ++i) many += middle_pem;
  EXPECT_THAT(detail_of(parse(many)), HasSubstr("11 certificates"));
  EXPECT_THAT(detail_of(parse(leaf_pem + std::string(64 * 1024, '\n'))), HasSubstr("larger than 64 KiB"));
}

TEST_F(CertifiedKeys, DoNotJudgeDates) {
  const TestIdentity leaf = make_test_certificate({.not_after = kTestFrom + std::chrono::hours(1)});
  EXPECT_TRUE(CertifiedKey::parse(leaf.chain_pem(), leaf.key_pem(), Use::server));
}

}  // namespace
}  // namespace postern::tls
