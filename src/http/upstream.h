// Upstream: the origin's half of one exchange, whatever the protocol: the mirror of Downstream. An HTTP/1 connection
// implements it for its exchanges in turn; in HTTP/2 each stream is one.
//
// One coroutine writes the request and another one may read the response meanwhile.
#pragma once

#include <string_view>

#include "http/body.h"
#include "http/message.h"
#include "platform/clock.h"

namespace postern::http {

// Everything that goes into the head of a request to an origin. `head.headers` has no Host and nothing of one hop;
// `added` goes out after them and wins nowhere: whoever fills it has removed what it replaces.
struct OutgoingHead {
  const RequestHead& head;
  std::string_view scheme;  // "http" or "https"
  std::string_view host;
  std::string_view target;  // path and query
  const Headers& added;
  bool websocket = false;  // an opening handshake; the Sec-WebSocket-* fields are in `head.headers`
};

class Upstream {
 public:
  Upstream() = default;
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;
  virtual ~Upstream() = default;

  [[nodiscard]] virtual Version version() const noexcept = 0;

  // Starts the request; buffers only. `out.head.framing` says how the body comes.
  virtual void start(const OutgoingHead& out) = 0;
  // `bytes` are borrowed until the task is done. Errors: origin_timeout (takes nothing), origin_closed, cancelled.
  [[nodiscard]] virtual Task<Result<void>> write(std::string_view bytes, End end) = 0;
  // Ends the request, if write(…, End::last) did not and it has a body. Trailers may be empty.
  [[nodiscard]] virtual Task<Result<void>> finish(const Headers& trailers) = 0;
  // Sends what is buffered.
  [[nodiscard]] virtual Task<Result<void>> flush() = 0;

  // Reads the next head, interim or final; `head`'s views stay valid until the next receive_head() or the end of the
  // exchange. After an accepted WebSocket handshake the status is 101 in every protocol. Fails with origin_timeout at
  // `deadline`, origin_closed (Retry::if_reused if no byte of any response came; Retry::yes if the origin said that it
  // did not look at the request), or origin_malformed, also at one interim head too many. Ends early with `cancelled`
  // if interrupt() is called.
  [[nodiscard]] virtual Task<Result<void>> receive_head(Method request_method, ResponseHead& head,
                                                        MonoTime deadline) = 0;
  // Moves the deadline of a receive_head() that waits; MonoTime::max() is none.
  virtual void set_head_deadline(MonoTime deadline) noexcept = 0;
  // The final response's body; after receive_head().
  [[nodiscard]] virtual BodySource& body() noexcept = 0;
  // Ends a wait for the peer, in receive_head(), the body or a write. True if somebody waited; then the exchange may be
  // over by now.
  virtual bool interrupt() noexcept = 0;

  // After a 101: the raw stream, and what the origin already sent beyond its head. The leftover is taken once.
  [[nodiscard]] virtual Stream& raw_stream() noexcept = 0;
  [[nodiscard]] virtual std::string take_raw_leftover() = 0;
  // Until what was written to the raw stream before an orderly end has been taken by the transport. Errors: as write().
  [[nodiscard]] virtual Task<Result<void>> flush_raw() = 0;
};

}  // namespace postern::http
