#include "identity/gateway_jwt/bound_jwt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "identity/options.h"
#include "identity/signing_test_support.h"
#include "jose/base64url.h"
#include "jose/jwt.h"
#include "signature/digest.h"

namespace postern::identity {
namespace {

using jose::Algorithm;
using ::testing::HasSubstr;

constexpr std::string_view kUrl = "https://id.example.com/postern";
constexpr WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));

std::string digest(std::string_view bytes) { return jose::to_base64url(signature::bytes_of(signature::sha256(bytes))); }

class BoundJwtTest : public SigningTest {
 protected:
  BoundJwtTest() : SigningTest("gateway_jwt") {
    issuer::IssuerOptions options;
    options.url = kUrl;
    options.algorithms = {Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA};
    issuer::KeyRing ring;
    std::vector<issuer::IssuerKey> kept;
    for (const Algorithm algorithm : options.algorithms) {
      auto key = std::make_shared<const jose::PrivateKey>(std::move(*jose::PrivateKey::generate(algorithm)));
      EXPECT_TRUE(ring.add(key->kid(), algorithm, kNow, options.rotation));
      kept.push_back({{key->kid(), algorithm, kNow, kNow}, key});
      keys.emplace(algorithm, key->public_key());
    }
    const Result<std::shared_ptr<const issuer::Issuer>> made = issuer::Issuer::make(options, ring, std::move(kept));
    EXPECT_TRUE(made) << made.error().detail();
    mint = std::make_shared<issuer::TokenMint>(options, randomness);
    mint->replace(*made, kNow);
  }
  // The claims of the token that goes out with this request; an ASSERT if nobody would believe it.
  std::optional<jose::Claims> claims_of_request(const IdentityMethod& method, std::string_view verb,
                                                std::string_view target, std::string_view body, Algorithm algorithm,
                                                WallTime now = kNow) {
    request(verb, "orders.internal", target, body);
    at(now);
    EXPECT_TRUE(apply(method)) << failure;
    token = field("X-Postern-Token");
    const std::string issuer = std::string(kUrl) + (algorithm == Algorithm::EdDSA ? "/eddsa" : "");
    const std::array<std::string_view, 1> audiences = {"orders"};
    auto claims = jose::verify_jwt(token, keys.at(algorithm),
                                   {.issuer = issuer,
                                    .audiences = audiences,
                                    .subject = "postern/origins/main",
                                    .now = now,
                                    .max_lifetime = std::chrono::seconds(90),
                                    .type = BoundJwt::kType});
    EXPECT_TRUE(claims) << jose::name_of(algorithm);
    return claims ? std::optional(std::move(*claims)) : std::nullopt;
  }
  static std::string text(const std::optional<jose::Claims>& claims, std::string_view name) {
    const std::string* const value = claims ? claims->json().find_string(name) : nullptr;
    return value ? *value : "(none)";
  }
  // What check_bound_keys() says about gateway_jwt of these origins.
  static std::string judged(const std::vector<std::string>& options) {
    config::World world = world_with_methods();
    std::string text =
        "version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\n"
        "issuer: {url: \"https://id.example.com\", algorithms: [RS256, ES256, EdDSA]}\norigins:\n";
    std::string routes = "routes:\n";
    for (std::size_t i = 0; i < options.size(); ++i) {
      const std::string name = "o" + std::to_string(i);
      text += "  " + name + ": {url: \"https://127.0.0.1:1\", identity: [{gateway_jwt: {audience: a, " + options[i] +
              "}}]}\n";
      routes += "  - {match: {path: /" + name + "}, origin: " + name + ", public: true}\n";
    }
    config::Diagnostics diagnostics("postern.yaml");
    const auto config = world.load(text + routes, diagnostics);
    EXPECT_TRUE(config) << diagnostics.to_text();
    if (config) check_bound_keys(*config, diagnostics);
    return diagnostics.errors() == 0 ? "" : diagnostics.to_text();
  }

  std::map<Algorithm, jose::PublicKey> keys;
  std::string token;
};

TEST_F(BoundJwtTest, says_method_path_and_body_of_its_request) {
  for (const Algorithm algorithm : {Algorithm::ES256, Algorithm::EdDSA}) {
    const auto method = make_with("audience: orders, bind: request, header: X-Postern-Token, algorithm: " +
                                  std::string(jose::name_of(algorithm)));
    ASSERT_TRUE(method) << problems;
    EXPECT_EQ(method->whole_body(), kDefaultBody);
    const auto claims = claims_of_request(*method, "POST", "/pay?to=%2Fme&n=1", "{\"amount\": 10}", algorithm);
    EXPECT_EQ(text(claims, "htm"), "POST");
    EXPECT_EQ(text(claims, "path_sha256"), digest("/pay?to=%2Fme&n=1"));
    EXPECT_EQ(text(claims, "body_sha256"), digest("{\"amount\": 10}"));
    EXPECT_EQ(sensitive, std::vector<std::string>{token});
    const auto without = claims_of_request(*method, "GET", "/pay", "", algorithm);
    EXPECT_EQ(text(without, "body_sha256"), digest("")) << "a body cannot be added to a request that had none";
  }
}

TEST_F(BoundJwtTest, is_new_for_every_attempt) {
  const auto method = make_with("audience: orders, bind: request, header: X-Postern-Token, algorithm: ES256");
  ASSERT_TRUE(method) << problems;
  std::set<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.insert(claims_of_request(*method, "GET", "/", "", Algorithm::ES256)->jwt_id());
  EXPECT_EQ(ids.size(), 5u);
}

TEST_F(BoundJwtTest, lives_a_minute) {
  const auto method = make_with("audience: orders, bind: request, header: X-Postern-Token, algorithm: ES256");
  ASSERT_TRUE(method) << problems;
  const auto claims = claims_of_request(*method, "GET", "/", "", Algorithm::ES256);
  EXPECT_EQ(claims->expires(), kNow + BoundJwt::kLifetime);
}

// A path of many KiB, and one with bytes that are no UTF-8: claims of text could not hold them, or would hold the same
// for two.
TEST_F(BoundJwtTest, takes_every_path) {
  const auto method = make_with("audience: orders, bind: request, header: X-Postern-Token, algorithm: ES256");
  ASSERT_TRUE(method) << problems;
  const std::string large = "/" + std::string(60'000, 'a');
  std::set<std::string> seen;
  for (const std::string& path : {large, std::string("/\xff"), std::string("/\xfe"), std::string("/\xef\xbf\xbd")}) {
    const auto claims = claims_of_request(*method, "GET", path, "", Algorithm::ES256);
    EXPECT_EQ(text(claims, "path_sha256"), digest(path));
    seen.insert(text(claims, "path_sha256"));
    EXPECT_LT(token.size(), 1024u);
  }
  EXPECT_EQ(seen.size(), 4u);
}

TEST_F(BoundJwtTest, a_body_that_is_not_bound_is_not_spoken_of) {
  const auto method = make_with(
      "audience: orders, bind: request, header: X-Postern-Token, algorithm: ES256, unsigned_body: {reason: large "
      "uploads}");
  ASSERT_TRUE(method) << problems;
  EXPECT_EQ(method->whole_body(), std::nullopt);
  const auto claims = claims_of_request(*method, "POST", "/", "anything", Algorithm::ES256);
  EXPECT_EQ(text(claims, "body_sha256"), "(none)");
  EXPECT_EQ(text(claims, "htm"), "POST");
}

TEST_F(BoundJwtTest, options_that_contradict_each_other) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"bind: request", "takes too long with RS256"},
      {"bind: request, algorithm: ES256, type: at+jwt", "`typ` of its own"},
      {"bind: request, algorithm: ES256, max_body: 1MiB, unsigned_body: {reason: large uploads}", "not signed"},
      {"bind: request, algorithm: ES256, max_body: 65MiB", "kept in memory"},
      {"max_body: 1MiB", "`bind: request`"},
      {"unsigned_body: {reason: large uploads}", "`bind: request`"},
      {"bind: body", "bind"},
  };
  for (const auto& [options, what] : cases) {
    EXPECT_FALSE(make_with("audience: orders, " + std::string(options))) << options;
    EXPECT_THAT(problems, HasSubstr(std::string(what))) << options;
  }
}

TEST_F(BoundJwtTest, has_a_key_that_signs_nothing_else) {
  const std::string bound = "bind: request, algorithm: ";
  EXPECT_EQ(judged({bound + "ES256"}), "");
  EXPECT_EQ(judged({bound + "ES256", bound + "EdDSA", "header: Authorization"}), "");
  EXPECT_EQ(judged({bound + "ES256", bound + "ES256"}), "") << "two origins: another audience";
  EXPECT_EQ(judged({"algorithm: ES256", "algorithm: EdDSA"}), "") << "none of them is bound";
  EXPECT_THAT(judged({bound + "ES256", "algorithm: ES256"}), HasSubstr("ES256 signs other tokens, too"));
  EXPECT_THAT(judged({"algorithm: EdDSA", bound + "EdDSA"}), HasSubstr("use ES256"));
  EXPECT_THAT(judged({bound + "RS256"}), HasSubstr("RS256 signs other tokens")) << "the first one is for everybody";
}

TEST_F(BoundJwtTest, the_example_of_its_readme_loads) {
  const std::string readme = readme_text();
  const std::size_t begin = readme.find("```yaml\n", readme.find("**Bound to the request.**")) + 8;
  const auto method = make(readme.substr(begin, readme.find("\n```", begin) + 1 - begin));
  ASSERT_TRUE(method) << problems;
  EXPECT_TRUE(method->whole_body());
}

}  // namespace
}  // namespace postern::identity
