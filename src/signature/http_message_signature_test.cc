// RFC 9421: the examples of its appendix byte for byte, and what a signature or a verifier must not put up with.
#include "signature/http_message_signature.h"

#include <gtest/gtest.h>

#include "signature/base64.h"
#include "signature/content_digest.h"
#include "signature/http_message_verifier.h"
#include "signature/test_keys.h"

namespace postern::signature {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kDigest =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
constexpr WallTime kCreated{1'618'884'473s};

// "test-request" of Appendix B.2.
struct TestRequest {
  http::Headers fields;
  Message message;

  TestRequest() {
    fields.append("Host", "example.com");
    fields.append("Date", "Tue, 20 Apr 2021 02:07:55 GMT");
    fields.append("Content-Type", "application/json");
    fields.append("Content-Digest", kDigest);
    fields.append("Content-Length", "18");
    message.method = "POST";
    message.scheme = "https";
    message.authority = "example.com";
    message.path = "/foo";
    message.query = "param=Value&Pet=dog";
    message.has_query = true;
    message.fields = &fields;
  }
};

CoveredComponents components(std::initializer_list<const char*> names) {
  CoveredComponents out;
  for (const char* name : names) {
    if (!out.add(name)) ADD_FAILURE() << name;
  }
  return out;
}

std::string value_of(const char* name, const Message& message) {
  std::string out;
  const CoveredComponents covered = components({name});
  const Result<void> appended = append_component_value(out, covered.list().at(0), message);
  return appended ? out : "refused";
}

TEST(HttpMessageSignature, ExamplesOfTheRfc) {
  TestRequest request;
  http::Headers response_fields;
  response_fields.append("Content-Type", "application/json");
  response_fields.append("Content-Digest",
                         "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGg"
                         "fLQ==:");
  response_fields.append("Content-Length", "23");
  Message response;
  response.status = 200;
  response.fields = &response_fields;

  TestRequest proxied;  // B.3
  proxied.message.authority = "service.internal.example";
  proxied.fields.append("Client-Cert", test::kClientCert);
  http::Headers demo_fields;  // B.4
  demo_fields.append("Accept", "application/json");
  demo_fields.append("Accept", "*/*");
  Message demo;
  demo.method = "GET";
  demo.scheme = "https";
  demo.authority = "example.org";
  demo.path = "/demo";
  demo.query = "name1=Value1&Name2=value2";
  demo.has_query = true;
  demo.fields = &demo_fields;

  const test::Keys keys;
  const struct {
    const char* label;
    const Message* message;
    std::initializer_list<const char*> covered;
    const char* keyid;
    const char* nonce;
    const char* tag;
    std::string_view base;
    std::string_view signature;
  } rows[] = {
      {"sig-b21",
       &request.message,
       {},
       "test-key-rsa-pss",
       "b3k2pp5k7z-50gnwp.yemd",
       "",
       "\"@signature-params\": ();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\"",
       test::kB21},
      {"sig-b22",
       &request.message,
       {"@authority", "content-digest", "\"@query-param\";name=\"Pet\""},
       "test-key-rsa-pss",
       "",
       "header-example",
       "\"@authority\": example.com\n"
       "\"content-digest\": "
       "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:\n"
       "\"@query-param\";name=\"Pet\": dog\n"
       "\"@signature-params\": (\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\");created=1618884473;"
       "keyid=\"test-key-rsa-pss\";tag=\"header-example\"",
       test::kB22},
      {"sig-b23",
       &request.message,
       {"date", "@method", "@path", "@query", "@authority", "content-type", "content-digest", "content-length"},
       "test-key-rsa-pss",
       "",
       "",
       "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n"
       "\"@method\": POST\n"
       "\"@path\": /foo\n"
       "\"@query\": ?param=Value&Pet=dog\n"
       "\"@authority\": example.com\n"
       "\"content-type\": application/json\n"
       "\"content-digest\": "
       "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:\n"
       "\"content-length\": 18\n"
       "\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" "
       "\"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\"",
       test::kB23},
      {"sig-b24",
       &response,
       {"@status", "content-type", "content-digest", "content-length"},
       "test-key-ecc-p256",
       "",
       "",
       "\"@status\": 200\n"
       "\"content-type\": application/json\n"
       "\"content-digest\": "
       "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:\n"
       "\"content-length\": 23\n"
       "\"@signature-params\": (\"@status\" \"content-type\" \"content-digest\" \"content-length\");created=1618884473;"
       "keyid=\"test-key-ecc-p256\"",
       test::kB24},
      {"sig-b25",
       &request.message,
       {"date", "@authority", "content-type"},
       "test-shared-secret",
       "",
       "",
       "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n"
       "\"@authority\": example.com\n"
       "\"content-type\": application/json\n"
       "\"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;"
       "keyid=\"test-shared-secret\"",
       test::kB25},
      {"sig-b26",
       &request.message,
       {"date", "@method", "@path", "@authority", "content-type", "content-length"},
       "test-key-ed25519",
       "",
       "",
       "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n"
       "\"@method\": POST\n"
       "\"@path\": /foo\n"
       "\"@authority\": example.com\n"
       "\"content-type\": application/json\n"
       "\"content-length\": 18\n"
       "\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");"
       "created=1618884473;keyid=\"test-key-ed25519\"",
       test::kB26},
      {"ttrp",
       &proxied.message,
       {"@path", "@query", "@method", "@authority", "client-cert"},
       "test-key-ecc-p256",
       "",
       "",
       "",
       test::kB3},
      {"transform",
       &demo,
       {"@method", "@path", "@authority", "accept"},
       "test-key-ed25519",
       "",
       "",
       "\"@method\": GET\n"
       "\"@path\": /demo\n"
       "\"@authority\": example.org\n"
       "\"accept\": application/json, */*\n"
       "\"@signature-params\": (\"@method\" \"@path\" \"@authority\" \"accept\");created=1618884473;"
       "keyid=\"test-key-ed25519\"",
       test::kB4},
  };
  for (const auto& row : rows) {
    SignatureParameters parameters;
    parameters.created = 1'618'884'473;
    parameters.keyid = row.keyid;
    parameters.nonce = row.nonce;
    parameters.tag = row.tag;
    if (row.covered.size() == 0) parameters.coverage = SignatureParameters::Coverage::may_be_nothing;  // B.2.1
    const auto made =
        sign_message(*row.message, components(row.covered), parameters, row.label, keys.signer(row.keyid));
    ASSERT_TRUE(made) << row.label;
    if (!row.base.empty()) EXPECT_EQ(made->base, row.base) << row.label;
    // Ed25519 and HMAC are deterministic.
    const std::string published = std::string(row.label) + "=:" + std::string(row.signature) + ":";
    const bool deterministic =
        row.keyid == std::string_view("test-key-ed25519") || row.keyid == std::string_view("test-shared-secret");
    if (deterministic) EXPECT_EQ(made->signature, published) << row.label;

    // The published signature, and ours.
    for (const std::string& signature : {published, made->signature}) {
      http::Headers signed_fields;
      for (const http::Field& field : *row.message->fields) signed_fields.append(field.name, field.value);
      signed_fields.append("Signature-Input", made->signature_input);
      signed_fields.append("Signature", signature);
      Message received = *row.message;
      received.fields = &signed_fields;
      VerificationPolicy policy;
      policy.required_components.clear();
      for (const char* name : row.covered) {
        if (name[0] != '"') policy.required_components.emplace_back(name);
      }
      const auto verified = verify_message(received, policy, keys.find(), kCreated, std::nullopt);
      ASSERT_TRUE(verified) << row.label << ": " << verified.error().detail();
      EXPECT_EQ(verified->label, row.label);
      EXPECT_EQ(verified->keyid, row.keyid);
      EXPECT_EQ(verified->created, 1'618'884'473);
      EXPECT_EQ(verified->base, made->base);
    }
  }
}

TEST(HttpMessageSignature, DerivedComponents) {
  Message message;
  message.method = "get";
  message.scheme = "HTTPS";
  message.authority = "WWW.Example.com:443";
  message.path = "/a%2Fb";
  message.query = "x=1&y=a+b";
  message.has_query = true;
  const struct {
    const char* name;
    const char* value;
  } rows[] = {
      {"@method", "get"},
      {"@scheme", "https"},
      {"@authority", "www.example.com"},
      {"@path", "/a%2Fb"},
      {"@query", "?x=1&y=a+b"},
      {"@request-target", "/a%2Fb?x=1&y=a+b"},
      {"@target-uri", "https://www.example.com/a%2Fb?x=1&y=a+b"},
      {"@status", "refused"},
      {"\"@query-param\";name=\"y\"", "a%20b"},
      {"\"@query-param\";name=\"X\"", "refused"},
      {"accept", "refused"},
  };
  for (const auto& row : rows) EXPECT_EQ(value_of(row.name, message), row.value) << row.name;

  message.path = "";
  message.query = "";
  EXPECT_EQ(value_of("@path", message), "/");
  EXPECT_EQ(value_of("@query", message), "?");
  EXPECT_EQ(value_of("@request-target", message), "/?");
  message.has_query = false;
  EXPECT_EQ(value_of("@query", message), "?") << "RFC 9421 2.2.7";
  EXPECT_EQ(value_of("@request-target", message), "/");

  message.status = 200;
  EXPECT_EQ(value_of("@status", message), "200");
  EXPECT_EQ(value_of("@path", message), "refused") << "a response has none";
}

TEST(HttpMessageSignature, OnlyTheDefaultPortOfTheSchemeIsStripped) {
  const struct {
    const char* scheme;
    const char* authority;
    const char* expected;
  } rows[] = {
      {"https", "a:443", "a"},         {"http", "a:80", "a"},           {"https", "a:80", "a:80"},
      {"http", "a:443", "a:443"},      {"https", "A:8443", "a:8443"},   {"https", "a:", "a"},
      {"https", "[::1]:443", "[::1]"}, {"https", "[::443]", "[::443]"}, {"https", "a:1443", "a:1443"},
  };
  for (const auto& row : rows) {
    std::string out;
    append_normalized_authority(out, row.scheme, row.authority);
    EXPECT_EQ(out, row.expected);
  }
}

// RFC 9421 2.1 and 2.2.8, their examples among them.
TEST(HttpMessageSignature, ValuesOfFields) {
  http::Headers fields;
  fields.append("X-OWS-Header", "  Leading and trailing whitespace.\t ");
  fields.append("x-obs-fold-header", "Obsolete\r\n    line folding. \r\n\tTwice");
  fields.append("Cache-Control", "max-age=60");
  fields.append("CACHE-CONTROL", "   must-revalidate");
  fields.append("Example-Dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c), d");
  fields.append("X-Empty-Header", "");
  fields.append("Example-Header", "value, with, lots");
  fields.append("Example-Header", " of, commas");
  fields.append("X-Injected", "a\n\"@method\": GET");
  fields.append("X-Bare-Cr", "a\rb");
  fields.append("X-Nul", std::string_view("a\0b", 3));
  fields.append("X-Latin", "caf\xe9");
  Message message;
  message.method = "GET";
  message.query =
      "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something"
      "&empty&twice=1&twice=2&t=~*";
  message.has_query = true;
  message.fields = &fields;
  const struct {
    const char* name;
    const char* value;
  } rows[] = {
      {"X-Ows-Header", "Leading and trailing whitespace."},
      {"x-obs-fold-header", "Obsolete line folding. Twice"},
      {"cache-control", "max-age=60, must-revalidate"},
      {"example-dict", "a=1,    b=2;x=1;y=2,   c=(a   b   c), d"},
      {"\"example-dict\";key=\"a\"", "1"},
      {"\"example-dict\";key=\"b\"", "2;x=1;y=2"},
      {"\"example-dict\";key=\"c\"", "(a b c)"},
      {"\"example-dict\";key=\"d\"", "?1"},
      {"\"example-dict\";key=\"e\"", "refused"},
      {"\"cache-control\";key=\"a\"", "refused"},
      {"x-empty-header", ""},
      {"\"example-header\";bs", ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"},
      {"example-header", "value, with, lots, of, commas"},
      {"x-injected", "refused"},
      {"x-bare-cr", "refused"},
      {"x-nul", "refused"},
      {"x-latin", "refused"},
      {"\"x-latin\";bs", ":Y2Fm6Q==:"},
      {"\"@query-param\";name=\"var\"", "this%20is%20a%20big%0Amultiline%20value"},
      {"\"@query-param\";name=\"bar\"", "with%20plus%20whitespace"},
      {"\"@query-param\";name=\"fa%C3%A7ade%22%3A%20\"", "something"},
      {"\"@query-param\";name=\"empty\"", ""},
      {"\"@query-param\";name=\"twice\"", "refused"},
      {"\"@query-param\";name=\"t\"", "%7E*"},
  };
  for (const auto& row : rows) EXPECT_EQ(value_of(row.name, message), row.value) << row.name;
}

TEST(HttpMessageSignature, ComponentsThatAreNotUnderstoodAreRefused) {
  for (const char* text : {"@signature-params",
                           "@unknown",
                           "@query-param",
                           "\"@query-param\"",
                           "\"@query-param\";name",
                           "\"@query-param\";name=1",
                           "\"@query-param\";name=\"a\";req",
                           "\"@method\";req",
                           "\"date\";sf",
                           "\"date\";tr",
                           "\"date\";bs=1",
                           "\"date\";bs;key=\"a\"",
                           "\"date\";key",
                           "\"@path\";key=\"a\"",
                           "\"Date\"",
                           "\"da te\"",
                           "da te",
                           "",
                           "\"\"",
                           "\"date",
                           "date\n",
                           "\"date\" \"x\"",
                           "date;bs"}) {
    CoveredComponents covered;
    const auto refused = covered.add(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().side(), Side::gateway);
    EXPECT_TRUE(covered.list().empty());
  }
  CoveredComponents covered;
  ASSERT_TRUE(covered.add("Date"));
  EXPECT_FALSE(covered.add("date")) << "twice";
  EXPECT_TRUE(covered.add("\"date\";bs")) << "another identifier";
  EXPECT_TRUE(covered.covers("date"));
  CoveredComponents with_parameter;
  ASSERT_TRUE(with_parameter.add("\"date\";bs"));
  EXPECT_FALSE(with_parameter.covers("date")) << "an identifier with parameters is another one";
}

TEST(HttpMessageSignature, AFieldThatIsNotThereIsLeftOutOnlyIfItMay) {
  TestRequest request;
  request.fields.remove("Content-Type");
  CoveredComponents covered = components({"@method"});
  ASSERT_TRUE(covered.add("content-type", Presence::if_present));
  ASSERT_TRUE(covered.add("date", Presence::if_present));
  const SharedSecret key("a secret of at least 32 characters");
  const SignatureParameters parameters{.created = 1};
  const auto made = sign_message(request.message, covered, parameters, "s", key);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->signature_input, "s=(\"@method\" \"date\");created=1");
  EXPECT_EQ(made->base,
            "\"@method\": POST\n\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n"
            "\"@signature-params\": (\"@method\" \"date\");created=1");
  ASSERT_TRUE(covered.add("x-absent"));
  const auto refused = sign_message(request.message, covered, parameters, "s", key);
  ASSERT_FALSE(refused);
  // Configuration, not the client, says what is signed; and to a client its fields are not named.
  EXPECT_EQ(refused.error().code(), Code::internal);
  EXPECT_EQ(refused.error().side(), Side::gateway);
  EXPECT_EQ(refused.error().detail(), "signature component \"x-absent\" is not in the message");
  request.fields.append("X-Absent", "caf\xe9");
  const auto bad_bytes = sign_message(request.message, covered, parameters, "s", key);
  ASSERT_FALSE(bad_bytes);
  EXPECT_EQ(bad_bytes.error().code(), Code::bad_header);
  EXPECT_EQ(bad_bytes.error().side(), Side::client);
}

// Each of them reads the whole query once more, and anybody may ask for them.
TEST(HttpMessageSignature, ComponentsWithParametersAreFew) {
  CoveredComponents covered;
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(covered.add("\"@query-param\";name=\"" + std::to_string(i) + "\""));
  const auto refused = covered.add("\"x-field\";bs");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().detail(), "too many covered components with parameters");
  EXPECT_EQ(covered.list().size(), 8u);
  EXPECT_TRUE(covered.add("x-field")) << "those without are not meant";
}

TEST(HttpMessageSignature, WritesAllParametersAndRefusesThoseWithoutAText) {
  TestRequest request;
  const SharedSecret key("a secret of at least 32 characters");
  SignatureParameters parameters;
  parameters.created = 1;
  parameters.expires = 61;
  parameters.keyid = "a\"b\\c";
  parameters.alg = "hmac-sha256";
  parameters.nonce = "n";
  parameters.tag = "t";
  const CoveredComponents covered = components({"@method"});
  const auto made = sign_message(request.message, covered, parameters, "sig", key);
  ASSERT_TRUE(made);
  EXPECT_EQ(made->signature_input,
            "sig=(\"@method\");created=1;expires=61;keyid=\"a\\\"b\\\\c\";alg=\"hmac-sha256\";nonce=\"n\";tag=\"t\"");
  const auto fails = [&](auto&& change, std::string_view label = "sig") {
    SignatureParameters changed = parameters;
    change(changed);
    const auto refused = sign_message(request.message, covered, changed, label, key);
    return !refused && refused.error().code() == Code::internal && refused.error().side() == Side::gateway;
  };
  EXPECT_TRUE(fails([](auto& p) { p.nonce = "a\nb"; }));
  EXPECT_TRUE(fails([](auto& p) { p.keyid = "\xc3\xa9"; }));
  EXPECT_TRUE(fails([](auto& p) { p.created = sf::kMaxInteger + 1; }));
  EXPECT_TRUE(fails([](auto& p) { p.alg = "ed25519"; })) << "not the key's";
  EXPECT_TRUE(fails([](auto&) {}, "Sig"));
  EXPECT_TRUE(fails([](auto&) {}, ""));
  EXPECT_TRUE(fails([](auto&) {}, "a=b"));
}

// A proof that fits every request, or for ever.
TEST(HttpMessageSignature, NothingAndForEverAreNotSigned) {
  const TestRequest request;
  const SharedSecret key("a secret of at least 32 characters");
  SignatureParameters parameters{.created = 1};
  const auto signs = [&](const CoveredComponents& covered) {
    const auto made = sign_message(request.message, covered, parameters, "sig", key);
    EXPECT_TRUE(made || made.error().code() == Code::internal);
    return made.has_value();
  };
  CoveredComponents absent;
  ASSERT_TRUE(absent.add("x-absent", Presence::if_present));
  EXPECT_FALSE(signs({}));
  EXPECT_FALSE(signs(absent)) << "all that is covered is not there";
  EXPECT_TRUE(signs(components({"@method"})));
  parameters.coverage = SignatureParameters::Coverage::may_be_nothing;
  EXPECT_TRUE(signs({}));
  EXPECT_TRUE(signs(absent));
  parameters.created.reset();
  parameters.nonce = "n";
  EXPECT_FALSE(signs(components({"@method"})));
}

}  // namespace
}  // namespace postern::signature
