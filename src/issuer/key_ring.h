// KeyRing: which keys of our issuer are published and which of them signs, at any moment. Times in, decisions out: it
// holds no key, reads no file and no clock.
//
// A key is published before it signs, because verifiers keep a key set for hours and do not look again when they meet a
// key that they do not know (identity facts of the clouds; SPIFFE Federation 5.2.2.1 demands the same). It stays
// published after its successor has begun, until the last token that it signed has ended and every cache has let go.
//
//     publish          sign                        successor signs      gone
//       |---- lead -----|------- period -------------|---- overlap ------|
//
// A value, compared and copied; every replica of a gateway computes the same from the same entries.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "jose/key.h"
#include "platform/clock.h"

namespace postern::issuer {

struct RotationTimes {
  Duration lead = std::chrono::hours(24);         // at least kMinLead
  Duration period = std::chrono::hours(24 * 30);  // between two keys that begin to sign; more than `lead`
  Duration overlap = std::chrono::hours(24);      // at least as long as a token lives

  static constexpr Duration kMinLead = std::chrono::hours(1);
  bool operator==(const RotationTimes&) const = default;
};

class KeyRing {
 public:
  // Some clouds read no more than so many keys of a set, and each key that lives is one that can be stolen.
  static constexpr std::size_t kMaxPerAlgorithm = 3;
  static constexpr std::size_t kMaxKeys = 9;

  struct Entry {
    std::string kid;
    jose::Algorithm algorithm;
    WallTime published{};
    WallTime signs_from{};  // not before `published`
    bool operator==(const Entry&) const = default;
  };
  enum class Role : std::uint8_t { next, signing, old, gone };
  enum class When : std::uint8_t {
    after_lead,  // as it should be
    at_once,     // the one before may be stolen: verifiers that have not looked since refuse its tokens for a while
  };

  KeyRing() = default;
  // As they were kept. Errors: io_failed, Side::gateway, for a kid twice, more keys than the limits, or a key that
  // signs before it is published.
  [[nodiscard]] static Result<KeyRing> of(std::vector<Entry> entries);

  // In the order in which they begin to sign.
  [[nodiscard]] std::span<const Entry> entries() const noexcept [[clang::lifetimebound]] { return entries_; }
  // The key that signs; nullptr only if there is none of that algorithm. A clock that was set back, before the first
  // key began, does not leave the issuer without one.
  [[nodiscard]] const Entry* signing(jose::Algorithm algorithm, WallTime now) const noexcept [[clang::lifetimebound]];
  [[nodiscard]] Role role(const Entry& entry, WallTime now, const RotationTimes& times) const noexcept;

  // Whether a key of that algorithm has to be made now: there is none, or it is time to publish the successor.
  [[nodiscard]] bool wants_key(jose::Algorithm algorithm, WallTime now, const RotationTimes& times) const noexcept;
  // When one of the answers above changes next, if nobody adds or removes a key; nullopt: never.
  [[nodiscard]] std::optional<WallTime> next_change(WallTime now, const RotationTimes& times) const noexcept;

  // A new key, published now. The first one of its algorithm signs at once: nobody knows another. Errors: as of().
  [[nodiscard]] Result<void> add(std::string kid, jose::Algorithm algorithm, WallTime now, const RotationTimes& times,
                                 When when = When::after_lead);
  // Takes away a key, and all that it signed. False if it is not there.
  bool remove(std::string_view kid) noexcept;
  // Takes away those that are gone, and returns their kids.
  std::vector<std::string> remove_gone(WallTime now, const RotationTimes& times);

  bool operator==(const KeyRing&) const = default;

 private:
  void insert(Entry entry);
  [[nodiscard]] Result<void> check() const;
  // The first one of the same algorithm that begins to sign after `entry`.
  [[nodiscard]] const Entry* successor(const Entry& entry) const noexcept;
  // When the last token of `entry` has ended everywhere; nullopt while it has no successor.
  [[nodiscard]] std::optional<WallTime> end_of(const Entry& entry, const RotationTimes& times) const noexcept;
  [[nodiscard]] const Entry* newest(jose::Algorithm algorithm) const noexcept;

  std::vector<Entry> entries_;  // by signs_from, then in the order they were added
};

}  // namespace postern::issuer
