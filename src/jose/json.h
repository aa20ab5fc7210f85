// Json: a small, strict reader for what peers and files say in JSON: headers and claims of tokens, key sets, answers of
// token endpoints.
//
// Stricter than RFC 8259 where readers differ, since two of them may read the same text (RFC 8725 2.6): a name twice in
// one object is an error at every depth, so is a lone surrogate, a number that no double holds, anything behind the
// value, and text that is not UTF-8. Limits are counted before memory is taken. Values are owned; no thread, no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace postern::jose {

struct JsonLimits {
  std::size_t bytes = 64 * 1024;  // of the text
  std::size_t depth = 16;         // of arrays and objects in each other; at most kMaxJsonDepth
  std::size_t values = 8192;      // in all, names of members not counted
};
// The reader calls itself for every level.
inline constexpr std::size_t kMaxJsonDepth = 64;

// Constant text, and where: never a part of the content, which may be a secret.
struct JsonFault {
  std::string_view what;
  std::size_t at = 0;  // in bytes from the beginning
  // "what, at byte 12"
  [[nodiscard]] std::string to_string() const;
};

class Json {
 public:
  struct Member;
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;  // in the order of the text

  // The one value of a text. RFC 8259 white space may surround it.
  [[nodiscard]] static std::expected<Json, JsonFault> parse(std::string_view text, const JsonLimits& limits = {});

  Json() noexcept;  // null
  Json(const Json& other);
  Json& operator=(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(Json&& other) noexcept;
  ~Json();

  // What it is, or nullptr (nullopt) if it is something else; nothing is converted. Pointers live as long as the value
  // is not changed.
  [[nodiscard]] const std::string* if_string() const noexcept [[clang::lifetimebound]];
  [[nodiscard]] const Array* if_array() const noexcept [[clang::lifetimebound]];
  [[nodiscard]] const Object* if_object() const noexcept [[clang::lifetimebound]];
  [[nodiscard]] std::optional<bool> if_bool() const noexcept;
  [[nodiscard]] bool is_null() const noexcept;
  [[nodiscard]] bool is_number() const noexcept;
  // A number written without fraction and exponent that fits.
  [[nodiscard]] std::optional<std::int64_t> if_int64() const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> if_uint64() const noexcept;
  // Any number: finite, the nearest double.
  [[nodiscard]] std::optional<double> if_double() const noexcept;

  // The member of that name; nullptr if there is none or this is no object.
  [[nodiscard]] const Json* find(std::string_view name) const noexcept [[clang::lifetimebound]];
  // The text of the member of that name; nullptr if there is none or it is no string.
  [[nodiscard]] const std::string* find_string(std::string_view name) const noexcept [[clang::lifetimebound]];

  // Overwrites every text in it: for keys and tokens that have been read.
  void wipe() noexcept;

 private:
  friend class JsonReader;
  // Integers in int64_t if they fit, else in uint64_t, else as double.
  std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object> value_;
};

struct Json::Member {
  std::string name;
  Json value;
};

}  // namespace postern::jose
