#include "http/hop_by_hop.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "http/forwarded.h"

namespace postern::http {
namespace {

constexpr std::uint64_t length_bit(std::size_t size) noexcept {
  return std::uint64_t{1} << std::min<std::size_t>(size, 63);
}

// Fields that always end at this hop. Content-Length and Transfer-Encoding belong to the connection's framing; the
// writer makes its own.
constexpr bool is_hop_by_hop(HeaderName id) noexcept {
  switch (id) {
    case HeaderName::connection:
    case HeaderName::content_length:
    case HeaderName::expect:
    case HeaderName::http2_settings:
    case HeaderName::keep_alive:
    case HeaderName::proxy_authenticate:
    case HeaderName::proxy_authorization:
    case HeaderName::proxy_connection:
    case HeaderName::te:
    case HeaderName::trailer:
    case HeaderName::transfer_encoding:
    case HeaderName::upgrade: return true;
    default: return false;
  }
}

// Fields by which an origin's framework would see another request than the gateway judged (X-Original-URL and kin), and
// Proxy, which CGI turns into an environment variable.
constexpr std::array<std::string_view, 8> kOverrides = {
    "x-original-url",    "x-rewrite-url",     "x-http-method",   "x-http-method-override",
    "x-method-override", "x-original-method", "x-original-host", "proxy"};
constexpr std::uint64_t kOverrideLengths = [] {
  std::uint64_t bits = 0;
  for (const std::string_view name : kOverrides) bits |= length_bit(name.size());
  return bits;
}();

bool is_override(const Field& field) noexcept {
  if ((kOverrideLengths & length_bit(field.name.size())) == 0) return false;
  return std::any_of(kOverrides.begin(), kOverrides.end(),
                     [&](std::string_view name) { return is_alias_of(field.name, name); });
}

// What Connection must never take away: it would change what the message means or who vouches for it.
bool is_protected(std::string_view name, const ReservedNames& reserved) noexcept {
  static constexpr std::array<std::string_view, 5> kProtected = {"host", "content-length", "transfer-encoding",
                                                                 "authorization", "cookie"};
  return reserved.contains(name) ||
         std::any_of(kProtected.begin(), kProtected.end(), [&](std::string_view p) { return is_alias_of(name, p); });
}

// In any spelling.
bool carries_message(const Field& field) noexcept {
  return is_alias_of(field.name, "content-length") || is_alias_of(field.name, "transfer-encoding") ||
         is_alias_of(field.name, "host");
}

bool is_option(std::string_view name) noexcept {
  return iequals(name, "close") || iequals(name, "keep-alive") || iequals(name, "upgrade") || iequals(name, "te") ||
         iequals(name, "http2-settings");
}

}  // namespace

void ReservedNames::add(std::string_view name) {
  std::string folded(name);
  for (char& c : folded) c = fold_name_byte(c);
  if (contains(folded)) return;
  lengths_ |= length_bit(folded.size());
  names_.push_back(std::move(folded));
}

bool ReservedNames::contains(std::string_view name) const noexcept {
  if ((lengths_ & length_bit(name.size())) == 0) return false;
  for (const std::string& reserved : names_) {
    if (reserved.size() == name.size() && is_alias_of(name, reserved)) return true;
  }
  return false;
}

Result<UpgradeRequest> strip_request(RequestHead& request, const ReservedNames& reserved, StripCounts& counts) {
  UpgradeRequest upgrade = UpgradeRequest::none;
  bool connection_upgrade = false;
  // First pass: what is nominated. Collected before removal, because the views stay valid.
  std::array<std::string_view, 16> nominated;  // NOLINT: filled below
  std::size_t nominations = 0;
  for (const Field& field : request.headers) {
    if (field.id == HeaderName::upgrade) {
      const bool websocket = iequals(field.value, "websocket") && upgrade == UpgradeRequest::none;
      upgrade = websocket ? UpgradeRequest::websocket : UpgradeRequest::other;
    }
    if (field.id == HeaderName::te) {
      for_each_list_element(field.value, [&](std::string_view coding) {
        if (iequals(coding, "trailers")) request.trailers_welcome = true;
      });
    }
    if (field.id != HeaderName::connection && field.id != HeaderName::proxy_connection) continue;
    bool protected_name = false;
    bool too_many = false;
    for_each_list_element(field.value, [&](std::string_view name) {
      if (iequals(name, "upgrade")) connection_upgrade = true;
      if (is_option(name)) return;
      if (is_protected(name, reserved)) protected_name = true;
      if (nominations == nominated.size()) {
        too_many = true;
      } else {
        nominated[nominations++] = name;
      }
    });
    if (protected_name) return fail(Code::reserved_nominated, Side::client);
    if (too_many) return fail(Code::bad_header, Side::client, "Connection names too many fields");
  }
  // RFC 9110 7.8: Upgrade without the connection option is not an upgrade; passing it on would make it one.
  if (upgrade == UpgradeRequest::websocket && !connection_upgrade) upgrade = UpgradeRequest::none;
  if (request.headers.find(HeaderName::http2_settings)) upgrade = UpgradeRequest::other;
  request.headers.remove_if([&](const Field& field) {
    if (is_hop_by_hop(field.id)) {
      ++counts.hop_by_hop;
      return true;
    }
    if (field.id == HeaderName::host) return true;  // becomes part of the target
    for (std::size_t i = 0; i < nominations; ++i) {
      if (iequals(field.name, nominated[i])) {
        ++counts.nominated;
        return true;
      }
    }
    if (reserved.contains(field.name)) {
      ++counts.reserved;
      return true;
    }
    // Aliases of what carries the message: an origin that folds '_' to '-' would see a second Content-Length or Host.
    return field.id == HeaderName::other && carries_message(field);
  });
  return upgrade;
}

void strip_overrides(Headers& headers, const std::vector<std::string>& allowed, StripCounts& counts) {
  const std::size_t removed = headers.remove_if([&](const Field& field) {
    if (field.id != HeaderName::other || !is_override(field)) return false;
    return std::none_of(allowed.begin(), allowed.end(),
                        [&](const std::string& name) { return iequals(name, field.name); });
  });
  counts.override_headers += static_cast<unsigned>(removed);
}

void strip_response_hop_by_hop(ResponseHead& response, const ReservedNames& reserved) {
  std::vector<std::string_view> nominated;  // rarely any; however many, they all stay here
  for (const Field& field : response.headers) {
    if (field.id != HeaderName::connection) continue;
    for_each_list_element(field.value, [&](std::string_view name) {
      if (!is_option(name)) nominated.push_back(name);
    });
  }
  response.headers.remove_if([&](const Field& field) {
    if (field.id == HeaderName::upgrade && response.status == 101) return false;
    if (field.id == HeaderName::trailer) return false;  // says what follows the body, which is passed on
    if (is_hop_by_hop(field.id)) return true;
    for (const std::string_view name : nominated) {
      if (iequals(field.name, name)) return true;
    }
    return reserved.contains(field.name);
  });
  // No client needs it (RFC 9112 4), and what an origin writes there passes no guard.
  response.reason = {};
}

void strip_request_trailers(Headers& trailers, const ReservedNames& reserved, const ReservedNames& written,
                            const std::vector<std::string>& allowed_overrides, StripCounts& counts) {
  strip_overrides(trailers, allowed_overrides, counts);
  trailers.remove_if([&](const Field& field) {
    if (reserved.contains(field.name) || written.contains(field.name)) {
      ++counts.reserved;
      return true;
    }
    if (is_forwarding_name(field) || is_alias_of(field.name, "x-request-id")) {
      ++counts.forwarding;
      return true;
    }
    return is_forbidden_trailer(field.id) || carries_message(field);
  });
}

void strip_response_trailers(ResponseHead& trailing, const ReservedNames& reserved, const ReservedNames& written) {
  strip_response_hop_by_hop(trailing, reserved);
  trailing.headers.remove_if([&](const Field& field) {
    return is_forbidden_trailer(field.id) || is_alias_of(field.name, "x-request-id") || written.contains(field.name);
  });
}

}  // namespace postern::http
