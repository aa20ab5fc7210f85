#include "signature/webhook_hmac.h"

#include <gtest/gtest.h>

#include "signature/base64.h"

namespace postern::signature {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNow{1'700'000'000s};

WebhookKeys keys(std::initializer_list<std::string_view> secrets) {
  WebhookKeys out;
  for (const std::string_view secret : secrets) EXPECT_TRUE(out.add(secret));
  return out;
}

std::string sign(WebhookForm form, const WebhookKeys& keys, std::string_view body, WallTime now = kNow,
                 std::string_view id = "msg_1") {
  auto signer = WebhookSigner::begin(form, keys, now, form == WebhookForm::standard ? id : std::string_view());
  if (!signer) return "refused";
  signer->update(body);
  return signer->finish();
}

std::string why(const Result<void>& result) {
  if (result) return "";
  EXPECT_EQ(result.error().side(), Side::client);
  return std::string(result.error().detail());
}

// Made by an independent implementation: openssl dgst -sha256 -hmac.
TEST(WebhookHmac, StripesForm) {
  EXPECT_EQ(sign(WebhookForm::stripe, keys({"whsec_test_secret"}), "{\"id\": \"evt_1\"}"),
            "t=1700000000,v1=33aa1568c6627d0d2d42556693c208077ca8f8b437ac8d9d6ebb6c2c650033eb");
  EXPECT_EQ(sign(WebhookForm::stripe, keys({"new-secret", "old-secret"}), ""),
            "t=1700000000,v1=0680f2018f8e8a4471d7d763eda167dbc73824bfd8f0ac8abc667f62e6b268ae,v1="
            "0fc0d5471e44f41889e1eb18c4b08a5067a8015bc117d76ce3dbaf5488fbb6e9");
}

// The example of the Standard Webhooks specification.
TEST(WebhookHmac, StandardWebhooks) {
  const auto secret = decode_webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  ASSERT_TRUE(secret);
  const WebhookKeys receiver = keys({*secret});
  const WallTime then{1'614'265'330s};
  constexpr std::string_view kBody = "{\"test\": 2432232314}";
  constexpr std::string_view kId = "msg_p5jXN8AQM9LWM0D4loKWxJek";
  constexpr std::string_view kSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
  EXPECT_EQ(sign(WebhookForm::standard, receiver, kBody, then, kId), kSignature);
  EXPECT_EQ(why(verify_standard_webhook({kId, "1614265330", kSignature}, kBody, receiver, then)), "");
}

TEST(WebhookHmac, InPieces) {
  const WebhookKeys pair = keys({"a", "b"});
  constexpr std::string_view kBody = "a body that comes in pieces";
  for (const WebhookForm form : {WebhookForm::stripe, WebhookForm::standard}) {
    auto signer = WebhookSigner::begin(form, pair, kNow, "msg_1");
    ASSERT_TRUE(signer);
    for (const char c : kBody) signer->update({&c, 1});
    EXPECT_EQ(signer->timestamp(), "1700000000");
    EXPECT_EQ(signer->finish(), sign(form, pair, kBody));
  }
}

TEST(WebhookHmac, AnyKeyOfARotationFits) {
  const std::string both = sign(WebhookForm::stripe, keys({"new", "old"}), "body");
  for (const char* key : {"new", "old"}) {
    EXPECT_EQ(why(verify_stripe_signature(both, "body", keys({key}), kNow)), "") << key;
    EXPECT_EQ(why(verify_stripe_signature(both, "body", keys({"other", key}), kNow)), "") << key;
  }
  EXPECT_EQ(why(verify_stripe_signature(both, "body", keys({"other"}), kNow)),
            "webhook signature: does not fit the body and the keys");
  const std::string standard = sign(WebhookForm::standard, keys({"new", "old"}), "body");
  for (const char* key : {"new", "old"}) {
    EXPECT_EQ(why(verify_standard_webhook({"msg_1", "1700000000", standard}, "body", keys({key}), kNow)), "") << key;
  }
}

TEST(WebhookHmac, StripeRefuses) {
  const WebhookKeys key = keys({"secret"});
  const std::string good = sign(WebhookForm::stripe, key, "body");
  const std::string tag = good.substr(good.find("v1=") + 3);
  const std::string broken = "webhook signature: does not fit the body and the keys";
  EXPECT_EQ(why(verify_stripe_signature(good, "body", key, kNow)), "");
  EXPECT_EQ(why(verify_stripe_signature(good, "Body", key, kNow)), broken);
  const struct {
    std::string header;
    std::string why;
  } rows[] = {
      {"t=1700000000, v0=00, v1=" + tag, ""},
      {"t=1700000001,v1=" + tag, broken},
      {"t=1700000000,v1=" + tag.substr(1), broken},
      {"t=1700000000,v1=" + tag + "0", broken},
      {"t=1700000000,v1=", broken},
      {"t=1700000000,v1=zz" + tag.substr(2), broken},
      {"t=1700000000,v1=00,v1=" + tag, ""},
      {"t=1700000000,v0=" + tag, "webhook signature: no v1 signature"},
      {"v1=" + tag, "webhook signature: no timestamp"},
      {"t=1700000000,t=1700000000,v1=" + tag, "webhook signature: more than one timestamp"},
      {"t=01700000000,v1=" + tag, "webhook signature: malformed timestamp"},
      {"t=+1700000000,v1=" + tag, "webhook signature: malformed timestamp"},
      {"t=,v1=" + tag, "webhook signature: malformed timestamp"},
      {"t=17000000000000000,v1=" + tag, "webhook signature: malformed timestamp"},
      {"t=99999999999999999999999,v1=" + tag, "webhook signature: malformed timestamp"},
      {"", "webhook signature: no signature"},
      {"t=1700000000" + std::string(5000, ','), "webhook signature: too long"},
  };
  for (const auto& row : rows)
    EXPECT_EQ(why(verify_stripe_signature(row.header, "body", key, kNow)), row.why) << row.header;
  std::string many = "t=1700000000";
  for (int i = 0; i < 17; ++i) many += ",v1=" + tag;
  EXPECT_EQ(why(verify_stripe_signature(many, "body", key, kNow)), "webhook signature: too many");
}

TEST(WebhookHmac, StandardRefuses) {
  const WebhookKeys key = keys({"secret"});
  const std::string good = sign(WebhookForm::standard, key, "body", kNow, "msg_1");
  const std::string broken = "webhook signature: does not fit the body and the keys";
  const auto verify = [&](std::string_view id, std::string_view timestamp, std::string_view signature) {
    return why(verify_standard_webhook({id, timestamp, signature}, "body", key, kNow));
  };
  EXPECT_EQ(verify("msg_1", "1700000000", good), "");
  EXPECT_EQ(verify("msg_1", "1700000000", "v1a,AAAA v2,x " + good + " v1,broken"), "");
  EXPECT_EQ(verify("msg_2", "1700000000", good), broken);
  EXPECT_EQ(verify("msg_1", "1700000001", good), broken);
  EXPECT_EQ(verify("msg_1", "1700000000", good.substr(0, good.size() - 1)), broken) << "padding";
  EXPECT_EQ(verify("msg_1", "1700000000", "v2" + good.substr(2)), "webhook signature: no v1 signature");
  EXPECT_EQ(verify("msg_1", "1700000000", ""), "webhook signature: no signature");
  EXPECT_EQ(verify("", "1700000000", good), "webhook signature: malformed id");
  EXPECT_EQ(verify("msg_1.1700000000", "1700000000", good), "webhook signature: malformed id") << "two readings";
  EXPECT_EQ(verify("msg_1", "", good), "webhook signature: malformed timestamp");
}

TEST(WebhookHmac, ToleranceHoldsBothWays) {
  const WebhookKeys key = keys({"secret"});
  const std::string header = sign(WebhookForm::stripe, key, "body");
  EXPECT_EQ(why(verify_stripe_signature(header, "body", key, kNow + 300s)), "");
  EXPECT_EQ(why(verify_stripe_signature(header, "body", key, kNow + 301s)), "webhook signature: too old");
  EXPECT_EQ(why(verify_stripe_signature(header, "body", key, kNow - 300s)), "");
  EXPECT_EQ(why(verify_stripe_signature(header, "body", key, kNow - 301s)), "webhook signature: from the future");
  EXPECT_EQ(why(verify_stripe_signature(header, "body", key, kNow + 11s, 10s)), "webhook signature: too old");
}

TEST(WebhookHmac, Secrets) {
  const auto text = [](std::size_t size) {
    std::string out = "whsec_";
    append_base64(out, std::string(size, 'k'));
    return out;
  };
  EXPECT_EQ(decode_webhook_secret(text(24)), std::string(24, 'k'));
  EXPECT_EQ(decode_webhook_secret(text(64)), std::string(64, 'k'));
  EXPECT_FALSE(decode_webhook_secret(text(23)));
  EXPECT_FALSE(decode_webhook_secret(text(65)));
  EXPECT_FALSE(decode_webhook_secret(text(32).substr(6)));
  EXPECT_FALSE(decode_webhook_secret("whsec_not base64 at all"));
  WebhookKeys many;
  EXPECT_FALSE(many.add(""));
  for (std::size_t i = 0; i < WebhookKeys::kMaxKeys; ++i) EXPECT_TRUE(many.add("k"));
  EXPECT_FALSE(many.add("k"));
}

TEST(WebhookHmac, WhatCannotBeSignedIsRefused) {
  const WebhookKeys key = keys({"secret"});
  EXPECT_EQ(sign(WebhookForm::standard, key, "", kNow, ""), "refused");
  EXPECT_EQ(sign(WebhookForm::standard, key, "", kNow, "a.b"), "refused");
  EXPECT_EQ(sign(WebhookForm::standard, key, "", kNow, "a\r\nb"), "refused");
  EXPECT_EQ(sign(WebhookForm::stripe, {}, "", kNow), "refused");
  EXPECT_EQ(sign(WebhookForm::stripe, key, "", WallTime(-1s)), "refused");
}

}  // namespace
}  // namespace postern::signature
