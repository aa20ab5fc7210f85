// RequestParser: an HTTP/1.x request head (RFC 9112), strictly: whatever two implementations could read in two ways is
// refused, as early as it is certain. Sans-I/O, no allocation (but for more than Headers::kInline fields). One object
// per head; reset() in between.
#pragma once

#include "http/h1/head_scanner.h"

namespace postern::http::h1 {

class RequestParser {
 public:
  // Call with the same bytes and more until it is not Parse::need_more; the buffer may move in between. With
  // Parse::done `out` is complete and borrows from `bytes`; with need_more it is empty; with an error it holds what was
  // understood so far, for the log, and borrows as well.
  //
  // Errors (Side::client): bad_request, bad_header, bad_framing, bad_target, bad_host, headers_too_large,
  // target_too_long, version_refused, expectation_failed. Where the next message begins is unknown after all of them.
  [[nodiscard]] Result<Parse> parse(std::string_view bytes, const HeadLimits& limits, RequestHead& out);
  // After Parse::done: the head's size with its empty line.
  [[nodiscard]] std::size_t head_size() const noexcept { return scanner_.head_size(); }
  void reset() noexcept { scanner_.reset(); }

 private:
  [[nodiscard]] Result<Parse> parse_start(std::string_view bytes, const HeadLimits& limits, RequestHead& out);

  HeadScanner scanner_;
};

}  // namespace postern::http::h1
