// ResponseParser: an HTTP/1.x response head (RFC 9112), as strictly as requests: an origin is not trusted with framing.
#pragma once

#include "http/h1/head_scanner.h"

namespace postern::http::h1 {

class ResponseParser {
 public:
  // All errors are origin_malformed, Side::origin. `request_method` decides whether there is a body.
  [[nodiscard]] Result<Parse> parse(std::string_view bytes, const HeadLimits& limits, Method request_method,
                                    ResponseHead& out);
  [[nodiscard]] std::size_t head_size() const noexcept { return scanner_.line_start(); }
  void reset() noexcept {
    scanner_.reset();
    lines_ = 0;
    line_size_ = 0;
  }

 private:
  LineScanner scanner_;
  std::size_t lines_ = 0;
  std::size_t line_size_ = 0;
};

}  // namespace postern::http::h1
