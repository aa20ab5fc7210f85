#include "issuer/token_mint.h"

#include <gtest/gtest.h>

#include <array>

#include "jose/jwt.h"
#include "platform/entropy.h"

namespace postern::issuer {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kNow = WallTime(std::chrono::seconds(1'800'000'000));
constexpr std::string_view kUrl = "https://id.example.com/postern";

IssuerOptions options() {
  IssuerOptions out;
  out.url = kUrl;
  out.algorithms = {jose::Algorithm::ES256};
  return out;
}

std::shared_ptr<const Issuer> issuer_with_new_key(WallTime now) {
  auto key = std::make_shared<const jose::PrivateKey>(std::move(*jose::PrivateKey::generate(jose::Algorithm::ES256)));
  KeyRing ring;
  EXPECT_TRUE(ring.add(key->kid(), jose::Algorithm::ES256, now, options().rotation));
  std::vector<IssuerKey> keys = {{ring.entries()[0], key}};
  Result<std::shared_ptr<const Issuer>> made = Issuer::make(options(), ring, std::move(keys));
  EXPECT_TRUE(made) << made.error().detail();
  return *made;
}

class TokenMintTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string token(TokenMint::Slot& slot, WallTime now) {
    Result<std::shared_ptr<const SignedToken>> got = slot.current(now);
    EXPECT_TRUE(got) << got.error().detail();
    if (!got) return {};
    EXPECT_GE((*got)->expires, now + TokenMint::kLeastLeft) << "too little is left of it";
    return (*got)->token;
  }
  // Whether `text` is a token for `audience` that the published keys of `issuer` verify.
  [[nodiscard]] bool good(const std::string& text, const Issuer& issuer, WallTime now) {
    for (const Document& document : issuer.documents(now)) {
      if (!document.path.ends_with("jwks.json")) continue;
      const auto keys = jose::KeySet::parse(document.body);
      if (!keys) continue;
      const std::array<std::string_view, 1> audiences = {kind.audience};
      return jose::verify_jwt(text, *keys, {.issuer = kUrl, .audiences = audiences, .now = now}).has_value();
    }
    return false;
  }
  SystemEntropy entropy;
  TokenMint mint{options(), entropy};
  TokenMint::Kind kind{.subject = "gateway", .audience = "orders", .algorithm = jose::Algorithm::ES256};
};

TEST_F(TokenMintTest, has_no_token_without_keys_and_one_as_soon_as_there_are) {
  const auto slot = mint.keep(kind, kNow);
  const auto none = slot->current(kNow);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), Code::identity_unavailable);
  EXPECT_FALSE(mint.documents());
  const auto issuer = issuer_with_new_key(kNow);
  mint.replace(issuer, kNow);
  EXPECT_TRUE(good(token(*slot, kNow), *issuer, kNow));
  EXPECT_TRUE(mint.documents());
}

TEST_F(TokenMintTest, one_kind_is_signed_once_and_kept) {
  mint.replace(issuer_with_new_key(kNow), kNow);
  const auto slot = mint.keep(kind, kNow);
  EXPECT_EQ(mint.keep(kind, kNow), slot);
  const std::string first = token(*slot, kNow);
  EXPECT_EQ(token(*slot, kNow + 100s), first);
  TokenMint::Kind other = kind;
  other.audience = "reports";
  EXPECT_NE(mint.keep(other, kNow), slot);
}

TEST_F(TokenMintTest, a_token_is_renewed_at_half_of_its_life) {
  mint.replace(issuer_with_new_key(kNow), kNow);
  const auto slot = mint.keep(kind, kNow);
  const std::string first = token(*slot, kNow);
  mint.renew(kNow + 149s);
  EXPECT_EQ(token(*slot, kNow + 149s), first);
  mint.renew(kNow + 150s);
  EXPECT_NE(token(*slot, kNow + 150s), first);
}

TEST_F(TokenMintTest, what_nobody_renewed_is_signed_when_it_is_needed_and_never_sent_late) {
  const auto issuer = issuer_with_new_key(kNow);
  mint.replace(issuer, kNow);
  const auto slot = mint.keep(kind, kNow);
  const std::string first = token(*slot, kNow);
  EXPECT_EQ(token(*slot, kNow + 270s), first) << "30 s are left";
  const std::string second = token(*slot, kNow + 271s);
  EXPECT_NE(second, first);
  EXPECT_TRUE(good(second, *issuer, kNow + 271s));
  // Set back by an hour: a token from the future is no token.
  const std::string third = token(*slot, kNow - 1h);
  EXPECT_NE(third, second);
  EXPECT_TRUE(good(third, *issuer, kNow - 1h));
}

TEST_F(TokenMintTest, other_keys_sign_everything_anew) {
  mint.replace(issuer_with_new_key(kNow), kNow);
  const auto slot = mint.keep(kind, kNow);
  const std::string first = token(*slot, kNow);
  const auto documents = mint.documents();
  const auto next = issuer_with_new_key(kNow);
  mint.replace(next, kNow + 1s);
  EXPECT_NE(token(*slot, kNow + 1s), first);
  EXPECT_TRUE(good(token(*slot, kNow + 1s), *next, kNow + 1s));
  EXPECT_NE(mint.documents(), documents);
}

}  // namespace
}  // namespace postern::issuer
