#include "signature/webhook_hmac.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <initializer_list>

#include "base/strings.h"
#include "signature/base64.h"
#include "signature/digest.h"

namespace postern::signature {
namespace {

constexpr std::string_view kSecretPrefix = "whsec_";
// Of one header; a receiver that is asked to check thousands of signatures is being worn out.
constexpr std::size_t kMaxSignatures = 16;
constexpr std::size_t kMaxHeader = 4096;

std::unexpected<Error> invalid(std::string_view why) {
  return fail(Code::credentials_invalid, Side::client, "webhook signature: " + std::string(why));
}
std::unexpected<Error> missing(std::string_view what) {
  return fail(Code::credentials_missing, Side::client, "webhook signature: no " + std::string(what));
}

std::int64_t unix_seconds(WallTime now) {
  return std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
}

// The text is signed, so there is one spelling of a number: no sign, no leading zero.
Result<void> check_timestamp(std::string_view text, WallTime now, std::chrono::seconds tolerance) {
  const std::optional<std::uint64_t> seconds = parse_decimal(text);
  if (!seconds || text.size() > 15 || (text.size() > 1 && text[0] == '0')) return invalid("malformed timestamp");
  const std::int64_t age = unix_seconds(now) - static_cast<std::int64_t>(*seconds);
  if (age > tolerance.count()) return invalid("too old");
  if (age < -tolerance.count()) return invalid("from the future");
  return {};
}

// True if one of `signatures` (of `decoded` bytes or of text) is the one of any key. Runs over all of them, whatever
// was found, so that time says nothing.
bool matches_any(const std::vector<std::string>& signatures, const WebhookKeys& keys,
                 std::initializer_list<std::string_view> parts) {
  bool found = false;
  for (const HmacSha256& key : keys.list()) {
    const HmacSha256::Tag tag = key.compute(parts);
    for (const std::string& signature : signatures) {
      const bool equal = equal_in_constant_time(signature, bytes_of(tag));
      found = found || equal;
    }
  }
  return found;
}

// 32 bytes from 64 digits of either case; empty, which equals no tag, if they are none.
std::string tag_from_hex(std::string_view text) {
  std::string out;
  if (text.size() != 64) return out;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_value(text[i]);
    const int low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return {};
    out.push_back(static_cast<char>(static_cast<unsigned char>(high * 16 + low)));
  }
  return out;
}

}  // namespace

Result<void> WebhookKeys::add(std::string_view key) {
  if (key.empty()) return fail(Code::internal, Side::gateway, "webhook key: empty");
  if (keys_.size() == kMaxKeys) return fail(Code::internal, Side::gateway, "webhook keys: too many");
  keys_.emplace_back(key);
  return {};
}

std::optional<std::string> decode_webhook_secret(std::string_view text) {
  if (!text.starts_with(kSecretPrefix)) return std::nullopt;
  std::optional<std::string> key = decode_base64(text.substr(kSecretPrefix.size()));
  if (key && (key->size() < 24 || key->size() > 64)) {
    OPENSSL_cleanse(key->data(), key->size());
    key.reset();
  }
  return key;
}

bool is_webhook_id(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 128 &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~' && c != '.'; });
}

Result<WebhookSigner> WebhookSigner::begin(WebhookForm form, const WebhookKeys& keys, WallTime now,
                                           std::string_view id) {
  if (keys.list().empty()) return fail(Code::internal, Side::gateway, "webhook signature: no key");
  if (form == WebhookForm::standard && !is_webhook_id(id)) {
    return fail(Code::internal, Side::gateway, "webhook signature: malformed id");
  }
  const std::int64_t seconds = unix_seconds(now);
  if (seconds < 0) return fail(Code::internal, Side::gateway, "webhook signature: a time before 1970");
  WebhookSigner signer(form, std::to_string(seconds));
  for (const HmacSha256& key : keys.list()) {
    HmacSha256::Message& message = signer.messages_.emplace_back(key.begin());
    if (form == WebhookForm::standard) {
      message.update(id);
      message.update(".");
    }
    message.update(signer.timestamp_);
    message.update(".");
  }
  return signer;
}

void WebhookSigner::update(std::string_view chunk) {
  for (HmacSha256::Message& message : messages_) message.update(chunk);
}

std::string WebhookSigner::finish() {
  std::string out;
  if (form_ == WebhookForm::stripe) {
    out += "t=";
    out += timestamp_;
  }
  for (HmacSha256::Message& message : messages_) {
    const HmacSha256::Tag tag = message.finish();
    if (form_ == WebhookForm::stripe) {
      out += ",v1=";
      append_hex(out, bytes_of(tag));
      continue;
    }
    if (!out.empty()) out.push_back(' ');
    out += "v1,";
    append_base64(out, bytes_of(tag));
  }
  return out;
}

Result<void> verify_stripe_signature(std::string_view header, std::string_view body, const WebhookKeys& keys,
                                     WallTime now, std::chrono::seconds tolerance) {
  if (header.empty()) return missing("signature");
  if (header.size() > kMaxHeader) return invalid("too long");
  std::optional<std::string_view> timestamp;
  std::vector<std::string> signatures;
  bool repeated = false;
  for_each_list_element(header, [&](std::string_view element) {
    if (element.starts_with("t=")) {
      repeated = repeated || timestamp;
      timestamp = element.substr(2);
    } else if (element.starts_with("v1=")) {
      signatures.push_back(tag_from_hex(element.substr(3)));
    }
    // Other schemes are passed over, never a fallback: v0 is for tests of the sender.
  });
  if (repeated) return invalid("more than one timestamp");
  if (!timestamp) return missing("timestamp");
  if (signatures.empty()) return missing("v1 signature");
  if (signatures.size() > kMaxSignatures) return invalid("too many");
  Result<void> in_time = check_timestamp(*timestamp, now, tolerance);
  if (!in_time) return in_time;
  if (!matches_any(signatures, keys, {*timestamp, ".", body})) return invalid("does not fit the body and the keys");
  return {};
}

Result<void> verify_standard_webhook(const StandardWebhookHeaders& headers, std::string_view body,
                                     const WebhookKeys& keys, WallTime now, std::chrono::seconds tolerance) {
  if (headers.signature.empty()) return missing("signature");
  if (!is_webhook_id(headers.id)) return invalid("malformed id");
  if (headers.signature.size() > kMaxHeader) return invalid("too long");
  std::vector<std::string> signatures;
  for (std::string_view rest = headers.signature; !rest.empty();) {
    const std::string_view element = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(element.size() + 1, rest.size()));
    if (!element.starts_with("v1,")) continue;
    signatures.push_back(decode_base64(element.substr(3)).value_or(std::string()));
  }
  if (signatures.empty()) return missing("v1 signature");
  if (signatures.size() > kMaxSignatures) return invalid("too many");
  Result<void> in_time = check_timestamp(headers.timestamp, now, tolerance);
  if (!in_time) return in_time;
  if (!matches_any(signatures, keys, {headers.id, ".", headers.timestamp, ".", body})) {
    return invalid("does not fit the body and the keys");
  }
  return {};
}

}  // namespace postern::signature
