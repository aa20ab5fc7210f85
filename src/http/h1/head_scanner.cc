#include "http/h1/head_scanner.h"

#include <array>
#include <cstring>

#include "base/strings.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxNameSize = 256;

constexpr auto kToken = [] {  // RFC 9110 5.6.2 tchar
  std::array<bool, 256> table{};
  for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    table[static_cast<unsigned char>(c)] = true;
  }
  return table;
}();

constexpr auto kValue = [] {  // RFC 9110 5.5 field-vchar, SP, HTAB, obs-text
  std::array<bool, 256> table{};
  for (std::size_t c = 0x20; c < 256; ++c) table[c] = c != 0x7f;
  table['\t'] = true;
  return table;
}();

}  // namespace

std::string_view describe(Flaw flaw) noexcept {
  switch (flaw) {
    case Flaw::none: return "";
    case Flaw::bare_lf: return "a line ends with a bare LF";
    case Flaw::bare_cr: return "a bare CR";
    case Flaw::bad_name: return "malformed field name";
    case Flaw::bad_value: return "control character in a field value";
    case Flaw::folded: return "folded field line";
    case Flaw::too_many: return "too many fields";
    case Flaw::too_large: return "fields too large";
  }
  return "";
}

LineScanner::Step LineScanner::next(std::string_view bytes, std::string_view& line) noexcept {
  const void* const found = std::memchr(bytes.data() + scanned_, '\n', bytes.size() - scanned_);
  if (!found) {
    scanned_ = bytes.size();
    return Step::need_more;
  }
  const auto lf = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
  if (lf == line_start_ || bytes[lf - 1] != '\r') return Step::bare_lf;
  line = bytes.substr(line_start_, lf - 1 - line_start_);
  line_start_ = scanned_ = lf + 1;
  return Step::line;
}

Flaw parse_field(std::string_view line, Field& out) noexcept {
  std::size_t colon = 0;
  while (colon < line.size() && kToken[static_cast<unsigned char>(line[colon])]) ++colon;
  if (colon == 0 && !line.empty() && (line[0] == ' ' || line[0] == '\t')) return Flaw::folded;
  if (colon == 0 || colon == line.size() || line[colon] != ':' || colon > kMaxNameSize) return Flaw::bad_name;
  const std::string_view value = trim_ows(line.substr(colon + 1));
  for (const char c : value) {
    if (!kValue[static_cast<unsigned char>(c)]) return c == '\r' ? Flaw::bare_cr : Flaw::bad_value;
  }
  out.name = line.substr(0, colon);
  out.value = value;
  out.id = lookup_header_name(out.name);
  return Flaw::none;
}

bool is_token(std::string_view text) noexcept {
  for (const char c : text) {
    if (!kToken[static_cast<unsigned char>(c)]) return false;
  }
  return !text.empty();
}

FramingFacts framing_of(const Headers& headers) noexcept {
  using Fault = FramingFacts::Fault;
  FramingFacts facts;
  for (const Field& field : headers) {
    if (field.id == HeaderName::content_length) {
      const auto length = parse_decimal(field.value);
      // Two equal lengths are refused, too: which of the copies the next hop believes is not ours to guess.
      if (!length || facts.has_length || *length > (std::uint64_t{1} << 62)) facts.fault = Fault::length;
      facts.has_length = true;
      facts.length = length.value_or(0);
    } else if (field.id == HeaderName::transfer_encoding) {
      if (facts.chunked || !iequals(field.value, "chunked")) facts.fault = Fault::coding;
      facts.chunked = true;
    }
  }
  if (facts.fault == Fault::none && facts.chunked && facts.has_length) facts.fault = Fault::both;
  return facts;
}

bool wants_keep_alive(const Headers& headers, Version version) noexcept {
  bool keep_alive = version == Version::http_1_1;
  for (const Field& field : headers) {
    if (field.id != HeaderName::connection) continue;
    bool close = false;
    for_each_list_element(field.value, [&](std::string_view option) {
      if (iequals(option, "close")) close = true;
      if (iequals(option, "keep-alive")) keep_alive = true;
    });
    if (close) return false;
  }
  return keep_alive;
}

}  // namespace postern::http::h1
