// Timestamped HMAC over a body, in the two forms that webhook receivers already verify:
//
//   Stripe             X-Signature: t=1700000000,v1=<hex>          over  t "." body
//   Standard Webhooks  webhook-id, webhook-timestamp,
//                      webhook-signature: v1,<base64>              over  id "." timestamp "." body
//
// Both bind the body and the time, neither method, path or host: a request can be replayed to another route of the same
// origin within the tolerance. Where that matters, http_signature is the method to use.
//
// While a secret is being changed, several keys sign at once and the receiver takes any of them. No I/O, no clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "platform/clock.h"
#include "signature/hmac.h"

namespace postern::signature {

// Which text is signed, and how the result is written. The names of the header fields are the caller's: receivers of
// Stripe's form are configured with one.
enum class WebhookForm : std::uint8_t { stripe, standard };

// The keys of one receiver, newest first; immutable, shared by all loops. At least one, at most kMaxKeys.
class WebhookKeys {
 public:
  static constexpr std::size_t kMaxKeys = 4;

  // Errors: internal, Side::gateway: already kMaxKeys, or an empty secret. Stripe uses the secret's text as it is,
  // "whsec_" included; Standard Webhooks the bytes: see decode_webhook_secret().
  [[nodiscard]] Result<void> add(std::string_view key);
  [[nodiscard]] const std::vector<HmacSha256>& list() const noexcept { return keys_; }

 private:
  std::vector<HmacSha256> keys_;
};

// The bytes of "whsec_<base64>"; nullopt if it is not one of 24 to 64 bytes (Standard Webhooks). The caller cleanses.
[[nodiscard]] std::optional<std::string> decode_webhook_secret(std::string_view text);

// True for what may stand between the dots: 1 to 128 visible characters, none of them '.', so that id and timestamp
// cannot be read in two ways.
[[nodiscard]] bool is_webhook_id(std::string_view text) noexcept;

// Signs one body, in one go or as it comes by. One thread at a time; independent of the keys once it was begun.
class WebhookSigner {
 public:
  // `id` is for WebhookForm::standard and must be a webhook id; Stripe's form has none. Seconds of Unix time, not
  // negative.
  [[nodiscard]] static Result<WebhookSigner> begin(WebhookForm form, const WebhookKeys& keys, WallTime now,
                                                   std::string_view id = {});

  // A chunk is read by every key before it returns; the order of the chunks is the body's.
  void update(std::string_view chunk);
  // The value of the signature header: "t=1700000000,v1=...,v1=..." or "v1,... v1,...". Once, at the end.
  [[nodiscard]] std::string finish();
  // The value of webhook-timestamp.
  [[nodiscard]] const std::string& timestamp() const noexcept { return timestamp_; }

 private:
  WebhookSigner(WebhookForm form, std::string timestamp) : form_(form), timestamp_(std::move(timestamp)) {}

  WebhookForm form_;
  std::string timestamp_;
  std::vector<HmacSha256::Message> messages_;  // one for each key
};

// The receiver's side. `tolerance` holds for both directions: a timestamp of tomorrow would be good for a day of
// replays. Compares in constant time, and every signature with every key. Errors: credentials_missing,
// credentials_invalid, Side::client.
inline constexpr std::chrono::seconds kWebhookTolerance{300};

// Schemes other than v1 are passed over and never trusted.
[[nodiscard]] Result<void> verify_stripe_signature(std::string_view header, std::string_view body,
                                                   const WebhookKeys& keys, WallTime now,
                                                   std::chrono::seconds tolerance = kWebhookTolerance);

// Values of webhook-id, webhook-timestamp and webhook-signature as they came. That an id was not seen before is the
// receiver's to remember; the signature only says that it is the sender's.
struct StandardWebhookHeaders {
  std::string_view id;
  std::string_view timestamp;
  std::string_view signature;
};
[[nodiscard]] Result<void> verify_standard_webhook(const StandardWebhookHeaders& headers, std::string_view body,
                                                   const WebhookKeys& keys, WallTime now,
                                                   std::chrono::seconds tolerance = kWebhookTolerance);

}  // namespace postern::signature
