// Structured field values (RFC 8941, RFC 9651): what Signature-Input, Signature and Content-Digest are written in.
//
// Stricter than RFC 8941 where two readers could differ: a key that occurs twice in a dictionary or in parameters is an
// error instead of a silent overwrite, byte sequences have one spelling (signature/base64.h), and everything is
// bounded. Display strings (RFC 9651 3.3.8) are refused: no field of ours has one. What was parsed and is written again
// is canonical, and the same if it is parsed once more (tests/fuzz/signature_input_fuzz.cc).
//
// Values own their bytes. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace postern::signature::sf {

// Limits of the parser. A field of ours has one or two members with less than twenty items.
inline constexpr std::size_t kMaxBytes = std::size_t{16} << 10;
inline constexpr std::size_t kMaxMembers = 32;
inline constexpr std::size_t kMaxItems = 128;      // of an inner list
inline constexpr std::size_t kMaxParameters = 32;  // of an item, list or member
inline constexpr std::int64_t kMaxInteger = 999'999'999'999'999;

// RFC 8941 3.3.4: a word without quotes. ALPHA or "*", then also DIGIT and the symbols of a tchar, ":" and "/".
struct Token {
  std::string text;
  bool operator==(const Token&) const = default;
};
// RFC 8941 3.3.5: decoded; any bytes.
struct Bytes {
  std::string data;
  bool operator==(const Bytes&) const = default;
};
// RFC 8941 3.3.2, as a count: a decimal has three digits behind the point, and a double would round them.
struct Decimal {
  std::int64_t thousandths = 0;
  bool operator==(const Decimal&) const = default;
};
// RFC 9651 3.3.7.
struct Date {
  std::int64_t unix_seconds = 0;
  bool operator==(const Date&) const = default;
};
// RFC 8941 3.3. std::int64_t is an Integer of at most 15 digits, std::string a String (printable ASCII, unescaped),
// bool a Boolean.
using BareItem = std::variant<std::int64_t, Decimal, std::string, Token, Bytes, bool, Date>;

// RFC 8941 3.1.2. Without a value in the text it is true.
struct Parameter {
  std::string key;
  BareItem value;
  bool operator==(const Parameter&) const = default;
};
// In the order of the text; keys are unique.
using Parameters = std::vector<Parameter>;

// RFC 8941 3.3: a value and what is said about it.
struct Item {
  BareItem value;
  Parameters parameters;
  bool operator==(const Item&) const = default;
};
// RFC 8941 3.1.1. The covered components of a signature are one, and its parameters are the signature's.
struct InnerList {
  std::vector<Item> items;
  Parameters parameters;
  bool operator==(const InnerList&) const = default;
};
// RFC 8941 3.2. Without a value in the text it is the item true. The key is a signature's label, or a digest's name.
struct Member {
  std::string key;
  std::variant<Item, InnerList> value;
  bool operator==(const Member&) const = default;
};
// In the order of the text; keys are unique.
using Dictionary = std::vector<Member>;

// What was read, or why it cannot be: what was expected at which byte, never a part of the text. Whose fault that is
// depends on who sent it, so the caller makes an Error of it.
template <typename T>
using Parsed = std::expected<T, std::string>;

// RFC 8941 4.2.2. Several lines of one field are joined with ", " first: append_field() in signature/message.h. The
// empty text is an empty dictionary.
[[nodiscard]] Parsed<Dictionary> parse_dictionary(std::string_view text);
// One item with its parameters, as a covered component is written: "@query-param";name="id".
[[nodiscard]] Parsed<Item> parse_item(std::string_view text);

// The first member or parameter of that key; nullptr if there is none. Valid until the container changes.
[[nodiscard]] const Member* find(const Dictionary& dictionary [[clang::lifetimebound]], std::string_view key) noexcept;
[[nodiscard]] const BareItem* find(const Parameters& parameters [[clang::lifetimebound]],
                                   std::string_view key) noexcept;

// RFC 8941 4.1: append the canonical text. False, and nothing useful appended, if a value has no text: a string that is
// not printable ASCII, a number beyond 15 digits, a malformed key or token. Never false for what was parsed.
[[nodiscard]] bool append(std::string& out, const BareItem& value);
[[nodiscard]] bool append(std::string& out, const Parameters& parameters);
[[nodiscard]] bool append(std::string& out, const Item& item);
[[nodiscard]] bool append(std::string& out, const InnerList& list);
[[nodiscard]] bool append(std::string& out, const Dictionary& dictionary);

// The same without building a value first, for what signs every request. A text is quoted and escaped (RFC 8941
// 4.1.6), a number has at most 15 digits (4.1.4), bytes stand between colons (4.1.8) and always have a text.
[[nodiscard]] bool append_string(std::string& out, std::string_view text);
[[nodiscard]] bool append_integer(std::string& out, std::int64_t number);
void append_bytes(std::string& out, std::string_view bytes);
// lcalpha or "*", then lcalpha, DIGIT, "_", "-", ".", "*" (RFC 8941 3.1.2); at most 64 bytes.
[[nodiscard]] bool is_key(std::string_view text) noexcept;

}  // namespace postern::signature::sf
