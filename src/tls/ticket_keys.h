// TicketKeys: keys that encrypt session tickets (RFC 5077 4, RFC 8446 4.6.1): AES-256-CBC with HMAC-SHA-256. One set
// per process, shared by all loops. A key encrypts for kLifetime and decrypts for one more: whoever steals it later can
// read no resumption older than that.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <mutex>

#include "platform/clock.h"
#include "platform/entropy.h"

namespace postern::tls {

// Thread-safe: the lock is held for the copy of one pointer, once per handshake.
class TicketKeys {
 public:
  static constexpr Duration kLifetime = std::chrono::hours(1);

  // Immutable; wiped when the last connection that is just using it lets go.
  struct Key {
    static constexpr std::size_t kName = 16;  // clear text in the ticket
    static constexpr std::size_t kIv = 16;
    Key(const Entropy& entropy, MonoTime now) noexcept;
    ~Key();
    Key(const Key&) = delete;
    Key& operator=(const Key&) = delete;

    std::array<unsigned char, kName> name{};
    std::array<unsigned char, 32> aes{};
    std::array<unsigned char, 32> hmac{};
    MonoTime made;
  };

  // Both outlive the object.
  TicketKeys(const Entropy& entropy, Clock& clock);
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // The key for new tickets; rotates as time demands.
  [[nodiscard]] std::shared_ptr<const Key> current();
  // The key of that name (Key::kName bytes), or nullptr if it is too old or was never ours.
  [[nodiscard]] std::shared_ptr<const Key> find(const unsigned char* name);

 private:
  void rotate();  // with mutex_ held

  const Entropy& entropy_;
  Clock& clock_;
  std::mutex mutex_;
  std::shared_ptr<const Key> current_;   // guarded by mutex_
  std::shared_ptr<const Key> previous_;  // guarded by mutex_; may be nullptr
};

}  // namespace postern::tls
