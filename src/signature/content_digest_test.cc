#include "signature/content_digest.h"

#include <gtest/gtest.h>

namespace postern::signature {
namespace {

constexpr std::string_view kHello = "{\"hello\": \"world\"}";
constexpr std::string_view kSha512 =
    "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
constexpr std::string_view kSha256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";

bool matches(std::string_view value, std::string_view body) {
  const auto digest = parse_content_digest(value);
  return digest && digest->matches(body);
}

// The body and digest of RFC 9421 B.2.
TEST(ContentDigest, OfTheRfc) {
  EXPECT_EQ(content_digest_of(DigestAlgorithm::sha_512, kHello), kSha512);
  EXPECT_EQ(content_digest_of(DigestAlgorithm::sha_256, kHello), kSha256);
  EXPECT_TRUE(matches(kSha512, kHello));
  EXPECT_TRUE(matches(kSha256, kHello));
  EXPECT_FALSE(matches(kSha256, "{\"hello\": \"world\"}\n"));
  EXPECT_FALSE(matches(kSha512, ""));
}

TEST(ContentDigest, InPieces) {
  Digester digester(DigestAlgorithm::sha_256);
  for (int round = 0; round < 2; ++round) {
    for (const char c : kHello) digester.update({&c, 1});
    EXPECT_EQ(content_digest_value(DigestAlgorithm::sha_256, digester.finish()), kSha256) << "round " << round;
  }
  EXPECT_EQ(content_digest_value(DigestAlgorithm::sha_256, digester.finish()),
            content_digest_of(DigestAlgorithm::sha_256, ""));
}

TEST(ContentDigest, AllThatIsPromisedMustHold) {
  const std::string both = std::string(kSha256) + ", " + std::string(kSha512);
  EXPECT_TRUE(matches(both, kHello));
  const std::string other = content_digest_of(DigestAlgorithm::sha_512, "other");
  EXPECT_FALSE(matches(std::string(kSha256) + ", " + other, kHello));
  EXPECT_FALSE(matches(other + ", " + std::string(kSha256), kHello));
  EXPECT_TRUE(matches("md5=:AAAA:, unknown=(1 2);a, " + std::string(kSha256), kHello)) << "the unknown is passed over";
  EXPECT_FALSE(ContentDigest().matches(""));
}

TEST(ContentDigest, RefusesWhatPromisesNothing) {
  for (const char* value : {"", "md5=:AAAA:", "sha-256", "sha-256=?1", "sha-256=::", "sha-256=:AAAA:",
                            "sha-256=(:AAAA:)", "sha-256=\"X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=\"",
                            "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
                            "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
                            "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
                            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, "
                            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"}) {
    const auto refused = parse_content_digest(value);
    ASSERT_FALSE(refused) << value;
    EXPECT_EQ(refused.error().substr(0, 14), "Content-Digest");
  }
}

}  // namespace
}  // namespace postern::signature
