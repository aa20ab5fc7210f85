#include "http/h1/head_scanner.h"

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "http/h1/byte_scan.h"

namespace postern::http::h1 {
namespace {

constexpr std::size_t kMaxNameSize = 256;

// Why there is no name with a colon behind it; `stop` is the first byte that is not a tchar.
Flaw flaw_of_name(const char* at, const char* stop, const char* end) noexcept {
  if (*stop == '\n') return Flaw::bare_lf;
  if (stop != at) return Flaw::bad_name;
  if (*stop == ' ' || *stop == '\t') return Flaw::folded;
  if (*stop == '\r') return stop + 1 == end ? Flaw::unfinished : Flaw::bare_cr;
  return Flaw::bad_name;
}

std::size_t saturating_add(std::size_t a, std::size_t b) noexcept { return a + b < a ? ~std::size_t{0} : a + b; }

}  // namespace

std::string_view describe(Flaw flaw) noexcept {
  switch (flaw) {
    case Flaw::none:
    case Flaw::unfinished: return "";
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

std::string_view describe(HeadFacts::Fault fault) noexcept {
  switch (fault) {
    case HeadFacts::Fault::none: return "";
    case HeadFacts::Fault::both: return "Content-Length and Transfer-Encoding";
    case HeadFacts::Fault::length: return "malformed or repeated Content-Length";
    case HeadFacts::Fault::coding: return "Transfer-Encoding other than chunked";
  }
  return "";
}

bool is_token(std::string_view text) noexcept {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  return begin != end && skip_token(begin, end) == end;
}

Flaw scan_field(const char* at, const char* end, Field& out, const char*& next) noexcept {
  const char* const colon = skip_token(at, end);
  const auto name_size = static_cast<std::size_t>(colon - at);
  if (name_size > kMaxNameSize) return Flaw::bad_name;
  if (colon == end) return Flaw::unfinished;
  if (*colon != ':' || name_size == 0) return flaw_of_name(at, colon, end);
  const char* first = colon + 1;
  const char* last = skip_value(first, end);
  if (last == end) return Flaw::unfinished;
  if (*last != '\r') return *last == '\n' ? Flaw::bare_lf : Flaw::bad_value;
  if (last + 1 == end) return Flaw::unfinished;
  if (last[1] != '\n') return Flaw::bare_cr;
  next = last + 2;
  while (first != last && (*first == ' ' || *first == '\t')) ++first;
  while (first != last && (last[-1] == ' ' || last[-1] == '\t')) --last;
  out.name = {at, name_size};
  out.value = {first, static_cast<std::size_t>(last - first)};
  out.id = lookup_header_name(out.name);
  return Flaw::none;
}

Flaw HeadScanner::find_start_line(std::string_view bytes, std::size_t max_size, std::string_view& line) noexcept {
  const std::size_t limit = std::min(bytes.size(), saturating_add(start_, max_size));
  const std::size_t from = std::max(scanned_, start_);
  const void* const found = from < limit ? std::memchr(bytes.data() + from, '\n', limit - from) : nullptr;
  if (!found) {
    scanned_ = limit;
    return limit >= start_ && limit - start_ == max_size ? Flaw::too_large : Flaw::unfinished;
  }
  const auto lf = static_cast<std::size_t>(static_cast<const char*>(found) - bytes.data());
  if (lf == start_ || bytes[lf - 1] != '\r') return Flaw::bare_lf;
  fields_ = line_ = scanned_ = lf + 1;
  line = start_line(bytes);
  return Flaw::none;
}

bool HeadScanner::skip_empty_line() noexcept {
  if (start_ != 0) return false;
  start_ = 2;
  return true;
}

bool HeadScanner::continues_line(std::string_view bytes) const noexcept {
  if (scanned_ <= line_) return false;
  const char* const from = bytes.data() + scanned_;
  const char* const end = bytes.data() + bytes.size();
  if (in_value_) return skip_value(from, end) == end;
  return bytes.size() - line_ <= kMaxNameSize && skip_token(from, end) == end;
}

Flaw HeadScanner::scan_fields(std::string_view bytes, const HeadLimits& limits, Headers& out) {
  const std::size_t allowed = std::min(bytes.size(), saturating_add(fields_, limits.max_header_bytes));
  if (bytes.size() == allowed && continues_line(bytes)) {
    scanned_ = allowed;
    return Flaw::unfinished;
  }
  const char* const base = bytes.data();
  const char* const end = base + allowed;
  const char* at = base + line_;
  bool keep = line_ == fields_;
  for (;;) {
    if (end - at >= 2 && at[0] == '\r' && at[1] == '\n') {
      if (keep) break;
      // The lines came in pieces and were judged as they came; now that the buffer stays, take them.
      keep = true;
      count_ = 0;
      at = base + fields_;
      continue;
    }
    Field field;
    const char* next = nullptr;
    const Flaw flaw = scan_field(at, end, field, next);
    if (flaw == Flaw::unfinished) {
      line_ = static_cast<std::size_t>(at - base);
      // What a CR means depends on the byte behind it.
      scanned_ = at != end && end[-1] == '\r' ? allowed - 1 : allowed;
      in_value_ = std::memchr(at, ':', allowed - line_) != nullptr;
      return bytes.size() > allowed ? Flaw::too_large : Flaw::unfinished;
    }
    if (flaw != Flaw::none) return flaw;
    if (++count_ > limits.max_header_count) return Flaw::too_many;
    if (keep) out.append(field.name, field.value, field.id);
    at = next;
  }
  line_ = static_cast<std::size_t>(at + 2 - base);
  return Flaw::none;
}

HeadFacts facts_of(const Headers& headers, Version version) noexcept {
  using Fault = HeadFacts::Fault;
  HeadFacts facts;
  bool close = false;
  bool persist = version == Version::http_1_1;
  for (const Field& field : headers) {
    switch (field.id) {
      case HeaderName::host: ++facts.hosts; break;
      case HeaderName::content_length: {
        const auto length = parse_decimal(field.value);
        // Two equal lengths are refused, too: which of the copies the next hop believes is not ours to guess.
        if (!length || facts.has_length || *length > kMaxLength) facts.fault = Fault::length;
        facts.has_length = true;
        facts.length = length.value_or(0);
        break;
      }
      case HeaderName::transfer_encoding:
        if (facts.chunked || !iequals(field.value, "chunked")) facts.fault = Fault::coding;
        facts.chunked = true;
        break;
      case HeaderName::connection:
        for_each_list_element(field.value, [&](std::string_view option) {
          if (iequals(option, "close")) close = true;
          if (iequals(option, "keep-alive")) persist = true;
        });
        break;
      case HeaderName::expect:
        if (iequals(field.value, "100-continue")) {
          facts.expect_continue = true;
        } else {
          facts.expect_other = true;
        }
        break;
      default: break;
    }
  }
  if (facts.fault == Fault::none && facts.chunked && facts.has_length) facts.fault = Fault::both;
  facts.keep_alive = persist && !close;
  return facts;
}

}  // namespace postern::http::h1
