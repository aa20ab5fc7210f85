// Header fields of one message as views: names and values borrow from the buffer or arena they were parsed into and
// are valid as long as that is (an Exchange keeps both until it is accounted).
//
// Order and duplicates are kept. Names keep the sender's case; comparison is ASCII case-insensitive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace postern::http {

enum class HeaderName : std::uint8_t {
  other = 0,
#define POSTERN_HEADER(name, text) name,
#include "http/header_names.inc"
#undef POSTERN_HEADER
};

// HeaderName::other if the gateway has no interest of its own in `name`.
[[nodiscard]] HeaderName lookup_header_name(std::string_view name) noexcept;
// A field that behind a body would change framing, routing or trust after the fact (RFC 9110 6.5.1).
[[nodiscard]] bool is_forbidden_trailer(HeaderName name) noexcept;
// Lower-case text; "" for other.
[[nodiscard]] std::string_view header_text(HeaderName name) noexcept;

// What origins make of a byte of a field name when they turn it into a variable: CGI knows only letters, digits and '_'
// (RFC 3875 4.1.18), and servers map '-', '.', '+', '!' and every other tchar to it. Here '-' stands for all of them.
[[nodiscard]] constexpr char fold_name_byte(char c) noexcept {
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c + ('a' - 'A'));
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
}
// True if an origin could read `candidate` as `name`: the same bytes after folding. Used for every header that the
// gateway vouches for.
[[nodiscard]] bool is_alias_of_same_size(std::string_view candidate, std::string_view name) noexcept;
[[nodiscard]] inline bool is_alias_of(std::string_view candidate, std::string_view name) noexcept {
  return candidate.size() == name.size() && is_alias_of_same_size(candidate, name);
}

struct Field {
  std::string_view name;
  std::string_view value;
  HeaderName id = HeaderName::other;
};

// A small vector of fields: the first kInline live inside the object, more go to the heap. Not thread-safe.
class Headers {
 public:
  static constexpr std::size_t kInline = 24;

  Headers() noexcept {}  // NOLINT: leaves inline_ unset on purpose
  Headers(const Headers&) = delete;
  Headers& operator=(const Headers&) = delete;
  ~Headers() = default;

  void append(std::string_view name, std::string_view value, HeaderName id);
  void append(std::string_view name, std::string_view value) { append(name, value, lookup_header_name(name)); }
  void append(HeaderName id, std::string_view value) { append(header_text(id), value, id); }

  // The first field of that name; nullptr if there is none. The pointer is valid until the next append or remove.
  [[nodiscard]] const Field* find(HeaderName id) const noexcept;
  [[nodiscard]] const Field* find(std::string_view name) const noexcept;
  [[nodiscard]] std::size_t count(HeaderName id) const noexcept;
  [[nodiscard]] std::size_t count(std::string_view name) const noexcept;
  // The value of the first field of that name, or "".
  [[nodiscard]] std::string_view value(HeaderName id) const noexcept;

  // Each returns how many fields were removed; the order of the rest is kept.
  std::size_t remove(HeaderName id) noexcept;
  std::size_t remove(std::string_view name) noexcept;
  std::size_t remove_aliases_of(std::string_view name) noexcept;
  template <typename Predicate>
  std::size_t remove_if(Predicate&& predicate) {
    Field* const first = data();
    std::size_t kept = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      if (predicate(static_cast<const Field&>(first[i]))) continue;
      if (kept != i) first[kept] = first[i];
      ++kept;
    }
    const std::size_t removed = size_ - kept;
    size_ = kept;
    return removed;
  }
  // Removes every field of that name, then appends one.
  void set(std::string_view name, std::string_view value);

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] const Field* begin() const noexcept { return data(); }
  [[nodiscard]] const Field* end() const noexcept { return data() + size_; }
  [[nodiscard]] Field& operator[](std::size_t i) noexcept { return data()[i]; }
  [[nodiscard]] const Field& operator[](std::size_t i) const noexcept { return data()[i]; }
  void clear() noexcept { size_ = 0; }

 private:
  [[nodiscard]] Field* data() noexcept { return heap_ ? heap_.get() : inline_; }
  [[nodiscard]] const Field* data() const noexcept { return heap_ ? heap_.get() : inline_; }
  void grow();

  std::size_t size_ = 0;
  std::size_t capacity_ = kInline;
  std::unique_ptr<Field[]> heap_;
  // In a union so that an Exchange with its several Headers does not pay for clearing fields nobody reads.
  union {
    Field inline_[kInline];
  };
};

}  // namespace postern::http
