#include "jose/jwt.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <type_traits>
#include <utility>

#include "jose/test_vectors.h"

namespace postern::jose {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNow{1'700'000'000s};
constexpr std::array<std::string_view, 2> kAudiences = {"https://orders", "https://reports"};

Expectations expected() { return {.issuer = "https://issuer", .audiences = kAudiences, .now = kNow}; }

std::string claims_text(std::string_view more = "", std::string_view aud = R"("https://orders")") {
  return R"({"iss":"https://issuer","sub":"gateway","aud":)" + std::string(aud) + R"(,"exp":1700000300)" +
         std::string(more) + "}";
}

// Claims that a key has signed, which is the only way to have some.
TokenResult<Claims> read(std::string_view text) {
  static const SymmetricKey key = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value();
  const auto payload = Jws::parse(sign_jws(key, text).value()).value().verify(key);
  EXPECT_TRUE(payload);
  return Claims::parse(payload.value());
}

// The fault of claims, or "good".
std::string judged(std::string_view text, const Expectations& what) {
  const auto claims = read(text);
  if (!claims) return std::string(text_of(claims.error()));
  const auto verdict = validate(*claims, what);
  return verdict ? "good" : std::string(text_of(verdict.error()));
}
std::string text(TokenFault fault) { return std::string(text_of(fault)); }

TEST(Claims, AreReadAsTheyStand) {
  const auto claims = read(
      R"({"iss":"i","sub":"s","aud":["a","b"],"exp":1700000300.25,"nbf":1e9,"iat":0,"jti":"j","extra":{"x":[1]}})");
  ASSERT_TRUE(claims);
  EXPECT_EQ(claims->issuer(), "i");
  EXPECT_EQ(claims->subject(), "s");
  EXPECT_EQ(claims->jwt_id(), "j");
  ASSERT_EQ(claims->audience().size(), 2u);
  EXPECT_EQ(claims->audience()[1], "b");
  EXPECT_EQ(claims->expires(), WallTime(1'700'000'300'250ms));
  EXPECT_EQ(claims->not_before(), WallTime(1'000'000'000s));
  EXPECT_EQ(claims->issued_at(), WallTime(0s));
  EXPECT_EQ(claims->json().find("extra")->find("x")->if_array()->front().if_int64(), 1);
  const auto empty = read("{}");
  ASSERT_TRUE(empty);
  EXPECT_EQ(empty->issuer(), "");
  EXPECT_TRUE(empty->audience().empty());
  EXPECT_FALSE(empty->expires());
}

TEST(Claims, OfTheWrongTypeAreRefused) {
  for (const std::string_view text : {"",
                                      "null",
                                      "[]",
                                      "\"x\"",
                                      "{}x",
                                      R"({"iss":1})",
                                      R"({"iss":null})",
                                      R"({"iss":["https://issuer"]})",
                                      R"({"iss":""})",
                                      R"({"iss":"a\u0000"})",
                                      R"({"iss":"a\r\nX: y"})",
                                      R"({"sub":7})",
                                      R"({"sub":"a\u007f"})",
                                      R"({"jti":{}})",
                                      R"({"aud":1})",
                                      R"({"aud":null})",
                                      R"({"aud":[1]})",
                                      R"({"aud":["a",""]})",
                                      R"({"aud":[["a"]]})",
                                      R"({"aud":{"a":1}})",
                                      R"({"exp":"1700000300"})",
                                      R"({"exp":null})",
                                      R"({"exp":-1})",
                                      R"({"exp":-0.5})",
                                      R"({"exp":true})",
                                      R"({"exp":1e400})",
                                      R"({"exp":NaN})",
                                      R"({"nbf":"x"})",
                                      R"({"iat":[1]})",
                                      R"({"exp":1,"exp":2})",
                                      R"({"exp":1,"\u0065xp":9999999999})",
                                      "{\"iss\":\"\xff\"}"}) {
    EXPECT_EQ(judged(text, expected()), text_of(TokenFault::bad_claims)) << text;
  }
  std::string many = R"({"aud":["x")";
  for (int i = 0; i < 100; ++i) many += R"(,"x")";
  EXPECT_EQ(judged(many + "]}", expected()), text_of(TokenFault::bad_claims));
  EXPECT_EQ(judged(R"({"iss":")" + std::string(2049, 'x') + "\"}", expected()), text_of(TokenFault::bad_claims));
}

TEST(Claims, TimesOfAnyLengthCanBeCalculatedWith) {
  for (const std::string_view exp : {"9999999999999", "9223372036854775807", "18446744073709551615", "1e308"}) {
    const auto claims = read(R"({"exp":)" + std::string(exp) + "}");
    ASSERT_TRUE(claims) << exp;
    EXPECT_EQ(claims->expires(), WallTime(8'836'128'000s)) << exp;
    EXPECT_GT(*claims->expires() + 24h * 3650, *claims->expires()) << exp;
  }
}

TEST(Jwt, IsForOneIssuerAndOneAudience) {
  EXPECT_EQ(judged(claims_text(), expected()), "good");
  EXPECT_EQ(judged(claims_text("", R"(["x","https://reports"])"), expected()), "good");
  EXPECT_EQ(judged(claims_text("", R"("https://orders/")"), expected()), text(TokenFault::wrong_audience));
  EXPECT_EQ(judged(claims_text("", R"("HTTPS://ORDERS")"), expected()), text(TokenFault::wrong_audience));
  EXPECT_EQ(judged(claims_text("", "[]"), expected()), text(TokenFault::wrong_audience));
  EXPECT_EQ(judged(R"({"iss":"https://issuer","exp":1700000300})", expected()), text(TokenFault::wrong_audience));
  EXPECT_EQ(judged(R"({"aud":"https://orders","exp":1700000300})", expected()), text(TokenFault::wrong_issuer));
  Expectations other = expected();
  other.issuer = "https://issuer/";
  EXPECT_EQ(judged(claims_text(), other), text(TokenFault::wrong_issuer));
  other.subject = "gateway";
  other.issuer = "https://issuer";
  EXPECT_EQ(judged(claims_text(), other), "good");
  other.subject = "gate";
  EXPECT_EQ(judged(claims_text(), other), text(TokenFault::wrong_subject));
}

TEST(Jwt, WithoutExpectationsNothingIsGood) {
  Expectations none = expected();
  none.issuer = "";
  EXPECT_EQ(judged(claims_text(), none), text(TokenFault::wrong_issuer));
  EXPECT_EQ(judged(R"({"aud":"https://orders","exp":1700000300})", none), text(TokenFault::wrong_issuer));
  none = expected();
  none.audiences = {};
  EXPECT_EQ(judged(claims_text(), none), text(TokenFault::wrong_audience));
  EXPECT_EQ(judged(claims_text("", "[]"), none), text(TokenFault::wrong_audience));
  Expectations timeless = expected();
  timeless.now = {};
  EXPECT_EQ(judged(claims_text(), timeless), text(TokenFault::expired));
}

TEST(Jwt, IsGoodFromNbfUntilExp) {
  Expectations at = expected();
  at.now = WallTime(1'700'000'300s);
  EXPECT_EQ(judged(claims_text(), at), text(TokenFault::expired));
  at.now -= 1ns;
  EXPECT_EQ(judged(claims_text(), at), "good");
  at.now = WallTime(1'700'000'309s);
  at.leeway = 10s;
  EXPECT_EQ(judged(claims_text(), at), "good");
  at.now += 1s;
  EXPECT_EQ(judged(claims_text(), at), text(TokenFault::expired));

  at = expected();
  EXPECT_EQ(judged(claims_text(R"(,"nbf":1700000000)"), at), "good");
  EXPECT_EQ(judged(claims_text(R"(,"nbf":1700000001)"), at), text(TokenFault::not_yet_valid));
  EXPECT_EQ(judged(claims_text(R"(,"iat":1700000001)"), at), text(TokenFault::issued_in_future));
  at.leeway = 1s;
  EXPECT_EQ(judged(claims_text(R"(,"nbf":1700000001,"iat":1700000001)"), at), "good");
  EXPECT_EQ(judged(claims_text(R"(,"nbf":1700000002)"), at), text(TokenFault::not_yet_valid));

  const std::string_view eternal = R"({"iss":"https://issuer","aud":"https://orders"})";
  EXPECT_EQ(judged(eternal, expected()), text(TokenFault::no_expiry));
  at.expiry = Expectations::Expiry::optional;
  EXPECT_EQ(judged(eternal, at), "good");
}

TEST(Jwt, AgeAndLifetimeHaveTheirLimits) {
  Expectations young = expected();
  young.max_age = 60s;
  EXPECT_EQ(judged(claims_text(), young), text(TokenFault::no_issue_time));
  EXPECT_EQ(judged(claims_text(R"(,"iat":1699999940)"), young), "good");
  EXPECT_EQ(judged(claims_text(R"(,"iat":1699999939)"), young), text(TokenFault::too_old));
  young.leeway = 1s;
  EXPECT_EQ(judged(claims_text(R"(,"iat":1699999939)"), young), "good");

  Expectations brief = expected();
  brief.max_lifetime = 300s;
  EXPECT_EQ(judged(claims_text(), brief), text(TokenFault::no_issue_time));
  EXPECT_EQ(judged(claims_text(R"(,"iat":1700000000)"), brief), "good");
  EXPECT_EQ(judged(claims_text(R"(,"iat":1699999999)"), brief), text(TokenFault::lives_too_long));
  brief.expiry = Expectations::Expiry::optional;
  EXPECT_EQ(judged(R"({"iss":"https://issuer","aud":"https://orders","iat":1700000000})", brief),
            text(TokenFault::no_expiry));
}

TEST(Jwt, IsJudgedFromTheOutsideInwards) {
  const PrivateKey key = PrivateKey::generate(Algorithm::ES256, "k").value();
  const PrivateKey foreign = PrivateKey::generate(Algorithm::ES256, "k").value();
  const KeySet keys = KeySet::of({key.public_key()}).value();
  Expectations what = expected();
  const auto fault = [&](const Result<std::string>& token) {
    const auto claims = verify_jwt(token.value_or(""), keys, what);
    return claims ? "good" : std::string(text_of(claims.error()));
  };
  EXPECT_EQ(fault(sign_jws(key, claims_text())), "good");
  // Expired, and forged: only the latter is said.
  what.now += 1h;
  EXPECT_EQ(fault(sign_jws(key, claims_text())), text(TokenFault::expired));
  EXPECT_EQ(fault(sign_jws(foreign, claims_text())), text(TokenFault::bad_signature));
  what.now = kNow;
  EXPECT_EQ(fault(sign_jws(key, "[]")), text(TokenFault::bad_claims));
  what.type = "postern-request+jwt";
  EXPECT_EQ(fault(sign_jws(key, claims_text())), text(TokenFault::wrong_type));
  EXPECT_EQ(fault(sign_jws(key, claims_text(), {.type = ""})), text(TokenFault::wrong_type));
  EXPECT_EQ(fault(sign_jws(key, claims_text(), {.type = "postern-request+jwt"})), "good");
  what.type = "";
  EXPECT_EQ(verify_jwt(sign_jws(key, claims_text()).value(), key.public_key(), what)->subject(), "gateway");
  const SymmetricKey secret = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value();
  EXPECT_EQ(verify_jwt(sign_jws(secret, claims_text()).value(), secret, what)->subject(), "gateway");
}

TEST(Jwt, WhatNobodyHasSignedCannotBeJudged) {
  static_assert(!std::is_constructible_v<VerifiedPayload, std::string>);
  static_assert(!std::is_default_constructible_v<VerifiedPayload>);
  static_assert(!std::is_invocable_v<decltype(Claims::parse), std::string>);
  static_assert(!std::is_invocable_v<decltype(validate), UnverifiedClaims, Expectations>);
  const SymmetricKey key = SymmetricKey::from_bytes(std::string(32, 'k'), Algorithm::HS256).value();
  const auto unverified = [&](std::string_view payload) {
    std::string token = sign_jws(key, payload).value();
    token.back() = token.back() == 'A' ? 'E' : 'A';
    const auto jws = Jws::parse(token).value();
    EXPECT_EQ(jws.verify(key).error(), TokenFault::bad_signature);
    return unverified_claims(jws);
  };
  const auto claims = unverified(R"({"iss":"https://issuer","exp":1700000300})");
  ASSERT_TRUE(claims);
  EXPECT_EQ(claims->issuer, "https://issuer");
  EXPECT_EQ(claims->expires, WallTime(1'700'000'300s));
  EXPECT_EQ(claims->text, R"({"iss":"https://issuer","exp":1700000300})");
  ASSERT_TRUE(unverified("{}"));
  EXPECT_EQ(unverified("{}")->issuer, "");
  EXPECT_FALSE(unverified("{}")->expires);
  for (const std::string_view bad : {"", "[]", R"({"iss":1})", R"({"iss":"a\u0000"})", R"({"exp":"1"})"}) {
    EXPECT_EQ(unverified(bad).error(), TokenFault::bad_claims) << bad;
  }
}

TEST(ClaimsWriter, WritesWhatIsRead) {
  ClaimsWriter writer;
  const std::array<std::string_view, 2> groups = {"a", "b\"c"};
  const std::string claims = writer.issuer("https://issuer")
                                 .subject("gateway")
                                 .audience("https://orders")
                                 .issued_at(kNow + 900ms)
                                 .not_before(kNow - 1ns)
                                 .expires(kNow + 5min + 999ms)
                                 .jwt_id("j")
                                 .text("zo\xc3\xab", "\"\n")
                                 .number("n", -1)
                                 .truth("t", true)
                                 .texts("groups", groups)
                                 .finish()
                                 .value();
  EXPECT_EQ(claims,
            R"({"iss":"https://issuer","sub":"gateway","aud":"https://orders","iat":1700000000,"nbf":1699999999,)"
            R"("exp":1700000300,"jti":"j","zo\u00eb":"\"\n","n":-1,"t":true,"groups":["a","b\"c"]})");
  EXPECT_EQ(judged(claims, expected()), "good");
  EXPECT_EQ(*read(claims)->json().find_string("zo\xc3\xab"), "\"\n");
  EXPECT_EQ(ClaimsWriter().finish().value(), "{}");
  EXPECT_FALSE(ClaimsWriter().issuer("a").text("iss", "b").finish());
}

TEST(TokenFault, IsAnAnswerToAClient) {
  const Error error = to_error(TokenFault::expired);
  EXPECT_EQ(error.code(), Code::credentials_invalid);
  EXPECT_EQ(error.side(), Side::client);
  EXPECT_EQ(error.detail(), "the token has expired");
}

}  // namespace
}  // namespace postern::jose
