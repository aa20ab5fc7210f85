// TokenMint: the tokens that are sent with every request, signed ahead of time so that no request waits for a
// signature; and the documents by which others check them. One per issuer of a configuration; it lives on after a
// rotation of keys, and then signs everything anew.
//
// Threads: make, replace(), keep() and renew() on the control thread; Slot::current(), sign() and documents() anywhere.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "issuer/issuer.h"

namespace postern::issuer {

class TokenMint {
 public:
  // What a slot holds, for as long as somebody holds the slot.
  struct Kind {
    std::string subject;
    std::string audience;
    jose::Algorithm algorithm = jose::Algorithm::RS256;
    std::string type = "JWT";
    bool operator==(const Kind&) const = default;
  };

  class Slot {
   public:
    // A token that is good for some time yet. If nobody has renewed it in time (the control thread stood still, the
    // clock was set), it is signed here and now: an expired one is never given out. Errors: identity_unavailable,
    // Side::gateway, if there are no keys, or OpenSSL does not sign.
    [[nodiscard]] Result<std::shared_ptr<const SignedToken>> current(WallTime now);

   private:
    friend class TokenMint;
    Slot(const TokenMint& mint, Kind kind) : mint_(mint), kind_(std::move(kind)) {}
    const TokenMint& mint_;
    const Kind kind_;
    std::mutex mutex_;
    std::shared_ptr<const SignedToken> token_;  // guarded by mutex_
  };

  // A token is renewed when so much of its life is over, and given out until so much is left.
  static constexpr Duration kLeastLeft = std::chrono::seconds(30);

  // `entropy` outlives the mint. Without keys until the first replace(): for a rehearsal of the configuration.
  TokenMint(IssuerOptions options, const Entropy& entropy);
  TokenMint(const TokenMint&) = delete;
  TokenMint& operator=(const TokenMint&) = delete;
  ~TokenMint();

  [[nodiscard]] const IssuerOptions& options() const noexcept { return options_; }
  // Other keys: every slot is signed anew, and what is published changes.
  void replace(std::shared_ptr<const Issuer> issuer, WallTime now);
  // The slot of that kind, made if nobody holds one. The mint outlives it. Signs at once if there are keys.
  [[nodiscard]] std::shared_ptr<Slot> keep(const Kind& kind, WallTime now);
  // Signs what is past half of its life, and publishes what has come of age. Once a second.
  void renew(WallTime now);

  // nullptr before the first replace().
  [[nodiscard]] std::shared_ptr<const Issuer> issuer() const;
  [[nodiscard]] std::shared_ptr<const std::vector<Document>> documents() const;
  // A token of its own, signed now: an assertion that is used once. Errors as Slot::current().
  [[nodiscard]] Result<SignedToken> sign(const TokenRequest& request, WallTime now) const;

 private:
  void refresh(Slot& slot, WallTime now);
  void publish(WallTime now);

  const IssuerOptions options_;
  const Entropy& entropy_;
  std::vector<std::weak_ptr<Slot>> slots_;
  std::optional<WallTime> next_change_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Issuer> issuer_;                    // guarded by mutex_
  std::shared_ptr<const std::vector<Document>> documents_;  // guarded by mutex_
};

}  // namespace postern::issuer
