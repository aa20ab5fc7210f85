#include "signature/hmac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <new>

namespace postern::signature {
namespace {

EVP_MAC_CTX* new_context(std::string_view key) {
  // Never freed: for the life of the process.
  static EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  EVP_MAC_CTX* const context = hmac ? EVP_MAC_CTX_new(hmac) : nullptr;
  if (!context) throw std::bad_alloc();
  char digest[] = "SHA256";  // OSSL_PARAM is not const-correct
  const std::array<OSSL_PARAM, 2> params = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                            OSSL_PARAM_construct_end()};
  // A null key would mean "the one from before".
  const char* const data = key.empty() ? "" : key.data();
  if (EVP_MAC_init(context, reinterpret_cast<const unsigned char*>(data), key.size(), params.data()) != 1) {
    EVP_MAC_CTX_free(context);
    throw std::bad_alloc();
  }
  return context;
}

}  // namespace

HmacSha256::HmacSha256(std::string_view key) : scheduled_(new_context(key)) {}
HmacSha256::HmacSha256(HmacSha256&&) noexcept = default;
HmacSha256& HmacSha256::operator=(HmacSha256&&) noexcept = default;
HmacSha256::~HmacSha256() = default;

HmacSha256::Message::Message(Message&&) noexcept = default;
HmacSha256::Message& HmacSha256::Message::operator=(Message&&) noexcept = default;
HmacSha256::Message::~Message() = default;

void HmacSha256::Message::Free::operator()(EVP_MAC_CTX* context) const noexcept { EVP_MAC_CTX_free(context); }

HmacSha256::Message HmacSha256::begin() const {
  EVP_MAC_CTX* const copy = EVP_MAC_CTX_dup(scheduled_.context_.get());
  if (!copy) throw std::bad_alloc();
  return Message(copy);
}

HmacSha256::Tag HmacSha256::compute(std::initializer_list<std::string_view> parts) const {
  Message message = begin();
  for (const std::string_view part : parts) message.update(part);
  return message.finish();
}

void HmacSha256::Message::update(std::string_view bytes) {
  if (EVP_MAC_update(context_.get(), reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()) != 1) {
    throw std::bad_alloc();
  }
}

HmacSha256::Tag HmacSha256::Message::finish() {
  Tag tag{};
  std::size_t size = 0;
  if (EVP_MAC_final(context_.get(), tag.data(), &size, tag.size()) != 1 || size != tag.size()) throw std::bad_alloc();
  return tag;
}

}  // namespace postern::signature
