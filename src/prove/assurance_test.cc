#include "prove/assurance.h"

#include <gtest/gtest.h>

#include "identity/test_support.h"

namespace postern::prove {
namespace {

config::OriginConfig with_secret() {
  config::OriginConfig origin;
  config::SharedSecretConfig secret;
  secret.header = "X-Backend-Secret";
  secret.value = config::Secret("0123456789abcdef");
  origin.identity.push_back({"shared_secret", std::move(secret), {}});
  return origin;
}

TEST(Assurance, IsZeroWithoutIdentityAndWithIdentityInClear) {
  EXPECT_EQ(assess(config::OriginConfig{}).level, 0);
  config::OriginConfig origin = with_secret();
  EXPECT_EQ(assess(origin).level, 1);
  origin.insecure = config::InsecureConfig{"until TLS is there", WallTime::max()};
  EXPECT_EQ(assess(origin).level, 0);
}

TEST(Assurance, IsThreeWithMtlsButNotOverUnverifiedTls) {
  config::OriginConfig origin = with_secret();
  origin.tls = true;
  EXPECT_EQ(assess(origin).level, 1);
  origin.identity.push_back({"mtls", config::MtlsConfig{}, {}});
  EXPECT_EQ(assess(origin).level, 3);
  origin.insecure = config::InsecureConfig{"until its certificate is mended", WallTime::max()};
  EXPECT_EQ(assess(origin).level, 0);
}

// Of an origin with that identity, over loopback.
int level_with(const std::string& identity) {
  config::World world = identity::world_with_methods();
  config::Diagnostics diagnostics("postern.yaml");
  const auto config = world.load(
      "version: 1\nlisteners: [{address: \"127.0.0.1:80\"}]\n"
      "origins: {main: {url: \"http://127.0.0.1:1\", identity: [{" +
          identity +
          "}]}}\n"
          "routes: [{match: {path: /}, origin: main, public: true}]\n",
      diagnostics);
  EXPECT_TRUE(config) << diagnostics.to_text();
  return config ? assess(config->origins[0]).level : -1;
}

TEST(Assurance, OfASignatureIsThreeOnlyIfItBindsTheBody) {
  const std::string why = "unsigned_body: {reason: files of any size}";
  EXPECT_EQ(level_with("http_signature: {secret: \"${file:/s/a}\", keyid: k}"), 3);
  EXPECT_EQ(level_with("http_signature: {secret: \"${file:/s/a}\", keyid: k, " + why + "}"), 2);
  EXPECT_EQ(level_with("gateway_jwt: {audience: a}"), 2);
  EXPECT_EQ(level_with("gateway_jwt: {audience: a, bind: request}"), 3);
  EXPECT_EQ(level_with("gateway_jwt: {audience: a, bind: request, " + why + "}"), 2);
}

TEST(Assurance, EveryLevelHasItsReason) {
  config::OriginConfig origin = with_secret();
  const std::string_view locked = assess(origin).reason;
  origin.insecure = config::InsecureConfig{"until TLS is there", WallTime::max()};
  EXPECT_NE(assess(origin).reason, locked);
  EXPECT_NE(assess(config::OriginConfig{}).reason, assess(origin).reason);
}

}  // namespace
}  // namespace postern::prove
