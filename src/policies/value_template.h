// A header value of the configuration, with placeholders for what the gateway knows about the request:
//
//   ${request_id}  ${client_address}  ${consumer.id}  ${consumer.name}  ${consumer.key_id}
//
// Nothing that the client chose can be put into a value: no header, no query, no path. `$` without `{` is itself. Names
// of consumers are percent-encoded outside of visible ASCII.
//
// Immutable after parsing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/arena.h"

namespace postern::config {
class Diagnostics;
class Node;
}  // namespace postern::config
namespace postern::http {
struct Exchange;
}

namespace postern::policies {

class ValueTemplate {
 public:
  // nullopt after saying why. The text must be fit for a header field.
  [[nodiscard]] static std::optional<ValueTemplate> parse(const config::Node& node, config::Diagnostics& diagnostics);

  // The value for this request; borrows from this template or from the exchange's arena. "" if a placeholder has no
  // value (nobody is authenticated): half a value would say something that is not so.
  [[nodiscard]] std::string_view render(http::Exchange& exchange) const;

 private:
  enum class Placeholder : std::uint8_t {
    none,
    request_id,
    client_address,
    consumer_id,
    consumer_name,
    consumer_key_id
  };
  struct Piece {
    std::string literal;  // before the placeholder
    Placeholder placeholder = Placeholder::none;
  };
  [[nodiscard]] static Placeholder placeholder_by_name(std::string_view name) noexcept;
  [[nodiscard]] static std::string_view value_of(Placeholder placeholder, http::Exchange& exchange);

  std::vector<Piece> pieces_;  // at least one
};

// `text` with everything but visible ASCII, and '%' itself, percent-encoded (RFC 3986 2.1). Returns `text` if there is
// nothing to encode.
[[nodiscard]] std::string_view percent_encode(std::string_view text, Arena& arena);

}  // namespace postern::policies
