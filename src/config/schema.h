// Schema: a JSON Schema (2020-12) compiled for Node trees. The text that `postern schema` prints is the text that was
// compiled; a keyword outside of the subset stops the compilation, so nothing in a schema is decoration.
//
// Subset: $schema, $id, title, description, default, examples, $comment, $defs, $ref (#/$defs/name only), type, enum,
// const, properties, required, additionalProperties (false or a schema), propertyNames, minProperties, maxProperties,
// items, minItems, maxItems, uniqueItems, minLength, maxLength, pattern (RE2), minimum, maximum, oneOf, `not: {}` (a
// word that is planned but not built), x-postern-format (the names in formats.cc).
//
// Immutable and thread-safe once compiled.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "config/node.h"

namespace postern::config {

class Diagnostics;

// The schema of the options of one policy or one identity method, as text of a JSON Schema.
struct SchemaPart {
  std::string_view kind;  // "policy" or "identity"
  std::string_view name;  // "rate_limit"
  std::string_view json_text;
};

class Schema {
 public:
  ~Schema();
  Schema(Schema&&) noexcept;
  Schema& operator=(Schema&&) noexcept;

  // What `postern schema` prints.
  [[nodiscard]] const std::string& text() const noexcept;
  // Reports everything that is wrong with `node`.
  void validate(const Node& node, Diagnostics& diagnostics) const;

 private:
  friend Result<Schema> compile_schema(std::string_view, std::span<const SchemaPart>);
  struct Compiled;
  explicit Schema(std::unique_ptr<Compiled> compiled);
  std::unique_ptr<Compiled> compiled_;
};

// Puts the parts into the root (as $defs/policy_<name> and $defs/identity_<name>, and into the lists of $defs/policy
// and $defs/identity) and compiles the whole. An Error (Code::internal) means a bug in a schema file and names it.
[[nodiscard]] Result<Schema> compile_schema(std::string_view root_text, std::span<const SchemaPart> parts);

// postern.schema.json, embedded.
[[nodiscard]] std::string_view root_schema_text() noexcept;

}  // namespace postern::config
