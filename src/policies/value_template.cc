#include "policies/value_template.h"

#include <algorithm>
#include <array>

#include "config/diagnostics.h"
#include "config/node.h"
#include "http/exchange.h"
#include "policies/header_rules.h"

namespace postern::policies {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"request_id", "client_address", "consumer.id", "consumer.name",
                                                    "consumer.key_id"};

bool must_encode(char c) noexcept { return c <= 0x20 || c >= 0x7f || c == '%'; }

}  // namespace

ValueTemplate::Placeholder ValueTemplate::placeholder_by_name(std::string_view name) noexcept {
  const auto* const at = std::ranges::find(kNames, name);
  return at == kNames.end() ? Placeholder::none : static_cast<Placeholder>(at - kNames.begin() + 1);
}

std::optional<ValueTemplate> ValueTemplate::parse(const config::Node& node, config::Diagnostics& diagnostics) {
  using config::Problem;
  std::string_view rest = node.text();
  if (rest.size() > 4096 || !is_header_value(rest)) {
    diagnostics.error(Problem::policy_option, node, "the value cannot stand in a header field",
                      "use printable ASCII without spaces around it, on one line");
    return std::nullopt;
  }
  ValueTemplate out;
  while (true) {
    const std::size_t open = rest.find("${");
    if (open == std::string_view::npos) break;
    const std::size_t close = rest.find('}', open);
    const std::string_view name =
        close == std::string_view::npos ? std::string_view() : rest.substr(open + 2, close - open - 2);
    const Placeholder placeholder = placeholder_by_name(name);
    if (placeholder == Placeholder::none) {
      diagnostics.error(Problem::policy_option, node, "unknown placeholder in the value",
                        "known are ${request_id}, ${client_address}, ${consumer.id}, ${consumer.name} and "
                        "${consumer.key_id}; a secret belongs to `identity`");
      return std::nullopt;
    }
    out.pieces_.push_back({std::string(rest.substr(0, open)), placeholder});
    rest.remove_prefix(close + 1);
  }
  if (!rest.empty() || out.pieces_.empty()) out.pieces_.push_back({std::string(rest), Placeholder::none});
  return out;
}

std::string_view ValueTemplate::value_of(Placeholder placeholder, http::Exchange& exchange) {
  switch (placeholder) {
    case Placeholder::none: return {};
    case Placeholder::request_id: return exchange.request_id;
    case Placeholder::client_address: return exchange.arena.copy(exchange.client_address.to_string());
    case Placeholder::consumer_id: return percent_encode(exchange.consumer.id, exchange.arena);
    case Placeholder::consumer_name: return percent_encode(exchange.consumer.name, exchange.arena);
    case Placeholder::consumer_key_id: return percent_encode(exchange.consumer.key_id, exchange.arena);
  }
  return {};
}

std::string_view ValueTemplate::render(http::Exchange& exchange) const {
  std::string_view out;
  for (const Piece& piece : pieces_) {
    if (piece.placeholder == Placeholder::none && out.empty()) return piece.literal;
    const std::string_view value = value_of(piece.placeholder, exchange);
    if (value.empty() && piece.placeholder != Placeholder::none) return {};
    out = exchange.arena.join(out, piece.literal, value);
  }
  return out;
}

std::string_view percent_encode(std::string_view text, Arena& arena) {
  const auto extra = static_cast<std::size_t>(std::ranges::count_if(text, must_encode));
  if (extra == 0) return text;
  constexpr std::string_view kHex = "0123456789ABCDEF";
  const std::span<char> out = arena.allocate(text.size() + 2 * extra);
  char* at = out.data();
  for (const char c : text) {
    if (!must_encode(c)) {
      *at++ = c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    *at++ = '%';
    *at++ = kHex[byte >> 4];
    *at++ = kHex[byte & 15];
  }
  return {out.data(), out.size()};
}

}  // namespace postern::policies
