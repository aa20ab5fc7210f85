// The form of an API key. Invariants: exactly the well-formed texts with the right checksum are keys, computed here a
// second time and differently; a key made from any digits is one; no change of one character leaves one; a hash
// survives its hexadecimal form, which has one spelling.
#include <cstddef>
#include <cstdint>

#include "check.h"
#include "http/h1/test_support.h"
#include "store/api_key.h"

namespace {

using namespace postern::fuzz;
using namespace postern::store;
using postern::http::h1::ExactBytes;

constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kBody = 34;  // "pst_", 8 public and 22 secret digits

std::string checksum(std::string_view body) {
  std::uint32_t crc = ~0u;
  for (const char c : body) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320u : crc >> 1;
  }
  std::string out;
  for (std::uint32_t rest = ~crc; out.size() < 6; rest /= 62) out.insert(out.begin(), kDigits[rest % 62]);
  return out;
}

bool well_formed(std::string_view text) {
  return text.size() == kBody + 6 && text.starts_with("pst_") &&
         text.substr(4).find_first_not_of(kDigits) == std::string_view::npos &&
         text.substr(kBody) == checksum(text.substr(0, kBody));
}

void check_hash(std::string_view text) {
  const auto parsed = key_hash_from_hex(text);
  check(!parsed || to_hex(*parsed) == text, "a hash has one spelling", text);
  const KeyHash hash = hash_api_key(text);
  check(key_hash_from_hex(to_hex(hash)) == hash, "a hash survives its text", text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ExactBytes exact(view(data, size));
  const std::string_view text = exact.view();
  check(is_api_key(text) == well_formed(text), "keys are the well-formed texts", text);
  check(!is_api_key(text) || is_key_id(key_id_of(text)), "a key has an id", text);
  check(!is_key_id(text) || (text.size() == 12 && text.starts_with("pst_")), "an id has its form", text);
  check_hash(text);

  std::string key = "pst_";
  for (std::size_t i = 0; key.size() < kBody; ++i) {
    key += kDigits[size == 0 ? i : (data[i % size] + i / size) % kDigits.size()];
  }
  key += checksum(key);
  check(is_api_key(key), "a key made from any digits is one", key);
  const std::uint64_t number = number_of(text);
  std::string changed = key;
  changed[number % key.size()] = static_cast<char>(number >> 32);
  check(changed == key || !is_api_key(changed), "a change is noticed", changed);
  check(!is_api_key(key.substr(0, number % key.size())), "a part of a key is none", key);
  check(!is_api_key(key + "0"), "more than a key is none", key);
  return 0;
}
