// ResponseParser: an HTTP/1.x response head (RFC 9112), as strictly as requests: an origin is not trusted with framing.
// Sans-I/O. One object per head, interim ones included; reset() in between.
#pragma once

#include "http/h1/head_scanner.h"

namespace postern::http::h1 {

class ResponseParser {
 public:
  // Call with the same bytes and more until it is not Parse::need_more; the buffer may move in between. With
  // Parse::done `out` is complete and borrows from `bytes`; with need_more it is empty. `request_method` decides
  // whether there is a body; 1xx heads are reported like others, with Framing::none.
  //
  // All errors are origin_malformed, Side::origin; the detail names the rule.
  [[nodiscard]] Result<Parse> parse(std::string_view bytes, const HeadLimits& limits, Method request_method,
                                    ResponseHead& out);
  // After Parse::done: the head's size with its empty line.
  [[nodiscard]] std::size_t head_size() const noexcept { return scanner_.head_size(); }
  void reset() noexcept { scanner_.reset(); }

 private:
  [[nodiscard]] Result<Parse> parse_start(std::string_view bytes, ResponseHead& out);

  HeadScanner scanner_;
};

}  // namespace postern::http::h1
