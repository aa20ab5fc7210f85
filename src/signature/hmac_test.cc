#include "signature/hmac.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "signature/digest.h"

namespace postern::signature {
namespace {

std::string hex(std::string_view key, std::initializer_list<std::string_view> parts) {
  const HmacSha256::Tag tag = HmacSha256(key).compute(parts);
  std::string out;
  append_hex(out, bytes_of(tag));
  return out;
}

// RFC 4231 4.2, 4.3, 4.7 and 4.8.
TEST(Hmac, OfTheRfc) {
  EXPECT_EQ(hex(std::string(20, '\x0b'), {"Hi There"}),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex("Jefe", {"what do ya want ", "", "for nothing?"}),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(std::string(131, '\xaa'), {"Test Using Larger Than Block-Size Key - Hash Key First"}),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  EXPECT_EQ(
      hex(std::string(131, '\xaa'),
          {"This is a test using a larger than block-size key and a larger than block-size data. The key needs to "
           "be hashed before being used by the HMAC algorithm."}),
      "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
}

TEST(Hmac, OfNothing) { EXPECT_EQ(hex("", {}), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"); }

TEST(Hmac, AMessageOutlivesItsKey) {
  auto key = std::make_unique<HmacSha256>("Jefe");
  HmacSha256::Message message = key->begin();
  HmacSha256::Message other = key->begin();
  key.reset();
  for (const char c : std::string_view("what do ya want for nothing?")) message.update({&c, 1});
  const HmacSha256::Tag tag = message.finish();
  std::string out;
  append_hex(out, bytes_of(tag));
  EXPECT_EQ(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_NE(other.finish(), tag) << "messages of one key are apart";
}

TEST(Hmac, OneKeyForSeveralThreads) {
  const HmacSha256 key("Jefe");
  const HmacSha256::Tag expected = key.compute("what do ya want for nothing?");
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 2000; ++round) {
        if (key.compute("what do ya want for nothing?") != expected) ++wrong[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Digest, ComparesInConstantTimeAndOnlyEqualLengths) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_in_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_in_constant_time("abc", "ab"));
  EXPECT_FALSE(equal_in_constant_time("", "a"));
}

}  // namespace
}  // namespace postern::signature
