#include "http/h1/chunked.h"

#include <algorithm>

#include "base/strings.h"
#include "http/h1/byte_scan.h"
#include "http/h1/head_scanner.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxSizeDigits = 16;
constexpr std::size_t kNotFound = std::string_view::npos;

std::unexpected<Error> refuse(std::string_view rule) {
  return fail(Code::bad_framing, Side::client, std::string(rule));
}

// Behind the closing quote of the quoted-string that starts at `at` (RFC 9110 5.6.4), or nullptr.
const char* skip_quoted_string(const char* at, const char* end) noexcept {
  for (++at; at != end && *at != '"'; ++at) {
    if (*at == '\\') ++at;
    if (at == end || !is_value_byte(*at)) return nullptr;
  }
  return at == end ? nullptr : at + 1;
}

// chunk-ext = *( ";" token [ "=" ( token / quoted-string ) ] ), without the "bad whitespace" that the grammar only
// tolerates. What it says is dropped (RFC 9112 7.1.1).
bool valid_extensions(std::string_view text) noexcept {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    if (*at != ';') return false;
    const char* const name = at + 1;
    at = skip_token(name, end);
    if (at == name) return false;
    if (at == end || *at != '=') continue;
    const char* const value = at + 1;
    if (value != end && *value == '"') {
      at = skip_quoted_string(value, end);
      if (!at) return false;
    } else {
      at = skip_token(value, end);
      if (at == value) return false;
    }
  }
  return true;
}

}  // namespace

void ChunkedDecoder::reset() noexcept {
  state_ = State::size;
  scanned_ = extensions_ = trailer_size_ = trailer_count_ = 0;
  remaining_ = 0;
  trailers_.reset();
}

const Headers& ChunkedDecoder::trailers() const noexcept {
  [[clang::no_destroy]] static const Headers kNone;
  return trailers_ ? trailers_->fields : kNone;
}

std::size_t ChunkedDecoder::find_lf(std::string_view bytes, std::size_t limit) noexcept {
  const std::size_t found = bytes.substr(0, limit).find('\n', scanned_);
  scanned_ = found == kNotFound ? static_cast<std::uint32_t>(std::min(bytes.size(), limit)) : 0;
  return found;
}

Result<ChunkedDecoder::Step> ChunkedDecoder::next(std::string_view bytes) {
  std::size_t consumed = 0;
  for (;;) {
    const std::string_view rest = bytes.substr(consumed);
    switch (state_) {
      case State::size: {
        Result<Step> step = read_size(rest);
        if (!step) return step;
        if (step->consumed == 0) return Step{Step::Kind::need_more, consumed, {}};
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
        if (!std::string_view("\r\n").starts_with(rest.substr(0, 2))) return refuse("no CRLF after chunk data");
        if (rest.size() < 2) return Step{Step::Kind::need_more, consumed, {}};
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

// Consumes one whole chunk header, or nothing.
Result<ChunkedDecoder::Step> ChunkedDecoder::read_size(std::string_view bytes) {
  // The size is judged before the line is complete: an attacker does not get to send the rest of it.
  std::size_t digits = 0;
  std::uint64_t size = 0;
  for (; digits < bytes.size() && hex_value(bytes[digits]) >= 0; ++digits) {
    if (digits == kMaxSizeDigits) return refuse("chunk size too large");
    size = size * 16 + static_cast<std::uint64_t>(hex_value(bytes[digits]));
  }
  if (digits == bytes.size()) return Step{};
  if (digits == 0 || (bytes[digits] != '\r' && bytes[digits] != ';')) return refuse("malformed chunk size");
  if (size > kMaxLength) return refuse("chunk size too large");
  const std::size_t lf = find_lf(bytes, kMaxLine);
  if (lf == kNotFound) {
    if (bytes.size() >= kMaxLine) return refuse("chunk header too long");
    return Step{};
  }
  if (bytes[lf - 1] != '\r') return refuse("a chunk header ends with a bare LF");
  const std::string_view extensions = bytes.substr(digits, lf - 1 - digits);
  if (!valid_extensions(extensions)) return refuse("malformed chunk extension");
  extensions_ += static_cast<std::uint32_t>(extensions.size());
  if (extensions_ > kMaxExtensions) return refuse("too many chunk extensions");
  remaining_ = size;
  state_ = size == 0 ? State::trailer : State::data;
  return Step{Step::Kind::need_more, lf + 1, {}};
}

// Consumes one whole trailer line, or nothing.
Result<ChunkedDecoder::Step> ChunkedDecoder::read_trailer(std::string_view bytes) {
  const std::size_t allowed = kMaxTrailers - trailer_size_;
  const std::size_t lf = find_lf(bytes, allowed);
  if (lf == kNotFound) {
    if (bytes.size() >= allowed) return refuse("trailers too large");
    return Step{};
  }
  const std::string_view line = bytes.substr(0, lf + 1);
  if (line == "\r\n") {
    publish_trailers();
    return Step{Step::Kind::end, 2, {}};
  }
  Field field;
  const char* next = nullptr;
  const Flaw flaw = scan_field(line.data(), line.data() + line.size(), field, next);
  if (flaw != Flaw::none) return refuse(describe(flaw));
  if (is_forbidden_trailer(field.id)) return refuse("a field that must not be a trailer");
  if (++trailer_count_ > kMaxTrailerCount) return refuse("too many trailers");
  trailer_size_ += static_cast<std::uint32_t>(line.size());
  if (!trailers_) trailers_ = std::make_unique<Trailers>();
  trailers_->text.append(line);
  return Step{Step::Kind::need_more, line.size(), {}};
}

// The text does not grow any more, so views into it are stable.
void ChunkedDecoder::publish_trailers() {
  if (!trailers_) return;
  const char* at = trailers_->text.data();
  const char* const end = at + trailers_->text.size();
  while (at != end) {
    Field field;
    if (scan_field(at, end, field, at) != Flaw::none) return;  // cannot be: each line was judged
    trailers_->fields.append(field.name, field.value, field.id);
  }
}

}  // namespace postern::http::h1
