#include "policies/field_changes.h"

#include "config/diagnostics.h"
#include "config/node.h"
#include "http/exchange.h"

namespace postern::policies {

bool FieldChanges::read(const config::Node* fields, Direction direction, std::vector<Field>& out,
                        config::Diagnostics& diagnostics) {
  if (!fields) return true;
  bool good = true;
  for (const config::Entry& entry : fields->entries()) {
    good &= check_header_name(entry, direction, diagnostics);
    auto value = ValueTemplate::parse(entry.value, diagnostics);
    if (value) out.push_back({std::string(entry.key), std::move(*value)});
    good &= value.has_value();
  }
  return good;
}

std::optional<FieldChanges> FieldChanges::parse(const config::Node& options, Direction direction,
                                                config::Diagnostics& diagnostics) {
  FieldChanges out;
  out.direction_ = direction;
  bool good = read(options.find("set"), direction, out.set_, diagnostics);
  good &= read(options.find("add"), direction, out.add_, diagnostics);
  if (const config::Node* const remove = options.find("remove")) {
    for (const config::Node& item : remove->items()) {
      good &= check_header_name(item, direction, diagnostics);
      out.remove_.emplace_back(item.text());
    }
  }
  if (!good || !out.names_are_distinct(options, diagnostics)) return std::nullopt;
  return out;
}

std::optional<FieldChanges> FieldChanges::parse_fields(const config::Node& fields, Direction direction,
                                                       config::Diagnostics& diagnostics) {
  FieldChanges out;
  out.direction_ = direction;
  const bool good = read(&fields, direction, out.set_, diagnostics);
  if (!good || !out.names_are_distinct(fields, diagnostics)) return std::nullopt;
  return out;
}

// Two entries for one field in one policy: one of them would do nothing, or only sometimes.
bool FieldChanges::names_are_distinct(const config::Node& at, config::Diagnostics& diagnostics) const {
  const std::vector<std::string_view> all = names();
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = i + 1; j < all.size(); ++j) {
      if (!http::is_alias_of(all[i], all[j])) continue;
      diagnostics.error(config::Problem::ambiguous, at, config::printable(all[j]) + " is named twice",
                        "`set` replaces what is there, `add` keeps it");
      return false;
    }
  }
  return true;
}

void FieldChanges::take_off(http::Headers& headers, std::string_view name) const {
  if (direction_ == Direction::request) {
    headers.remove_aliases_of(name);
  } else {
    headers.remove(name);
  }
}

void FieldChanges::apply(http::Headers& headers, http::Exchange& exchange) const {
  for (const std::string& name : remove_) take_off(headers, name);
  for (const Field& field : set_) {
    take_off(headers, field.name);
    const std::string_view value = field.value.render(exchange);
    if (!value.empty()) headers.append(field.name, value);
  }
  for (const Field& field : add_) {
    const std::string_view value = field.value.render(exchange);
    if (!value.empty()) headers.append(field.name, value);
  }
}

std::vector<std::string_view> FieldChanges::names() const {
  std::vector<std::string_view> names(remove_.begin(), remove_.end());
  for (const Field& field : set_) names.emplace_back(field.name);
  for (const Field& field : add_) names.emplace_back(field.name);
  return names;
}

}  // namespace postern::policies
