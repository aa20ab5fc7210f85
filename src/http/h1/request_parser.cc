#include "http/h1/request_parser.h"

#include <utility>

#include "base/strings.h"
#include "http/h1/byte_scan.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxMethodSize = 32;
constexpr std::string_view kSampleVersion = "HTTP/1.1";
// What a request line has beside its target: method, two spaces, version, CRLF.
constexpr std::size_t kMaxLineExtra = kMaxMethodSize + 2 + kSampleVersion.size() + 2;

std::unexpected<Error> refuse(Code code, std::string_view rule) { return fail(code, Side::client, std::string(rule)); }

void clear(RequestHead& out) noexcept {
  out.method = Method::other;
  out.version = Version::http_1_1;
  out.framing = Framing::none;
  out.keep_alive = true;
  out.expect_continue = false;
  out.content_length = 0;
  out.method_text = {};
  out.target = {};
  out.headers.clear();
}

Result<void> parse_version(std::string_view text, RequestHead& out) {
  if (text.size() != kSampleVersion.size() || !text.starts_with("HTTP/") || !is_digit(text[5]) || text[6] != '.' ||
      !is_digit(text[7])) {
    return refuse(Code::bad_request, "malformed version");
  }
  if (text[5] != '1' || (text[7] != '0' && text[7] != '1')) {
    return refuse(Code::version_refused, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  }
  out.version = text[7] == '1' ? Version::http_1_1 : Version::http_1_0;
  return {};
}

// RFC 9112 3: method SP request-target SP HTTP-version, with exactly these two spaces.
Result<void> parse_request_line(std::string_view line, const HeadLimits& limits, RequestHead& out) {
  const char* const begin = line.data();
  const char* const end = begin + line.size();
  const char* const method_end = skip_token(begin, end);
  const std::string_view method = line.substr(0, static_cast<std::size_t>(method_end - begin));
  if (method.empty() || method.size() > kMaxMethodSize || method_end == end || *method_end != ' ') {
    return refuse(Code::bad_request, "malformed method");
  }
  out.method_text = method;
  out.method = method_of(method);
  const std::string_view rest = line.substr(method.size() + 1);
  const char* const target_begin = rest.data();
  const char* const target_end = skip_visible(target_begin, end);
  const std::string_view target = rest.substr(0, static_cast<std::size_t>(target_end - target_begin));
  if (target_end != end && *target_end != ' ') return refuse(Code::bad_target, "a byte outside of visible ASCII");
  if (target.empty() || target_end == end) return refuse(Code::bad_request, "malformed request line");
  if (target.size() > limits.max_target_length) return refuse(Code::target_too_long, "request target too long");
  out.target = target;
  const std::string_view version = rest.substr(target.size() + 1);
  if (version.find(' ') != std::string_view::npos && !version.starts_with("HTTP/")) {
    return refuse(Code::bad_target, "a space in the request target");
  }
  return parse_version(version, out);
}

Result<void> apply_fields(RequestHead& out) {
  const HeadFacts facts = facts_of(out.headers, out.version);
  if (facts.hosts > 1 || (facts.hosts == 0 && out.version == Version::http_1_1)) {  // RFC 9112 3.2
    return refuse(Code::bad_host, facts.hosts == 0 ? "no Host" : "more than one Host");
  }
  if (facts.fault != HeadFacts::Fault::none) return refuse(Code::bad_framing, describe(facts.fault));
  if (facts.chunked && out.version == Version::http_1_0) {  // RFC 9112 6.1: faulty framing
    return refuse(Code::bad_framing, "Transfer-Encoding in HTTP/1.0");
  }
  if (facts.expect_other) return refuse(Code::expectation_failed, "only 100-continue is known");
  out.framing = facts.chunked ? Framing::chunked : facts.has_length ? Framing::length : Framing::none;
  out.content_length = facts.length;
  out.keep_alive = facts.keep_alive;
  // RFC 9110 10.1.1: ignored from a 1.0 client, which could not take the answer.
  out.expect_continue = facts.expect_continue && out.version == Version::http_1_1;
  return {};
}

}  // namespace

Result<Parse> RequestParser::parse_start(std::string_view bytes, const HeadLimits& limits, RequestHead& out) {
  // RFC 9112 2.2: one empty line before the request line is forgiven, as some clients send it after a body.
  if (bytes.starts_with("\r\n")) static_cast<void>(scanner_.skip_empty_line());
  if (bytes.size() > scanner_.start()) {
    // The first byte alone tells TLS and other strangers from HTTP.
    const char first = bytes[scanner_.start()];
    const bool may_be_empty_line = first == '\r' && scanner_.start() == 0 && bytes.size() == 1;
    if (!is_token_byte(first) && !may_be_empty_line) return refuse(Code::bad_request, "this is not HTTP/1");
  }
  std::string_view line;
  switch (scanner_.find_start_line(bytes, limits.max_target_length + kMaxLineExtra, line)) {
    case Flaw::none: break;
    case Flaw::unfinished: return Parse::need_more;
    case Flaw::too_large: return refuse(Code::target_too_long, "request line too long");
    default: return refuse(Code::bad_request, describe(Flaw::bare_lf));
  }
  Result<void> parsed = parse_request_line(line, limits, out);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  return Parse::done;
}

Result<Parse> RequestParser::parse(std::string_view bytes, const HeadLimits& limits, RequestHead& out) {
  clear(out);
  if (scanner_.has_start_line()) {
    // Judged before; its views are taken again, as the buffer may have moved.
    static_cast<void>(parse_request_line(scanner_.start_line(bytes), limits, out));
  } else {
    Result<Parse> start = parse_start(bytes, limits, out);
    if (!start || *start == Parse::need_more) return start;
  }
  const Flaw flaw = scanner_.scan_fields(bytes, limits, out.headers);
  if (flaw == Flaw::unfinished) {
    clear(out);
    return Parse::need_more;
  }
  if (flaw == Flaw::too_many || flaw == Flaw::too_large) return refuse(Code::headers_too_large, describe(flaw));
  if (flaw != Flaw::none) return refuse(Code::bad_header, describe(flaw));
  Result<void> applied = apply_fields(out);
  if (!applied) return std::unexpected(std::move(applied.error()));
  return Parse::done;
}

}  // namespace postern::http::h1
