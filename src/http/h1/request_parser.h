// RequestParser: an HTTP/1.x request head (RFC 9112), strictly: whatever two implementations could read in two ways is
// refused. Sans-I/O; call parse() with the same growing buffer until it is done.
#pragma once

#include "http/h1/head_scanner.h"

namespace postern::http::h1 {

class RequestParser {
 public:
  // Errors (Side::client): bad_request, bad_header, bad_framing, bad_target, bad_host, headers_too_large,
  // target_too_long, version_refused, expectation_failed. With Parse::done `out` is complete and borrows from `bytes`.
  [[nodiscard]] Result<Parse> parse(std::string_view bytes, const HeadLimits& limits, RequestHead& out);
  // After Parse::done: the head's size with its empty line.
  [[nodiscard]] std::size_t head_size() const noexcept { return scanner_.line_start(); }
  void reset() noexcept {
    scanner_.reset();
    end_of_head_ = 0;
    lines_ = 0;
    line_size_ = 0;
    skipped_empty_line_ = false;
  }

 private:
  LineScanner scanner_;
  std::size_t end_of_head_ = 0;
  std::size_t lines_ = 0;
  std::size_t line_size_ = 0;  // request line with its CRLF, and an empty line before it
  bool skipped_empty_line_ = false;
};

}  // namespace postern::http::h1
