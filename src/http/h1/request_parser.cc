#include "http/h1/request_parser.h"

#include <array>
#include <utility>

#include "base/strings.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxMethodSize = 32;
constexpr std::size_t kVersionSize = 8;  // "HTTP/1.1"

std::unexpected<Error> refuse(Code code, std::string_view rule) { return fail(code, Side::client, std::string(rule)); }

std::unexpected<Error> refuse(Flaw flaw) {
  if (flaw == Flaw::too_many || flaw == Flaw::too_large) return refuse(Code::headers_too_large, describe(flaw));
  return refuse(Code::bad_header, describe(flaw));
}

Method method_of(std::string_view text) noexcept {
  constexpr std::array<std::pair<std::string_view, Method>, 9> kMethods = {{{"GET", Method::get},
                                                                           {"POST", Method::post},
                                                                           {"PUT", Method::put},
                                                                           {"HEAD", Method::head},
                                                                           {"DELETE", Method::delete_},
                                                                           {"PATCH", Method::patch},
                                                                           {"OPTIONS", Method::options},
                                                                           {"TRACE", Method::trace},
                                                                           {"CONNECT", Method::connect}}};
  for (const auto& [name, method] : kMethods) {
    if (text == name) return method;
  }
  return Method::other;
}

Result<void> parse_request_line(std::string_view line, const HeadLimits& limits, RequestHead& out) {
  const std::size_t first = line.find(' ');
  if (first == std::string_view::npos) return refuse(Code::bad_request, "malformed request line");
  out.method_text = line.substr(0, first);
  if (out.method_text.size() > kMaxMethodSize || !is_token(out.method_text)) {
    return refuse(Code::bad_request, "malformed method");
  }
  const std::size_t last = line.rfind(' ');
  if (last == first) return refuse(Code::bad_request, "malformed request line");
  out.target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (out.target.empty() || out.target[0] == ' ') return refuse(Code::bad_request, "malformed request line");
  for (const char c : out.target) {
    if (c <= ' ' || c == 0x7f) {
      return refuse(Code::bad_target, c == ' ' ? "a space in the request target" : "a byte outside of visible ASCII");
    }
  }
  if (version.size() != kVersionSize || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    return refuse(Code::bad_request, "malformed version");
  }
  if (version[5] != '1' || (version[7] != '0' && version[7] != '1')) {
    return refuse(Code::version_refused, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  }
  out.version = version[7] == '1' ? Version::http_1_1 : Version::http_1_0;
  if (out.target.size() > limits.max_target_length) return refuse(Code::target_too_long, "request target too long");
  out.method = method_of(out.method_text);
  return {};
}

Result<void> apply_fields(RequestHead& out) {
  const std::size_t hosts = out.headers.count(HeaderName::host);
  if (hosts > 1 || (hosts == 0 && out.version == Version::http_1_1)) {
    return refuse(Code::bad_host, hosts == 0 ? "no Host" : "more than one Host");
  }
  const FramingFacts facts = framing_of(out.headers);
  switch (facts.fault) {
    case FramingFacts::Fault::none: break;
    case FramingFacts::Fault::both: return refuse(Code::bad_framing, "Content-Length and Transfer-Encoding");
    case FramingFacts::Fault::length: return refuse(Code::bad_framing, "malformed or repeated Content-Length");
    case FramingFacts::Fault::coding: return refuse(Code::bad_framing, "Transfer-Encoding other than chunked");
  }
  if (facts.chunked && out.version == Version::http_1_0) {
    return refuse(Code::bad_framing, "Transfer-Encoding in HTTP/1.0");
  }
  out.framing = facts.chunked ? Framing::chunked : facts.has_length ? Framing::length : Framing::none;
  out.content_length = facts.length;
  out.keep_alive = wants_keep_alive(out.headers, out.version);
  out.expect_continue = false;
  for (const Field& field : out.headers) {
    if (field.id != HeaderName::expect) continue;
    if (!iequals(field.value, "100-continue")) return refuse(Code::expectation_failed, "only 100-continue is known");
    // RFC 9110 10.1.1: ignored from a 1.0 client, which could not take the answer.
    out.expect_continue = out.version == Version::http_1_1;
  }
  return {};
}

}  // namespace

Result<Parse> RequestParser::parse(std::string_view bytes, const HeadLimits& limits, RequestHead& out) {
  // First the end of the head, line by line as bytes arrive, so that a bad line end or an oversized head is refused
  // before the rest of it comes; then everything in one pass over bytes that are in the cache.
  for (;;) {
    std::string_view line;
    switch (scanner_.next(bytes, line)) {
      case LineScanner::Step::bare_lf:
        return refuse(Flaw::bare_lf);
      case LineScanner::Step::need_more:
        if (line_size_ == 0 && bytes.size() > limits.max_target_length + kMaxMethodSize + 16) {
          return refuse(Code::target_too_long, "request line too long");
        }
        if (line_size_ != 0 && bytes.size() - line_size_ > limits.max_header_bytes) return refuse(Flaw::too_large);
        if (!bytes.empty() && line_size_ == 0 && bytes[0] != '\r' && !is_token(bytes.substr(0, 1))) {
          return refuse(Code::bad_request, "this is not HTTP/1");
        }
        return Parse::need_more;
      case LineScanner::Step::line:
        break;
    }
    if (line_size_ == 0) {
      if (line.empty()) {
        // RFC 9112 2.2: one empty line before the request line is forgiven, as some clients send it after a body.
        if (skipped_empty_line_) return refuse(Code::bad_request, "empty lines before the request line");
        skipped_empty_line_ = true;
        continue;
      }
      line_size_ = scanner_.line_start();
      continue;
    }
    if (line.empty()) break;
    if (++lines_ > limits.max_header_count) return refuse(Flaw::too_many);
    if (scanner_.line_start() - line_size_ > limits.max_header_bytes) return refuse(Flaw::too_large);
  }
  const std::size_t skipped = skipped_empty_line_ ? 2 : 0;
  const std::string_view request_line = bytes.substr(skipped, line_size_ - skipped - 2);
  out.headers.clear();
  Result<void> first = parse_request_line(request_line, limits, out);
  if (!first) return std::unexpected(std::move(first.error()));
  std::size_t at = line_size_;
  for (std::size_t i = 0; i < lines_; ++i) {
    const std::size_t end = bytes.find('\n', at);
    Field field;
    const Flaw flaw = parse_field(bytes.substr(at, end - 1 - at), field);
    if (flaw != Flaw::none) return refuse(flaw);
    out.headers.append(field.name, field.value, field.id);
    at = end + 1;
  }
  Result<void> applied = apply_fields(out);
  if (!applied) return std::unexpected(std::move(applied.error()));
  return Parse::done;
}

}  // namespace postern::http::h1
