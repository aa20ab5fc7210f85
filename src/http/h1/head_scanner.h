// What request and response heads have in common: finding the lines of a head that may still be incomplete, and the
// field rules of RFC 9112 section 5 and RFC 9110 section 5, strictly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace postern::http::h1 {

struct HeadLimits {
  std::size_t max_header_count = 100;
  std::size_t max_header_bytes = 32 * 1024;  // all field lines together
  std::size_t max_target_length = 8 * 1024;  // of the request-target
};

enum class Parse : std::uint8_t { need_more, done };

enum class Flaw : std::uint8_t {
  none,
  bare_lf,        // a line ended by LF alone
  bare_cr,
  bad_name,       // empty, not a token, space before the colon, no colon, over 256 bytes
  bad_value,      // a control character
  folded,         // obs-fold
  too_many,
  too_large,
};
[[nodiscard]] std::string_view describe(Flaw flaw) noexcept;

// Walks over the lines of a growing, contiguous buffer; remembers how far it came, so that a head which arrives byte by
// byte is scanned once.
class LineScanner {
 public:
  enum class Step : std::uint8_t { need_more, line, bare_lf };
  // The next line without its CRLF.
  [[nodiscard]] Step next(std::string_view bytes, std::string_view& line) noexcept;
  [[nodiscard]] std::size_t line_start() const noexcept { return line_start_; }
  void reset() noexcept { line_start_ = scanned_ = 0; }

 private:
  std::size_t line_start_ = 0;
  std::size_t scanned_ = 0;
};

// Parses one field line into `out`.
[[nodiscard]] Flaw parse_field(std::string_view line, Field& out) noexcept;

[[nodiscard]] bool is_token(std::string_view text) noexcept;

// Body framing from the fields (RFC 9112 section 6.3), before the rules that differ between requests and responses.
struct FramingFacts {
  enum class Fault : std::uint8_t { none, both, length, coding };
  Fault fault = Fault::none;
  bool chunked = false;
  bool has_length = false;
  std::uint64_t length = 0;
};
[[nodiscard]] FramingFacts framing_of(const Headers& headers) noexcept;

// What Connection asks for; `keep_alive` holds the default of the version before the call.
[[nodiscard]] bool wants_keep_alive(const Headers& headers, Version version) noexcept;

}  // namespace postern::http::h1
