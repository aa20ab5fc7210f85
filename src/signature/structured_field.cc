#include "signature/structured_field.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "signature/base64.h"

namespace postern::signature::sf {
namespace {

constexpr std::size_t kMaxKey = 64;

constexpr bool is_lower(char c) noexcept { return c >= 'a' && c <= 'z'; }
constexpr bool begins_key(char c) noexcept { return is_lower(c) || c == '*'; }
constexpr bool continues_key(char c) noexcept {
  return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '.' || c == '*';
}
constexpr bool begins_token(char c) noexcept { return is_alpha(c) || c == '*'; }
constexpr bool continues_token(char c) noexcept {
  return is_alpha(c) || is_digit(c) || std::string_view("!#$%&'*+-.^_`|~:/").find(c) != std::string_view::npos;
}
constexpr bool is_printable(char c) noexcept { return c >= ' ' && c <= '~'; }

// Recursive descent over RFC 8941 4.2; the depth is fixed by the grammar. A method returns false after noting what it
// expected, and everything unwinds.
class Parser {
 public:
  explicit Parser(std::string_view text) noexcept : text_(text) {}

  bool dictionary(Dictionary& out) {
    skip_spaces();
    while (!at_end()) {
      if (out.size() == kMaxMembers) return expected("fewer members");
      Member member;
      if (!key(member.key)) return false;
      if (find(out, member.key)) return expected("every key once");
      if (!value(member)) return false;
      out.push_back(std::move(member));
      skip_ows();
      if (at_end()) return true;
      if (!take(',')) return expected("a comma");
      skip_ows();
      if (at_end()) return expected("a member after the comma");
    }
    return true;
  }

  bool whole_item(Item& out) {
    skip_spaces();
    if (!item(out)) return false;
    skip_spaces();
    return at_end() || expected("the end");
  }

  [[nodiscard]] std::unexpected<std::string> error() const {
    return std::unexpected("structured field: " + std::string(expectation_) + " expected at byte " +
                           std::to_string(position_));
  }

 private:
  [[nodiscard]] bool at_end() const noexcept { return position_ == text_.size(); }
  [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : text_[position_]; }
  bool take(char c) noexcept {
    if (at_end() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  void skip_spaces() noexcept {
    while (take(' ')) {
    }
  }
  void skip_ows() noexcept {
    while (take(' ') || take('\t')) {
    }
  }
  bool expected(std::string_view what) noexcept {
    expectation_ = what;
    return false;
  }

  bool key(std::string& out) {
    if (at_end() || !begins_key(peek())) return expected("a key");
    const std::size_t begin = position_;
    while (!at_end() && continues_key(peek())) ++position_;
    if (position_ - begin > kMaxKey) return expected("a shorter key");
    out = text_.substr(begin, position_ - begin);
    return true;
  }

  bool value(Member& out) {
    if (!take('=')) {
      Item& flag = out.value.emplace<Item>();
      flag.value = true;
      return parameters(flag.parameters);
    }
    if (peek() == '(') return inner_list(out.value.emplace<InnerList>());
    return item(out.value.emplace<Item>());
  }

  bool inner_list(InnerList& out) {
    take('(');
    while (true) {
      skip_spaces();
      if (take(')')) return parameters(out.parameters);
      if (out.items.size() == kMaxItems) return expected("fewer items");
      if (!item(out.items.emplace_back())) return false;
      if (peek() != ' ' && peek() != ')') return expected("a space or the end of the list");
    }
  }

  bool item(Item& out) { return bare_item(out.value) && parameters(out.parameters); }

  bool parameters(Parameters& out) {
    while (take(';')) {
      skip_spaces();
      if (out.size() == kMaxParameters) return expected("fewer parameters");
      Parameter parameter{{}, true};
      if (!key(parameter.key)) return false;
      if (find(out, parameter.key)) return expected("every parameter once");
      if (take('=') && !bare_item(parameter.value)) return false;
      out.push_back(std::move(parameter));
    }
    return true;
  }

  bool bare_item(BareItem& out) {
    const char c = peek();
    if (c == '"') return string(out.emplace<std::string>());
    if (c == ':') return bytes(out.emplace<Bytes>().data);
    if (c == '?') return boolean(out);
    if (c == '@') return date(out);
    if (c == '-' || is_digit(c)) return number(out);
    if (!at_end() && begins_token(c)) {
      const std::size_t begin = position_;
      while (!at_end() && continues_token(peek())) ++position_;
      out.emplace<Token>().text = text_.substr(begin, position_ - begin);
      return true;
    }
    return expected("a value");
  }

  bool string(std::string& out) {
    take('"');
    while (!at_end()) {
      char c = text_[position_];
      if (c == '"') {
        ++position_;
        return true;
      }
      if (c == '\\') {
        ++position_;
        c = peek();
        if (c != '"' && c != '\\') return expected("a quote or a backslash");
      } else if (!is_printable(c)) {
        return expected("printable ASCII");
      }
      out.push_back(c);
      ++position_;
    }
    return expected("the end of the string");
  }

  bool bytes(std::string& out) {
    take(':');
    const std::size_t end = text_.find(':', position_);
    if (end == std::string_view::npos) return expected("the end of the byte sequence");
    std::optional<std::string> decoded = decode_base64(text_.substr(position_, end - position_));
    if (!decoded) return expected("base64");
    out = std::move(*decoded);
    position_ = end + 1;
    return true;
  }

  bool boolean(BareItem& out) {
    take('?');
    if (peek() != '0' && peek() != '1') return expected("0 or 1");
    out = text_[position_++] == '1';
    return true;
  }

  bool date(BareItem& out) {
    take('@');
    BareItem seconds;
    if (!number(seconds)) return false;
    const auto* const integer = std::get_if<std::int64_t>(&seconds);
    if (!integer) return expected("an integer");
    out = Date{*integer};
    return true;
  }

  // RFC 8941 4.2.4: at most 15 digits, or 12 and 3 behind the point.
  bool number(BareItem& out) {
    const bool negative = take('-');
    if (!is_digit(peek())) return expected("a digit");
    std::int64_t number = 0;
    std::size_t digits = 0;
    while (is_digit(peek())) {
      if (++digits > 15) return expected("at most 15 digits");
      number = number * 10 + (text_[position_++] - '0');
    }
    if (!take('.')) {
      out = negative ? -number : number;
      return true;
    }
    if (digits > 12) return expected("at most 12 digits before the point");
    std::size_t fraction = 0;
    while (is_digit(peek())) {
      if (++fraction > 3) return expected("at most 3 digits behind the point");
      number = number * 10 + (text_[position_++] - '0');
    }
    if (fraction == 0) return expected("a digit behind the point");
    for (; fraction < 3; ++fraction) number *= 10;
    out = Decimal{negative ? -number : number};
    return true;
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::string_view expectation_;
};

bool append_token(std::string& out, std::string_view text) {
  if (text.empty() || !begins_token(text[0]) || !std::ranges::all_of(text, continues_token)) return false;
  out += text;
  return true;
}

bool append_decimal(std::string& out, Decimal value) {
  // 12 digits before the point, 3 behind: as a count of thousandths the same bound as an integer.
  if (value.thousandths > kMaxInteger || value.thousandths < -kMaxInteger) return false;
  const std::int64_t magnitude = value.thousandths < 0 ? -value.thousandths : value.thousandths;
  if (value.thousandths < 0) out.push_back('-');
  out += std::to_string(magnitude / 1000);
  std::string fraction = std::to_string(1000 + magnitude % 1000);
  fraction[0] = '.';
  while (fraction.size() > 2 && fraction.back() == '0') fraction.pop_back();
  out += fraction;
  return true;
}

bool append_key(std::string& out, std::string_view key) {
  if (!is_key(key)) return false;
  out += key;
  return true;
}

}  // namespace

Parsed<Dictionary> parse_dictionary(std::string_view text) {
  if (text.size() > kMaxBytes) return std::unexpected("structured field: too long");
  Parser parser(text);
  Dictionary out;
  if (!parser.dictionary(out)) return parser.error();
  return out;
}

Parsed<Item> parse_item(std::string_view text) {
  if (text.size() > kMaxBytes) return std::unexpected("structured field: too long");
  Parser parser(text);
  Item out;
  if (!parser.whole_item(out)) return parser.error();
  return out;
}

const Member* find(const Dictionary& dictionary, std::string_view key) noexcept {
  const auto it = std::ranges::find(dictionary, key, &Member::key);
  return it == dictionary.end() ? nullptr : &*it;
}

const BareItem* find(const Parameters& parameters, std::string_view key) noexcept {
  const auto it = std::ranges::find(parameters, key, &Parameter::key);
  return it == parameters.end() ? nullptr : &it->value;
}

bool is_key(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kMaxKey && begins_key(text[0]) && std::ranges::all_of(text, continues_key);
}

bool append_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    if (!is_printable(c)) return false;
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
  return true;
}

bool append_integer(std::string& out, std::int64_t number) {
  if (number > kMaxInteger || number < -kMaxInteger) return false;
  out += std::to_string(number);
  return true;
}

void append_bytes(std::string& out, std::string_view bytes) {
  out.push_back(':');
  append_base64(out, bytes);
  out.push_back(':');
}

bool append(std::string& out, const BareItem& value) {
  struct Visitor {
    std::string& out;
    bool operator()(std::int64_t number) const { return append_integer(out, number); }
    bool operator()(Decimal number) const { return append_decimal(out, number); }
    bool operator()(const std::string& text) const { return append_string(out, text); }
    bool operator()(const Token& token) const { return append_token(out, token.text); }
    bool operator()(const Bytes& bytes) const {
      append_bytes(out, bytes.data);
      return true;
    }
    bool operator()(bool truth) const {
      out += truth ? "?1" : "?0";
      return true;
    }
    bool operator()(Date date) const {
      out.push_back('@');
      return append_integer(out, date.unix_seconds);
    }
  };
  return std::visit(Visitor{out}, value);
}

bool append(std::string& out, const Parameters& parameters) {
  for (const Parameter& parameter : parameters) {
    out.push_back(';');
    if (!append_key(out, parameter.key)) return false;
    if (parameter.value == BareItem(true)) continue;
    out.push_back('=');
    if (!append(out, parameter.value)) return false;
  }
  return true;
}

bool append(std::string& out, const Item& item) { return append(out, item.value) && append(out, item.parameters); }

bool append(std::string& out, const InnerList& list) {
  out.push_back('(');
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i != 0) out.push_back(' ');
    if (!append(out, list.items[i])) return false;
  }
  out.push_back(')');
  return append(out, list.parameters);
}

bool append(std::string& out, const Dictionary& dictionary) {
  for (std::size_t i = 0; i < dictionary.size(); ++i) {
    if (i != 0) out += ", ";
    const Member& member = dictionary[i];
    if (!append_key(out, member.key)) return false;
    const auto* const item = std::get_if<Item>(&member.value);
    if (item && item->value == BareItem(true)) {
      if (!append(out, item->parameters)) return false;
      continue;
    }
    out.push_back('=');
    const bool written = item ? append(out, *item) : append(out, std::get<InnerList>(member.value));
    if (!written) return false;
  }
  return true;
}

}  // namespace postern::signature::sf
