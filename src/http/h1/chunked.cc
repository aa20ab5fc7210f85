#include "http/h1/chunked.h"

#include <algorithm>

#include "base/strings.h"
#include "http/h1/head_scanner.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxSizeDigits = 15;  // below 2^60

std::unexpected<Error> refuse(std::string_view rule) {
  return fail(Code::bad_framing, Side::client, std::string(rule));
}

// A field that changes framing, routing or trust after the fact (RFC 9110 6.5.1).
bool forbidden_in_trailers(HeaderName id) noexcept {
  switch (id) {
    case HeaderName::content_length:
    case HeaderName::transfer_encoding:
    case HeaderName::host:
    case HeaderName::trailer:
    case HeaderName::connection:
    case HeaderName::upgrade:
    case HeaderName::te:
    case HeaderName::expect:
    case HeaderName::authorization:
    case HeaderName::proxy_authorization:
    case HeaderName::cookie:
    case HeaderName::set_cookie:
    case HeaderName::forwarded:
    case HeaderName::via:
      return true;
    default:
      return false;
  }
}

// The line at the front of `bytes` without CRLF; npos-like flag by `complete`.
enum class Line : std::uint8_t { complete, partial, broken };
Line take_line(std::string_view bytes, std::string_view& line) noexcept {
  const std::size_t lf = bytes.find('\n');
  if (lf == std::string_view::npos) return Line::partial;
  if (lf == 0 || bytes[lf - 1] != '\r') return Line::broken;
  line = bytes.substr(0, lf - 1);
  return Line::complete;
}

// chunk-ext = *( ";" token [ "=" ( token / quoted-string ) ] ), without the "bad whitespace" that the grammar only
// tolerates. What it says is dropped.
bool valid_extensions(std::string_view text) noexcept {
  std::size_t at = 0;
  const auto token = [&] {
    const std::size_t start = at;
    while (at < text.size() && is_token(text.substr(at, 1))) ++at;
    return at != start;
  };
  while (at < text.size()) {
    if (text[at++] != ';' || !token()) return false;
    if (at == text.size() || text[at] != '=') continue;
    ++at;
    if (at < text.size() && text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return false;
        if (text[at] == '\\' && ++at == text.size()) return false;
      }
      if (at == text.size()) return false;
      ++at;
    } else if (!token()) {
      return false;
    }
  }
  return true;
}

}  // namespace

void ChunkedDecoder::reset() noexcept {
  state_ = State::size;
  remaining_ = 0;
  extensions_ = 0;
  trailer_text_.clear();
  trailers_.clear();
}

Result<ChunkedDecoder::Step> ChunkedDecoder::next(std::string_view bytes) {
  std::size_t consumed = 0;
  for (;;) {
    const std::string_view rest = bytes.substr(consumed);
    switch (state_) {
      case State::size: {
        Result<Step> step = read_size(rest);
        if (!step || step->consumed == 0) {
          if (step) step->consumed = consumed;
          return step;
        }
        consumed += step->consumed;
        break;
      }
      case State::data: {
        if (rest.empty()) return Step{Step::Kind::need_more, consumed, {}};
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, rest.size()));
        remaining_ -= size;
        if (remaining_ == 0) state_ = State::data_end;
        return Step{Step::Kind::data, consumed + size, rest.substr(0, size)};
      }
      case State::data_end:
        if (!rest.empty() && rest[0] != '\r') return refuse("no CRLF after chunk data");
        if (rest.size() < 2) return Step{Step::Kind::need_more, consumed, {}};
        if (rest[1] != '\n') return refuse("no CRLF after chunk data");
        consumed += 2;
        state_ = State::size;
        break;
      case State::trailer: {
        Result<Step> step = read_trailer(rest);
        if (!step) return step;
        consumed += step->consumed;
        if (step->kind == Step::Kind::end || step->consumed == 0) {
          step->consumed = consumed;
          return step;
        }
        break;
      }
    }
  }
}

Result<ChunkedDecoder::Step> ChunkedDecoder::read_size(std::string_view bytes) {
  std::string_view line;
  const Line found = take_line(bytes, line);
  if (found == Line::broken) return refuse("a chunk header ends with a bare LF");
  const std::string_view seen = found == Line::complete ? line : bytes;
  if (seen.size() > kMaxLine) return refuse("chunk header too long");
  std::size_t digits = 0;
  std::uint64_t size = 0;
  while (digits < seen.size() && hex_value(seen[digits]) >= 0) {
    size = size * 16 + static_cast<std::uint64_t>(hex_value(seen[digits]));
    if (++digits > kMaxSizeDigits) return refuse("chunk size too large");
  }
  if (digits == 0 && !seen.empty()) return refuse("malformed chunk size");
  if (found == Line::partial) return Step{};
  if (digits == 0 || !valid_extensions(seen.substr(digits))) return refuse("malformed chunk header");
  extensions_ += seen.size() - digits;
  if (extensions_ > kMaxExtensions) return refuse("too many chunk extensions");
  remaining_ = size;
  state_ = size == 0 ? State::trailer : State::data;
  return Step{Step::Kind::need_more, line.size() + 2, {}};
}

Result<ChunkedDecoder::Step> ChunkedDecoder::read_trailer(std::string_view bytes) {
  std::string_view line;
  const Line found = take_line(bytes, line);
  if (found == Line::broken) return refuse("a trailer line ends with a bare LF");
  if (found == Line::partial) {
    if (bytes.size() > kMaxTrailers) return refuse("trailers too large");
    return Step{};
  }
  if (!line.empty()) {
    if (trailer_text_.size() + line.size() > kMaxTrailers) return refuse("trailers too large");
    Field field;
    const Flaw flaw = parse_field(line, field);
    if (flaw != Flaw::none) return refuse(describe(flaw));
    if (forbidden_in_trailers(field.id)) return refuse("a field that must not be a trailer");
    trailer_text_.append(line).append("\r\n");
    if (static_cast<std::size_t>(std::count(trailer_text_.begin(), trailer_text_.end(), '\n')) > kMaxTrailerCount) {
      return refuse("too many trailers");
    }
    return Step{Step::Kind::need_more, line.size() + 2, {}};
  }
  // The text does not grow any more, so views into it are stable.
  std::string_view text = trailer_text_;
  while (!text.empty()) {
    const std::size_t end = text.find("\r\n");
    Field field;
    static_cast<void>(parse_field(text.substr(0, end), field));
    trailers_.append(field.name, field.value, field.id);
    text.remove_prefix(end + 2);
  }
  return Step{Step::Kind::end, 2, {}};
}

}  // namespace postern::http::h1
