#include "store/api_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>

#include "base/strings.h"

namespace postern::store {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kChecksumLength = 6;  // 62^6 > 2^32
constexpr std::size_t kRandomLength = kKeyLength - kKeyPrefix.size() - kChecksumLength;

// An attacker who has seen key ids must still guess 128 bits: log2(62) is 5.954.
static_assert((kKeyLength - kKeyIdLength - kChecksumLength) * 5954 >= 128 * 1000);

constexpr auto kIsDigit = [] {
  std::array<bool, 256> table{};
  for (const char c : kDigits) table[static_cast<unsigned char>(c)] = true;
  return table;
}();

// Without a branch for each of its random characters, which no processor could predict.
constexpr bool is_base62(std::string_view text) noexcept {
  bool all = true;
  for (const char c : text) all &= kIsDigit[static_cast<unsigned char>(c)];
  return all;
}

constexpr auto kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = crc;
  }
  return table;
}();

constexpr std::uint32_t crc32(std::string_view text) noexcept {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : text) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xffu];
  return ~crc;
}
static_assert(crc32("123456789") == 0xcbf43926u);

constexpr std::array<char, kChecksumLength> checksum_of(std::string_view body) noexcept {
  std::array<char, kChecksumLength> out{};
  std::uint32_t rest = crc32(body);
  for (std::size_t i = kChecksumLength; i-- > 0; rest /= 62) out[i] = kDigits[rest % 62];
  return out;
}

// Looked up once: in OpenSSL 3, finding an algorithm by name costs more than hashing a key.
const EVP_MD* sha256() noexcept {
  static EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return fetched ? fetched : EVP_sha256();
}

}  // namespace

bool is_api_key(std::string_view text) noexcept {
  if (text.size() != kKeyLength || !text.starts_with(kKeyPrefix)) return false;
  if (!is_base62(text.substr(kKeyPrefix.size()))) return false;
  const std::size_t body = kKeyLength - kChecksumLength;
  const auto checksum = checksum_of(text.substr(0, body));
  return text.substr(body) == std::string_view(checksum.data(), checksum.size());
}

bool is_key_id(std::string_view text) noexcept {
  return text.size() == kKeyIdLength && text.starts_with(kKeyPrefix) && is_base62(text.substr(kKeyPrefix.size()));
}

KeyHash hash_api_key(std::string_view key) noexcept {
  KeyHash hash{};
  unsigned int size = 0;
  // Cannot fail for a digest that OpenSSL has built in; were it to, the all-zero hash is refused by KeyIndex.
  if (EVP_Digest(key.data(), key.size(), hash.data(), &size, sha256(), nullptr) != 1) hash.fill(0);
  return hash;
}

std::string to_hex(const KeyHash& hash) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  out.reserve(hash.size() * 2);
  for (const std::uint8_t byte : hash) {
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
  return out;
}

std::optional<KeyHash> key_hash_from_hex(std::string_view hex) noexcept {
  KeyHash hash{};
  if (hex.size() != hash.size() * 2) return std::nullopt;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    // One spelling only, so that equal keys are equal text in a diff.
    if (hex[i] != ascii_lower(hex[i]) || hex_value(hex[i]) < 0) return std::nullopt;
    hash[i / 2] = static_cast<std::uint8_t>((hash[i / 2] << 4) | hex_value(hex[i]));
  }
  return hash;
}

Result<config::Secret> generate_api_key() {
  std::array<char, kKeyLength> key{};
  auto* out = std::ranges::copy(kKeyPrefix, key.begin()).out;
  char* const body_end = key.data() + kKeyPrefix.size() + kRandomLength;
  std::array<unsigned char, 64> pool{};
  while (out != body_end) {
    if (RAND_bytes(pool.data(), static_cast<int>(pool.size())) != 1) {
      OPENSSL_cleanse(key.data(), key.size());
      return fail(Code::internal, Side::gateway, "the operating system gave no random bytes");
    }
    for (const unsigned char byte : pool) {
      // Reject what would make some digits likelier than others (248 = 4 * 62).
      if (byte >= 248 || out == body_end) continue;
      *out++ = kDigits[byte % 62];
    }
  }
  std::ranges::copy(checksum_of({key.data(), kKeyLength - kChecksumLength}), body_end);
  config::Secret secret({key.data(), key.size()});
  OPENSSL_cleanse(key.data(), key.size());
  OPENSSL_cleanse(pool.data(), pool.size());
  return secret;
}

}  // namespace postern::store
