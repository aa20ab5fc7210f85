#include "issuer/key_ring.h"

#include <algorithm>
#include <utility>

namespace postern::issuer {
namespace {

std::unexpected<Error> refused(std::string what) {
  return fail(Code::io_failed, Side::gateway, "keys of the issuer: " + std::move(what));
}

// The first time of two that lies after `now`.
void take_sooner(std::optional<WallTime>& next, WallTime candidate, WallTime now) noexcept {
  if (candidate > now && (!next || candidate < *next)) next = candidate;
}

}  // namespace

Result<KeyRing> KeyRing::of(std::vector<Entry> entries) {
  KeyRing ring;
  for (Entry& entry : entries) ring.insert(std::move(entry));
  Result<void> checked = ring.check();
  if (!checked) return std::unexpected(std::move(checked.error()));
  return ring;
}

// Behind all that begin no later: at the same moment the one that was added last counts.
void KeyRing::insert(Entry entry) {
  const auto place = std::ranges::upper_bound(entries_, entry.signs_from, {}, &Entry::signs_from);
  entries_.insert(place, std::move(entry));
}

Result<void> KeyRing::check() const {
  if (entries_.size() > kMaxKeys) return refused("more than " + std::to_string(kMaxKeys));
  for (const Entry& entry : entries_) {
    if (!jose::is_key_id(entry.kid)) return refused("a kid that is none");
    if (jose::is_symmetric(entry.algorithm))
      return refused(entry.kid + " is for " + std::string(name_of(entry.algorithm)));
    if (entry.signs_from < entry.published) return refused(entry.kid + " signs before it is published");
    if (std::ranges::count(entries_, entry.kid, &Entry::kid) > 1) return refused(entry.kid + " is there twice");
    const auto same = std::ranges::count(entries_, entry.algorithm, &Entry::algorithm);
    if (std::cmp_greater(same, kMaxPerAlgorithm)) {
      return refused("more than " + std::to_string(kMaxPerAlgorithm) + " for " + std::string(name_of(entry.algorithm)) +
                     "; one has to be gone before the next is made");
    }
  }
  return {};
}

const KeyRing::Entry* KeyRing::signing(jose::Algorithm algorithm, WallTime now) const noexcept {
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.algorithm != algorithm) continue;
    if (!found || entry.signs_from <= now) found = &entry;
  }
  return found;
}

const KeyRing::Entry* KeyRing::newest(jose::Algorithm algorithm) const noexcept {
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (entry.algorithm == algorithm) found = &entry;
  }
  return found;
}

const KeyRing::Entry* KeyRing::successor(const Entry& entry) const noexcept {
  bool passed = false;
  for (const Entry& other : entries_) {
    if (passed && other.algorithm == entry.algorithm) return &other;
    if (&other == &entry) passed = true;
  }
  return nullptr;
}

std::optional<WallTime> KeyRing::end_of(const Entry& entry, const RotationTimes& times) const noexcept {
  const Entry* const next = successor(entry);
  return next ? std::optional(next->signs_from + times.overlap) : std::nullopt;
}

KeyRing::Role KeyRing::role(const Entry& entry, WallTime now, const RotationTimes& times) const noexcept {
  if (signing(entry.algorithm, now) == &entry) return Role::signing;
  if (entry.signs_from > now) return Role::next;
  const std::optional<WallTime> end = end_of(entry, times);
  return end && now >= *end ? Role::gone : Role::old;
}

bool KeyRing::wants_key(jose::Algorithm algorithm, WallTime now, const RotationTimes& times) const noexcept {
  const Entry* const last = newest(algorithm);
  return !last || now >= last->signs_from + times.period - times.lead;
}

std::optional<WallTime> KeyRing::next_change(WallTime now, const RotationTimes& times) const noexcept {
  std::optional<WallTime> next;
  for (const Entry& entry : entries_) {
    take_sooner(next, entry.signs_from, now);
    const std::optional<WallTime> end = end_of(entry, times);
    take_sooner(next, end ? *end : entry.signs_from + times.period - times.lead, now);
  }
  return next;
}

Result<void> KeyRing::add(std::string kid, jose::Algorithm algorithm, WallTime now, const RotationTimes& times,
                          When when) {
  const bool first = newest(algorithm) == nullptr;
  const WallTime signs_from = first || when == When::at_once ? now : now + times.lead;
  KeyRing grown = *this;
  grown.insert({std::move(kid), algorithm, now, signs_from});
  Result<void> checked = grown.check();
  if (checked) *this = std::move(grown);
  return checked;
}

bool KeyRing::remove(std::string_view kid) noexcept {
  return std::erase_if(entries_, [&](const Entry& entry) { return entry.kid == kid; }) != 0;
}

std::vector<std::string> KeyRing::remove_gone(WallTime now, const RotationTimes& times) {
  std::vector<std::string> out;
  for (const Entry& entry : entries_) {
    if (role(entry, now, times) == Role::gone) out.push_back(entry.kid);
  }
  for (const std::string& kid : out) remove(kid);
  return out;
}

}  // namespace postern::issuer
