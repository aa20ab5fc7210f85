// The common part of request_headers and response_headers: fields to remove, to set and to add, in this order.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "policies/header_rules.h"
#include "policies/value_template.h"

namespace postern::http {
class Headers;
}

namespace postern::policies {

class FieldChanges {
 public:
  // From the keys `set`, `add` and `remove`; nullopt after reporting why.
  [[nodiscard]] static std::optional<FieldChanges> parse(const config::Node& options, Direction direction,
                                                         config::Diagnostics& diagnostics);

  // Only fields to set, from a mapping of names to values.
  [[nodiscard]] static std::optional<FieldChanges> parse_fields(const config::Node& fields, Direction direction,
                                                                config::Diagnostics& diagnostics);

  // On requests, removing takes all aliases off (http::fold_name_byte()): an origin could read them as the same field.
  void apply(http::Headers& headers, http::Exchange& exchange) const;
  [[nodiscard]] std::vector<std::string_view> names() const;

 private:
  struct Field {
    std::string name;
    ValueTemplate value;
  };
  [[nodiscard]] static bool read(const config::Node* fields, Direction direction, std::vector<Field>& out,
                                 config::Diagnostics& diagnostics);
  [[nodiscard]] bool names_are_distinct(const config::Node& at, config::Diagnostics& diagnostics) const;
  void take_off(http::Headers& headers, std::string_view name) const;

  Direction direction_ = Direction::request;
  std::vector<std::string> remove_;
  std::vector<Field> set_;
  std::vector<Field> add_;
};

}  // namespace postern::policies
