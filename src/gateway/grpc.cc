#include "gateway/grpc.h"

#include <algorithm>
#include <string>

#include "base/strings.h"

namespace postern::gateway {
namespace {

constexpr std::string_view kType = "application/grpc";

enum class Status : int {
  cancelled = 1,
  invalid_argument = 3,
  deadline_exceeded = 4,
  permission_denied = 7,
  resource_exhausted = 8,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  unauthenticated = 16,
};

Status status_of(const Error& error) noexcept {
  switch (info(error.code()).status) {
    case 400: return Status::internal;
    case 401: return Status::unauthenticated;
    case 403: return Status::permission_denied;
    case 404:
    case 405:
    case 501: return Status::unimplemented;
    case 413:
    case 429:
    case 431: return Status::resource_exhausted;
    case 408:
    case 504: return Status::deadline_exceeded;
    case 499: return Status::cancelled;
    case 500: return Status::internal;
    default: return Status::unavailable;
  }
}

}  // namespace

bool is_grpc(const http::Exchange& exchange) noexcept {
  if (exchange.request.version != http::Version::http_2) return false;
  const std::string_view type = exchange.request.headers.value(http::HeaderName::content_type);
  if (type.size() < kType.size() || !iequals(type.substr(0, kType.size()), kType)) return false;
  return type.size() == kType.size() || type[kType.size()] == '+' || type[kType.size()] == ';';
}

void append_grpc_status(const Error& error, Arena& arena, http::Headers& fields) {
  const CodeInfo& code = info(error.code());
  fields.append("grpc-status", arena.copy(std::to_string(static_cast<int>(status_of(error)))));
  // Titles are plain ASCII without '%', so nothing needs the percent-encoding of a grpc-message.
  fields.append("grpc-message", arena.copy(std::string(code.id) + " " + std::string(code.title)));
}

std::optional<Duration> grpc_timeout(const http::Exchange& exchange) noexcept {
  if (!is_grpc(exchange)) return std::nullopt;
  std::string_view text;
  for (const http::Field& field : exchange.request.headers) {
    if (iequals(field.name, "grpc-timeout")) text = field.value;
  }
  // At most eight digits and a unit.
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  const auto amount = parse_decimal(text.substr(0, text.size() - 1));
  if (!amount) return std::nullopt;
  // Ten years of hours are enough, and fit.
  constexpr std::int64_t kMostHours = 10 * 365 * 24;
  const auto count = static_cast<std::int64_t>(*amount);
  switch (text.back()) {
    case 'H': return std::chrono::hours(std::min(count, kMostHours));
    case 'M': return std::chrono::minutes(std::min(count, kMostHours * 60));
    case 'S': return std::chrono::seconds(count);
    case 'm': return std::chrono::milliseconds(count);
    case 'u': return std::chrono::microseconds(count);
    case 'n': return std::chrono::nanoseconds(count);
    default: return std::nullopt;
  }
}

}  // namespace postern::gateway
