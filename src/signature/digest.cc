#include "signature/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <new>

namespace postern::signature {
namespace {

const EVP_MD* fetched(DigestAlgorithm algorithm) {
  // Never freed: for the life of the process, and needed until its last thread has ended.
  static const EVP_MD* const sha256_once = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  static const EVP_MD* const sha512_once = EVP_MD_fetch(nullptr, "SHA512", nullptr);
  return algorithm == DigestAlgorithm::sha_256 ? sha256_once : sha512_once;
}

}  // namespace

Sha256 sha256(std::string_view bytes) {
  Sha256 out{};
  if (EVP_Digest(bytes.data(), bytes.size(), out.data(), nullptr, fetched(DigestAlgorithm::sha_256), nullptr) != 1) {
    throw std::bad_alloc();
  }
  return out;
}

void append_hex(std::string& out, std::string_view bytes) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out.push_back(kHex[byte >> 4]);
    out.push_back(kHex[byte & 15]);
  }
}

bool equal_in_constant_time(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Digester::Digester(DigestAlgorithm algorithm) : algorithm_(algorithm), context_(EVP_MD_CTX_new()) { begin(); }
Digester::Digester(Digester&&) noexcept = default;
Digester& Digester::operator=(Digester&&) noexcept = default;
Digester::~Digester() = default;

void Digester::Free::operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }

void Digester::begin() {
  if (!context_ || EVP_DigestInit_ex2(context_.get(), fetched(algorithm_), nullptr) != 1) throw std::bad_alloc();
}

void Digester::update(std::string_view bytes) {
  if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) throw std::bad_alloc();
}

std::string Digester::finish() {
  std::string out(algorithm_ == DigestAlgorithm::sha_256 ? 32 : 64, '\0');
  if (EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(out.data()), nullptr) != 1) {
    throw std::bad_alloc();
  }
  begin();
  return out;
}

}  // namespace postern::signature
