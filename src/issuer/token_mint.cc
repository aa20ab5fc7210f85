#include "issuer/token_mint.h"

#include <algorithm>

namespace postern::issuer {
namespace {

bool half_over(const SignedToken& token, WallTime now) noexcept {
  // A clock that was set back makes a token that seems to come from the future: it is made anew as well.
  return now < token.issued_at || now - token.issued_at >= (token.expires - token.issued_at) / 2;
}

bool usable(const SignedToken& token, WallTime now) noexcept {
  return now + TokenMint::kLeastLeft <= token.expires && now + std::chrono::minutes(1) >= token.issued_at;
}

}  // namespace

Result<std::shared_ptr<const SignedToken>> TokenMint::Slot::current(WallTime now) {
  const std::lock_guard lock(mutex_);
  if (token_ && usable(*token_, now)) return token_;
  Result<SignedToken> made = mint_.sign(
      {.subject = kind_.subject, .audience = kind_.audience, .algorithm = kind_.algorithm, .type = kind_.type}, now);
  if (!made) return std::unexpected(std::move(made.error()));
  token_ = std::make_shared<const SignedToken>(std::move(*made));
  return token_;
}

TokenMint::TokenMint(IssuerOptions options, const Entropy& entropy) : options_(std::move(options)), entropy_(entropy) {}

TokenMint::~TokenMint() = default;

void TokenMint::replace(std::shared_ptr<const Issuer> issuer, WallTime now) {
  {
    const std::lock_guard lock(mutex_);
    issuer_ = std::move(issuer);
  }
  publish(now);
  for (const std::weak_ptr<Slot>& kept : slots_) {
    if (const std::shared_ptr<Slot> slot = kept.lock()) refresh(*slot, now);
  }
}

std::shared_ptr<TokenMint::Slot> TokenMint::keep(const Kind& kind, WallTime now) {
  std::erase_if(slots_, [](const std::weak_ptr<Slot>& kept) { return kept.expired(); });
  for (const std::weak_ptr<Slot>& kept : slots_) {
    std::shared_ptr<Slot> slot = kept.lock();
    if (slot && slot->kind_ == kind) return slot;
  }
  const std::shared_ptr<Slot> slot(new Slot(*this, kind));
  slots_.push_back(slot);
  refresh(*slot, now);
  return slot;
}

void TokenMint::renew(WallTime now) {
  std::erase_if(slots_, [](const std::weak_ptr<Slot>& kept) { return kept.expired(); });
  if (next_change_ && now >= *next_change_) {
    publish(now);
    for (const std::weak_ptr<Slot>& kept : slots_) {
      if (const std::shared_ptr<Slot> slot = kept.lock()) refresh(*slot, now);
    }
    return;
  }
  for (const std::weak_ptr<Slot>& kept : slots_) {
    const std::shared_ptr<Slot> slot = kept.lock();
    if (!slot) continue;
    bool due = false;
    {
      const std::lock_guard lock(slot->mutex_);
      due = !slot->token_ || half_over(*slot->token_, now);
    }
    if (due) refresh(*slot, now);
  }
}

// The signature is made without the lock: loops that ask meanwhile get the token before.
void TokenMint::refresh(Slot& slot, WallTime now) {
  Result<SignedToken> made = sign({.subject = slot.kind_.subject,
                                   .audience = slot.kind_.audience,
                                   .algorithm = slot.kind_.algorithm,
                                   .type = slot.kind_.type},
                                  now);
  if (!made) return;  // tried again in a second; who needs one meanwhile hears why
  auto token = std::make_shared<const SignedToken>(std::move(*made));
  const std::lock_guard lock(slot.mutex_);
  slot.token_ = std::move(token);
}

void TokenMint::publish(WallTime now) {
  const std::shared_ptr<const Issuer> issuer = this->issuer();
  if (!issuer) return;
  next_change_ = issuer->next_change(now);
  auto documents = std::make_shared<const std::vector<Document>>(issuer->documents(now));
  const std::lock_guard lock(mutex_);
  documents_ = std::move(documents);
}

std::shared_ptr<const Issuer> TokenMint::issuer() const {
  const std::lock_guard lock(mutex_);
  return issuer_;
}

std::shared_ptr<const std::vector<Document>> TokenMint::documents() const {
  const std::lock_guard lock(mutex_);
  return documents_;
}

Result<SignedToken> TokenMint::sign(const TokenRequest& request, WallTime now) const {
  const std::shared_ptr<const Issuer> issuer = this->issuer();
  if (!issuer) return fail(Code::identity_unavailable, Side::gateway, "the issuer has no keys");
  Result<SignedToken> made = issuer->sign(request, now, entropy_);
  if (!made) return fail(Code::identity_unavailable, Side::gateway, "the issuer's key does not sign");
  return made;
}

}  // namespace postern::issuer
