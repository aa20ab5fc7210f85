// BodySource: a message body as it is received, pulled by whoever consumes it. Nothing is read from the network before
// somebody asks, so a slow consumer slows the sender down: backpressure is the absence of poll().
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "http/headers.h"
#include "platform/stream.h"
#include "platform/task.h"

namespace postern::http {

struct BodyPiece {
  enum class Kind : std::uint8_t {
    data,  // `bytes` are valid until the next poll()
    wait,  // nothing at the moment: co_await wait(), then poll() again
    end,   // complete; trailers() is filled
  };
  Kind kind = Kind::wait;
  bool last = false;  // with data: surely nothing follows but the end (no trailers either)
  std::string_view bytes;
};

class BodySource {
 public:
  BodySource() = default;
  BodySource(const BodySource&) = delete;
  BodySource& operator=(const BodySource&) = delete;
  virtual ~BodySource() = default;

  // Never waits. After an error or the end, do not call it again.
  [[nodiscard]] virtual Result<BodyPiece> poll() = 0;
  [[nodiscard]] virtual Task<Wake> wait() = 0;
  // True once the whole body has been taken off the connection.
  [[nodiscard]] virtual bool complete() const noexcept = 0;
  // Trailer fields, after the end.
  [[nodiscard]] virtual const Headers& trailers() const noexcept = 0;
  // Payload bytes delivered so far.
  [[nodiscard]] virtual std::uint64_t received() const noexcept = 0;
};

// Whether more follows a write.
enum class End : std::uint8_t { more, last };

}  // namespace postern::http
