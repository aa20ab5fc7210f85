// ServerSession: one HTTP/2 client connection (RFC 9113): every stream is a Downstream of its own and runs through the
// same handler as an HTTP/1 request. While no stream is open it holds no buffer.
//
// What a stream looks like to the handler: the head is complete when the handler is called; `:authority` has become
// Host; cookie crumbs are one field; an extended CONNECT for a WebSocket (RFC 8441) is the GET of RFC 6455 with a key
// of our own, and the 101 that answers it goes out as 200. A stream that the client resets is cancelled like a
// connection that is cut: its handler is destroyed, by the loop, never from inside.
#pragma once

#include <memory>
#include <string_view>

#include "http/connection/server_connection.h"
#include "http/downstream.h"
#include "http/h2/counters.h"
#include "http/h2/limits.h"
#include "platform/task_set.h"

namespace postern::http::h2 {

// RFC 9113 3.4.
inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

class ServerSession {
 public:
  // All references outlive the session. `limits` are those of the listener; Http2 ones come with it.
  struct Services {
    Loop& loop;
    BufferPool& buffers;
    TaskSet::ErrorHandler& exceptions;
    RequestHandler& handler;
    Counters* counters = nullptr;  // of the loop, if somebody wants to know
  };
  ServerSession(const Services& services, std::unique_ptr<Stream> stream, const ConnectionFacts& facts,
                const ServerLimits& limits, const Limits& http2);
  ServerSession(const ServerSession&) = delete;
  ServerSession& operator=(const ServerSession&) = delete;
  // Cancels every stream.
  ~ServerSession();

  // The connection's life; ends when it is closed, in order or not. `early`: bytes that were read before (the preface).
  // Destroying the task is allowed at any time while it is suspended.
  [[nodiscard]] Task<void> serve(std::string early);
  // No new streams from now on (GOAWAY in two steps, RFC 9113 6.8); ends when the last one has.
  void drain() noexcept;
  [[nodiscard]] std::size_t streams() const noexcept;
  // Resets the connection instead of closing it in order.
  void reset_on_close() noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::http::h2
