#include "http/request_id.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace postern::http {
namespace {

class ConstantEntropy final : public Entropy {
 public:
  explicit ConstantEntropy(unsigned char first) : first_(first) {}
  void fill(std::span<unsigned char> out) const noexcept override {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(first_ + i);
  }

 private:
  unsigned char first_;
};

std::string next(RequestIdGenerator& ids) {
  std::string out(RequestIdGenerator::kSize, '#');
  ids.next(std::span<char, RequestIdGenerator::kSize>(out));
  return out;
}

TEST(RequestId, IsThirtyTwoHexadecimalDigitsAndNeverTheSame) {
  RequestIdGenerator ids((ConstantEntropy(1)));
  std::set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) {
    const std::string id = next(ids);
    ASSERT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos) << id;
    ASSERT_TRUE(seen.insert(id).second) << id;
    ASSERT_TRUE(is_acceptable_request_id(id));
  }
}

TEST(RequestId, DependsOnTheEntropyOfTheLoop) {
  RequestIdGenerator a((ConstantEntropy(1)));
  RequestIdGenerator same((ConstantEntropy(1)));
  RequestIdGenerator b((ConstantEntropy(2)));
  const std::string id = next(a);
  EXPECT_EQ(next(same), id);
  EXPECT_NE(next(b), id);
  EXPECT_EQ(id.substr(0, 16), "0807060504030201") << "the loop's half, read as a number";
}

TEST(RequestId, FromAProxyOnlyWhatIsHarmlessInAnyLogIsTaken) {
  for (const std::string& good : {std::string("12345678"), std::string(128, 'a'), std::string("a.B_c-9..")}) {
    EXPECT_TRUE(is_acceptable_request_id(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("1234567"), std::string(129, 'a'), std::string("with space"),
        std::string("\"quoted\""), std::string("a/b/c/d/e"), std::string("a\nb\nc\nd\ne"), std::string("abcdefg\0", 8),
        std::string("abcdefg\xc3\xa9"), std::string("abcdefg;"), std::string("abcdefg%00"), std::string("${jndi:x}")}) {
    EXPECT_FALSE(is_acceptable_request_id(bad)) << bad;
  }
}

}  // namespace
}  // namespace postern::http
