// Judging Node trees by compiled Rules.
#include "config/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "config/diagnostics.h"
#include "config/schema_compile.h"
#include "config/secret.h"

namespace postern::config {
namespace {

// A value is repeated only if it can hardly be a secret in the wrong place: it is too short for one, or a quantity or
// an address is expected here and no password stands in it.
std::string shown(const Node& node, const Rule& rule) {
  const std::string_view text = node.text();
  // The name of a header stands right beside its secret: a place to confuse the two.
  const bool risky = rule.format == Format::secret || rule.format == Format::header_name;
  const bool harmless = !risky && (text.size() < kMinSecretBytes || rule.format != Format::none);
  return harmless && text.find('@') == std::string_view::npos ? printable(text) : "this value";
}

std::string join(std::span<const std::string_view> words) {
  constexpr std::size_t kMax = 24;
  std::string out;
  for (std::size_t i = 0; i < std::min(words.size(), kMax); ++i) {
    out.append(i == 0 ? "" : ", ").append(words[i]);
  }
  if (words.size() > kMax) out.append(", ...");
  return out;
}

std::string type_names(std::uint8_t types) {
  std::vector<std::string_view> names;
  for (const Kind kind : {Kind::boolean, Kind::integer, Kind::real, Kind::string, Kind::sequence, Kind::mapping}) {
    if (kind == Kind::integer && (types & type_bit(Kind::real))) continue;
    if (types & type_bit(kind)) names.push_back(to_string(kind));
  }
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) out.append(i == 0 ? "" : " or ").append(names[i]);
  return out;
}

// What `node` should have been, for `fix`.
std::string wanted(const Rule& rule) {
  if (rule.format != Format::none) return "write " + std::string(format_description(rule.format));
  return rule.description;
}

std::string type_fix(const Node& node, const Rule& rule) {
  const std::string_view text = node.text();
  if (node.is(Kind::string)) {
    if (rule.types & type_bit(Kind::boolean)) return "write true or false";
    if ((rule.types & type_bit(Kind::integer)) && node.style() == Style::quoted)
      return "write the number without quotes";
    if (rule.types & type_bit(Kind::integer)) return "write a decimal number without leading zeros, prefix or unit";
  }
  const bool is_number = node.is(Kind::integer) || node.is(Kind::real);
  if (is_number && (rule.format == Format::duration || rule.format == Format::size)) return wanted(rule);
  if ((is_number || node.is(Kind::boolean)) && (rule.types & type_bit(Kind::string)) && rule.format != Format::secret) {
    return fmt::format("put it in quotes: \"{}\"", text.substr(0, 40));
  }
  return wanted(rule);
}

std::vector<std::string_view> built_names(const Rule& rule) {
  std::vector<std::string_view> names;
  for (const Rule::Property& property : rule.properties) {
    if (!resolved(*property.rule).never) names.push_back(property.name);
  }
  return names;
}

void report_unknown_key(const Entry& entry, const Rule& rule, Diagnostics& diagnostics) {
  std::string what = "unknown key " + printable(entry.key);
  std::string fix;
  if (!diagnostics.full()) {
    const std::vector<std::string_view> names = built_names(rule);
    const std::string_view hint = nearest(entry.key, names);
    fix = hint.empty() ? "known here: " + join(names) : fmt::format("did you mean `{}`?", hint);
  }
  diagnostics.error(Problem::unknown_key, entry, std::move(what), std::move(fix));
}

void validate_mapping(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  for (const Entry& entry : node.entries()) {
    if (rule.names) {
      // A name is judged by its pattern only.
      const Rule& names = resolved(*rule.names);
      if (names.pattern && !RE2::PartialMatch(re2::StringPiece(entry.key.data(), entry.key.size()), *names.pattern)) {
        diagnostics.error(Problem::bad_value, entry, printable(entry.key) + " cannot be a name here",
                          names.description);
      }
    }
    const Rule::Property* const property = rule.find(entry.key);
    if (property) {
      const Rule& target = resolved(*property->rule);
      if (target.never) {
        const std::string& description =
            property->rule->description.empty() ? target.description : property->rule->description;
        diagnostics.error(Problem::not_built, entry, printable(entry.key) + " is not built yet", description);
      } else {
        validate_node(entry.value, *property->rule, diagnostics);
      }
    } else if (rule.additional) {
      validate_node(entry.value, *rule.additional, diagnostics);
    } else if (!rule.open) {
      report_unknown_key(entry, rule, diagnostics);
    }
  }
  for (const std::string& name : rule.required) {
    if (node.find(name)) continue;
    const Rule::Property* const property = rule.find(name);
    const Rule& target = *property->rule;
    diagnostics.error(Problem::missing_key, node, fmt::format("key `{}` is missing", name),
                      target.description.empty() ? resolved(target).description : target.description);
  }
  const std::size_t count = node.entries().size();
  if (count < rule.min_properties) {
    diagnostics.error(Problem::bad_value, node, fmt::format("needs at least {} key(s)", rule.min_properties),
                      "known here: " + join(built_names(rule)));
  } else if (count > rule.max_properties) {
    diagnostics.error(Problem::bad_value, node, fmt::format("more than {} key(s)", rule.max_properties),
                      rule.max_properties == 1 ? "start a new list item with `-` for each of them" : "");
  }
}

void validate_sequence(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  const std::size_t count = node.items().size();
  if (count < rule.min_items) {
    diagnostics.error(Problem::bad_value, node, fmt::format("needs at least {} item(s)", rule.min_items), wanted(rule));
  } else if (count > rule.max_items) {
    diagnostics.error(Problem::bad_value, node, fmt::format("more than {} items", rule.max_items));
  }
  if (rule.items) {
    for (const Node& item : node.items()) validate_node(item, *rule.items, diagnostics);
  }
  if (!rule.unique_items) return;
  std::unordered_set<std::string_view> seen;
  for (const Node& item : node.items()) {
    const bool scalar = !item.is(Kind::sequence) && !item.is(Kind::mapping);
    if (scalar && !seen.insert(item.text()).second) {
      diagnostics.error(Problem::duplicate, item, "stands in the list twice", "keep one of them");
    }
  }
}

std::size_t code_points(std::string_view text) noexcept {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

void validate_string(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  const std::string_view text = node.text();
  if (rule.format == Format::secret) return;
  if (contains_reference(text)) {
    diagnostics.error(Problem::secret_reference, node, "references work in secret fields only",
                      "write the value itself; it would be used with the ${...} in it otherwise");
    return;
  }
  if (text.find('\0') != std::string_view::npos) {
    diagnostics.error(Problem::bad_value, node, "holds a NUL byte");
    return;
  }
  const std::size_t length = code_points(text);
  if (length < rule.min_length) {
    diagnostics.error(Problem::bad_value, node,
                      length == 0 ? "is empty" : fmt::format("is shorter than {} characters", rule.min_length),
                      wanted(rule));
  } else if (length > rule.max_length) {
    diagnostics.error(Problem::bad_value, node, fmt::format("is longer than {} characters", rule.max_length));
  } else if (!matches_format(rule.format, text)) {
    diagnostics.error(Problem::bad_value, node,
                      shown(node, rule) + " is not " + std::string(format_description(rule.format)), rule.description);
  } else if (rule.pattern && !RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *rule.pattern)) {
    diagnostics.error(Problem::bad_value, node, shown(node, rule) + " does not have the form that is needed here",
                      wanted(rule));
  }
}

void validate_number(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  const double value = node.as_double();
  if ((rule.minimum && value < *rule.minimum) || (rule.maximum && value > *rule.maximum)) {
    std::string range;
    if (rule.minimum) range += fmt::format("at least {:.0f}", *rule.minimum);
    if (rule.maximum) range += fmt::format("{}at most {:.0f}", range.empty() ? "" : ", ", *rule.maximum);
    diagnostics.error(Problem::bad_value, node, printable(node.text()) + " must be " + range, rule.description);
  }
}

bool is_allowed(const Node& node, const Rule& rule) {
  return std::any_of(rule.allowed->begin(), rule.allowed->end(), [&](const Rule::Value& value) {
    if (value.kind != node.kind()) return false;
    return value.kind == Kind::boolean ? (value.text == "true") == node.as_bool() : value.text == node.text();
  });
}

void report_not_allowed(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  std::vector<std::string_view> words;
  for (const Rule::Value& value : *rule.allowed) words.push_back(value.text);
  const std::string_view hint = nearest(node.text(), words);
  diagnostics.error(Problem::bad_value, node, fmt::format("{} is not one of: {}", shown(node, rule), join(words)),
                    hint.empty() ? rule.description : fmt::format("did you mean `{}`?", hint));
}

// A bare name where a mapping with that key is needed, such as `- rate_limit`: reported here, with what it needs.
bool report_bare_name(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  for (const Rule* const branch : rule.one_of) {
    const Rule& candidate = resolved(*branch);
    const Rule::Property* const property = node.is(Kind::string) ? candidate.find(node.text()) : nullptr;
    if (!property) continue;
    const Rule& options = resolved(*property->rule);
    if (options.never) {
      diagnostics.error(Problem::not_built, node, printable(node.text()) + " is not built yet", options.description);
    } else {
      std::vector<std::string_view> needed(options.required.begin(), options.required.end());
      diagnostics.error(Problem::missing_key, node, fmt::format("`{}` needs options: {}", node.text(), join(needed)),
                        fmt::format("write `{}: {{...}}`", node.text()));
    }
    return true;
  }
  return false;
}

// For a bare name that is nothing at all, the names of the mapping branch are hints as good as the bare ones.
bool report_unknown_name(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  std::vector<std::string_view> words;
  bool has_names = false;
  for (const Rule* const branch : rule.one_of) {
    const Rule& candidate = resolved(*branch);
    if (candidate.max_properties == 1) {
      has_names = true;
      for (const std::string_view name : built_names(candidate)) words.push_back(name);
    }
  }
  if (!has_names || !node.is(Kind::string)) return false;
  const std::string_view hint = nearest(node.text(), words);
  diagnostics.error(Problem::unknown_key, node, "unknown name " + printable(node.text()),
                    hint.empty() ? "known here: " + join(words) : fmt::format("did you mean `{}`?", hint));
  return true;
}

void validate_one_of(const Node& node, const Rule& rule, Diagnostics& diagnostics) {
  std::vector<const Rule*> candidates;
  std::uint8_t types = 0;
  for (const Rule* const branch : rule.one_of) {
    const Rule& candidate = resolved(*branch);
    types |= candidate.types;
    if (candidate.types & type_bit(node.kind())) candidates.push_back(&candidate);
  }
  if (candidates.empty()) {
    diagnostics.error(Problem::wrong_type, node,
                      fmt::format("expected {}, found {}", type_names(types), to_string(node.kind())), wanted(rule));
    return;
  }
  // The usual case: the kind of the value decides.
  if (candidates.size() == 1 && !(node.is(Kind::string) && candidates[0]->allowed)) {
    validate_node(node, *candidates[0], diagnostics);
    return;
  }
  const Rule* best = nullptr;
  std::size_t fewest = 0;
  std::size_t passed = 0;
  for (const Rule* const candidate : candidates) {
    Diagnostics scratch("");
    validate_node(node, *candidate, scratch);
    if (!scratch.has_errors()) ++passed;
    if (!best || scratch.errors() <= fewest) {
      best = candidate;
      fewest = scratch.errors();
    }
  }
  if (passed == 1 || !best) return;
  if (passed > 1) {
    diagnostics.error(Problem::ambiguous, node, "fits more than one of the allowed forms", wanted(rule));
  } else if (!report_bare_name(node, rule, diagnostics) && !report_unknown_name(node, rule, diagnostics)) {
    validate_node(node, *best, diagnostics);
  }
}

}  // namespace

void validate_node(const Node& node, const Rule& given, Diagnostics& diagnostics) {
  const Rule& rule = resolved(given);
  if (rule.never) {
    diagnostics.error(Problem::not_built, node, "is not built yet", rule.description);
    return;
  }
  if (!(rule.types & type_bit(node.kind()))) {
    const bool is_scalar = !node.is(Kind::sequence) && !node.is(Kind::mapping) && !node.is(Kind::null);
    const std::string found = is_scalar ? fmt::format("{} ({})", shown(node, rule), to_string(node.kind()))
                                        : std::string(to_string(node.kind()));
    diagnostics.error(Problem::wrong_type, node, fmt::format("expected {}, found {}", type_names(rule.types), found),
                      type_fix(node, rule));
    return;
  }
  if (rule.allowed && !is_allowed(node, rule)) {
    report_not_allowed(node, rule, diagnostics);
    return;
  }
  switch (node.kind()) {
    case Kind::mapping: validate_mapping(node, rule, diagnostics); break;
    case Kind::sequence: validate_sequence(node, rule, diagnostics); break;
    case Kind::string: validate_string(node, rule, diagnostics); break;
    case Kind::integer:
    case Kind::real: validate_number(node, rule, diagnostics); break;
    case Kind::null:
    case Kind::boolean: break;
  }
  if (!rule.one_of.empty()) validate_one_of(node, rule, diagnostics);
}

Schema::Schema(std::unique_ptr<Compiled> compiled) : compiled_(std::move(compiled)) {}
Schema::~Schema() = default;
Schema::Schema(Schema&&) noexcept = default;
Schema& Schema::operator=(Schema&&) noexcept = default;

const std::string& Schema::text() const noexcept { return compiled_->text; }

void Schema::validate(const Node& node, Diagnostics& diagnostics) const {
  validate_node(node, *compiled_->root, diagnostics);
}

}  // namespace postern::config
