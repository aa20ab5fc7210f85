#include "http/h1/response_parser.h"

#include "base/strings.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxStatusLine = 1024;

std::unexpected<Error> refuse(std::string_view rule) {
  return fail(Code::origin_malformed, Side::origin, std::string(rule));
}

Result<void> parse_status_line(std::string_view line, ResponseHead& out) {
  // "HTTP/1.1 200" at least; RFC 9112 4 wants a space after the code even without reason, many senders leave it out.
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1') || line[8] != ' ') {
    return refuse("malformed status line");
  }
  for (std::size_t i = 9; i < 12; ++i) {
    if (!is_digit(line[i])) return refuse("malformed status code");
  }
  out.version = line[7] == '1' ? Version::http_1_1 : Version::http_1_0;
  out.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (out.status < 100 || out.status > 599) return refuse("status code out of range");
  if (line.size() > 12 && line[12] != ' ') return refuse("malformed status line");
  out.reason = line.size() > 13 ? line.substr(13) : std::string_view();
  for (const char c : out.reason) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) return refuse("control character in the reason phrase");
  }
  return {};
}

Result<void> apply_framing(Method request_method, ResponseHead& out) {
  const FramingFacts facts = framing_of(out.headers);
  switch (facts.fault) {
    case FramingFacts::Fault::none: break;
    case FramingFacts::Fault::both: return refuse("Content-Length and Transfer-Encoding");
    case FramingFacts::Fault::length: return refuse("malformed or repeated Content-Length");
    case FramingFacts::Fault::coding: return refuse("Transfer-Encoding other than chunked");
  }
  if (facts.chunked && out.version == Version::http_1_0) return refuse("Transfer-Encoding in HTTP/1.0");
  out.keep_alive = wants_keep_alive(out.headers, out.version);
  out.content_length = facts.length;
  out.announces_length = facts.has_length && (request_method == Method::head || out.status == 304);
  const bool interim = out.status < 200;
  // RFC 9110 8.6 and RFC 9112 6.1: 1xx and 204 must have neither; a sender that thinks otherwise will send bytes.
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

Result<Parse> ResponseParser::parse(std::string_view bytes, const HeadLimits& limits, Method request_method,
                                    ResponseHead& out) {
  for (;;) {
    std::string_view line;
    switch (scanner_.next(bytes, line)) {
      case LineScanner::Step::bare_lf:
        return refuse(describe(Flaw::bare_lf));
      case LineScanner::Step::need_more:
        if (line_size_ == 0 && bytes.size() > kMaxStatusLine) return refuse("status line too long");
        if (line_size_ == 0 && !std::string_view("HTTP/1.").starts_with(bytes.substr(0, 7))) {
          return refuse("this is not HTTP/1");
        }
        if (line_size_ != 0 && bytes.size() - line_size_ > limits.max_header_bytes) {
          return refuse(describe(Flaw::too_large));
        }
        return Parse::need_more;
      case LineScanner::Step::line:
        break;
    }
    if (line_size_ == 0) {
      line_size_ = scanner_.line_start();
      if (line_size_ > kMaxStatusLine) return refuse("status line too long");
      continue;
    }
    if (line.empty()) break;
    if (++lines_ > limits.max_header_count) return refuse(describe(Flaw::too_many));
    if (scanner_.line_start() - line_size_ > limits.max_header_bytes) return refuse(describe(Flaw::too_large));
  }
  out.headers.clear();
  Result<void> first = parse_status_line(bytes.substr(0, line_size_ - 2), out);
  if (!first) return std::unexpected(std::move(first.error()));
  std::size_t at = line_size_;
  for (std::size_t i = 0; i < lines_; ++i) {
    const std::size_t end = bytes.find('\n', at);
    Field field;
    const Flaw flaw = parse_field(bytes.substr(at, end - 1 - at), field);
    if (flaw != Flaw::none) return refuse(describe(flaw));
    out.headers.append(field.name, field.value, field.id);
    at = end + 1;
  }
  Result<void> framed = apply_framing(request_method, out);
  if (!framed) return std::unexpected(std::move(framed.error()));
  return Parse::done;
}

}  // namespace postern::http::h1
