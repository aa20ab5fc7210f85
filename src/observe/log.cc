#include "observe/log.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>

namespace postern::observe {
namespace {

std::string_view level_text(Level level) noexcept {
  switch (level) {
    case Level::info: return "info";
    case Level::warning: return "warning";
    case Level::error: return "error";
  }
  return "error";
}

std::string_view side_text(Side side) noexcept {
  switch (side) {
    case Side::client: return "client";
    case Side::origin: return "origin";
    case Side::gateway: return "gateway";
  }
  return "gateway";
}

// FNV-1a: only to spread a few hundred constant messages and configured names.
std::uint64_t mix(std::uint64_t hash, std::string_view text) noexcept {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return (hash ^ 0xFF) * 0x100000001B3;
}

// Builds one line in place. A field that does not fit is left out and the line says so.
class Line {
 public:
  Line() noexcept { *at_++ = '{'; }

  void text(std::string_view key, std::string_view value) noexcept {
    if (!begin(key, value.size() * kEscapeGrowth + 2)) return;
    *at_++ = '"';
    at_ = escape_json(at_, value);
    *at_++ = '"';
  }
  void number(std::string_view key, std::int64_t value) noexcept {
    if (!begin(key, 21)) return;
    if (value < 0) *at_++ = '-';
    const auto magnitude = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    at_ = put_decimal(at_, magnitude);
  }
  void milliseconds(std::string_view key, Duration value) noexcept {
    if (begin(key, 24)) at_ = put_milliseconds(at_, value);
  }
  [[nodiscard]] std::string_view finish() noexcept {
    if (cut_) put(",\"cut\":true");
    put("}\n");
    return {bytes_, static_cast<std::size_t>(at_ - bytes_)};
  }

 private:
  static constexpr std::size_t kReserve = 32;  // for what finish() adds
  void put(std::string_view text) noexcept {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  bool begin(std::string_view key, std::size_t value_bytes) noexcept {
    const auto used = static_cast<std::size_t>(at_ - bytes_);
    if (used + key.size() + 4 + value_bytes + kReserve > Log::kMaxLine) {
      cut_ = true;
      return false;
    }
    if (at_ != bytes_ + 1) *at_++ = ',';
    *at_++ = '"';
    put(key);
    put("\":");
    return true;
  }

  char bytes_[Log::kMaxLine];
  char* at_ = bytes_;
  bool cut_ = false;
};

}  // namespace

Log::Verdict Log::limit(std::uint64_t key, std::uint64_t& held_back) noexcept {
  const MonoTime now = clock_.now();
  Repeat& repeat = repeats_[key % repeats_.size()];
  if (repeat.key != key) repeat = Repeat{.key = key, .window_start = now};
  if (now - repeat.window_start >= kWindow) {
    repeat.window_start = now;
    repeat.lines = 0;
  }
  if (repeat.lines >= kBurst) {
    ++repeat.held_back;
    return Verdict::hold_back;
  }
  ++repeat.lines;
  held_back = repeat.held_back;
  repeat.held_back = 0;
  return Verdict::write;
}

void Log::write(Level level, Constant message, std::initializer_list<LogField> fields) noexcept {
  if (level < minimum_) return;
  std::uint64_t key = mix(0xCBF29CE484222325, message.view());
  for (const LogField& field : fields) {
    if (field.kind_ == LogField::Kind::name) key = mix(key, field.text_);
  }
  const std::scoped_lock lock(mutex_);
  std::uint64_t held_back = 0;
  if (limit(key, held_back) == Verdict::hold_back) return;

  Line line;
  line.text("time", timestamp_.format(clock_.wall()));
  line.text("level", level_text(level));
  line.text("message", message.view());
  for (const LogField& field : fields) {
    const std::string_view name = field.key_.view();
    switch (field.kind_) {
      case LogField::Kind::name:
      case LogField::Kind::text: line.text(name, clip(field.text_, LogField::kMaxText)); break;
      case LogField::Kind::number: line.number(name, field.number_); break;
      case LogField::Kind::duration: line.milliseconds(name, Duration(field.number_)); break;
      case LogField::Kind::time: line.text(name, timestamp_text(WallTime(Duration(field.number_)))); break;
      case LogField::Kind::system_error: {
        char buffer[128];
        const char* const meaning = strerror_r(static_cast<int>(field.number_), buffer, sizeof(buffer));
        line.number("error_number", field.number_);
        line.text(name, meaning);
        break;
      }
      case LogField::Kind::error: {
        const CodeInfo& code = postern::info(static_cast<Code>(field.number_));
        line.text("error_code", code.id);
        line.text("error_side", side_text(field.side_));
        line.text("error_title", code.title);
        if (!field.text_.empty()) line.text("error_detail", clip(field.text_, LogField::kMaxText));
        break;
      }
    }
  }
  if (held_back != 0) line.number("held_back", static_cast<std::int64_t>(held_back));
  const std::string_view bytes = line.finish();

  // A pipe that polls writable takes PIPE_BUF bytes without blocking (pipe(7)); files and terminals always do.
  pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
  ssize_t written = -1;
  if (poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0) {
    do {
      written = ::write(fd_, bytes.data(), bytes.size());
    } while (written < 0 && errno == EINTR);
  }
  if (written != static_cast<ssize_t>(bytes.size())) dropped_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace postern::observe
