#include "tls/authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <set>

#include "tls/pem.h"
#include "tls/test_certificates.h"

namespace postern::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Use = CertifiedKey::Use;

constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};
constexpr auto kDay = std::chrono::hours(24);

class AuthorityTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(ERR_peek_error(), 0u) << ERR_error_string(ERR_peek_error(), nullptr); }

  static Authority make(Use use) {
    Result<Authority> made =
        Authority::make(use == Use::client ? "client CA" : "server CA", use, kNow, kNow + kDay * 365);
    EXPECT_TRUE(made) << made.error().to_string();
    return std::move(*made);
  }
  static LeafRequest request(Use use) {
    return {.use = use,
            .common_name = "orders",
            .dns_names = {"Orders.internal"},
            .ip_addresses = {"10.0.0.7"},
            .uris = {"postern://d/gateway/g/origin/orders"},
            .not_before = kNow,
            .not_after = kNow + kDay};
  }
  static std::shared_ptr<const CertifiedKey> issue(const Authority& authority, const LeafRequest& what) {
    const auto issued = authority.issue(what);
    EXPECT_TRUE(issued) << issued.error().to_string();
    return *issued;
  }
};

template <typename T>
std::string detail_of(const Result<T>& result) {
  return result ? "no error" : std::string(result.error().detail());
}

// The extension as `openssl x509 -text` shows it, "critical " before it if it is; "absent".
std::string extension(const Certificate& certificate, int nid) {
  const int at = X509_get_ext_by_NID(certificate.native(), nid, -1);
  if (at < 0) return "absent";
  X509_EXTENSION* const found = X509_get_ext(certificate.native(), at);
  const BioPtr out(BIO_new(BIO_s_mem()));
  X509V3_EXT_print(out.get(), found, 0, 0);
  return (X509_EXTENSION_get_critical(found) != 0 ? "critical " : "") + content_of(out.get());
}

// What OpenSSL says to a leaf shown for `purpose` (X509_PURPOSE_*), as an origin or a client that trusts the authority
// would ask it. 0 is yes.
int openssl_verdict(const Certificate& root, const Certificate& leaf, int purpose,
                    const Certificate* between = nullptr) {
  const CleanErrorQueue errors;
  const StorePtr store(X509_STORE_new());
  X509_STORE_add_cert(store.get(), root.native());
  const std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * stack) { sk_X509_free(stack); })> untrusted(
      sk_X509_new_null());
  if (between) sk_X509_push(untrusted.get(), between->native());
  const StoreContextPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf.native(), untrusted.get());
  X509_VERIFY_PARAM* const param = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_purpose(param, purpose);
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);  // every MUST of RFC 5280 that OpenSSL knows
  X509_VERIFY_PARAM_set_time(param, std::chrono::floor<std::chrono::seconds>(kNow).time_since_epoch().count());
  X509_verify_cert(context.get());
  return X509_STORE_CTX_get_error(context.get());
}

std::shared_ptr<EVP_PKEY> parse_key_of(const Authority& authority) {
  Result<KeyPtr> key = parse_key(authority.key_pem());
  EXPECT_TRUE(key) << detail_of(key);
  return std::move(*key);
}

TEST_F(AuthorityTest, IsACaForLeavesOfOneUseOnly) {
  for (const Use use : {Use::client, Use::server}) {
    const Authority authority = make(use);
    const Certificate& it = authority.certificate();
    EXPECT_EQ(extension(it, NID_basic_constraints), "critical CA:TRUE, pathlen:0");
    EXPECT_EQ(extension(it, NID_key_usage), "critical Certificate Sign, CRL Sign");
    EXPECT_EQ(extension(it, NID_ext_key_usage),
              use == Use::client ? "TLS Web Client Authentication" : "TLS Web Server Authentication");
    EXPECT_NE(extension(it, NID_subject_key_identifier), "absent");
    EXPECT_EQ(it.subject(), it.issuer());
    EXPECT_EQ(it.key_type(), "EC P-256");
    EXPECT_EQ(it.not_before(), kNow);
    EXPECT_EQ(it.not_after(), kNow + kDay * 365);
    EXPECT_TRUE(authority.has_key());
  }
}

TEST_F(AuthorityTest, IssuesLeavesThatSayWhatTheyAre) {
  const Authority authority = make(Use::client);
  const auto issued = issue(authority, request(Use::client));
  const Certificate& leaf = issued->leaf();
  EXPECT_EQ(extension(leaf, NID_basic_constraints), "critical CA:FALSE");
  EXPECT_EQ(extension(leaf, NID_key_usage), "critical Digital Signature");
  EXPECT_EQ(extension(leaf, NID_ext_key_usage), "TLS Web Client Authentication");
  EXPECT_EQ(extension(leaf, NID_authority_key_identifier),
            extension(authority.certificate(), NID_subject_key_identifier));
  EXPECT_EQ(extension(leaf, NID_subject_alt_name),
            "DNS:orders.internal, URI:postern://d/gateway/g/origin/orders, IP Address:10.0.0.7");
  EXPECT_EQ(leaf.subject(), "CN=orders");
  EXPECT_EQ(leaf.issuer(), "CN=client CA");
  EXPECT_THAT(leaf.dns_names(), ElementsAre("orders.internal"));
  EXPECT_THAT(leaf.uris(), ElementsAre("postern://d/gateway/g/origin/orders"));
  EXPECT_THAT(leaf.ip_addresses(), ElementsAre("10.0.0.7"));
  EXPECT_EQ(issued->chain().size(), 1u) << "without the CA";
  EXPECT_TRUE(CertifiedKey::parse(leaf.to_pem(), to_pem(issued->key()), Use::client)) << "usable as files";
}

TEST_F(AuthorityTest, MarksNamesCriticalOnlyInPlaceOfASubject) {
  const Authority authority = make(Use::server);
  const auto nameless = issue(authority, {.use = Use::server, .dns_names = {"a.example"}, .not_after = kNow + kDay});
  EXPECT_EQ(extension(nameless->leaf(), NID_subject_alt_name), "critical DNS:a.example");
  EXPECT_EQ(openssl_verdict(authority.certificate(), nameless->leaf(), X509_PURPOSE_SSL_SERVER), X509_V_OK);
}

TEST_F(AuthorityTest, SignsForNothingButItsUse) {
  const Authority clients = make(Use::client);
  const Authority servers = make(Use::server);
  const auto client = issue(clients, request(Use::client));
  const auto server = issue(servers, request(Use::server));
  EXPECT_EQ(openssl_verdict(clients.certificate(), client->leaf(), X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  EXPECT_EQ(openssl_verdict(servers.certificate(), server->leaf(), X509_PURPOSE_SSL_SERVER), X509_V_OK);
  EXPECT_EQ(openssl_verdict(clients.certificate(), client->leaf(), X509_PURPOSE_SSL_SERVER),
            X509_V_ERR_INVALID_PURPOSE);
  EXPECT_EQ(openssl_verdict(servers.certificate(), server->leaf(), X509_PURPOSE_SSL_CLIENT),
            X509_V_ERR_INVALID_PURPOSE);
  EXPECT_NE(openssl_verdict(clients.certificate(), server->leaf(), X509_PURPOSE_SSL_SERVER), X509_V_OK);

  EXPECT_THAT(detail_of(clients.issue(request(Use::server))), HasSubstr("does not sign certificates of servers"));
  EXPECT_THAT(detail_of(servers.issue(request(Use::client))), HasSubstr("does not sign certificates of clients"));

  // Whoever steals the client CA's key gains no servers: its own extended key usage speaks against them.
  TestIdentity stolen;
  stolen.chain = {Certificate::from(clients.certificate().native())};
  stolen.key = parse_key_of(clients);
  const TestIdentity forged = make_test_certificate({.extended_key_usage = "serverAuth"}, &stolen);
  EXPECT_EQ(openssl_verdict(clients.certificate(), forged.certificate(), X509_PURPOSE_SSL_SERVER),
            X509_V_ERR_INVALID_PURPOSE);
}

TEST_F(AuthorityTest, PermitsNobodyBelowItToSign) {
  const Authority authority = make(Use::client);
  const auto leaf = issue(authority, request(Use::client));
  TestIdentity as_issuer;
  as_issuer.chain = {leaf->chain().front()};
  EVP_PKEY_up_ref(leaf->key());
  as_issuer.key = KeyPtr(leaf->key());
  const TestIdentity below = make_test_certificate({}, &as_issuer);
  EXPECT_EQ(openssl_verdict(authority.certificate(), below.certificate(), X509_PURPOSE_SSL_CLIENT, &leaf->leaf()),
            X509_V_ERR_INVALID_CA);

  // Not even an intermediate that its own key signed.
  TestIdentity root;
  root.chain = {Certificate::from(authority.certificate().native())};
  root.key = parse_key_of(authority);
  const TestIdentity middle = make_test_ca({.common_name = "middle"}, &root);
  const TestIdentity far = make_test_certificate({}, &middle);
  EXPECT_EQ(openssl_verdict(authority.certificate(), far.certificate(), X509_PURPOSE_SSL_CLIENT, &middle.certificate()),
            X509_V_ERR_PATH_LENGTH_EXCEEDED);
}

TEST_F(AuthorityTest, GivesSerialsThatNobodyGuesses) {
  const Authority authority = make(Use::client);
  std::set<std::string> seen;
  for (int i = 0; i < 50; ++i) {
    const auto leaf = issue(authority, request(Use::client));
    const std::string serial = leaf->leaf().serial();
    EXPECT_EQ(serial.size(), 40u) << "20 octets";
    EXPECT_LT(serial[0], '8') << "positive";
    EXPECT_NE(serial.substr(0, 2), "00");
    seen.insert(serial);
  }
  EXPECT_EQ(seen.size(), 50u);
}

TEST_F(AuthorityTest, DoesNotOutliveItselfInWhatItSigns) {
  const Authority authority = make(Use::client);
  LeafRequest what = request(Use::client);
  what.not_before = kNow - kDay;
  what.not_after = kNow + kDay * 3650;
  const auto clipped = issue(authority, what);
  EXPECT_EQ(clipped->leaf().not_before(), kNow);
  EXPECT_EQ(clipped->leaf().not_after(), kNow + kDay * 365);
  what.not_before = kNow + kDay * 365;
  EXPECT_THAT(detail_of(authority.issue(what)), HasSubstr("not in force during any of the time"));
  what = request(Use::client);
  what.not_after = kNow - kDay;
  EXPECT_THAT(detail_of(authority.issue(what)), HasSubstr("not in force during any of the time"));
}

TEST_F(AuthorityTest, TakesOnlyNamesThatACertificateCanBear) {
  using namespace std::string_literals;
  const Authority authority = make(Use::client);
  const auto with = [&](auto change) {
    LeafRequest what = request(Use::client);
    change(what);
    const auto issued = authority.issue(what);
    if (!issued) {
      EXPECT_EQ(issued.error().code(), Code::bad_request);
      EXPECT_EQ(issued.error().side(), Side::client);
    }
    return issued.has_value();
  };
  for (const std::string& good :
       {"a"s, "a.example"s, "*.example"s, "xn--bcher-kva.example"s, "a_b.example"s, "9a.b"s}) {
    EXPECT_TRUE(with([&](LeafRequest& what) { what.dns_names = {good}; })) << good;
  }
  for (const std::string& bad : {""s, "."s, "a..b"s, "a."s, ".a"s, "*"s, "a*.example"s, "*.*.example"s, "b\xc3\xbc"s,
                                 "a b"s, "a\0b"s, "-a.example"s, "10.0.0.1"s, "42"s, "a,DNS:b"s, "a:1"s,
                                 std::string(64, 'a') + ".example", std::string(260, 'a')}) {
    EXPECT_FALSE(with([&](LeafRequest& what) { what.dns_names = {bad}; })) << bad;
  }
  for (const std::string& bad : {""s, "10.0.0"s, "10.0.0.1/8"s, "[::1]"s, "a.example"s}) {
    EXPECT_FALSE(with([&](LeafRequest& what) { what.ip_addresses = {bad}; })) << bad;
  }
  for (const std::string& bad : {""s, "no-scheme"s, "urn:a b"s, "urn:\n"s, "urn:" + std::string(2000, 'a')}) {
    EXPECT_FALSE(with([&](LeafRequest& what) { what.uris = {bad}; })) << bad;
  }
  EXPECT_TRUE(with([](LeafRequest& what) { what.common_name = std::string(64, 'c'); }));
  EXPECT_FALSE(with([](LeafRequest& what) { what.common_name = std::string(65, 'c'); }));
  EXPECT_FALSE(with([](LeafRequest& what) { what.common_name = "a\nb"; }));
  EXPECT_FALSE(with([](LeafRequest& what) { what = {.not_before = what.not_before, .not_after = what.not_after}; }))
      << "no name at all";
  EXPECT_FALSE(with([](LeafRequest& what) { what.dns_names.assign(101, "a.example"); }));
}

TEST_F(AuthorityTest, IsReadFromItsFiles) {
  const Authority made = make(Use::client);
  const std::string certificate = made.certificate().to_pem();
  const std::string key = made.key_pem();
  const auto whole = Authority::parse(certificate, key);
  ASSERT_TRUE(whole) << detail_of(whole);
  EXPECT_EQ(whole->certificate().fingerprint(), made.certificate().fingerprint());
  EXPECT_TRUE(whole->issue(request(Use::client)));

  const auto offline = Authority::parse(certificate, "");
  ASSERT_TRUE(offline) << detail_of(offline);
  EXPECT_FALSE(offline->has_key());
  EXPECT_EQ(offline->key_pem(), "");
  EXPECT_THAT(detail_of(offline->issue(request(Use::client))), HasSubstr("the key of this authority is not here"));

  EXPECT_THAT(detail_of(Authority::parse(certificate, make(Use::client).key_pem())), HasSubstr("not that of the"));
  EXPECT_THAT(detail_of(Authority::parse(certificate + certificate, key)), HasSubstr("2 instead of one"));
  EXPECT_THAT(detail_of(Authority::parse(key, certificate)), HasSubstr("certificate: line 1: a private key"));
  EXPECT_THAT(detail_of(Authority::parse(certificate, certificate)), HasSubstr("key: line 1: this is a certificate"));
  const auto leaf = issue(made, request(Use::client));
  EXPECT_THAT(detail_of(Authority::parse(leaf->leaf().to_pem(), to_pem(leaf->key()))), HasSubstr("may not sign"));
  const TestIdentity weak = make_test_ca({.common_name = "weak", .key = TestKey::weak_rsa});
  EXPECT_THAT(detail_of(Authority::parse(weak.chain_pem(), weak.key_pem())), HasSubstr("RSA 1024"));
}

TEST_F(AuthorityTest, SignsRequestsForTheirKeyAlone) {
  const Authority authority = make(Use::client);
  for (const TestKey kind : {TestKey::ec, TestKey::rsa, TestKey::ed25519}) {
    const KeyPtr key = make_test_key(kind);
    LeafRequest asked = request(Use::server);
    asked.common_name = "admin";
    asked.dns_names = {"everything.example"};
    const auto csr = make_request(key.get(), asked);
    ASSERT_TRUE(csr) << detail_of(csr);
    const auto signed_leaf = authority.sign(*csr, request(Use::client));
    ASSERT_TRUE(signed_leaf) << detail_of(signed_leaf);
    EXPECT_EQ(EVP_PKEY_eq(X509_get0_pubkey((*signed_leaf)->native()), key.get()), 1);
    EXPECT_EQ((*signed_leaf)->subject(), "CN=orders") << "not what the request asked for";
    EXPECT_THAT((*signed_leaf)->dns_names(), ElementsAre("orders.internal"));
    EXPECT_EQ(openssl_verdict(authority.certificate(), **signed_leaf, X509_PURPOSE_SSL_CLIENT), X509_V_OK);
  }
}

TEST_F(AuthorityTest, MakesRequestsThatOthersCanSign) {
  const KeyPtr key = make_test_key(TestKey::ec);
  const auto pem = make_request(key.get(), request(Use::server));
  ASSERT_TRUE(pem) << detail_of(pem);
  const BioPtr bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  const RequestPtr csr(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  ASSERT_TRUE(csr);
  EXPECT_EQ(X509_REQ_verify(csr.get(), key.get()), 1);
  char* const subject = X509_NAME_oneline(X509_REQ_get_subject_name(csr.get()), nullptr, 0);
  EXPECT_STREQ(subject, "/CN=orders");
  OPENSSL_free(subject);
  const std::unique_ptr<STACK_OF(X509_EXTENSION), decltype([](STACK_OF(X509_EXTENSION) * stack) {
                          sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
                        })>
      extensions(X509_REQ_get_extensions(csr.get()));
  ASSERT_EQ(sk_X509_EXTENSION_num(extensions.get()), 1);
  const BioPtr out(BIO_new(BIO_s_mem()));
  X509V3_EXT_print(out.get(), sk_X509_EXTENSION_value(extensions.get(), 0), 0, 0);
  EXPECT_THAT(content_of(out.get()), HasSubstr("DNS:orders.internal"));
  EXPECT_FALSE(make_request(key.get(), {.dns_names = {"a b"}}));
}

TEST_F(AuthorityTest, RefusesRequestsThatProveNothing) {
  const Authority authority = make(Use::client);
  const KeyPtr key = make_test_key(TestKey::ec);
  const std::string good = *make_request(key.get(), request(Use::client));
  const auto refusal = [&](const std::string& csr) { return detail_of(authority.sign(csr, request(Use::client))); };

  // Somebody else's public key in it, so that its signature is that of another key.
  const BioPtr bio(BIO_new_mem_buf(good.data(), static_cast<int>(good.size())));
  const RequestPtr csr(PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr));
  const KeyPtr victim = make_test_key(TestKey::ec);
  X509_REQ_set_pubkey(csr.get(), victim.get());
  const BioPtr out(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(out.get(), csr.get());
  EXPECT_THAT(refusal(content_of(out.get())), HasSubstr("not signed with its own key"));

  const KeyPtr weak = make_test_key(TestKey::weak_rsa);
  EXPECT_THAT(refusal(*make_request(weak.get(), request(Use::client))), HasSubstr("RSA 1024"));
  EXPECT_THAT(refusal(""), HasSubstr("empty"));
  EXPECT_THAT(refusal(good + good), HasSubstr("where one certificate request belongs"));
  EXPECT_THAT(refusal(authority.certificate().to_pem()), HasSubstr("this is \"CERTIFICATE\""));
  EXPECT_THAT(refusal(good.substr(0, good.size() / 2)), HasSubstr("incomplete"));
  EXPECT_THAT(detail_of(Authority::parse(authority.certificate().to_pem(), "")->sign(good, request(Use::client))),
              HasSubstr("not here"));
}

TEST_F(AuthorityTest, MakesSelfSignedCertificatesForDevelopment) {
  const auto made = make_self_signed(request(Use::server));
  ASSERT_TRUE(made) << detail_of(made);
  const Certificate& it = (*made)->leaf();
  EXPECT_EQ(it.subject(), it.issuer());
  EXPECT_FALSE(it.is_ca());
  EXPECT_THAT(it.dns_names(), ElementsAre("orders.internal"));
  EXPECT_EQ(extension(it, NID_ext_key_usage), "TLS Web Server Authentication");
  EXPECT_TRUE(CertifiedKey::parse(it.to_pem(), to_pem((*made)->key()), Use::server));
  const auto other = make_self_signed(request(Use::server));
  EXPECT_NE((*other)->leaf().spki_pin(), it.spki_pin()) << "a fresh key each time";
  EXPECT_FALSE(make_self_signed({.use = Use::server, .not_after = kNow}));
}

}  // namespace
}  // namespace postern::tls
