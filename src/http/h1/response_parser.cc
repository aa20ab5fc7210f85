#include "http/h1/response_parser.h"

#include <utility>

#include "base/strings.h"
#include "http/h1/byte_scan.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxStatusLine = 1024;
constexpr std::string_view kPrefix = "HTTP/1.";

std::unexpected<Error> refuse(std::string_view rule) {
  return fail(Code::origin_malformed, Side::origin, std::string(rule));
}

void clear(ResponseHead& out) noexcept {
  out.status = 0;
  out.version = Version::http_1_1;
  out.framing = Framing::none;
  out.keep_alive = true;
  out.announces_length = false;
  out.content_length = 0;
  out.reason = {};
  out.headers.clear();
}

Result<void> parse_status_line(std::string_view line, ResponseHead& out) {
  // "HTTP/1.1 200" at least; RFC 9112 4 wants a space after the code even without reason, many senders leave it out.
  if (line.size() < 12 || !line.starts_with(kPrefix) || (line[7] != '0' && line[7] != '1') || line[8] != ' ') {
    return refuse("malformed status line");
  }
  for (std::size_t i = 9; i < 12; ++i) {
    if (!is_digit(line[i])) return refuse("malformed status code");
  }
  const int status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (status < 100 || status > 599) return refuse("status code out of range");  // RFC 9110 15: invalid
  if (line.size() > 12 && line[12] != ' ') return refuse("malformed status line");
  const std::string_view reason = line.size() > 13 ? line.substr(13) : std::string_view();
  const char* const begin = reason.data();
  const char* const end = begin + reason.size();
  if (skip_value(begin, end) != end) return refuse("control character in the reason phrase");
  out.version = line[7] == '1' ? Version::http_1_1 : Version::http_1_0;
  out.status = status;
  out.reason = reason;
  return {};
}

Result<void> apply_framing(Method request_method, ResponseHead& out) {
  const HeadFacts facts = facts_of(out.headers, out.version);
  if (facts.fault != HeadFacts::Fault::none) return refuse(describe(facts.fault));
  if (facts.chunked && out.version == Version::http_1_0) return refuse("Transfer-Encoding in HTTP/1.0");
  out.keep_alive = facts.keep_alive;
  out.content_length = facts.length;
  out.announces_length = facts.has_length && (request_method == Method::head || out.status == 304);
  const bool interim = out.status < 200;
  // RFC 9110 8.6 and RFC 9112 6.1: 1xx and 204 must have neither; a sender that thinks otherwise will send bytes, and
  // they would be read as the next response. A length of 0 is a common and harmless slip.
  if ((interim || out.status == 204) && (facts.chunked || (facts.has_length && facts.length != 0))) {
    return refuse("a body with a status that cannot have one");
  }
  if (interim || out.status == 204 || out.status == 304 || request_method == Method::head) {
    out.framing = Framing::none;
  } else if (facts.chunked) {
    out.framing = Framing::chunked;
  } else if (facts.has_length) {
    out.framing = Framing::length;
  } else {
    out.framing = Framing::until_close;
    out.keep_alive = false;
  }
  return {};
}

}  // namespace

Result<Parse> ResponseParser::parse_start(std::string_view bytes, ResponseHead& out) {
  if (bytes.substr(0, kPrefix.size()) != kPrefix.substr(0, bytes.size())) return refuse("this is not HTTP/1");
  std::string_view line;
  switch (scanner_.find_start_line(bytes, kMaxStatusLine, line)) {
    case Flaw::none: break;
    case Flaw::unfinished: return Parse::need_more;
    case Flaw::too_large: return refuse("status line too long");
    default: return refuse(describe(Flaw::bare_lf));
  }
  Result<void> parsed = parse_status_line(line, out);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  return Parse::done;
}

Result<Parse> ResponseParser::parse(std::string_view bytes, const HeadLimits& limits, Method request_method,
                                    ResponseHead& out) {
  clear(out);
  if (scanner_.has_start_line()) {
    // Judged before; its views are taken again, as the buffer may have moved.
    static_cast<void>(parse_status_line(scanner_.start_line(bytes), out));
  } else {
    Result<Parse> start = parse_start(bytes, out);
    if (!start || *start == Parse::need_more) return start;
  }
  const Flaw flaw = scanner_.scan_fields(bytes, limits, out.headers);
  if (flaw == Flaw::unfinished) {
    clear(out);
    return Parse::need_more;
  }
  if (flaw != Flaw::none) return refuse(describe(flaw));
  Result<void> framed = apply_framing(request_method, out);
  if (!framed) return std::unexpected(std::move(framed.error()));
  return Parse::done;
}

}  // namespace postern::http::h1
