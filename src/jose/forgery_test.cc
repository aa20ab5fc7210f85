// Signatures that are almost good, made with the real private key and OpenSSL underneath: what other libraries have
// taken. Each table has the good one in it, so that a test which refuses everything fails.
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <array>
#include <string>
#include <utility>

#include "jose/key.h"
#include "jose/key_material.h"
#include "tls/openssl.h"

namespace postern::jose {
namespace {

using internal::KeyContextPtr;
using internal::NumberPtr;

constexpr std::string_view kData = "what is signed";

const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// EVP_RSA_gen() with e = 65537, once for all tests.
EVP_PKEY* rsa() {
  static const tls::KeyPtr key(EVP_RSA_gen(2048));
  return key.get();
}
PublicKey rsa_half(Algorithm algorithm) { return PublicKey::from_evp(rsa(), algorithm).value(); }

std::string sha(const char* digest, std::string_view data = kData) {
  std::string out(64, '\0');
  std::size_t size = out.size();
  EXPECT_EQ(EVP_Q_digest(nullptr, digest, nullptr, data.data(), data.size(), bytes(out), &size), 1);
  out.resize(size);
  return out;
}

// The private operation on a block that has been padded by hand (RFC 8017 5.2.1).
std::string raw_rsa(const std::string& block) {
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, rsa(), nullptr));
  std::string out(256, '\0');
  std::size_t size = out.size();
  EXPECT_EQ(EVP_PKEY_sign_init(context.get()), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_NO_PADDING), 1);
  EXPECT_EQ(EVP_PKEY_sign(context.get(), bytes(out), &size, bytes(block), block.size()), 1);
  return out;
}

// RFC 8017 9.2: 00 01 FF... 00 DigestInfo.
std::string padded(const std::string& info, char fill = '\xff', std::size_t size = 256) {
  return std::string("\x00\x01", 2) + std::string(size - info.size() - 3, fill) + '\0' + info;
}
const std::string kSha256Info("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20", 19);

TEST(Forgery, Pkcs1HasOnePadding) {
  const PublicKey key = rsa_half(Algorithm::RS256);
  const std::string hash = sha("SHA256");
  const std::string good = kSha256Info + hash;
  EXPECT_TRUE(key.verify(kData, raw_rsa(padded(good))));

  const std::string no_null = "\x30\x2f\x30\x0b" + good.substr(4, 11) + good.substr(17);
  ASSERT_EQ(no_null.size(), good.size() - 2);
  const std::string garbage(20, 'g');
  // Bleichenbacher 2006: the hash not at the end, and what is behind it not looked at.
  const std::string short_padding =
      std::string("\x00\x01", 2) + std::string(8, '\xff') + '\0' + good + std::string(256 - 11 - good.size(), 'g');
  std::string long_length = good;
  long_length.replace(0, 2, std::string("\x30\x81\x31", 3));  // a length in two bytes, which DER does not have
  std::string wrong_hash_name = good;
  wrong_hash_name[14] = '\x02';  // SHA-384
  std::string block_type = padded(good);
  block_type[1] = '\x02';
  std::string no_zero = padded(good);
  no_zero[256 - good.size() - 1] = '\xff';
  std::string broken_padding = padded(good);
  broken_padding[20] = '\xfe';
  const std::pair<std::string_view, std::string> rows[] = {
      {"no NULL", padded(no_null)},
      {"garbage behind the hash", padded(good + garbage)},
      {"short padding, garbage behind", short_padding},
      {"zeros for padding", padded(good, '\0')},
      {"long form of a length", padded(long_length)},
      {"another hash's name", padded(wrong_hash_name)},
      {"the hash alone", padded(hash)},
      {"nothing", padded("")},
      {"block type 2", block_type},
      {"no zero before the hash", no_zero},
      {"a byte of the padding", broken_padding},
      {"SHA-1", padded(std::string("\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14", 15) + sha("SHA1"))},
  };
  for (const auto& [name, block] : rows) EXPECT_FALSE(key.verify(kData, raw_rsa(block))) << name;
  EXPECT_EQ(ERR_peek_error(), 0u);
}

TEST(Forgery, ASignatureIsANumberBelowTheModulus) {
  const PublicKey key = rsa_half(Algorithm::RS256);
  BIGNUM* modulus = nullptr;
  ASSERT_EQ(EVP_PKEY_get_bn_param(rsa(), "n", &modulus), 1);
  const NumberPtr n(modulus);
  // s + n is the same number to the modulus; it has 256 bytes for one signature in two or so.
  int tried = 0;
  for (int i = 0; i < 200 && tried < 3; ++i) {
    const std::string data = std::to_string(i);
    const std::string signature = raw_rsa(padded(kSha256Info + sha("SHA256", data)));
    ASSERT_TRUE(key.verify(data, signature));
    const NumberPtr s(BN_bin2bn(bytes(signature), 256, nullptr));
    ASSERT_EQ(BN_add(s.get(), s.get(), n.get()), 1);
    if (BN_num_bytes(s.get()) != 256) continue;
    ++tried;
    std::string other(256, '\0');
    BN_bn2bin(s.get(), bytes(other));
    EXPECT_FALSE(key.verify(data, other));
  }
  EXPECT_GT(tried, 0);
  for (const char c : {'\0', '\x01', '\xff'}) EXPECT_FALSE(key.verify(kData, std::string(256, c)));
  EXPECT_FALSE(key.verify(kData, std::string(255, '\0') + '\x01'));
}

std::string pss(const char* hash, const char* mgf, int salt) {
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_pkey(nullptr, rsa(), nullptr));
  const internal::DigestPtr digest(EVP_MD_fetch(nullptr, hash, nullptr));
  const internal::DigestPtr mask(EVP_MD_fetch(nullptr, mgf, nullptr));
  const std::string hashed = sha(hash);
  std::string out(256, '\0');
  std::size_t size = out.size();
  EXPECT_EQ(EVP_PKEY_sign_init(context.get()), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PSS_PADDING), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_signature_md(context.get(), digest.get()), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), mask.get()), 1);
  EXPECT_EQ(EVP_PKEY_CTX_set_rsa_pss_saltlen(context.get(), salt), 1);
  EXPECT_EQ(EVP_PKEY_sign(context.get(), bytes(out), &size, bytes(hashed), hashed.size()), 1);
  return out;
}

TEST(Forgery, PssHasOneSaltAndOneMask) {
  const PublicKey key = rsa_half(Algorithm::PS256);
  EXPECT_TRUE(key.verify(kData, pss("SHA256", "SHA256", 32)));
  for (const int salt : {0, 1, 20, 31, 33, 64, 222}) EXPECT_FALSE(key.verify(kData, pss("SHA256", "SHA256", salt)));
  EXPECT_FALSE(key.verify(kData, pss("SHA256", "SHA1", 32)));
  EXPECT_FALSE(key.verify(kData, pss("SHA256", "SHA512", 32)));
  EXPECT_FALSE(key.verify(kData, pss("SHA384", "SHA384", 48)));
  EXPECT_FALSE(key.verify(kData, raw_rsa(padded(kSha256Info + sha("SHA256")))));
  EXPECT_TRUE(rsa_half(Algorithm::PS384).verify(kData, pss("SHA384", "SHA384", 48)));
  EXPECT_TRUE(rsa_half(Algorithm::PS512).verify(kData, pss("SHA512", "SHA512", 64)));
}

// RFC 8032 5.1.7: S below the order of the group, or a signature had two spellings.
TEST(Forgery, Ed25519HasOneSpelling) {
  const PrivateKey key = PrivateKey::generate(Algorithm::EdDSA).value();
  const std::string signature = key.sign(kData).value();
  ASSERT_TRUE(key.public_key().verify(kData, signature));
  // The order, little-endian.
  constexpr std::array<unsigned char, 32> kOrder = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                                    0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                                    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};
  std::string other = signature;
  unsigned carry = 0;
  for (std::size_t i = 0; i < kOrder.size(); ++i) {
    carry += static_cast<unsigned char>(other[32 + i]) + kOrder[i];
    other[32 + i] = static_cast<char>(carry & 0xff);
    carry >>= 8;
  }
  ASSERT_EQ(carry, 0u);
  EXPECT_FALSE(key.public_key().verify(kData, other));
  for (const unsigned bit : {0x20u, 0x40u, 0x80u}) {
    std::string high = signature;
    high[63] = static_cast<char>(static_cast<unsigned char>(high[63]) | bit);
    EXPECT_FALSE(key.public_key().verify(kData, high));
  }
  // R with another sign.
  std::string sign = signature;
  sign[31] = static_cast<char>(static_cast<unsigned char>(sign[31]) ^ 0x80u);
  EXPECT_FALSE(key.public_key().verify(kData, sign));
}

// ECDSA lets anybody turn s into n - s. It is said in jws.h; should it ever be refused, the text there changes, too.
TEST(Forgery, EcdsaHasTwoSpellings) {
  const PrivateKey key = PrivateKey::generate(Algorithm::ES256).value();
  std::string signature = key.sign(kData).value();
  const NumberPtr s(BN_bin2bn(bytes(signature) + 32, 32, nullptr));
  const NumberPtr n(BN_new());
  BIGNUM* order = n.get();
  ASSERT_GT(BN_hex2bn(&order, "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"), 0);
  ASSERT_EQ(BN_sub(s.get(), n.get(), s.get()), 1);
  ASSERT_EQ(BN_bn2binpad(s.get(), bytes(signature) + 32, 32), 32);
  EXPECT_TRUE(key.public_key().verify(kData, signature));
  EXPECT_FALSE(key.public_key().verify("something else", signature));
}

// Zero, one, and more than the order of the group, in every combination.
TEST(Forgery, EcdsaNumbersAreInRange) {
  for (const auto& [algorithm, half] : {std::pair(Algorithm::ES256, 32u), std::pair(Algorithm::ES384, 48u)}) {
    const PrivateKey key = PrivateKey::generate(algorithm).value();
    const std::string signature = key.sign(kData).value();
    ASSERT_EQ(signature.size(), 2 * half);
    ASSERT_TRUE(key.public_key().verify(kData, signature));
    const std::string one = std::string(half - 1, '\0') + '\x01';
    const std::string most(half, '\xff');
    for (const std::string& r : {one, most, std::string(half, '\0'), signature.substr(0, half)}) {
      for (const std::string& s : {one, most, std::string(half, '\0'), signature.substr(0, half)}) {
        EXPECT_FALSE(key.public_key().verify(kData, r + s)) << name_of(algorithm);
      }
    }
    // Of the other curve's width.
    EXPECT_FALSE(key.public_key().verify(kData, std::string(half == 32 ? 96 : 64, '\x01')));
    EXPECT_FALSE(key.public_key().verify(kData, std::string(16, '\0') + signature));
  }
}

// An RSASSA-PSS key (RFC 4055) is for PS* alone, and for the hash that its parameters name.
TEST(Forgery, KeysOfPssAreForNothingElse) {
  const KeyContextPtr context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA-PSS", nullptr));
  const internal::DigestPtr digest(EVP_MD_fetch(nullptr, "SHA512", nullptr));
  EVP_PKEY* made = nullptr;
  ASSERT_EQ(EVP_PKEY_keygen_init(context.get()), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_rsa_keygen_bits(context.get(), 2048), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_rsa_pss_keygen_md(context.get(), digest.get()), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md(context.get(), digest.get()), 1);
  ASSERT_EQ(EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen(context.get(), 64), 1);
  ASSERT_EQ(EVP_PKEY_keygen(context.get(), &made), 1);
  const tls::KeyPtr key(made);
  const auto copy = [&] {
    EVP_PKEY_up_ref(key.get());
    return tls::KeyPtr(key.get());
  };
  const Result<PrivateKey> good = PrivateKey::from_evp(copy(), Algorithm::PS512);
  ASSERT_TRUE(good) << good.error().detail();
  EXPECT_TRUE(good->public_key().verify(kData, good->sign(kData).value()));
  EXPECT_FALSE(PrivateKey::from_evp(copy(), Algorithm::PS256));
  EXPECT_FALSE(PrivateKey::from_evp(copy(), Algorithm::RS512));
  EXPECT_EQ(ERR_peek_error(), 0u);
}

}  // namespace
}  // namespace postern::jose
