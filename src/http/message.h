// The heads of a request and a response, whatever the protocol version that carried them. All views borrow from the
// connection's head buffer or the exchange's arena.
#pragma once

#include <cstdint>
#include <string_view>

#include "http/headers.h"

namespace postern::http {

enum class Method : std::uint8_t { other, get, head, post, put, delete_, options, patch, trace, connect };

// RFC 9110 9.2.2.
[[nodiscard]] constexpr bool is_idempotent(Method method) noexcept {
  return method == Method::get || method == Method::head || method == Method::put || method == Method::delete_ ||
         method == Method::options || method == Method::trace;
}

[[nodiscard]] constexpr Method method_of(std::string_view text) noexcept {
  switch (text.size()) {
    case 3: return text == "GET" ? Method::get : text == "PUT" ? Method::put : Method::other;
    case 4: return text == "POST" ? Method::post : text == "HEAD" ? Method::head : Method::other;
    case 5: return text == "PATCH" ? Method::patch : text == "TRACE" ? Method::trace : Method::other;
    case 6: return text == "DELETE" ? Method::delete_ : Method::other;
    case 7: return text == "OPTIONS" ? Method::options : text == "CONNECT" ? Method::connect : Method::other;
    default: return Method::other;
  }
}

enum class Version : std::uint8_t { http_1_0, http_1_1, http_2 };

// How the length of a body is known (RFC 9112 6.3).
enum class Framing : std::uint8_t { none, length, chunked, until_close };

struct RequestHead {
  Method method = Method::other;
  Version version = Version::http_1_1;
  Framing framing = Framing::none;
  bool keep_alive = true;            // what the sender asked for (version and Connection)
  bool expect_continue = false;      // Expect: 100-continue was sent
  bool trailers_welcome = false;     // TE: trailers was sent (RFC 9110 10.1.4), noted by strip_request()
  std::uint64_t content_length = 0;  // with Framing::length
  std::string_view method_text;
  std::string_view target;  // raw request-target; http/target.h makes the canonical one
  Headers headers;
};

// A head that is followed by another one of the same answer (RFC 9110 15.2). A 101 is final for HTTP.
[[nodiscard]] constexpr bool is_interim(int status) noexcept { return status < 200 && status != 101; }

struct ResponseHead {
  int status = 0;
  Version version = Version::http_1_1;
  Framing framing = Framing::none;
  bool keep_alive = true;
  bool announces_length = false;  // Content-Length without a body: to HEAD, and in 304 (RFC 9110 8.6)
  std::uint64_t content_length = 0;
  std::string_view reason;
  Headers headers;
};

}  // namespace postern::http
