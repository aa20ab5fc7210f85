// Certificates for tests: any that one can meet, sound or not, made in the process. For tests only.
//
//   const TestIdentity root = make_test_ca();
//   const TestIdentity leaf = make_test_certificate({.dns_names = {"a.example"}}, &root);
//   leaf.certified();       // what a server shows
//   root.anchors();         // what its clients believe
#pragma once

#include <gtest/gtest.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tls/authority.h"
#include "tls/certificate.h"
#include "tls/x509_builder.h"

namespace postern::tls {

// In force on the clock of this machine and on a ManualClock alike.
inline constexpr WallTime kTestFrom{std::chrono::seconds(1'577'836'800)};   // 2020-01-01
inline constexpr WallTime kTestUntil{std::chrono::seconds(2'493'072'000)};  // 2049-01-01

// RSA keys take long to make: of each kind there is one per process, so two certificates of kind `rsa` have the same
// key.
enum class TestKey : std::uint8_t { ec, ec_p384, ec_secp256k1, ed25519, rsa, other_rsa, weak_rsa };

inline KeyPtr make_test_key(TestKey kind) {
  const auto shared = [](const KeyPtr& key) {
    EVP_PKEY_up_ref(key.get());
    return KeyPtr(key.get());
  };
  switch (kind) {
    case TestKey::ec: return KeyPtr(EVP_EC_gen("P-256"));
    case TestKey::ec_p384: return KeyPtr(EVP_EC_gen("P-384"));
    case TestKey::ec_secp256k1: return KeyPtr(EVP_EC_gen("secp256k1"));
    case TestKey::ed25519: return KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    case TestKey::rsa: {
      static const KeyPtr key(EVP_RSA_gen(2048));
      return shared(key);
    }
    case TestKey::other_rsa: {
      static const KeyPtr key(EVP_RSA_gen(2048));
      return shared(key);
    }
    case TestKey::weak_rsa: {
      static const KeyPtr key(EVP_RSA_gen(1024));
      return shared(key);
    }
  }
  return nullptr;
}

// What to make. The default is a sound leaf for both uses without a name.
struct TestCertificate {
  std::string common_name = "test";         // "": no subject
  std::vector<std::string> dns_names = {};  // byte for byte: with a NUL in it, or "*.*.example"
  std::vector<std::string> ip_addresses = {};
  std::vector<std::string> uris = {};
  std::vector<std::string> emails = {};
  TestKey key = TestKey::ec;
  WallTime not_before = kTestFrom;
  WallTime not_after = kTestUntil;
  // In OpenSSL's language; "" leaves the extension out.
  std::string basic_constraints = "critical,CA:FALSE";
  std::string key_usage = "critical,digitalSignature";
  std::string extended_key_usage = "serverAuth,clientAuth";
  std::string name_constraints = {};    // "permitted;DNS:example.com"
  const EVP_MD* digest = EVP_sha256();  // MD5 only if the issuer's key is RSA: there is no ECDSA with it
};

// A certificate, its key, and the certificates between it and its root.
struct TestIdentity {
  std::vector<std::shared_ptr<const Certificate>> chain;  // this one first, without the root (a root: itself)
  std::shared_ptr<EVP_PKEY> key;

  [[nodiscard]] const Certificate& certificate() const { return *chain.front(); }
  [[nodiscard]] std::string key_pem() const { return to_pem(key.get()); }
  [[nodiscard]] std::string chain_pem() const {
    std::string out;
    for (const auto& certificate : chain) out += certificate->to_pem();
    return out;
  }
  // Without any check, so that a test can show what the product would not.
  [[nodiscard]] std::shared_ptr<const CertifiedKey> certified() const {
    EVP_PKEY_up_ref(key.get());
    return CertifiedKey::from(chain, KeyPtr(key.get()));
  }
  // Trust in this certificate.
  [[nodiscard]] std::shared_ptr<const TrustAnchors> anchors() const {
    auto parsed = TrustAnchors::parse(certificate().to_pem());
    EXPECT_TRUE(parsed) << parsed.error().to_string();
    return parsed ? *parsed : nullptr;
  }
};

// Signed by `issuer`, whatever that is; nullptr: by itself.
inline TestIdentity make_test_certificate(const TestCertificate& what, const TestIdentity* issuer = nullptr) {
  TestIdentity out;
  out.key = make_test_key(what.key);
  X509Builder builder(out.key.get());
  builder.subject(what.common_name).validity(what.not_before, what.not_after);
  if (issuer) builder.issuer(issuer->certificate().native());
  const auto extension = [&](int nid, const std::string& value) {
    if (!value.empty()) builder.extension(nid, value.c_str());
  };
  extension(NID_basic_constraints, what.basic_constraints);
  extension(NID_key_usage, what.key_usage);
  extension(NID_ext_key_usage, what.extended_key_usage);
  extension(NID_name_constraints, what.name_constraints);
  builder.names({what.dns_names, what.ip_addresses, what.uris, what.emails});
  extension(NID_subject_key_identifier, "hash");
  if (issuer) extension(NID_authority_key_identifier, "keyid");
  const X509Ptr made = builder.sign(issuer ? issuer->key.get() : out.key.get(), what.digest);
  if (!made) {
    ADD_FAILURE() << "OpenSSL does not make this certificate: " << what.common_name;
    std::abort();
  }
  out.chain.push_back(Certificate::from(made.get()));
  const bool below_root = issuer && issuer->certificate().subject() == issuer->certificate().issuer();
  if (issuer && !below_root) out.chain.insert(out.chain.end(), issuer->chain.begin(), issuer->chain.end());
  return out;
}

// A root, or with `issuer` an intermediate. What an authority has to say replaces what `what` says.
inline TestIdentity make_test_ca(TestCertificate what = {.common_name = "test root"},
                                 const TestIdentity* issuer = nullptr) {
  what.basic_constraints = "critical,CA:TRUE";
  what.key_usage = "critical,keyCertSign,cRLSign";
  if (what.extended_key_usage == TestCertificate().extended_key_usage) what.extended_key_usage.clear();
  return make_test_certificate(what, issuer);
}

}  // namespace postern::tls
