// KeyIndex: an immutable look-up from the SHA-256 of an API key to its record. Built on the store's thread, read by all
// loops at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "store/key_record.h"

namespace postern::store {

class KeyIndex {
 public:
  // Merges the records of several sources. The same key in two of them counts under the stricter terms: revoked if
  // either says so, and until the earlier expiry. Fails (Code::store_unavailable, no secret in the text) if one key
  // belongs to two consumers, or if two keys share an id: then nobody can say who a request is from.
  [[nodiscard]] static Result<std::shared_ptr<const KeyIndex>> build(std::vector<KeyRecord> records);

  // nullptr if no such key is stored. Says nothing about expiry and revocation: see status_of().
  //
  // The final comparison is constant-time and also done for an unknown key, so time does not tell how much of a stored
  // hash was matched (it could only tell about hashes, from which no key can be computed, but costs nothing).
  [[nodiscard]] const KeyRecord* find(const KeyHash& hash) const noexcept [[clang::lifetimebound]];

  // The same by public id.
  [[nodiscard]] const KeyRecord* find_by_id(std::string_view key_id) const noexcept [[clang::lifetimebound]];

  [[nodiscard]] std::size_t size() const noexcept { return records_.size(); }
  [[nodiscard]] const std::vector<KeyRecord>& records() const noexcept { return records_; }

 private:
  explicit KeyIndex(std::vector<KeyRecord> records);

  std::vector<KeyRecord> records_;  // sorted by key_id
  // Open addressing over the first bytes of the hash; a value is 1 + the place in records_, 0 is empty. At most half
  // full, so a probe ends soon.
  std::vector<std::uint32_t> slots_;
};

enum class KeyStatus : std::uint8_t { valid, expired, revoked };
[[nodiscard]] KeyStatus status_of(const KeyRecord& record, WallTime now) noexcept;

}  // namespace postern::store
