// What belongs to one connection and must not travel (RFC 9110 7.6.1), and what no client may say because the gateway
// vouches for it. Applied on input, before anything is added: whatever the gateway sets later cannot be removed by a
// client's Connection field.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/message.h"

namespace postern::http {

// Names that the gateway vouches for, looked up with all their aliases (separators, case). Built once per snapshot.
class ReservedNames {
 public:
  void add(std::string_view name);
  [[nodiscard]] bool contains(std::string_view name) const noexcept;
  [[nodiscard]] bool empty() const noexcept { return names_.empty(); }
  // Folded: http::fold_name_byte().
  [[nodiscard]] const std::vector<std::string>& names() const noexcept { return names_; }

 private:
  std::vector<std::string> names_;  // folded
  std::uint64_t lengths_ = 0;       // bit n: some name has n bytes (63: that many or more)
};

struct StripCounts {
  unsigned reserved = 0;
  unsigned nominated = 0;
  unsigned hop_by_hop = 0;
  unsigned override_headers = 0;
  unsigned forwarding = 0;
};

// What Upgrade asked for, before it was taken off.
enum class UpgradeRequest : std::uint8_t { none, websocket, other };

// Removes hop-by-hop fields, what Connection nominates, client copies of reserved names, and body framing fields (the
// writer makes them again). Fails with reserved_nominated if Connection names something the gateway vouches for or that
// carries the message itself.
[[nodiscard]] Result<UpgradeRequest> strip_request(RequestHead& request, const ReservedNames& reserved,
                                                   StripCounts& counts);
// Removes override headers that are not allowed by name for this origin.
void strip_overrides(Headers& headers, const std::vector<std::string>& allowed, StripCounts& counts);

// A trailer field that an origin merges into the head (RFC 9110 6.5) must not say what the head was cleared of: removes
// all that strip_request(), strip_overrides() and rebuild_forwarding() take off, the names that policies of the route
// have `written` or removed, and what is_forbidden_trailer() names.
void strip_request_trailers(Headers& trailers, const ReservedNames& reserved, const ReservedNames& written,
                            const std::vector<std::string>& allowed_overrides, StripCounts& counts);

// Removes hop-by-hop fields, what Connection nominates, framing fields, reserved names, and the reason phrase.
// `upgrade` of a 101 stays.
void strip_response_hop_by_hop(ResponseHead& response, const ReservedNames& reserved);
// The same for the fields behind a body, for a client that merges them into the head: nothing that is not said in
// heads, and nothing that belongs there only (is_forbidden_trailer(), the request id, which the gateway gives, and the
// names that policies of the route have `written` or removed).
void strip_response_trailers(ResponseHead& trailing, const ReservedNames& reserved, const ReservedNames& written);

}  // namespace postern::http
