#include "identity/http_signature/http_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "identity/signing_test_support.h"
#include "signature/base64.h"
#include "signature/message_keys.h"
#include "signature/test_keys.h"

namespace postern::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::string_view kOptions = "key: \"${file:/s/key}\"";
constexpr std::string_view kSecret = "0123456789abcdef0123456789abcdef";

class HttpSignatureTest : public SigningTest {
 protected:
  HttpSignatureTest() : SigningTest("http_signature") {
    files["/s/key"] = signature::test::kEd25519Pem;
    files["/etc/postern/sign.pem"] = signature::test::kEd25519Pem;
    files["/s/p256"] = signature::test::kP256Pem;
    files["/s/rsa"] = signature::test::kRsaPssPem;
    files["/s/secret"] = kSecret;
    files["/s/short"] = kSecret.substr(1);
    files["/s/text"] = "-----BEGIN PRIVATE KEY-----\nbm8ga2V5\n-----END PRIVATE KEY-----\n";
  }

  // Whether the last attempt's signature is one of `key` for the base that was explained.
  bool verifies(std::string_view pem, jose::Algorithm algorithm) {
    const auto key = jose::PrivateKey::from_pem(pem, algorithm);
    if (!key || explanations.empty()) return false;
    return key->public_key().verify(explanations.back().text, raw_signature());
  }
  std::string raw_signature() {
    const std::string value = field("Signature");
    const std::size_t begin = value.find("=:") + 2;
    return signature::decode_base64(std::string_view(value).substr(begin, value.size() - begin - 1)).value_or("");
  }
};

TEST_F(HttpSignatureTest, the_example_of_its_readme_loads) {
  const auto method = make(readme_example());
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->name(), "http_signature");
  EXPECT_EQ(method->whole_body(), std::uint64_t{4} << 20);
  EXPECT_THAT(method->headers(), ElementsAre("Signature", "Signature-Input", "Content-Digest"));
  EXPECT_THAT(method->secrets(), IsEmpty());
}

// Byte for byte what an origin has to put together from what it received.
TEST_F(HttpSignatureTest, signs_what_the_origin_will_see) {
  const auto method = make_with(std::string(kOptions) + ", keyid: k1, cover: [Content-Type, X-Note]");
  ASSERT_TRUE(method) << problems;
  request("POST", "api.example:8443", "/a/b%20c?x=1&&y", "{\"hello\": \"world\"}");
  client_field("Content-Type", "application/json");
  client_field("X-Note", "one");
  client_field("X-Unsigned", "whatever");
  client_field("x-note", "two");
  ASSERT_TRUE(apply(*method)) << failure;
  // RFC 9530 Appendix D: the digest of this very body.
  const std::string digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
  EXPECT_EQ(field("Content-Digest"), digest);
  const std::string input =
      "(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-digest\" \"content-type\" \"x-note\")"
      ";created=1700000000;expires=1700000060;keyid=\"k1\";nonce=\"00000000000000000000000000000001\""
      ";tag=\"postern-origin\"";
  EXPECT_EQ(field("Signature-Input"), "gateway=" + input);
  ASSERT_EQ(explanations.size(), 1u);
  EXPECT_EQ(explanations[0].text,
            "\"@method\": POST\n\"@authority\": api.example:8443\n\"@path\": /a/b%20c\n"
            "\"@query\": ?x=1&&y\n\"content-digest\": " +
                digest +
                "\n"
                "\"content-type\": application/json\n\"x-note\": one, two\n"
                "\"@signature-params\": " +
                input);
  EXPECT_TRUE(verifies(signature::test::kEd25519Pem, jose::Algorithm::EdDSA));
  EXPECT_THAT(sensitive, ElementsAre(field("Signature"))) << "a copy of it in an answer could be used";
}

TEST_F(HttpSignatureTest, covers_the_absence_of_body_and_query) {
  const auto method = make_with(std::string(kOptions) + ", cover: [Content-Type]");
  ASSERT_TRUE(method) << problems;
  request("GET", "api.example", "/", "");
  ASSERT_TRUE(apply(*method));
  EXPECT_EQ(field("Content-Digest"), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
  EXPECT_THAT(explanations[0].text, HasSubstr("\n\"@query\": ?\n\"content-digest\": sha-256=:47DEQ"));
  EXPECT_THAT(explanations[0].text, Not(HasSubstr("content-type")));
  EXPECT_TRUE(verifies(signature::test::kEd25519Pem, jose::Algorithm::EdDSA));
}

// RFC 8441 4: over HTTP/2 a WebSocket's handshake is a CONNECT.
TEST_F(HttpSignatureTest, covers_the_method_as_it_is_sent) {
  const auto method = make_with(kOptions);
  ASSERT_TRUE(method) << problems;
  request("GET", "api.example", "/chat", "");
  sent_as("CONNECT");
  ASSERT_TRUE(apply(*method));
  EXPECT_TRUE(explanations[0].text.starts_with("\"@method\": CONNECT\n")) << explanations[0].text;
}

TEST_F(HttpSignatureTest, every_attempt_has_a_nonce_of_its_own) {
  const auto method = make_with(kOptions);
  ASSERT_TRUE(method) << problems;
  request("GET", "api.example", "/", "");
  ASSERT_TRUE(apply(*method));
  const std::string first = field("Signature-Input");
  ASSERT_TRUE(apply(*method));
  EXPECT_NE(field("Signature-Input"), first);
}

// Of a method that comes first, the field is on the request, too.
TEST_F(HttpSignatureTest, covers_what_other_methods_have_added) {
  const auto method = make_with(std::string(kOptions) + ", cover: [X-Backend-Secret]");
  ASSERT_TRUE(method) << problems;
  request("GET", "api.example", "/", "");
  client_field("x-backend-secret", "of the client");
  added_before("X-Backend-Secret", "of the gateway");
  ASSERT_TRUE(apply(*method));
  EXPECT_THAT(explanations[0].text, HasSubstr("\"x-backend-secret\": of the client, of the gateway\n"));
}

TEST_F(HttpSignatureTest, the_kind_of_the_key_decides_the_algorithm) {
  const struct {
    const char* file;
    std::string_view pem;
    jose::Algorithm algorithm;
  } cases[] = {{"/s/key", signature::test::kEd25519Pem, jose::Algorithm::EdDSA},
               {"/s/p256", signature::test::kP256Pem, jose::Algorithm::ES256},
               {"/s/rsa", signature::test::kRsaPssPem, jose::Algorithm::PS512}};
  for (const auto& each : cases) {
    const auto method = make_with("key: \"${file:" + std::string(each.file) + "}\"");
    ASSERT_TRUE(method) << each.file << problems;
    request("GET", "api.example", "/", "");
    ASSERT_TRUE(apply(*method)) << failure;
    EXPECT_TRUE(verifies(each.pem, each.algorithm)) << each.file;
    const auto key = jose::PrivateKey::from_pem(each.pem, each.algorithm);
    EXPECT_THAT(field("Signature-Input"), HasSubstr("keyid=\"" + key->kid() + "\"")) << "the thumbprint";
  }
}

TEST_F(HttpSignatureTest, a_shared_secret_signs_and_is_kept_from_answers) {
  const auto method = make_with("secret: \"${file:/s/secret}\", keyid: shared");
  ASSERT_TRUE(method) << problems;
  request("GET", "api.example", "/", "");
  ASSERT_TRUE(apply(*method));
  EXPECT_TRUE(signature::SharedSecret(kSecret).verify(explanations[0].text, raw_signature()));
  EXPECT_THAT(method->secrets(), ElementsAre(kSecret));
}

TEST_F(HttpSignatureTest, without_the_body_it_says_nothing_of_it) {
  const auto method = make_with(std::string(kOptions) + ", unsigned_body: {reason: \"files of 5 GB\"}");
  ASSERT_TRUE(method) << problems;
  EXPECT_FALSE(method->whole_body());
  request("POST", "api.example", "/", "not looked at");
  ASSERT_TRUE(apply(*method));
  EXPECT_EQ(field("Content-Digest"), "(none)");
  EXPECT_THAT(explanations[0].text, Not(HasSubstr("content-digest")));
  EXPECT_THAT(method->headers(), ::testing::Contains("Content-Digest")) << "a client's would look like ours";
}

// What a client sends in a covered field cannot be made a line of its own, and is the client's fault.
TEST_F(HttpSignatureTest, a_value_that_no_base_can_hold_is_refused) {
  const auto method = make_with(std::string(kOptions) + ", cover: [X-Note]");
  ASSERT_TRUE(method) << problems;
  request("GET", "api.example", "/", "");
  client_field("X-Note", "caf\xc3\xa9");
  EXPECT_FALSE(apply(*method));
  EXPECT_THAT(failure, HasSubstr("PST-R002"));
  EXPECT_EQ(field("Signature"), "(none)");
  EXPECT_EQ(field("Content-Digest"), "(none)") << "nothing half done";
}

TEST_F(HttpSignatureTest, what_cannot_work_is_an_error_of_the_configuration) {
  const struct {
    std::string options;
    const char* says;
  } cases[] = {
      {"{}", "neither `key` nor `secret`"},
      {std::string(kOptions) + ", secret: \"${file:/s/secret}\", keyid: a", "both `key` and `secret`"},
      {"secret: \"${file:/s/secret}\"", "`keyid` is missing"},
      {"secret: \"${file:/s/short}\", keyid: a", "32 bytes or more"},
      {"key: \"${file:/s/text}\"", "no key for signatures"},
      {"key: \"${file:/s/none}\"", "/s/none"},
      {"key: literal", "reference"},
      {std::string(kOptions) + ", cover: [Cookie]", "cannot be signed"},
      {std::string(kOptions) + ", cover: [content-digest]", "cannot be signed"},
      {std::string(kOptions) + ", cover: [X-Note, x-note]", "twice"},
      {std::string(kOptions) + ", expires: 2h", "1s to 1h"},
      {std::string(kOptions) + ", expires: 1500ms", "1s to 1h"},
      {std::string(kOptions) + ", max_body: 65MiB", "64MiB"},
      {std::string(kOptions) + ", max_body: 1MiB, unsigned_body: {reason: \"because of it\"}", "not signed"},
      {std::string(kOptions) + ", unsigned_body: {}", "reason"},
      {std::string(kOptions) + ", label: Gateway", "label"},
      {std::string(kOptions) + ", sign: everything", "sign"},
  };
  for (const auto& each : cases) {
    EXPECT_FALSE(make_with(each.options)) << each.options;
    EXPECT_THAT(problems, HasSubstr(each.says)) << each.options;
    EXPECT_THAT(problems, Not(HasSubstr(std::string(kSecret)))) << each.options;
    EXPECT_THAT(problems, Not(HasSubstr("bm8ga2V5"))) << each.options;
  }
}

}  // namespace
}  // namespace postern::identity
