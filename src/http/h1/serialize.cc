#include "http/h1/serialize.h"

#include <array>
#include <cassert>
#include <charconv>
#include <cstring>

namespace postern::http::h1 {
namespace {

// Writes all parts into one stretch of free space.
template <typename... Parts>
void append_all(Buffer& out, const Parts&... parts) {
  const std::string_view views[] = {std::string_view(parts)...};
  std::size_t total = 0;
  for (const std::string_view view : views) total += view.size();
  char* at = out.writable(total).data();
  for (const std::string_view view : views) {
    if (!view.empty()) std::memcpy(at, view.data(), view.size());
    at += view.size();
  }
  out.commit(total);
}

[[maybe_unused]] bool safe(std::string_view text) noexcept {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

}  // namespace

void begin_request_head(Buffer& out, std::string_view method, std::string_view target) {
  assert(safe(method) && safe(target) && target.find(' ') == std::string_view::npos);
  append_all(out, method, " ", target, " HTTP/1.1\r\n");
}

void begin_response_head(Buffer& out, int status, std::string_view reason) {
  const std::array<char, 4> code = {static_cast<char>('0' + status / 100), static_cast<char>('0' + status / 10 % 10),
                                    static_cast<char>('0' + status % 10), ' '};
  if (reason.empty()) reason = reason_phrase(status);
  append_all(out, "HTTP/1.1 ", std::string_view(code.data(), code.size()), reason, "\r\n");
}

void write_field(Buffer& out, std::string_view name, std::string_view value) {
  assert(safe(name) && safe(value));
  append_all(out, name, ": ", value, "\r\n");
}

void write_fields(Buffer& out, const Headers& headers) {
  for (const Field& field : headers) write_field(out, field.name, field.value);
}

void write_content_length(Buffer& out, std::uint64_t length) {
  std::array<char, 20> digits{};
  const char* const end = std::to_chars(digits.data(), digits.data() + digits.size(), length).ptr;
  append_all(out, "Content-Length: ", std::string_view(digits.data(), static_cast<std::size_t>(end - digits.data())),
             "\r\n");
}

void write_response_head(Buffer& out, int status, std::string_view reason, const Headers& headers) {
  begin_response_head(out, status, reason);
  write_fields(out, headers);
  out.append("\r\n");
}

std::string_view reason_phrase(int status) noexcept {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 102: return "Processing";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 207: return "Multi-Status";
    case 208: return "Already Reported";
    case 226: return "IM Used";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 423: return "Locked";
    case 424: return "Failed Dependency";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    case 506: return "Variant Also Negotiates";
    case 507: return "Insufficient Storage";
    case 508: return "Loop Detected";
    case 511: return "Network Authentication Required";
    default: return "";
  }
}

}  // namespace postern::http::h1
