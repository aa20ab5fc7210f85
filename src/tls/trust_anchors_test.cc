#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>

#include <cstdlib>
#include <fstream>

#include "tls/test_certificates.h"

namespace postern::tls {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};

class TrustAnchorsTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u) << ERR_error_string(ERR_peek_error(), nullptr); }
};

template <typename T>
std::string detail_of(const Result<T>& result) {
  return result ? "no error" : std::string(result.error().detail());
}

std::string verdict(const TestIdentity& anchor, const TestIdentity& leaf, WallTime now = kNow) {
  const Result<void> verified = anchor.anchors()->verify_client(leaf.chain, now);
  if (!verified) {
    EXPECT_EQ(verified.error().code(), Code::certificate_refused);
    EXPECT_EQ(verified.error().side(), Side::client);
  }
  EXPECT_EQ(ERR_peek_error(), 0u);
  return detail_of(verified);
}

TEST_F(TrustAnchorsTest, AcceptWhatTheySignedForClients) {
  const TestIdentity root = make_test_ca();
  EXPECT_EQ(verdict(root, make_test_certificate({}, &root)), "no error");
  EXPECT_EQ(verdict(root, make_test_certificate({.extended_key_usage = "clientAuth"}, &root)), "no error");
  EXPECT_EQ(verdict(root, make_test_certificate({.extended_key_usage = ""}, &root)), "no error");
  const TestIdentity middle = make_test_ca({.common_name = "middle"}, &root);
  EXPECT_EQ(verdict(root, make_test_certificate({}, &middle)), "no error") << "through an intermediate";
  const TestIdentity rsa = make_test_ca({.common_name = "rsa root", .key = TestKey::rsa});
  EXPECT_EQ(verdict(rsa, make_test_certificate({.key = TestKey::ed25519}, &rsa)), "no error");
}

TEST_F(TrustAnchorsTest, RefuseForAReasonThatTheyName) {
  const TestIdentity root = make_test_ca({.common_name = "root", .key = TestKey::rsa});
  const TestIdentity foreign = make_test_ca({.common_name = "foreign"});
  const TestIdentity namesake = make_test_ca({.common_name = "root", .key = TestKey::other_rsa});
  const TestIdentity no_ca = make_test_certificate({.common_name = "no CA"}, &root);
  const TestIdentity servers = make_test_ca({.common_name = "servers", .extended_key_usage = "serverAuth"}, &root);
  const TestIdentity constrained =
      make_test_ca({.common_name = "constrained", .name_constraints = "permitted;DNS:example.com"}, &root);
  const TestIdentity expired_ca = make_test_ca({.common_name = "old CA", .not_after = kNow}, &root);
  TestIdentity alone = make_test_certificate({.common_name = "leaf"}, &constrained);
  alone.chain.resize(1);

  const std::pair<TestIdentity, std::string_view> table[] = {
      {make_test_certificate({}, &foreign), "unable to get local issuer certificate: none of the trusted"},
      {make_test_certificate({}, &namesake), "unable to get local issuer certificate"},
      {make_test_certificate({}), "self-signed certificate: it is not among the trusted ones (CN=test)"},
      {alone, "unable to get local issuer certificate: none of the trusted"},
      {make_test_certificate({.not_after = kNow - std::chrono::seconds(1)}, &root),
       "certificate has expired (CN=test)"},
      {make_test_certificate({.not_before = kNow + std::chrono::seconds(1)}, &root),
       "certificate is not yet valid (CN=test)"},
      {make_test_certificate({}, &expired_ca), "certificate has expired (CN=old CA)"},
      {make_test_certificate({.extended_key_usage = "serverAuth"}, &root),
       "unsuitable certificate purpose: its extended key usage is for another use (CN=test)"},
      {make_test_certificate({}, &servers), "unsuitable certificate purpose"},
      {make_test_certificate({}, &no_ca), "invalid CA certificate (CN=no CA)"},
      {make_test_certificate({.dns_names = {"a.example.org"}}, &constrained), "permitted subtree violation"},
      {make_test_certificate({.key = TestKey::weak_rsa}, &root), "EE certificate key too weak"},
      {make_test_certificate({.digest = EVP_sha1()}, &root), "CA signature digest algorithm too weak"},
      {make_test_certificate({.digest = EVP_md5()}, &root), "CA signature digest algorithm too weak"},
  };
  for (const auto& [leaf, expected] : table) EXPECT_THAT(verdict(root, leaf), HasSubstr(std::string(expected)));
  EXPECT_EQ(verdict(root, make_test_certificate({.dns_names = {"a.example.com"}}, &constrained)), "no error");
}

TEST_F(TrustAnchorsTest, JudgeByTheTimeThatTheyAreGiven) {
  const TestIdentity root = make_test_ca();
  const WallTime from = kNow;
  const WallTime until = kNow + std::chrono::hours(1);
  const TestIdentity leaf = make_test_certificate({.not_before = from, .not_after = until}, &root);
  constexpr auto kSecond = std::chrono::seconds(1);
  EXPECT_THAT(verdict(root, leaf, from - kSecond), HasSubstr("not yet valid"));
  EXPECT_EQ(verdict(root, leaf, from), "no error");
  EXPECT_EQ(verdict(root, leaf, until - kSecond), "no error");
  EXPECT_THAT(verdict(root, leaf, until + kSecond), HasSubstr("has expired"));
}

TEST_F(TrustAnchorsTest, DoNotEndAChainAtAnIntermediate) {
  const TestIdentity root = make_test_ca();
  const TestIdentity middle = make_test_ca({.common_name = "middle"}, &root);
  EXPECT_THAT(verdict(middle, make_test_certificate({}, &middle)),
              HasSubstr("unable to get issuer certificate (CN=middle)"));
}

TEST_F(TrustAnchorsTest, BoundTheLengthOfAChain) {
  const TestIdentity root = make_test_ca();
  TestIdentity last = root;
  for (int i = 1; i <= 8; ++i) last = make_test_ca({.common_name = "middle " + std::to_string(i)}, &last);
  EXPECT_EQ(verdict(root, make_test_certificate({}, &last)), "no error") << "eight between leaf and root";
  last = make_test_ca({.common_name = "one more"}, &last);
  EXPECT_THAT(verdict(root, make_test_certificate({}, &last)), HasSubstr("chain too long"));
  TestIdentity leaf = make_test_certificate({}, &root);
  while (leaf.chain.size() <= kMaxChainLength) leaf.chain.push_back(root.chain.front());
  EXPECT_THAT(verdict(root, leaf), HasSubstr("11 certificates"));
}

TEST_F(TrustAnchorsTest, KnowWhenThereIsNoCertificate) {
  const Result<void> verified = make_test_ca().anchors()->verify_client({}, kNow);
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code(), Code::certificate_missing);
  EXPECT_EQ(verified.error().side(), Side::client);
}

TEST_F(TrustAnchorsTest, TakeASelfSignedCertificateForItselfAlone) {
  const TestIdentity self = make_test_certificate({.common_name = "self"});
  EXPECT_EQ(verdict(self, self), "no error");
  EXPECT_THAT(verdict(self, make_test_certificate({}, &self)), HasSubstr("invalid CA certificate"));
}

TEST_F(TrustAnchorsTest, MakeTextsThatAreFitForALog) {
  const TestIdentity root = make_test_ca();
  const TestIdentity stranger = make_test_certificate({.common_name = "x\r\nlevel=error \x1b[2J"});
  const std::string text = verdict(root, stranger);
  EXPECT_THAT(text, HasSubstr("CN=x\\0D\\0Alevel=error"));
  EXPECT_THAT(text, AllOf(Not(HasSubstr("\n")), Not(HasSubstr("\x1b"))));
  const TestIdentity nameless = make_test_certificate({.common_name = "", .dns_names = {"a.example"}});
  EXPECT_THAT(verdict(root, nameless), HasSubstr("(a.example)"));
  EXPECT_THAT(verdict(root, make_test_certificate({.common_name = ""})), HasSubstr("(no subject)"));
}

TEST_F(TrustAnchorsTest, AreReadFromABundle) {
  const TestIdentity a = make_test_ca({.common_name = "a"});
  const TestIdentity b = make_test_ca({.common_name = "b"});
  const auto both = TrustAnchors::parse(a.chain_pem() + b.chain_pem() + a.chain_pem());
  ASSERT_TRUE(both) << detail_of(both);
  EXPECT_TRUE((*both)->verify_client(make_test_certificate({}, &a).chain, kNow));
  EXPECT_TRUE((*both)->verify_client(make_test_certificate({}, &b).chain, kNow));
  EXPECT_EQ((*both)->certificates().size(), 3u);

  const TestIdentity leaf = make_test_certificate({.common_name = "leaf"}, &a);
  EXPECT_THAT(
      detail_of(TrustAnchors::parse(a.chain_pem() + leaf.chain_pem())),
      HasSubstr("certificate 2 is not that of an authority: its basic constraints do not say CA:TRUE (CN=leaf)"));
  EXPECT_THAT(detail_of(TrustAnchors::parse("")), HasSubstr("empty"));
  EXPECT_THAT(detail_of(TrustAnchors::parse(a.chain_pem() + a.key_pem())), HasSubstr("a private key"));
  EXPECT_THAT(detail_of(TrustAnchors::parse(a.chain_pem().substr(0, 100))), HasSubstr("incomplete"));
}

TEST_F(TrustAnchorsTest, HaveAnIdThatTellsTheirSetsApart) {
  const TestIdentity a = make_test_ca({.common_name = "a"});
  const TestIdentity b = make_test_ca({.common_name = "b"});
  const auto id = [](const std::string& pem) { return (*TrustAnchors::parse(pem))->id(); };
  EXPECT_EQ(id(a.chain_pem()), id("again\n" + a.chain_pem()));
  EXPECT_EQ(id(a.chain_pem() + b.chain_pem()), id(b.chain_pem() + a.chain_pem() + b.chain_pem()));
  EXPECT_NE(id(a.chain_pem()), id(b.chain_pem()));
  EXPECT_NE(id(a.chain_pem()), id(a.chain_pem() + b.chain_pem()));
  EXPECT_NE(id(a.chain_pem()), 0u);
}

TEST_F(TrustAnchorsTest, OfTheSystemComeFromItsBundle) {
  const TestIdentity root = make_test_ca();
  const TestIdentity other = make_test_certificate({.common_name = "no root"}, &root);
  const std::string path = ::testing::TempDir() + "postern-system-roots.pem";
  std::ofstream(path) << "# comment\n"
                      << other.chain_pem() << root.chain_pem() << "-----BEGIN CERTIFICATE-----\nAAAA\n";
  ASSERT_EQ(::setenv("SSL_CERT_FILE", path.c_str(), 1), 0);
  const auto anchors = TrustAnchors::system();
  ASSERT_TRUE(anchors) << detail_of(anchors);
  EXPECT_TRUE((*anchors)->verify_client(make_test_certificate({}, &root).chain, kNow));
  EXPECT_FALSE((*anchors)->verify_client(make_test_certificate({}).chain, kNow));
  EXPECT_EQ((*anchors)->id(), root.anchors()->id());
  EXPECT_THAT((*anchors)->certificates(), IsEmpty());

  std::ofstream(path) << "nothing\n";
  EXPECT_THAT(detail_of(TrustAnchors::system()), HasSubstr("ca-certificates"));
  ::setenv("SSL_CERT_FILE", (path + ".missing").c_str(), 1);
  EXPECT_FALSE(TrustAnchors::system());
  ::unsetenv("SSL_CERT_FILE");
  ::unlink(path.c_str());
}

}  // namespace
}  // namespace postern::tls
