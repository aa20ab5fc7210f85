// Log: what the gateway has to say about itself, as JSON lines (stderr by default). Not the access log.
//
// A line is a level, a message that is a constant of the program, and typed fields whose keys are constants too. There
// is no format string and no way to pass a whole object, so bytes get in only where somebody wrote LogField::text(),
// and a config::Secret, which converts to nothing, cannot get in at all. Text is escaped and cut.
//
// A message that repeats is limited: kBurst lines per kWindow for each message together with its name() fields; the
// next line that passes says how many were held back.
//
// Thread-safe. One write(2) per line, at most kMaxLine bytes. A reader that does not keep up never blocks the caller:
// the line is dropped and counted. The process ignores SIGPIPE.
#pragma once

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <string_view>

#include "base/error.h"
#include "observe/json_text.h"
#include "platform/clock.h"

namespace postern::observe {

enum class Level : std::uint8_t { info, warning, error };

// A text that is known when the program is compiled.
class Constant {
 public:
  template <std::size_t N>
  consteval Constant(const char (&text)[N])
      : text_(text, N - 1) {}  // NOLINT: implicit, so that literals are written bare
  [[nodiscard]] constexpr std::string_view view() const noexcept { return text_; }

 private:
  std::string_view text_;
};

// One key and value. Borrows its text until write() returns.
class LogField {
 public:
  static constexpr std::size_t kMaxText = 400;  // bytes of a text that are kept

  // A name of the configuration (origin, route, policy, file). Lines with different names are limited apart.
  [[nodiscard]] static LogField name(Constant key, std::string_view value) noexcept {
    return {key, Kind::name, value, 0};
  }
  // Any other text, made by others or by us. Never a secret, a credential or a header value.
  [[nodiscard]] static LogField text(Constant key, std::string_view value) noexcept {
    return {key, Kind::text, value, 0};
  }
  template <std::integral T>
  [[nodiscard]] static LogField number(Constant key, T value) noexcept {
    return {key, Kind::number, {}, static_cast<std::int64_t>(value)};
  }
  [[nodiscard]] static LogField duration(Constant key, Duration value) noexcept {  // shown in milliseconds
    return {key, Kind::duration, {}, value.count()};
  }
  [[nodiscard]] static LogField time(Constant key, WallTime value) noexcept {
    return {key, Kind::time, {}, value.time_since_epoch().count()};
  }
  // The meaning of an errno, as "error_number" and text.
  [[nodiscard]] static LogField system_error(int error_number) noexcept {
    return {"system_error", Kind::system_error, {}, error_number};
  }
  // Code, side and detail.
  [[nodiscard]] static LogField error(const Error& error) noexcept {
    LogField field{"error", Kind::error, error.detail(), static_cast<std::int64_t>(error.code())};
    field.side_ = error.side();
    return field;
  }

 private:
  friend class Log;
  enum class Kind : std::uint8_t { name, text, number, duration, time, system_error, error };
  LogField(Constant key, Kind kind, std::string_view text, std::int64_t number) noexcept
      : key_(key), kind_(kind), text_(text), number_(number) {}

  Constant key_;
  Kind kind_;
  Side side_ = Side::gateway;
  std::string_view text_;
  std::int64_t number_;
};

class Log final {
 public:
  static constexpr std::size_t kMaxLine = 4096;  // PIPE_BUF: lines of several processes on one pipe stay whole
  static constexpr std::uint32_t kBurst = 5;
  static constexpr Duration kWindow = std::chrono::seconds(10);

  // Writes to `fd`, which it does not own. `clock` and `fd` outlive it.
  Log(int fd, const Clock& clock, Level minimum = Level::info) noexcept : fd_(fd), clock_(clock), minimum_(minimum) {}
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() = default;

  void write(Level level, Constant message, std::initializer_list<LogField> fields = {}) noexcept;
  void info(Constant message, std::initializer_list<LogField> fields = {}) noexcept {
    write(Level::info, message, fields);
  }
  void warning(Constant message, std::initializer_list<LogField> fields = {}) noexcept {
    write(Level::warning, message, fields);
  }
  void error(Constant message, std::initializer_list<LogField> fields = {}) noexcept {
    write(Level::error, message, fields);
  }

  // Lines that could not be written. Lines held back by the limit are not among them.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

 private:
  // One message within its window. A collision in the table replaces the older entry: the limit is loose then, never
  // tighter than promised.
  struct Repeat {
    std::uint64_t key = 0;
    MonoTime window_start{};
    std::uint32_t lines = 0;
    std::uint64_t held_back = 0;
  };
  enum class Verdict : std::uint8_t { write, hold_back };
  // mutex_ held. Sets `held_back` to what the line has to confess.
  [[nodiscard]] Verdict limit(std::uint64_t key, std::uint64_t& held_back) noexcept;

  const int fd_;
  const Clock& clock_;
  const Level minimum_;
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  // guarded by mutex_:
  std::array<Repeat, 256> repeats_{};
  TimestampText timestamp_;
};

}  // namespace postern::observe
