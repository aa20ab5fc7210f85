#include "jose/json.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/strings.h"

namespace postern::jose {
namespace {

constexpr std::size_t kFewMembers = 16;  // up to here comparing each with each is faster than sorting

// Bytes of the well-formed UTF-8 sequence in front (RFC 3629 4), 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
    return i < text.size() && at(i) >= low && at(i) <= high;
  };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned low = first == 0xe0 ? 0xa0 : 0x80;   // no overlong form
    const unsigned high = first == 0xed ? 0x9f : 0xbf;  // no surrogate
    return tail(1, low, high) && tail(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned low = first == 0xf0 ? 0x90 : 0x80;
    const unsigned high = first == 0xf4 ? 0x8f : 0xbf;  // up to U+10FFFF
    return tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xc0 | code >> 6);
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3f));
  } else {
    put(0xf0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3f));
    put(0x80 | (code >> 6 & 0x3f));
  }
  put(0x80 | (code & 0x3f));
}

bool has_duplicates(const Json::Object& members) {
  if (members.size() <= kFewMembers) {
    for (std::size_t i = 1; i < members.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (members[i].name == members[j].name) return true;
      }
    }
    return false;
  }
  std::vector<std::string_view> names;
  names.reserve(members.size());
  for (const Json::Member& member : members) names.push_back(member.name);
  std::ranges::sort(names);
  return std::ranges::adjacent_find(names) != names.end();
}

}  // namespace

std::string JsonFault::to_string() const { return std::string(what) + ", at byte " + std::to_string(at); }

Json::Json() noexcept = default;
Json::Json(const Json&) = default;
Json& Json::operator=(const Json&) = default;
Json::Json(Json&&) noexcept = default;
Json& Json::operator=(Json&&) noexcept = default;
Json::~Json() = default;

// Recursive descent. Each function reads one thing at at_ and says whether it could; the first fault stays.
class JsonReader {
 public:
  JsonReader(std::string_view text, const JsonLimits& limits) noexcept
      : text_(text), max_depth_(std::min(limits.depth, kMaxJsonDepth)), values_left_(limits.values) {}

  std::expected<Json, JsonFault> read(std::size_t max_bytes) {
    Json out;
    if (text_.size() > max_bytes) return std::unexpected(JsonFault{"the text is too long", max_bytes});
    if (!value(out, 0) || !nothing_behind()) {
      out.wipe();  // it may have been a damaged key
      return std::unexpected(fault_);
    }
    return out;
  }

 private:
  bool fault(std::string_view what) {
    fault_ = {what, at_};
    return false;
  }
  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  [[nodiscard]] char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool take(char c) {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) ++at_;
  }

  bool nothing_behind() {
    skip_space();
    return at_end() || fault("something behind the value");
  }

  bool value(Json& out, std::size_t depth) {
    skip_space();
    if (at_end()) return fault("the text ends where a value belongs");
    if (values_left_ == 0) return fault("too many values");
    --values_left_;
    switch (text_[at_]) {
      case '{': return object(out, depth);
      case '[': return array(out, depth);
      case '"': return string(out.value_.emplace<std::string>());
      case 't': return word("true", out, true);
      case 'f': return word("false", out, false);
      case 'n': return word("null", out, std::monostate());
      default: return number(out);
    }
  }

  template <typename T>
  bool word(std::string_view spelling, Json& out, T meaning) {
    if (!text_.substr(at_).starts_with(spelling)) return fault("no value");
    at_ += spelling.size();
    out.value_ = meaning;
    return true;
  }

  bool object(Json& out, std::size_t depth) {
    if (depth == max_depth_) return fault("nested too deep");
    const std::size_t begin = at_++;
    Json::Object& members = out.value_.emplace<Json::Object>();
    skip_space();
    if (take('}')) return true;
    for (;;) {
      skip_space();
      if (peek() != '"') return fault("no name where the name of a member belongs");
      Json::Member& member = members.emplace_back();
      if (!string(member.name)) return false;
      skip_space();
      if (!take(':')) return fault("no colon behind the name of a member");
      if (!value(member.value, depth + 1)) return false;
      skip_space();
      if (take('}')) break;
      if (!take(',')) return fault("neither a comma nor the end of the object");
    }
    if (!has_duplicates(members)) return true;
    at_ = begin;
    return fault("an object with the same name twice");
  }

  bool array(Json& out, std::size_t depth) {
    if (depth == max_depth_) return fault("nested too deep");
    ++at_;
    Json::Array& items = out.value_.emplace<Json::Array>();
    skip_space();
    if (take(']')) return true;
    for (;;) {
      if (!value(items.emplace_back(), depth + 1)) return false;
      skip_space();
      if (take(']')) return true;
      if (!take(',')) return fault("neither a comma nor the end of the array");
    }
  }

  bool string(std::string& out) {
    ++at_;
    // Not longer than what it is written as: so it never moves, and leaves no copy of a secret behind.
    const std::size_t end = end_of_string();
    if (end == std::string_view::npos) return fault("a string without its end");
    out.reserve(end - at_);
    while (at_ < end) {
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c < 0x20) return fault("a control character in a string");
      if (c == '\\') {
        if (!escape(out)) return false;
        continue;
      }
      const std::size_t length = utf8_length(text_.substr(at_));
      if (length == 0) return fault("bytes that are not UTF-8");
      out.append(text_, at_, length);
      at_ += length;
    }
    ++at_;
    return true;
  }

  [[nodiscard]] std::size_t end_of_string() const {
    for (std::size_t i = at_; i < text_.size(); ++i) {
      if (text_[i] == '"') return i;
      if (text_[i] == '\\') ++i;
    }
    return std::string_view::npos;
  }

  bool escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = text_[at_ + 1];  // end_of_string() has seen it
    if (letter == 'u') return unicode(out);
    const std::size_t which = kLetters.find(letter);
    if (which == std::string_view::npos) return fault("an unknown escape in a string");
    out += kMeanings[which];
    at_ += 2;
    return true;
  }

  // RFC 8259 7; a surrogate stands for something only in a pair.
  bool unicode(std::string& out) {
    const std::size_t begin = at_;
    std::uint32_t code = 0;
    if (!four_digits(code)) return fault("an escape \\u without four digits");
    if (code >= 0xd800 && code <= 0xdfff) {
      std::uint32_t low = 0;
      if (code >= 0xdc00 || !four_digits(low) || low < 0xdc00 || low > 0xdfff) {
        at_ = begin;
        return fault("half a surrogate pair");
      }
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, code);
    return true;
  }

  bool four_digits(std::uint32_t& code) {
    if (text_.size() - at_ < 6 || text_[at_] != '\\' || text_[at_ + 1] != 'u') return false;
    for (const char c : text_.substr(at_ + 2, 4)) {
      const int digit = hex_value(c);
      if (digit < 0) return false;
      code = code << 4 | static_cast<std::uint32_t>(digit);
    }
    at_ += 6;
    return true;
  }

  bool digits() {
    const std::size_t begin = at_;
    while (is_digit(peek())) ++at_;
    return at_ != begin;
  }

  // RFC 8259 6. std::from_chars knows neither "+1" nor " 1", but does know "nan" and "01".
  bool number(Json& out) {
    const std::size_t begin = at_;
    take('-');
    if (!is_digit(peek())) {
      at_ = begin;
      return fault("no value");
    }
    if (take('0')) {
      if (is_digit(peek())) return fault("a number with a leading zero");
    } else {
      digits();
    }
    bool whole = true;
    if (take('.')) {
      whole = false;
      if (!digits()) return fault("a number without digits behind its point");
    }
    if (take('e') || take('E')) {
      whole = false;
      if (!take('+')) take('-');
      if (!digits()) return fault("a number without digits in its exponent");
    }
    const char* const first = text_.data() + begin;
    const char* const last = text_.data() + at_;
    const auto parsed = [&]<typename T>(T& result) { return std::from_chars(first, last, result).ec == std::errc(); };
    std::int64_t integer = 0;
    std::uint64_t positive = 0;
    double real = 0;
    if (whole && parsed(integer)) {
      out.value_ = integer;
    } else if (whole && parsed(positive)) {
      out.value_ = positive;
    } else if (parsed(real)) {
      out.value_ = real;
    } else {
      at_ = begin;
      return fault("a number out of range");
    }
    return true;
  }

  std::string_view text_;
  std::size_t max_depth_;
  std::size_t values_left_;
  std::size_t at_ = 0;
  JsonFault fault_;
};

std::expected<Json, JsonFault> Json::parse(std::string_view text, const JsonLimits& limits) {
  return JsonReader(text, limits).read(limits.bytes);
}

const std::string* Json::if_string() const noexcept { return std::get_if<std::string>(&value_); }
const Json::Array* Json::if_array() const noexcept { return std::get_if<Array>(&value_); }
const Json::Object* Json::if_object() const noexcept { return std::get_if<Object>(&value_); }
bool Json::is_null() const noexcept { return std::holds_alternative<std::monostate>(value_); }
bool Json::is_number() const noexcept { return if_double().has_value(); }

std::optional<bool> Json::if_bool() const noexcept {
  const bool* const it = std::get_if<bool>(&value_);
  return it ? std::optional(*it) : std::nullopt;
}

std::optional<std::int64_t> Json::if_int64() const noexcept {
  const std::int64_t* const it = std::get_if<std::int64_t>(&value_);
  return it ? std::optional(*it) : std::nullopt;
}

std::optional<std::uint64_t> Json::if_uint64() const noexcept {
  if (const std::uint64_t* const it = std::get_if<std::uint64_t>(&value_)) return *it;
  const std::int64_t* const it = std::get_if<std::int64_t>(&value_);
  return it && *it >= 0 ? std::optional(static_cast<std::uint64_t>(*it)) : std::nullopt;
}

std::optional<double> Json::if_double() const noexcept {
  if (const double* const it = std::get_if<double>(&value_)) return *it;
  if (const std::int64_t* const it = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*it);
  const std::uint64_t* const it = std::get_if<std::uint64_t>(&value_);
  return it ? std::optional(static_cast<double>(*it)) : std::nullopt;
}

const Json* Json::find(std::string_view name) const noexcept {
  const Object* const members = if_object();
  if (!members) return nullptr;
  const auto it = std::ranges::find_if(*members, [&](const Member& member) { return member.name == name; });
  return it == members->end() ? nullptr : &it->value;
}

const std::string* Json::find_string(std::string_view name) const noexcept {
  const Json* const value = find(name);
  return value ? value->if_string() : nullptr;
}

void Json::wipe() noexcept {
  if (std::string* const text = std::get_if<std::string>(&value_)) OPENSSL_cleanse(text->data(), text->size());
  if (Array* const items = std::get_if<Array>(&value_)) {
    for (Json& item : *items) item.wipe();
  }
  if (Object* const members = std::get_if<Object>(&value_)) {
    for (Member& member : *members) member.value.wipe();
  }
}

}  // namespace postern::jose
