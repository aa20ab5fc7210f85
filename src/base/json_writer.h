// JsonWriter: appends JSON to a string: enough for problem+json, status and reports. Text is escaped to ASCII; bytes
// that are not UTF-8 become U+FFFD. Commas are its business, nesting is the caller's.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern {

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) noexcept : out_(out) {}

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }
  void key(std::string_view name);
  void value(std::string_view text);
  void value(const char* text) { value(std::string_view(text)); }
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  void value(T number) {
    separate();
    out_ += std::to_string(number);
  }
  void value_bool(std::same_as<bool> auto truth) {
    separate();
    out_ += truth ? "true" : "false";
  }
  void value_null() {
    separate();
    out_ += "null";
  }
  template <typename T>
  void field(std::string_view name, const T& content) {
    key(name);
    value(content);
  }

 private:
  void separate();
  void open(char bracket);
  void close(char bracket);
  std::string& out_;
  bool first_ = true;
  bool after_key_ = false;
};

// Appends `text` as a JSON string with its quotes.
void append_json_string(std::string& out, std::string_view text);

}  // namespace postern
