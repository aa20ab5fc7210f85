// From schema text to Rules: assembling the parts into the root, and compiling the whole.
#include "config/schema_compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

namespace postern::config {
namespace {

namespace json = boost::json;

std::unexpected<Error> schema_bug(std::string detail) {
  return fail(Code::internal, Side::gateway, "schema: " + std::move(detail));
}

std::string_view view(const json::string& text) noexcept { return {text.data(), text.size()}; }

Result<json::value> parse(std::string_view text, std::string_view name) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return schema_bug(fmt::format("{} is not JSON: {}", name, error.message()));
  if (!value.is_object()) return schema_bug(fmt::format("{} is not an object", name));
  return value;
}

// --- assembling -----------------------------------------------------------------------------------------------------

constexpr std::string_view kDefs = "#/$defs/";

// A part is written as a schema of its own; inside the whole its definitions get its name as prefix.
void rename_references(json::value& value, std::string_view prefix, const std::set<std::string>& own) {
  if (json::array* const array = value.if_array()) {
    for (json::value& item : *array) rename_references(item, prefix, own);
  }
  json::object* const object = value.if_object();
  if (!object) return;
  for (auto& member : *object) {
    json::string* const target = member.key() == "$ref" ? member.value().if_string() : nullptr;
    if (target && view(*target).starts_with(kDefs)) {
      const std::string name(view(*target).substr(kDefs.size()));
      if (own.contains(name)) *target = fmt::format("{}{}_{}", kDefs, prefix, name);
    } else {
      rename_references(member.value(), prefix, own);
    }
  }
}

std::string definition_name(const SchemaPart& part) { return fmt::format("{}_{}", part.kind, part.name); }

Result<void> add_definition(const SchemaPart& part, json::object& definitions) {
  const std::string name = definition_name(part);
  Result<json::value> parsed = parse(part.json_text, name);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  json::object schema = parsed->as_object();
  schema.erase("$schema");
  schema.erase("$id");
  std::set<std::string> own;
  json::object inner;
  if (const auto at = schema.find("$defs"); at != schema.end()) {
    if (!at->value().is_object()) return schema_bug(name + ": $defs is not an object");
    inner = at->value().as_object();
    for (const auto& member : inner) own.emplace(member.key());
    schema.erase("$defs");
  }
  json::value whole(std::move(schema));
  rename_references(whole, name, own);
  if (!definitions.emplace(name, std::move(whole)).second) return schema_bug(name + " is given twice");
  for (auto& member : inner) {
    rename_references(member.value(), name, own);
    definitions.emplace(fmt::format("{}_{}", name, std::string_view(member.key())), member.value());
  }
  return {};
}

// What the list of policies or identity methods allows: {"oneOf": [{"enum": [bare names]}, {"properties": ...}]} for
// policies, {"properties": ...} for identity.
struct PartList {
  json::array* bare_names = nullptr;
  json::object* properties = nullptr;
};

Result<PartList> find_list(json::object& definitions, std::string_view kind) {
  PartList list;
  const auto bug = [&] { return schema_bug(fmt::format("the root has no usable $defs/{}", kind)); };
  json::value* at = definitions.if_contains(json::string_view(kind.data(), kind.size()));
  if (!at || !at->is_object()) return bug();
  if (json::value* const one_of = at->as_object().if_contains("oneOf")) {
    if (!one_of->is_array() || one_of->as_array().size() != 2) return bug();
    json::array& branches = one_of->as_array();
    if (!branches[0].is_object() || !branches[1].is_object()) return bug();
    json::value* const names = branches[0].as_object().if_contains("enum");
    if (!names || !names->is_array()) return bug();
    list.bare_names = &names->as_array();
    at = &branches[1];
  }
  json::value* const properties = at->as_object().if_contains("properties");
  if (!properties || !properties->is_object()) return bug();
  list.properties = &properties->as_object();
  return list;
}

bool accepts_nothing_given(const json::object& schema) {
  const json::value* const required = schema.if_contains("required");
  const json::value* const least = schema.if_contains("minProperties");
  return !(required && required->is_array() && !required->as_array().empty()) && !least;
}

Result<json::value> assemble(std::string_view root_text, std::span<const SchemaPart> parts) {
  Result<json::value> root = parse(root_text, "root");
  if (!root) return root;
  json::value& defs = root->as_object()["$defs"];
  if (defs.is_null()) defs.emplace_object();
  if (!defs.is_object()) return schema_bug("$defs is not an object");
  for (const SchemaPart& part : parts) {
    json::object& definitions = defs.as_object();
    if (Result<void> added = add_definition(part, definitions); !added)
      return std::unexpected(std::move(added.error()));
    Result<PartList> list = find_list(definitions, part.kind);
    if (!list) return std::unexpected(std::move(list.error()));
    const std::string definition = definition_name(part);
    const json::string_view name(part.name.data(), part.name.size());
    if (list->bare_names && accepts_nothing_given(definitions.at(definition).as_object())) {
      list->bare_names->emplace_back(json::string(name));
    }
    // A word that was listed as planned is replaced once it is built.
    (*list->properties)[name] = json::object{{"$ref", std::string(kDefs) + definition}};
  }
  return root;
}

// --- printing -------------------------------------------------------------------------------------------------------

bool is_flat(const json::array& array) {
  return std::none_of(array.begin(), array.end(),
                      [](const json::value& item) { return item.is_object() || item.is_array(); });
}

void print(const json::value& value, std::size_t indent, std::string& out) {
  const std::string inner(indent + 2, ' ');
  const std::string outer(indent, ' ');
  if (const json::object* const object = value.if_object(); object && !object->empty()) {
    const char* separator = "{\n";
    for (const auto& member : *object) {
      out.append(separator).append(inner).append(json::serialize(json::string(member.key()))).append(": ");
      print(member.value(), indent + 2, out);
      separator = ",\n";
    }
    out.append("\n").append(outer).append("}");
  } else if (const json::array* const array = value.if_array(); array && !array->empty()) {
    const bool flat = is_flat(*array);
    const char* separator = flat ? "[" : "[\n";
    for (const json::value& item : *array) {
      out.append(separator);
      if (!flat) out.append(inner);
      print(item, indent + 2, out);
      separator = flat ? ", " : ",\n";
    }
    if (!flat) out.append("\n").append(outer);
    out.append("]");
  } else {
    out.append(json::serialize(value));
  }
}

// --- compiling ------------------------------------------------------------------------------------------------------

class Compiler {
 public:
  Compiler(std::deque<Rule>& rules, const json::object& root) : rules_(rules), root_(root) {}

  // The rule of the whole, or nullptr with bug() set.
  const Rule* run() {
    if (const json::value* const defs = root_.if_contains("$defs")) {
      // All names first: definitions may refer to each other in any order.
      for (const auto& member : defs->as_object()) definitions_[std::string(member.key())] = &rules_.emplace_back();
      for (const auto& member : defs->as_object()) {
        where_ = std::string(member.key());
        fill(member.value(), *definitions_[where_]);
      }
    }
    where_ = "root";
    const Rule* const root = compile(root_);
    check_references();
    return bug_.empty() ? root : nullptr;
  }
  [[nodiscard]] const std::string& bug() const noexcept { return bug_; }

 private:
  void report(std::string_view what) {
    if (bug_.empty()) bug_ = fmt::format("{}: {}", where_, what);
  }

  const Rule* compile(const json::value& value) {
    Rule& rule = rules_.emplace_back();
    fill(value, rule);
    return &rule;
  }

  void fill(const json::value& value, Rule& rule) {
    const json::object* const object = value.if_object();
    if (!object) return report("a schema must be an object");
    for (const auto& member : *object) {
      const std::string_view key(member.key().data(), member.key().size());
      if (!annotation(key, member.value(), rule) && !shape(key, member.value(), rule) &&
          !scalar(key, member.value(), rule)) {
        report(fmt::format("keyword `{}` is not in the subset, or its value is not of the right kind", key));
      }
    }
    if (rule.reference &&
        object->size() > (rule.description.empty() ? 1U : 2U) + (object->contains("default") ? 1U : 0U)) {
      report("beside $ref only description and default may stand");
    }
    rule.by_name.resize(rule.properties.size());
    for (std::uint32_t i = 0; i < rule.by_name.size(); ++i) rule.by_name[i] = i;
    std::sort(rule.by_name.begin(), rule.by_name.end(),
              [&](std::uint32_t a, std::uint32_t b) { return rule.properties[a].name < rule.properties[b].name; });
    for (const std::string& name : rule.required) {
      if (!rule.find(name)) report(fmt::format("required `{}` is not among the properties", name));
    }
  }

  // Each of these three returns false if the keyword is not its own or its value has the wrong kind.
  static bool annotation(std::string_view key, const json::value& value, Rule& rule) {
    if (key == "description") {
      if (value.is_string()) rule.description = view(value.as_string());
      return value.is_string();
    }
    constexpr std::string_view kOthers[] = {"$schema", "$id", "$comment", "$defs", "title", "default", "examples"};
    return std::find(std::begin(kOthers), std::end(kOthers), key) != std::end(kOthers);
  }

  bool shape(std::string_view key, const json::value& value, Rule& rule) {
    if (key == "$ref") return value.is_string() && refer(view(value.as_string()), rule);
    if (key == "properties") {
      if (!value.is_object()) return false;
      for (const auto& member : value.as_object()) {
        rule.properties.push_back({std::string(member.key()), compile(member.value())});
      }
      return true;
    }
    if (key == "required") return strings(value, rule.required);
    if (key == "additionalProperties") {
      if (value.is_bool()) rule.open = value.as_bool();
      if (value.is_object()) rule.additional = compile(value);
      return value.is_bool() || value.is_object();
    }
    if (key == "propertyNames") {
      rule.names = compile(value);
      return true;
    }
    if (key == "items") {
      rule.items = compile(value);
      return true;
    }
    if (key == "oneOf") {
      if (!value.is_array() || value.as_array().empty()) return false;
      for (const json::value& branch : value.as_array()) rule.one_of.push_back(compile(branch));
      return true;
    }
    if (key == "not") {
      rule.never = value.is_object() && value.as_object().empty();
      return rule.never;
    }
    return false;
  }

  bool scalar(std::string_view key, const json::value& value, Rule& rule) {
    if (key == "type") return types(value, rule);
    if (key == "enum") {
      if (!value.is_array()) return false;
      rule.allowed.emplace();
      return std::all_of(value.as_array().begin(), value.as_array().end(),
                         [&](const json::value& item) { return allow(item, rule); });
    }
    if (key == "const") {
      rule.allowed.emplace();
      return allow(value, rule);
    }
    if (key == "minProperties") return count(value, rule.min_properties);
    if (key == "maxProperties") return count(value, rule.max_properties);
    if (key == "minItems") return count(value, rule.min_items);
    if (key == "maxItems") return count(value, rule.max_items);
    if (key == "minLength") return count(value, rule.min_length);
    if (key == "maxLength") return count(value, rule.max_length);
    if (key == "uniqueItems") {
      rule.unique_items = value.is_bool() && value.as_bool();
      return value.is_bool();
    }
    if (key == "minimum" || key == "maximum") {
      if (!value.is_number()) return false;
      (key == "minimum" ? rule.minimum : rule.maximum) = value.to_number<double>();
      return true;
    }
    if (key == "pattern") {
      if (!value.is_string()) return false;
      rule.pattern = std::make_unique<RE2>(std::string(view(value.as_string())), RE2::Quiet);
      return rule.pattern->ok();
    }
    if (key == "x-postern-format") {
      const auto format = value.is_string() ? format_by_name(view(value.as_string())) : std::nullopt;
      if (format) rule.format = *format;
      return format.has_value();
    }
    return false;
  }

  bool refer(std::string_view target, Rule& rule) {
    if (!target.starts_with(kDefs)) return false;
    const auto at = definitions_.find(std::string(target.substr(kDefs.size())));
    if (at == definitions_.end()) {
      report(fmt::format("$ref to `{}`, which is not defined", target));
      return true;
    }
    rule.reference = at->second;
    return true;
  }

  static bool strings(const json::value& value, std::vector<std::string>& out) {
    if (!value.is_array()) return false;
    for (const json::value& item : value.as_array()) {
      if (!item.is_string()) return false;
      out.emplace_back(view(item.as_string()));
    }
    return true;
  }

  static bool count(const json::value& value, std::size_t& out) {
    if (!value.is_int64() || value.as_int64() < 0) return false;
    out = static_cast<std::size_t>(value.as_int64());
    return true;
  }

  static bool types(const json::value& value, Rule& rule) {
    std::vector<std::string> names;
    if (value.is_string()) {
      names.emplace_back(view(value.as_string()));
    } else if (!strings(value, names)) {
      return false;
    }
    rule.types = 0;
    for (const std::string& name : names) {
      std::uint8_t bits = 0;
      if (name == "null") bits = type_bit(Kind::null);
      if (name == "boolean") bits = type_bit(Kind::boolean);
      if (name == "integer") bits = type_bit(Kind::integer);
      if (name == "number") bits = type_bit(Kind::integer) | type_bit(Kind::real);
      if (name == "string") bits = type_bit(Kind::string);
      if (name == "array") bits = type_bit(Kind::sequence);
      if (name == "object") bits = type_bit(Kind::mapping);
      if (bits == 0) return false;
      rule.types |= bits;
    }
    return true;
  }

  static bool allow(const json::value& value, Rule& rule) {
    if (value.is_string()) {
      rule.allowed->push_back({Kind::string, std::string(view(value.as_string()))});
    } else if (value.is_int64()) {
      rule.allowed->push_back({Kind::integer, std::to_string(value.as_int64())});
    } else if (value.is_bool()) {
      rule.allowed->push_back({Kind::boolean, value.as_bool() ? "true" : "false"});
    } else {
      return false;
    }
    return true;
  }

  // A circle of references would be followed for ever.
  void check_references() {
    for (const Rule& rule : rules_) {
      std::size_t steps = 0;
      for (const Rule* at = &rule; at->reference; at = at->reference) {
        if (++steps > rules_.size()) return report("$refs form a circle");
      }
    }
  }

  std::deque<Rule>& rules_;
  const json::object& root_;
  std::map<std::string, Rule*> definitions_;
  std::string where_;
  std::string bug_;
};

constexpr char kRootSchema[] = {
#embed "postern.schema.json"
};

}  // namespace

const Rule::Property* Rule::find(std::string_view name) const noexcept {
  const auto at = std::lower_bound(by_name.begin(), by_name.end(), name,
                                   [&](std::uint32_t i, std::string_view n) { return properties[i].name < n; });
  if (at == by_name.end() || properties[*at].name != name) return nullptr;
  return &properties[*at];
}

std::string_view root_schema_text() noexcept { return {kRootSchema, sizeof(kRootSchema)}; }

Result<Schema> compile_schema(std::string_view root_text, std::span<const SchemaPart> parts) {
  Result<json::value> whole = assemble(root_text, parts);
  if (!whole) return std::unexpected(std::move(whole.error()));
  auto compiled = std::make_unique<Schema::Compiled>();
  print(*whole, 0, compiled->text);
  compiled->text.push_back('\n');
  // What is compiled is the printed text, read back.
  const Result<json::value> printed = parse(compiled->text, "printed schema");
  if (!printed) return std::unexpected(Error(Code::internal, Side::gateway, std::string(printed.error().detail())));
  Compiler compiler(compiled->rules, printed->as_object());
  compiled->root = compiler.run();
  if (!compiled->root) return schema_bug(compiler.bug());
  return Schema(std::move(compiled));
}

}  // namespace postern::config
