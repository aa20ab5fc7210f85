#include "signature/message.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/strings.h"
#include "signature/percent.h"

namespace postern::signature {
namespace {

using Kind = Component::Kind;

struct DerivedName {
  std::string_view name;
  Kind kind;
};
constexpr std::array<DerivedName, 9> kDerived = {{
    {"@method", Kind::method},
    {"@target-uri", Kind::target_uri},
    {"@authority", Kind::authority},
    {"@scheme", Kind::scheme},
    {"@request-target", Kind::request_target},
    {"@path", Kind::path},
    {"@query", Kind::query},
    {"@query-param", Kind::query_parameter},
    {"@status", Kind::status},
}};

constexpr bool is_field_name_byte(char c) noexcept {
  return (c >= 'a' && c <= 'z') || is_digit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}
bool is_field_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= 256 && std::ranges::all_of(text, is_field_name_byte);
}

// nullopt if the name, or its parameters, mean nothing to us. RFC 9421 3.2: what a verifier does not understand it must
// not pass over.
std::optional<Component> understand(const std::string& name, const sf::Parameters& parameters) {
  Component out;
  out.name = name;
  if (name.starts_with('@')) {
    const auto* const known = std::ranges::find(kDerived, name, &DerivedName::name);
    if (known == kDerived.end()) return std::nullopt;
    out.kind = known->kind;
  } else if (!is_field_name(name)) {
    return std::nullopt;
  }
  if (out.kind == Kind::query_parameter) {
    const auto* const argument = parameters.size() == 1 && parameters[0].key == "name"
                                     ? std::get_if<std::string>(&parameters[0].value)
                                     : nullptr;
    if (!argument) return std::nullopt;
    out.argument = *argument;
    return out;
  }
  if (parameters.empty()) return out;
  if (out.kind != Kind::field || parameters.size() != 1) return std::nullopt;
  if (parameters[0].key == "bs" && parameters[0].value == sf::BareItem(true)) {
    out.kind = Kind::field_bytes;
    return out;
  }
  const auto* const key = parameters[0].key == "key" ? std::get_if<std::string>(&parameters[0].value) : nullptr;
  if (!key) return std::nullopt;
  out.kind = Kind::field_key;
  out.argument = *key;
  return out;
}

bool is_field(Kind kind) noexcept {
  return kind == Kind::field || kind == Kind::field_bytes || kind == Kind::field_key;
}

// RFC 9421 2.1, step 2 and 3 for one line.
void append_line(std::string& out, std::string_view value) {
  value = trim_ows(value);
  for (std::size_t i = 0; i < value.size();) {
    const std::size_t line_break = std::min(value.find("\r\n", i), value.size());
    const bool folds = line_break + 2 < value.size() && (value[line_break + 2] == ' ' || value[line_break + 2] == '\t');
    std::string_view line = value.substr(i, line_break - i);
    if (!folds) {
      // A bare line break is no fold: it stays, and append_component_value() refuses it.
      out += value.substr(i);
      return;
    }
    while (line.ends_with(' ') || line.ends_with('\t')) line.remove_suffix(1);
    out += line;
    out.push_back(' ');
    i = line_break + 2;
    while (i < value.size() && (value[i] == ' ' || value[i] == '\t')) ++i;
  }
}

// A peer may have chosen the identifier: only as much of it as a log line should hold.
std::string shown(const Component& component) {
  constexpr std::size_t kMaxShown = 80;
  return component.identifier.size() <= kMaxShown ? component.identifier
                                                  : component.identifier.substr(0, kMaxShown) + "...";
}

std::unexpected<Error> refuse(const Component& component, std::string_view why) {
  return fail(Code::bad_header, Side::client, "signature component " + shown(component) + ' ' + std::string(why));
}

// Not what the message says, but what is asked of it is wrong.
std::unexpected<Error> absent(const Component& component, std::string_view why = "is not in the message") {
  return fail(Code::internal, Side::gateway, "signature component " + shown(component) + ' ' + std::string(why));
}

void append_path(std::string& out, const Message& message) {
  out += message.path.empty() ? std::string_view("/") : message.path;
}

void append_path_and_query(std::string& out, const Message& message) {
  append_path(out, message);
  if (!message.queried()) return;
  out.push_back('?');
  out += message.query;
}

// RFC 9421 2.2.8: names and values are read as a form (URL Standard 5.1: '+' is a space) and encoded again, with that
// standard's set: "*" stays and "~" does not.
void append_form_encoded(std::string& out, std::string_view text) {
  const std::string bytes = percent_decode(text, Plus::is_space);
  for (std::string_view rest = bytes; !rest.empty();) {
    const std::size_t tilde = std::min(rest.find('~'), rest.size());
    append_percent_encoded(out, rest.substr(0, tilde), "*");
    if (tilde == rest.size()) break;
    out += "%7E";
    rest.remove_prefix(tilde + 1);
  }
}

Result<void> append_query_parameter(std::string& out, const Component& component, const Message& message) {
  bool found = false;
  std::string_view rest = message.queried() ? message.query : std::string_view();
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(pair.size() + 1, rest.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    std::string name;
    append_form_encoded(name, pair.substr(0, equals));
    if (name != component.argument) continue;
    if (found) return refuse(component, "occurs more than once");
    found = true;
    if (equals < pair.size()) append_form_encoded(out, pair.substr(equals + 1));
  }
  if (!found) return absent(component);
  return {};
}

Result<void> append_dictionary_member(std::string& out, const Component& component, const Message& message) {
  std::string text;
  if (!append_field(text, *message.fields, component.name)) return absent(component);
  const auto dictionary = sf::parse_dictionary(text);
  if (!dictionary) return refuse(component, "is no dictionary");
  const sf::Member* const member = sf::find(*dictionary, component.argument);
  if (!member) return absent(component);
  const auto* const item = std::get_if<sf::Item>(&member->value);
  const bool written = item ? sf::append(out, *item) : sf::append(out, std::get<sf::InnerList>(member->value));
  return written ? Result<void>() : refuse(component, "has no text");
}

bool append_lines_as_bytes(std::string& out, const http::Headers& fields, std::string_view name) {
  bool found = false;
  for (const http::Field& field : fields) {
    if (!iequals(field.name, name)) continue;
    if (found) out += ", ";
    found = true;
    std::string line;
    append_line(line, field.value);
    sf::append_bytes(out, line);
  }
  return found;
}

Result<void> append_derived(std::string& out, const Component& component, const Message& message) {
  switch (component.kind) {
    case Kind::method: out += message.method; return {};
    case Kind::authority: append_normalized_authority(out, message.scheme, message.authority); return {};
    case Kind::scheme: out += to_lower(message.scheme); return {};
    case Kind::target_uri:
      out += to_lower(message.scheme);
      out += "://";
      append_normalized_authority(out, message.scheme, message.authority);
      append_path_and_query(out, message);
      return {};
    case Kind::request_target: append_path_and_query(out, message); return {};
    case Kind::path: append_path(out, message); return {};
    case Kind::query:
      out.push_back('?');
      if (message.queried()) out += message.query;
      return {};
    case Kind::query_parameter: return append_query_parameter(out, component, message);
    case Kind::status: out += std::to_string(message.status); return {};
    case Kind::field:
    case Kind::field_bytes:
    case Kind::field_key: break;
  }
  return absent(component, "is not derived");
}

}  // namespace

Result<void> CoveredComponents::add(const sf::Item& item, Presence presence, Side side) {
  const auto* const name = std::get_if<std::string>(&item.value);
  std::optional<Component> component = name ? understand(*name, item.parameters) : std::nullopt;
  if (!component) return fail(Code::bad_header, side, "a covered component is not understood");
  if (components_.size() == kMaxComponents) return fail(Code::bad_header, side, "too many covered components");
  const bool with_parameters = !item.parameters.empty();
  if (with_parameters && with_parameters_ == kMaxWithParameters) {
    return fail(Code::bad_header, side, "too many covered components with parameters");
  }
  component->presence = presence;
  if (!sf::append(component->identifier, item)) return fail(Code::bad_header, side, "a component without a text");
  if (std::ranges::find(components_, component->identifier, &Component::identifier) != components_.end()) {
    return fail(Code::bad_header, side, "component " + shown(*component) + " is covered twice");
  }
  components_.push_back(std::move(*component));
  with_parameters_ += with_parameters ? 1 : 0;
  return {};
}

Result<void> CoveredComponents::add(std::string_view text, Presence presence) {
  if (!text.starts_with('"')) return add(sf::Item{to_lower(text), {}}, presence, Side::gateway);
  const auto item = sf::parse_item(text);
  if (!item) return fail(Code::bad_header, Side::gateway, item.error());
  return add(*item, presence, Side::gateway);
}

Result<void> CoveredComponents::add(const sf::Item& item) { return add(item, Presence::required, Side::client); }

bool CoveredComponents::covers(std::string_view name) const noexcept {
  return std::ranges::any_of(components_, [name](const Component& component) {
    return component.name == name && component.identifier.size() == name.size() + 2;
  });
}

bool append_field(std::string& out, const http::Headers& fields, std::string_view name) {
  bool found = false;
  for (const http::Field& field : fields) {
    if (!iequals(field.name, name)) continue;
    if (found) out += ", ";
    found = true;
    append_line(out, field.value);
  }
  return found;
}

void append_normalized_authority(std::string& out, std::string_view scheme, std::string_view authority) {
  const std::string_view default_port = iequals(scheme, "https")  ? std::string_view(":443")
                                        : iequals(scheme, "http") ? std::string_view(":80")
                                                                  : std::string_view();
  if (!default_port.empty() && authority.ends_with(default_port)) authority.remove_suffix(default_port.size());
  // "host:" has an empty port (RFC 3986 6.2.3).
  if (authority.ends_with(':')) authority.remove_suffix(1);
  for (const char c : authority) out.push_back(ascii_lower(c));
}

bool is_signed(const Component& component, const Message& message) noexcept {
  if (component.presence == Presence::required || !is_field(component.kind)) return true;
  return message.fields && message.fields->find(component.name);
}

Result<void> append_component_value(std::string& out, const Component& component, const Message& message) {
  const std::size_t begin = out.size();
  Result<void> appended;
  if (is_field(component.kind)) {
    if (!message.fields) return absent(component);
    if (component.kind == Kind::field_key) {
      appended = append_dictionary_member(out, component, message);
    } else {
      const bool found = component.kind == Kind::field ? append_field(out, *message.fields, component.name)
                                                       : append_lines_as_bytes(out, *message.fields, component.name);
      if (!found) appended = absent(component);
    }
  } else if ((component.kind == Kind::status) != (message.status != 0)) {
    return absent(component, message.status != 0 ? "belongs to a request" : "belongs to a response");
  } else {
    appended = append_derived(out, component, message);
  }
  if (!appended) return appended;
  const std::string_view value = std::string_view(out).substr(begin);
  // A line break would begin a component of the attacker's choice.
  const bool fits = std::ranges::all_of(value, [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; });
  return fits ? Result<void>() : refuse(component, "has bytes that cannot be signed");
}

}  // namespace postern::signature
