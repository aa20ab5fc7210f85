#include "store/key_index.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

namespace postern::store {
namespace {

std::size_t first_slot(const KeyHash& hash, std::size_t slots) noexcept {
  std::uint64_t head = 0;
  std::memcpy(&head, hash.data(), sizeof head);
  return static_cast<std::size_t>(head) & (slots - 1);
}

bool equal(const KeyHash& a, const KeyHash& b) noexcept { return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

template <typename T>
std::optional<T> earlier(const std::optional<T>& a, const std::optional<T>& b) {
  if (!a || !b) return a ? a : b;
  return std::min(*a, *b);
}

}  // namespace

Result<std::shared_ptr<const KeyIndex>> KeyIndex::build(std::vector<KeyRecord> records) {
  std::ranges::sort(records, [](const KeyRecord& a, const KeyRecord& b) { return a.key_id < b.key_id; });
  std::vector<KeyRecord> merged;
  merged.reserve(records.size());
  for (KeyRecord& record : records) {
    if (record.hash == KeyHash{}) {
      return fail(Code::store_unavailable, Side::gateway, "key " + record.key_id + " has no hash");
    }
    if (merged.empty() || merged.back().key_id != record.key_id) {
      merged.push_back(std::move(record));
      continue;
    }
    KeyRecord& known = merged.back();
    if (known.hash != record.hash) {
      return fail(Code::store_unavailable, Side::gateway, "two different keys have the id " + record.key_id);
    }
    if (known.consumer.id != record.consumer.id) {
      return fail(
          Code::store_unavailable, Side::gateway,
          "key " + record.key_id + " belongs to two consumers: " + known.consumer.id + " and " + record.consumer.id);
    }
    known.expires = earlier(known.expires, record.expires);
    known.revoked = earlier(known.revoked, record.revoked);
  }
  std::shared_ptr<const KeyIndex> index(new KeyIndex(std::move(merged)));
  // A hash under two ids: find() would return one of them, and revoking the other would change nothing.
  for (const KeyRecord& record : index->records_) {
    const KeyRecord* const found = index->find(record.hash);
    if (found != &record) {
      return fail(Code::store_unavailable, Side::gateway,
                  "one key has two ids: " + record.key_id + " and " + (found ? found->key_id : "none"));
    }
  }
  return index;
}

KeyIndex::KeyIndex(std::vector<KeyRecord> records)
    : records_(std::move(records)), slots_(std::bit_ceil(records_.size() * 2 + 2)) {
  for (std::size_t i = 0; i < records_.size(); ++i) {
    std::size_t slot = first_slot(records_[i].hash, slots_.size());
    while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<std::uint32_t>(i + 1);
  }
}

const KeyRecord* KeyIndex::find(const KeyHash& hash) const noexcept {
  static constexpr KeyHash kNobody{};
  const KeyRecord* found = nullptr;
  for (std::size_t slot = first_slot(hash, slots_.size()); slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
    const KeyRecord& candidate = records_[slots_[slot] - 1];
    if (equal(candidate.hash, hash)) {
      found = &candidate;
      break;
    }
  }
  // An unknown key pays for one comparison too; its result can only deny.
  const bool same = equal(found ? found->hash : kNobody, hash);
  return same ? found : nullptr;
}

const KeyRecord* KeyIndex::find_by_id(std::string_view key_id) const noexcept {
  const auto at =
      std::ranges::lower_bound(records_, key_id, {}, [](const KeyRecord& r) { return std::string_view(r.key_id); });
  return at != records_.end() && at->key_id == key_id ? &*at : nullptr;
}

KeyStatus status_of(const KeyRecord& record, WallTime now) noexcept {
  if (record.revoked) return KeyStatus::revoked;
  if (record.expires && *record.expires <= now) return KeyStatus::expired;
  return KeyStatus::valid;
}

}  // namespace postern::store
