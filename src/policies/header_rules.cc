#include "policies/header_rules.h"

#include <algorithm>
#include <array>
#include <string>

#include "config/diagnostics.h"
#include "config/formats.h"
#include "config/node.h"
#include "http/headers.h"

namespace postern::policies {
namespace {

constexpr std::array<std::string_view, 13> kHopByHop = {"connection",
                                                        "keep-alive",
                                                        "proxy-connection",
                                                        "te",
                                                        "trailer",
                                                        "upgrade",
                                                        "expect",
                                                        "proxy-authenticate",
                                                        "proxy-authorization",
                                                        "content-length",
                                                        "transfer-encoding",
                                                        "http2-settings",
                                                        "proxy"};
constexpr std::array<std::string_view, 8> kVouched = {
    "via",          "forwarded",        "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto",
    "x-request-id", "sec-websocket-key"};
constexpr std::array<std::string_view, 3> kHandshake = {"sec-websocket-accept", "sec-websocket-version",
                                                        "sec-websocket-protocol"};

bool is_one_of(std::string_view name, auto& list) noexcept {
  return std::ranges::any_of(list, [name](std::string_view known) { return http::is_alias_of(name, known); });
}

template <typename At>
bool check(const At& at, std::string_view name, Direction direction, config::Diagnostics& diagnostics) {
  if (!is_header_name(name)) {
    diagnostics.error(config::Problem::policy_option, at, config::printable(name) + " is no header field name",
                      "use letters, digits and -");
    return false;
  }
  const std::string_view why = why_forbidden(name, direction);
  if (why.empty()) return true;
  diagnostics.error(config::Problem::policy_option, at,
                    config::printable(name) + " cannot be changed by a policy: " + std::string(why),
                    "use another name");
  return false;
}

}  // namespace

bool is_header_name(std::string_view name) noexcept { return name.size() <= 256 && config::is_token(name); }

bool is_header_value(std::string_view value) noexcept {
  if (value.empty()) return true;
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  if (is_space(value.front()) || is_space(value.back())) return false;
  return std::ranges::all_of(value, [&](char c) { return is_space(c) || (c > 0x20 && c < 0x7f); });
}

std::string_view why_forbidden(std::string_view name, Direction direction) noexcept {
  if (is_one_of(name, kHopByHop)) return "it belongs to one connection or to the framing of the message";
  if (is_one_of(name, kHandshake)) return "it belongs to the WebSocket handshake";
  if (http::is_alias_of(name, "host")) return "the host is chosen by `host` of the origin";
  if (direction == Direction::request && is_one_of(name, kVouched)) return "the gateway itself sets it";
  if (direction == Direction::response && http::is_alias_of(name, "x-request-id")) return "the gateway itself sets it";
  return {};
}

bool check_header_name(const config::Entry& at, Direction direction, config::Diagnostics& diagnostics) {
  return check(at, at.key, direction, diagnostics);
}

bool check_header_name(const config::Node& at, Direction direction, config::Diagnostics& diagnostics) {
  return check(at, at.text(), direction, diagnostics);
}

}  // namespace postern::policies
