#include "signature/http_message_verifier.h"

#include <gtest/gtest.h>

#include <set>

#include "signature/base64.h"
#include "signature/content_digest.h"
#include "signature/test_keys.h"

namespace postern::signature {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNow{1'700'000'000s};
constexpr std::string_view kBody = "{\"total\": 7}";

// A request with a signature that is good at kNow for the default policy; tests change one thing.
struct SignedRequest {
  http::Headers fields;
  Message message;
  SignatureParameters parameters;
  CoveredComponents covered;
  std::string digest = content_digest_of(DigestAlgorithm::sha_256, kBody);
  SignedFields made;

  SignedRequest() {
    message.method = "POST";
    message.scheme = "https";
    message.authority = "orders.internal:8443";
    message.path = "/orders";
    message.query = "dry=1";
    message.has_query = true;
    message.fields = &fields;
    fields.append("Content-Digest", digest);
    parameters.created = 1'700'000'000;
    parameters.expires = 1'700'000'060;
    parameters.keyid = "test-key-ed25519";
    parameters.nonce = "n-1";
    parameters.tag = "gateway";
    for (const char* name : {"@method", "@authority", "@path", "@query", "content-digest"}) {
      EXPECT_TRUE(covered.add(name));
    }
  }

  SignedRequest& sign(std::string_view label = "sig") {
    auto result = sign_message(message, covered, parameters, label, keys().signer(parameters.keyid));
    EXPECT_TRUE(result);
    if (result) made = std::move(*result);
    fields.append("Signature-Input", made.signature_input);
    fields.append("Signature", made.signature);
    return *this;
  }
  static const test::Keys& keys() {
    static const test::Keys it;
    return it;
  }
};

// "" if the signature is accepted, else why not.
std::string verify(const SignedRequest& request, const VerificationPolicy& policy = {}, WallTime now = kNow,
                   std::optional<std::string_view> body = std::nullopt) {
  const auto verified = verify_message(request.message, policy, SignedRequest::keys().find(), now, body);
  if (verified) {
    EXPECT_EQ(verified->body_bound, body.has_value());
    return "";
  }
  EXPECT_EQ(verified.error().side(), Side::client);
  EXPECT_TRUE(verified.error().code() == Code::credentials_invalid ||
              verified.error().code() == Code::credentials_missing);
  EXPECT_FALSE(verified.error().detail().empty());
  return std::string(verified.error().detail());
}

constexpr const char* kBroken = "signature: does not fit the message and the key";

TEST(HttpMessageVerifier, AcceptsWhatWasSigned) {
  for (const char* keyid : {"test-key-ed25519", "test-key-ecc-p256", "test-key-rsa-pss", "test-shared-secret"}) {
    SignedRequest request;
    request.parameters.keyid = keyid;
    EXPECT_EQ(verify(request.sign()), "") << keyid;
  }
}

TEST(HttpMessageVerifier, EveryCoveredPartIsBound) {
  const struct {
    const char* name;
    void (*change)(SignedRequest&);
  } rows[] = {
      {"method", [](SignedRequest& r) { r.message.method = "PUT"; }},
      {"case of the method", [](SignedRequest& r) { r.message.method = "post"; }},
      {"authority", [](SignedRequest& r) { r.message.authority = "orders.internal"; }},
      {"path", [](SignedRequest& r) { r.message.path = "/orders/"; }},
      {"query", [](SignedRequest& r) { r.message.query = "dry=0"; }},
      {"no query", [](SignedRequest& r) { r.message.has_query = false, r.message.query = {}; }},
      {"field", [](SignedRequest& r) { r.fields.set("Content-Digest", "sha-256=:AA==:"); }},
      {"one more line of a field", [](SignedRequest& r) { r.fields.append("content-digest", "x=1"); }},
  };
  for (const auto& row : rows) {
    SignedRequest request;
    request.sign();
    row.change(request);
    EXPECT_EQ(verify(request), kBroken) << row.name;
  }
  SignedRequest without;
  without.sign().fields.remove("Content-Digest");
  EXPECT_EQ(verify(without), "signature: signature component \"content-digest\" is not in the message");
  SignedRequest same;
  same.sign();
  same.message.authority = "ORDERS.internal:8443";
  same.fields.append("X-Not-Covered", "1");
  EXPECT_EQ(verify(same), "") << "the case of a host means nothing, and what is not covered may change";
}

// Signature-Input is signed too: no byte of it can be changed to one's advantage.
TEST(HttpMessageVerifier, ParametersAreBound) {
  const struct {
    const char* from;
    const char* to;
  } rows[] = {
      {"created=1700000000", "created=1700000001"},
      {"expires=1700000060", "expires=1700000099"},
      {";expires=1700000060", ""},
      {"nonce=\"n-1\"", "nonce=\"n-2\""},
      {"tag=\"gateway\"", "tag=\"Gateway\""},
      {";tag=\"gateway\"", ""},
      {"\"@method\" \"@authority\"", "\"@authority\" \"@method\""},
      {"(\"@method\"", "(\"@scheme\" \"@method\""},
      {"keyid=\"test-key-ed25519\"", "keyid=\"test-key-ecc-p256\""},
      {"keyid=", "x;keyid="},
  };
  for (const auto& row : rows) {
    SignedRequest request;
    request.sign();
    std::string input = request.made.signature_input;
    const std::size_t at = input.find(row.from);
    ASSERT_NE(at, std::string::npos) << row.from;
    input.replace(at, std::string_view(row.from).size(), row.to);
    request.fields.set("Signature-Input", input);
    EXPECT_EQ(verify(request), kBroken) << input;
  }
  SignedRequest request;
  request.sign();
  std::string spaced = request.made.signature_input;
  spaced.insert(spaced.find(" \"@authority\""), "  ");
  request.fields.set("Signature-Input", spaced);
  EXPECT_EQ(verify(request), "") << "RFC 9421 2.3: the base holds the strict serialisation";
}

TEST(HttpMessageVerifier, RequiredComponentsMustBeCovered) {
  for (const char* missing : {"@method", "@authority", "@path", "@query"}) {
    SignedRequest request;
    CoveredComponents others;
    for (const Component& component : request.covered.list()) {
      if (component.name != missing) EXPECT_TRUE(others.add(component.name));
    }
    request.covered = others;
    EXPECT_EQ(verify(request.sign()), std::string("signature: does not cover ") + missing);
  }
  SignedRequest empty;
  empty.covered = CoveredComponents();
  empty.parameters.coverage = SignatureParameters::Coverage::may_be_nothing;
  EXPECT_EQ(verify(empty.sign()), "signature: does not cover @method") << "a proof that fits every request";

  // "content-digest";bs is not "content-digest".
  SignedRequest request;
  CoveredComponents bytes;
  for (const char* name : {"@method", "@authority", "@path", "@query", "\"content-digest\";bs"}) {
    EXPECT_TRUE(bytes.add(name));
  }
  request.covered = bytes;
  VerificationPolicy policy;
  EXPECT_EQ(verify(request.sign(), policy), "");
  policy.required_components.emplace_back("content-digest");
  EXPECT_EQ(verify(request, policy), "signature: does not cover content-digest");
}

// A captured signature, and a body of the attacker's.
TEST(HttpMessageVerifier, TheBodyIsTheOneThatWasSigned) {
  const auto with_body = [](const SignedRequest& request, std::string_view body) {
    return verify(request, {}, kNow, body);
  };
  SignedRequest request;
  request.sign();
  EXPECT_EQ(with_body(request, kBody), "");
  EXPECT_EQ(with_body(request, "{\"total\": 8}"), "signature: content-digest is not that of the body");
  EXPECT_EQ(with_body(request, ""), "signature: content-digest is not that of the body") << "taken away";

  const auto cover = [](SignedRequest& it, std::initializer_list<const char*> more) {
    it.covered = CoveredComponents();
    for (const char* name : {"@method", "@authority", "@path", "@query"}) EXPECT_TRUE(it.covered.add(name));
    for (const char* name : more) EXPECT_TRUE(it.covered.add(name));
  };
  SignedRequest uncovered;
  cover(uncovered, {});
  uncovered.sign();
  EXPECT_EQ(with_body(uncovered, kBody), "signature: does not cover content-digest, and there is a body");
  EXPECT_EQ(with_body(uncovered, ""), "") << "a request without a body needs no digest";
  SignedRequest as_bytes;
  cover(as_bytes, {"\"content-digest\";bs"});
  as_bytes.sign();
  EXPECT_EQ(with_body(as_bytes, kBody), "signature: does not cover content-digest, and there is a body");
  EXPECT_EQ(with_body(as_bytes, ""), "signature: content-digest is not that of the body");

  SignedRequest weak;
  weak.fields.set("Content-Digest", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:");
  weak.sign();
  EXPECT_EQ(with_body(weak, kBody), "signature: Content-Digest has neither sha-256 nor sha-512");

  // A nonce is used up by the request it was made for, not by one with another body.
  std::set<std::string> seen;
  VerificationPolicy policy;
  policy.remember_nonce = [&](std::string_view, std::string_view nonce, WallTime) {
    return seen.emplace(nonce).second;
  };
  EXPECT_NE(verify(request, policy, kNow, "other"), "");
  EXPECT_EQ(verify(request, policy, kNow, kBody), "");
}

// A secret that is not set is an empty one: it must not let anybody in.
TEST(SharedSecret, WhatIsTooShortSignsNothing) {
  for (const std::string& secret : {std::string(), std::string("0123456789abcdef0123456789abcde")}) {
    const SharedSecret key(secret);
    EXPECT_FALSE(key.sign("base"));
    const HmacSha256::Tag tag = HmacSha256(secret).compute("base");
    EXPECT_FALSE(key.verify("base", {reinterpret_cast<const char*>(tag.data()), tag.size()}));
  }
}

TEST(HttpMessageVerifier, TheAlgorithmIsTheKeys) {
  SignedRequest request;
  request.parameters.alg = "ed25519";
  EXPECT_EQ(verify(request.sign()), "");
  // Who knows the public key only, and signs with it as a shared secret (RFC 9421 7.3.6).
  SignedRequest confused;
  const SharedSecret public_key_as_secret("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=");
  confused.parameters.alg = "hmac-sha256";
  auto forged = sign_message(confused.message, confused.covered, confused.parameters, "sig", public_key_as_secret);
  ASSERT_TRUE(forged);
  confused.fields.append("Signature-Input", forged->signature_input);
  confused.fields.append("Signature", forged->signature);
  EXPECT_EQ(verify(confused), "signature: `alg` is not the key's");
}

TEST(HttpMessageVerifier, TimesAndTheirLimits) {
  SignedRequest request;
  request.sign();
  VerificationPolicy policy;  // 60 s old at most, clocks 30 s apart, expires after 60 s
  EXPECT_EQ(verify(request, policy, kNow - 30s), "");
  EXPECT_EQ(verify(request, policy, kNow - 31s), "signature: `created` is in the future");
  EXPECT_EQ(verify(request, policy, kNow + 90s), "");
  EXPECT_EQ(verify(request, policy, kNow + 91s), "signature: too old");
  policy.max_age = 1h;
  EXPECT_EQ(verify(request, policy, kNow + 91s), "signature: expired");

  SignedRequest forever;
  forever.parameters.expires.reset();
  forever.sign();
  EXPECT_EQ(verify(forever), "");
  policy.expires_required = true;
  EXPECT_EQ(verify(forever, policy), "signature: no `expires`");
  SignedRequest timeless;  // nothing of ours makes one
  timeless.fields.append("Signature-Input",
                         "sig=(\"@method\" \"@authority\" \"@path\" \"@query\");keyid=\"test-key-ed25519\"");
  timeless.fields.append("Signature", "sig=:AAAA:");
  EXPECT_EQ(verify(timeless), "signature: no `created`");
  SignedRequest backwards;
  backwards.parameters.expires = 1'699'999'999;
  EXPECT_EQ(verify(backwards.sign()), "signature: `expires` is before `created`");
}

TEST(HttpMessageVerifier, ANonceIsGoodForOne) {
  SignedRequest request;
  request.sign();
  std::set<std::string> seen;
  WallTime last_until;
  VerificationPolicy policy;
  policy.remember_nonce = [&](std::string_view keyid, std::string_view nonce, WallTime until) {
    EXPECT_EQ(keyid, "test-key-ed25519");
    last_until = until;
    return seen.emplace(nonce).second;
  };
  EXPECT_EQ(verify(request, policy), "");
  EXPECT_GT(last_until, kNow + 90s) << "remembered for as long as it would be accepted";
  EXPECT_EQ(verify(request, policy), "signature: `nonce` was used before");

  SignedRequest forged;
  forged.parameters.nonce = "n-3";
  forged.sign().message.path = "/other";
  EXPECT_EQ(verify(forged, policy), kBroken);
  EXPECT_FALSE(seen.contains("n-3")) << "a stranger cannot use up nonces";

  SignedRequest without;
  without.parameters.nonce = "";
  EXPECT_EQ(verify(without.sign(), policy), "signature: no `nonce`");
}

TEST(HttpMessageVerifier, WhichSignatureIsMeant) {
  SignedRequest request;
  request.sign("sig");
  SignedRequest proxy;
  proxy.parameters.tag = "proxy";
  proxy.sign("other");
  for (const char* name : {"Signature-Input", "Signature"}) {
    request.fields.append(name, proxy.fields.find(name)->value);
  }
  VerificationPolicy policy;
  EXPECT_EQ(verify(request, policy), "signature: more than one could be meant");
  policy.tag = "gateway";
  EXPECT_EQ(verify(request, policy), "");
  policy.tag = "proxy";
  EXPECT_EQ(verify(request, policy), "");
  policy.tag = "absent";
  EXPECT_EQ(verify(request, policy), "signature: none has the tag that is asked for");
  policy.tag = "gateway";
  policy.label = "sig";
  EXPECT_EQ(verify(request, policy), "");
  policy.label = "other";
  EXPECT_EQ(verify(request, policy), "signature: not the tag that is asked for");
  policy.label = "absent";
  EXPECT_EQ(verify(request, policy), "signature: none has the label absent");
}

TEST(HttpMessageVerifier, MalformedFields) {
  SignedRequest good;
  good.sign();
  const std::string input = good.made.signature_input;
  const std::string params = input.substr(input.find('='));
  const std::string signature = good.made.signature;
  const struct {
    std::string input;
    std::string signature;
    const char* why;
  } rows[] = {
      {"", signature, "signature: none has the tag that is asked for"},
      {input, "", "signature: Signature has no bytes for the label sig"},
      {input, "other" + signature.substr(3), "signature: Signature has no bytes for the label sig"},
      {input, "sig=\"text\"", "signature: Signature has no bytes for the label sig"},
      {input, "sig=(" + signature.substr(4) + ")", "signature: Signature has no bytes for the label sig"},
      {input, "sig=::", kBroken},
      {input, "sig=:AAAA:", kBroken},
      {input, signature.substr(0, signature.size() - 3) + ":", "signature: signature: structured field: base64"},
      {input + ", " + input, signature, "signature: signature-input: structured field: every key once"},
      {input, signature + ", " + signature, "signature: signature: structured field: every key once"},
      {"sig=1", signature, "signature: Signature-Input is no list of components"},
      {"sig=(@method)" + params.substr(params.find(';')), signature, "signature: signature-input: structured field"},
      {"sig=(method)" + params.substr(params.find(';')), signature, "signature: a covered component is not understood"},
      {"sig=(\"@method\" \"@method\")" + params.substr(params.find(';')), signature,
       "signature: component \"@method\" is covered twice"},
      {"sig=(\"@signature-params\")" + params.substr(params.find(';')), signature,
       "signature: a covered component is not understood"},
      {"sig=(\"@method\";req)" + params.substr(params.find(';')), signature,
       "signature: a covered component is not understood"},
      {"sig=();created=\"1700000000\";keyid=\"test-key-ed25519\"", signature,
       "signature: a parameter has the wrong type"},
      {"sig=();created=1700000000.0;keyid=\"test-key-ed25519\"", signature,
       "signature: a parameter has the wrong type"},
      {"sig=();created=1700000000;keyid=test-key-ed25519", signature, "signature: a parameter has the wrong type"},
      {"sig=();created=1700000000;created=1;keyid=\"k\"", signature, "signature: signature-input: structured field"},
      {"sig=();created=1700000000", signature, "signature: no `keyid`, or too long"},
      {"sig=();created=1700000000;keyid=\"" + std::string(257, 'k') + "\"", signature,
       "signature: no `keyid`, or too long"},
      {"sig=();created=1700000000;nonce=\"" + std::string(257, 'n') + "\";keyid=\"k\"", signature,
       "signature: `nonce` is too long"},
      {input.substr(0, input.find("test-key")) + "../../etc/passwd\"", signature, "signature: unknown `keyid`"},
      {"sig=(\"" + std::string(20'000, 'a') + "\")", signature,
       "signature: signature-input: structured field: too long"},
  };
  VerificationPolicy policy;
  for (const auto& row : rows) {
    SignedRequest request;
    request.fields.append("Signature-Input", row.input);
    request.fields.append("Signature", row.signature);
    // The rule under test, not the one about required components.
    if (row.input.find("@authority") == std::string::npos) policy.required_components.clear();
    EXPECT_EQ(verify(request, policy).substr(0, std::string_view(row.why).size()), row.why) << row.input;
    policy = VerificationPolicy();
  }
  SignedRequest none;
  EXPECT_EQ(verify(none), "no signature-input field");
  none.fields.append("Signature-Input", input);
  EXPECT_EQ(verify(none), "no signature field");
  EXPECT_EQ(verify_message(none.message, {}, SignedRequest::keys().find(), kNow, kBody).error().code(),
            Code::credentials_missing);
}

// What a peer may choose ends up in logs.
TEST(HttpMessageVerifier, AnErrorIsShort) {
  const std::string input = "sig=(\"" + std::string(4000, 'x') + "\");created=1700000000;keyid=\"test-key-ed25519\"";
  SignedRequest request;
  request.fields.append("Signature-Input", input);
  request.fields.append("Signature", "sig=:AAAA:");
  VerificationPolicy policy;
  policy.required_components.clear();
  EXPECT_LT(verify(request, policy).size(), 200u);
}

}  // namespace
}  // namespace postern::signature
