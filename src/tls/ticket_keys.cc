#include "tls/ticket_keys.h"

#include <openssl/crypto.h>

#include <cstring>

namespace postern::tls {

TicketKeys::Key::Key(const Entropy& entropy, MonoTime now) noexcept : made(now) {
  entropy.fill(name);
  entropy.fill(aes);
  entropy.fill(hmac);
}

TicketKeys::Key::~Key() {
  OPENSSL_cleanse(aes.data(), aes.size());
  OPENSSL_cleanse(hmac.data(), hmac.size());
}

TicketKeys::TicketKeys(const Entropy& entropy, Clock& clock)
    : entropy_(entropy), clock_(clock), current_(std::make_shared<const Key>(entropy, clock.now())) {}

void TicketKeys::rotate() {
  const MonoTime now = clock_.now();
  if (previous_ && now - previous_->made >= 2 * kLifetime) previous_ = nullptr;
  if (now - current_->made < kLifetime) return;
  // Nobody came for a long time: then the old key is too old to decrypt, too.
  previous_ = now - current_->made < 2 * kLifetime ? std::move(current_) : nullptr;
  current_ = std::make_shared<const Key>(entropy_, now);
}

std::shared_ptr<const TicketKeys::Key> TicketKeys::current() {
  const std::lock_guard lock(mutex_);
  rotate();
  return current_;
}

std::shared_ptr<const TicketKeys::Key> TicketKeys::find(const unsigned char* name) {
  const std::lock_guard lock(mutex_);
  rotate();
  for (const auto& key : {current_, previous_}) {
    if (key && std::memcmp(key->name.data(), name, Key::kName) == 0) return key;
  }
  return nullptr;
}

}  // namespace postern::tls
