// Internal to schema.cc, schema_compile.cc and formats.cc: what a schema looks like after compilation.
#pragma once

#include <re2/re2.h>

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/formats.h"
#include "config/node.h"
#include "config/schema.h"

namespace postern::config {

inline constexpr std::uint8_t kAnyType = 0xff;
[[nodiscard]] constexpr std::uint8_t type_bit(Kind kind) noexcept {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(kind));
}

// One schema object. References are resolved: a `$ref` is the pointer to its target's Rule.
struct Rule {
  struct Property {
    std::string name;
    const Rule* rule = nullptr;
  };
  struct Value {
    Kind kind;
    std::string text;
  };

  std::uint8_t types = kAnyType;
  const Rule* reference = nullptr;  // everything else but the description is empty then
  bool never = false;               // `not: {}`: planned, not built
  std::string description;
  std::optional<std::vector<Value>> allowed;  // enum and const
  std::vector<Property> properties;           // in the order of the schema, for messages
  std::vector<std::uint32_t> by_name;         // indices into properties, sorted by name
  std::vector<std::string> required;
  bool open = true;  // additionalProperties is not false
  const Rule* additional = nullptr;
  const Rule* names = nullptr;  // propertyNames
  std::size_t min_properties = 0;
  std::size_t max_properties = std::numeric_limits<std::size_t>::max();
  const Rule* items = nullptr;
  std::size_t min_items = 0;
  std::size_t max_items = std::numeric_limits<std::size_t>::max();
  bool unique_items = false;
  std::size_t min_length = 0;  // code points
  std::size_t max_length = std::numeric_limits<std::size_t>::max();
  std::unique_ptr<RE2> pattern;
  std::optional<double> minimum;
  std::optional<double> maximum;
  std::vector<const Rule*> one_of;
  Format format = Format::none;

  [[nodiscard]] const Property* find(std::string_view name) const noexcept;
};

// Follows references to the rule that says something.
[[nodiscard]] inline const Rule& resolved(const Rule& rule) noexcept {
  const Rule* at = &rule;
  while (at->reference) at = at->reference;
  return *at;
}

struct Schema::Compiled {
  std::string text;
  std::deque<Rule> rules;
  const Rule* root = nullptr;
};

// Judges `node` by `rule`; see Schema::validate.
void validate_node(const Node& node, const Rule& rule, Diagnostics& diagnostics);

}  // namespace postern::config
