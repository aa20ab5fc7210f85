#include "observe/access_log.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace postern::observe {
namespace {

// Bytes of each field that are kept; what is cut ends in "…".
constexpr std::size_t kMaxRequestId = 128;
constexpr std::size_t kMaxClient = 64;
constexpr std::size_t kMaxMethod = 32;
constexpr std::size_t kMaxHost = 255;
constexpr std::size_t kMaxPath = 2048;
constexpr std::size_t kMaxQuery = 1024;
constexpr std::size_t kMaxProtocol = 16;
constexpr std::size_t kMaxCertificate = 32;
constexpr std::size_t kMaxName = 256;  // route, consumer, origin: from the configuration or the store
constexpr std::size_t kMaxErrorCode = 16;
constexpr std::size_t kMaxErrorDetail = 200;
constexpr std::size_t kMaxUserAgent = 512;
constexpr std::size_t kMaxReferer = 512;
constexpr std::size_t kMaxParameterName = 64;
constexpr std::size_t kMaxFlag = 16;

// Keys, quotes, numbers and the "…" of all fields together.
constexpr std::size_t kFixedBytes = 1024;
constexpr std::size_t kMaxLine =
    kFixedBytes +
    kEscapeGrowth * (kMaxRequestId + kMaxClient + kMaxMethod + kMaxHost + kMaxPath + kMaxQuery + 2 * kMaxProtocol +
                     kMaxCertificate + 3 * kMaxName + kMaxErrorCode + kMaxErrorDetail + kMaxUserAgent + kMaxReferer);
static_assert(kMaxLine <= Block::kBytes);

constexpr std::string_view kEllipsis = "\xE2\x80\xA6";  // the only bytes over 0x7F in a line, and they are ours

std::size_t clipped(std::string_view text, std::size_t limit) noexcept { return std::min(text.size(), limit); }

// Room that `record` may need. Close to the truth for usual lines, so that blocks are filled.
std::size_t bound(const AccessRecord& record) noexcept {
  const std::size_t text = clipped(record.request_id, kMaxRequestId) + clipped(record.client, kMaxClient) +
                           clipped(record.method, kMaxMethod) + clipped(record.host, kMaxHost) +
                           clipped(record.path, kMaxPath) + clipped(record.query, kMaxQuery) +
                           clipped(record.protocol, kMaxProtocol) + clipped(record.tls, kMaxProtocol) +
                           clipped(record.origin_certificate, kMaxCertificate) + clipped(record.route, kMaxName) +
                           clipped(record.consumer, kMaxName) + clipped(record.origin, kMaxName) +
                           clipped(record.error_code, kMaxErrorCode) + clipped(record.error_detail, kMaxErrorDetail) +
                           clipped(record.user_agent, kMaxUserAgent) + clipped(record.referer, kMaxReferer);
  return kFixedBytes + kEscapeGrowth * text;
}

// N is known to the compiler: a few stores instead of a call.
template <std::size_t N>
char* put(char* out, const char (&text)[N]) noexcept {
  std::memcpy(out, text, N - 1);
  return out + (N - 1);
}

char* put(char* out, std::string_view text) noexcept {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

char* put_text(char* out, std::string_view text, std::size_t limit) noexcept {
  if (text.size() <= limit) return escape_json(out, text);
  return put(escape_json(out, text.substr(0, limit)), kEllipsis);
}

template <std::size_t N>
char* put_field(char* out, const char (&key)[N], std::string_view text, std::size_t limit) noexcept {
  if (text.empty()) return out;
  out = put_text(put(out, key), text, limit);
  *out++ = '"';
  return out;
}

template <std::size_t N>
char* put_number(char* out, const char (&key)[N], std::uint64_t value) noexcept {
  return put_decimal(put(out, key), value);
}

char* put_origin(char* out, const AccessRecord& record) noexcept {
  if (record.origin.empty()) return out;
  out = put_field(out, ",\"origin\":\"", record.origin, kMaxName);
  out = put_number(out, ",\"endpoint\":", record.endpoint);
  out = put_number(out, ",\"attempts\":", record.attempts);
  if (record.connect >= Duration::zero()) out = put_milliseconds(put(out, ",\"connect_ms\":"), record.connect);
  if (record.first_byte >= Duration::zero()) out = put_milliseconds(put(out, ",\"first_byte_ms\":"), record.first_byte);
  out = put_field(out, ",\"origin_certificate\":\"", record.origin_certificate, kMaxCertificate);
  return out;
}

char* put_error(char* out, const AccessRecord& record) noexcept {
  if (record.error_code.empty()) return out;
  out = put_field(out, ",\"error_code\":\"", record.error_code, kMaxErrorCode);
  switch (record.error_side) {
    case Side::client: out = put(out, ",\"error_side\":\"client\""); break;
    case Side::origin: out = put(out, ",\"error_side\":\"origin\""); break;
    case Side::gateway: out = put(out, ",\"error_side\":\"gateway\""); break;
  }
  return put_field(out, ",\"error_detail\":\"", record.error_detail, kMaxErrorDetail);
}

// A long name is none: it may be a value that happens to hold '='. So may what stands before "==", the end of base64.
bool is_parameter_name(std::string_view text) noexcept { return text.size() <= kMaxParameterName; }

// Without '=' an element may be a flag (?wsdl) or a bare token (?eyJhbGci): only a short lower-case word is shown.
bool is_flag(std::string_view text) noexcept {
  return text.size() <= kMaxFlag &&
         std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || c == '_' || c == '-'; });
}

char* put_referer(char* out, std::string_view referer) noexcept {
  if (referer.empty()) return out;
  const RefererParts parts = referer_parts(clip(referer, kMaxReferer));
  if (parts.rest.empty()) return out;
  out = escape_json(put(out, ",\"referer\":\""), parts.scheme);
  out = escape_json(out, parts.rest);
  *out++ = '"';
  return out;
}

}  // namespace

char* put_redacted_query(char* out, std::string_view query, std::size_t limit) noexcept {
  const bool cut = query.size() > limit;
  query = clip(query, limit);
  while (!query.empty()) {
    const std::size_t ampersand = query.find('&');
    const std::string_view element = query.substr(0, ampersand);
    const std::size_t equals = element.find('=');
    const std::string_view name = element.substr(0, equals);
    const bool has_value = equals != std::string_view::npos;
    const bool is_name =
        has_value ? is_parameter_name(name) && !element.substr(equals).starts_with("==") : is_flag(name);
    if (is_name) out = escape_json(out, name);
    if (is_name && has_value) *out++ = '=';
    if (has_value || (!is_name && !element.empty())) out = put(out, kEllipsis);
    if (ampersand == std::string_view::npos) break;
    *out++ = '&';
    query.remove_prefix(ampersand + 1);
  }
  return cut ? put(out, kEllipsis) : out;
}

RefererParts referer_parts(std::string_view referer) noexcept {
  referer = referer.substr(0, referer.find_first_of("?#"));
  std::size_t authority = 0;
  if (referer.starts_with("//")) {
    authority = 2;
  } else if (referer.starts_with('/')) {
    return {.scheme = {}, .rest = referer};
  } else {
    const std::size_t colon = referer.find(':');
    if (colon == std::string_view::npos || !referer.substr(colon).starts_with("://")) return {};
    authority = colon + 3;
  }
  const std::string_view scheme = referer.substr(0, authority);
  std::string_view rest = referer.substr(authority);
  // '\' ends the authority for browsers; the last '@' before the end is the border of the user information.
  const std::size_t at = rest.substr(0, rest.find_first_of("/\\")).rfind('@');
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  return {.scheme = scheme, .rest = rest};
}

Result<std::unique_ptr<AccessLog>> AccessLog::open(const Options& options, Log& log) {
  Result<std::unique_ptr<BlockWriter>> writer = BlockWriter::start(options.writer, log);
  if (!writer) return std::unexpected(std::move(writer.error()));
  return std::unique_ptr<AccessLog>(new AccessLog(std::move(*writer), options.query_values));
}

void LoopAccessLog::flush() noexcept {
  if (!block_) return;
  if (block_->used == 0) {
    log_.writer_->give_back(std::move(block_));
  } else {
    log_.writer_->submit(std::move(block_));
  }
}

void LoopAccessLog::append(const AccessRecord& record) noexcept {
  if (block_ && block_->room() < bound(record)) flush();
  if (!block_) block_ = log_.writer_->acquire();
  if (!block_) {
    log_.writer_->count_dropped(1);
    return;
  }
  char* const start = block_->bytes + block_->used;
  char* out = put(put(start, "{\"time\":\""), timestamp_.format(record.time));
  out = put_text(put(out, "\",\"request_id\":\""), record.request_id, kMaxRequestId);
  out = put_text(put(out, "\",\"client\":\""), record.client, kMaxClient);
  out = put_text(put(out, "\",\"method\":\""), record.method, kMaxMethod);
  *out++ = '"';
  out = put_field(out, ",\"host\":\"", record.host, kMaxHost);
  // A canonical path holds neither; the raw target of a refused request may, and what follows may be a secret.
  out = put_field(out, ",\"path\":\"", record.path.substr(0, record.path.find_first_of("?#")), kMaxPath);
  if (!record.query.empty()) {
    out = put(out, ",\"query\":\"");
    out = log_.query_values_ == QueryValues::keep ? put_text(out, record.query, kMaxQuery)
                                                  : put_redacted_query(out, record.query, kMaxQuery);
    *out++ = '"';
  }
  out = put_text(put(out, ",\"protocol\":\""), record.protocol, kMaxProtocol);
  *out++ = '"';
  out = put_field(out, ",\"tls\":\"", record.tls, kMaxProtocol);
  out = put_number(out, ",\"status\":", static_cast<std::uint64_t>(std::max(record.status, 0)));
  out = put_field(out, ",\"route\":\"", record.route, kMaxName);
  out = put_field(out, ",\"consumer\":\"", record.consumer, kMaxName);
  out = put_origin(out, record);
  out = put_milliseconds(put(out, ",\"duration_ms\":"), record.duration);
  out = put_number(out, ",\"bytes_in\":", record.bytes_in);
  out = put_number(out, ",\"bytes_out\":", record.bytes_out);
  out = put_error(out, record);
  out = put_field(out, ",\"user_agent\":\"", record.user_agent, kMaxUserAgent);
  out = put_referer(out, record.referer);
  out = put(out, "}\n");
  block_->used += static_cast<std::size_t>(out - start);
  ++block_->lines;
}

}  // namespace postern::observe
