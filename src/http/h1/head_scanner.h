// What request and response heads have in common: their lines, found and judged in one pass from left to right, and the
// field rules of RFC 9112 section 5 and RFC 9110 section 5, strictly.
//
// The verdict on any beginning of a head depends on its bytes alone, never on how they were cut into reads: each rule
// looks at the first byte that breaks it, and a limit at a position.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace postern::http::h1 {

struct HeadLimits {
  std::size_t max_header_count = 100;
  std::size_t max_header_bytes = 32 * 1024;  // all field lines and the empty line together
  std::size_t max_target_length = 8 * 1024;  // of the request-target
};

enum class Parse : std::uint8_t { need_more, done };

enum class Flaw : std::uint8_t {
  none,
  unfinished,  // nothing wrong so far, but the line is not all there
  bare_lf,     // a line ended by LF alone
  bare_cr,
  bad_name,   // empty, not a token, space before the colon, no colon
  bad_value,  // a control character
  folded,     // obs-fold
  too_many,
  too_large,
};
[[nodiscard]] std::string_view describe(Flaw flaw) noexcept;

// Judges the field line that starts at `at` and is not the empty line. Only with Flaw::none, `out` (views into the
// line) and `next` (behind its CRLF) are set.
[[nodiscard]] Flaw scan_field(const char* at, const char* end, Field& out, const char*& next) noexcept;

[[nodiscard]] bool is_token(std::string_view text) noexcept;

// Goes through a head in a growing, contiguous buffer that may move between the calls, hence offsets. Field lines are
// judged byte by byte as they come. Bytes seen before are looked at again only when a line reaches its colon or its
// end, and in one last pass that takes the views if the head came in more than one piece.
class HeadScanner {
 public:
  // The start line without its CRLF: none, unfinished, bare_lf, or too_large if it has more than `max_size` bytes.
  [[nodiscard]] Flaw find_start_line(std::string_view bytes, std::size_t max_size, std::string_view& line) noexcept;
  [[nodiscard]] bool has_start_line() const noexcept { return fields_ != 0; }
  // Again, out of the present buffer; after find_start_line() found it.
  [[nodiscard]] std::string_view start_line(std::string_view bytes) const noexcept {
    return bytes.substr(start_, fields_ - 2 - start_);
  }
  // Moves the start line to behind an empty line of two bytes, once.
  [[nodiscard]] bool skip_empty_line() noexcept;
  [[nodiscard]] std::size_t start() const noexcept { return start_; }

  // All field lines up to the empty one, appended to `out`, which comes empty. None: the head is complete.
  [[nodiscard]] Flaw scan_fields(std::string_view bytes, const HeadLimits& limits, Headers& out);
  // After scan_fields() returned none: the head's size with its empty line.
  [[nodiscard]] std::size_t head_size() const noexcept { return line_; }

  void reset() noexcept { *this = HeadScanner(); }

 private:
  // All bytes since scanned_ merely continue the name or the value that the last call ended in.
  [[nodiscard]] bool continues_line(std::string_view bytes) const noexcept;

  std::size_t start_ = 0;    // of the start line
  std::size_t fields_ = 0;   // of the first field line; 0: the start line is not complete
  std::size_t line_ = 0;     // of the first line that is not complete
  std::size_t scanned_ = 0;  // between line_ and here nothing is wrong and no line ends
  std::size_t count_ = 0;    // field lines before line_
  bool in_value_ = false;    // the colon of the field line at line_ has come
};

// What the fields say about the message as a whole, before the rules that differ between requests and responses.
struct HeadFacts {
  enum class Fault : std::uint8_t { none, both, length, coding };
  Fault fault = Fault::none;  // of the framing (RFC 9112 section 6.3)
  bool chunked = false;
  bool has_length = false;
  bool keep_alive = true;  // version and Connection (RFC 9112 section 9.3)
  bool expect_continue = false;
  bool expect_other = false;  // an expectation that nobody knows
  unsigned hosts = 0;
  std::uint64_t length = 0;
};
[[nodiscard]] HeadFacts facts_of(const Headers& headers, Version version) noexcept;
// The rule that was broken; "" for none.
[[nodiscard]] std::string_view describe(HeadFacts::Fault fault) noexcept;

// Content-Length and chunk sizes above this are refused: sums of them cannot overflow.
inline constexpr std::uint64_t kMaxLength = std::uint64_t{1} << 62u;

}  // namespace postern::http::h1
