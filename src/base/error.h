// Error: a small value that says what went wrong, whose side it was on, and whether trying again is safe.
//
// Errors are values everywhere on the request path; exceptions only end the process at start-up or mark bugs. One
// function (gateway/fail.h) turns an Error into problem+json, a log record and a metric; nobody else formats one.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace postern {

enum class Code : std::uint16_t {
#define POSTERN_ERROR(name, id, status, title) name,
#include "base/error_codes.inc"
#undef POSTERN_ERROR
};

// Who caused it. Decides the log level, the metric label and whether the origin's health is affected.
enum class Side : std::uint8_t { client, origin, gateway };

// Whether another attempt of the same request is safe.
enum class Retry : std::uint8_t {
  never,
  if_reused,  // only if the connection came from the pool and no response byte was seen
  yes,        // no byte of the request can have reached the origin
};

struct CodeInfo {
  Code code;
  std::string_view id;     // "PST-U002"
  int status;              // HTTP status for the client
  std::string_view title;  // constant text, safe to show to anybody
};

// Never fails: every enumerator has a row.
[[nodiscard]] const CodeInfo& info(Code code) noexcept;

class Error {
 public:
  Error(Code code, Side side, Retry retry = Retry::never) noexcept : code_(code), side_(side), retry_(retry) {}

  // `detail` goes to the log, and to the client only when side is client (gateway/fail.cc). Never put a secret, an
  // origin address or a client-supplied credential into it.
  Error(Code code, Side side, std::string detail, Retry retry = Retry::never)
      : code_(code), side_(side), retry_(retry), detail_(std::make_unique<std::string>(std::move(detail))) {}

  [[nodiscard]] Code code() const noexcept { return code_; }
  [[nodiscard]] Side side() const noexcept { return side_; }
  [[nodiscard]] Retry retry() const noexcept { return retry_; }
  [[nodiscard]] std::string_view detail() const noexcept { return detail_ ? *detail_ : std::string_view(); }
  // "PST-U002 Origin did not accept the connection in time: detail"
  [[nodiscard]] std::string to_string() const;

 private:
  Code code_;
  Side side_;
  Retry retry_;
  std::unique_ptr<std::string> detail_;
};
static_assert(sizeof(Error) <= 16);

template <typename T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(Code code, Side side, Retry retry = Retry::never) {
  return std::unexpected(Error(code, side, retry));
}
[[nodiscard]] inline std::unexpected<Error> fail(Code code, Side side, std::string detail, Retry retry = Retry::never) {
  return std::unexpected(Error(code, side, std::move(detail), retry));
}

}  // namespace postern
