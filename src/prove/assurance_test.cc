#include "prove/assurance.h"

#include <gtest/gtest.h>

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

TEST(Assurance, EveryLevelHasItsReason) {
  config::OriginConfig origin = with_secret();
  const std::string_view locked = assess(origin).reason;
  origin.insecure = config::InsecureConfig{"until TLS is there", WallTime::max()};
  EXPECT_NE(assess(origin).reason, locked);
  EXPECT_NE(assess(config::OriginConfig{}).reason, assess(origin).reason);
}

}  // namespace
}  // namespace postern::prove
