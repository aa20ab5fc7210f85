// Downstream: the client's half of one exchange, whatever the protocol. handle_request() receives from it and answers
// to it; an HTTP/1 connection implements it once and for all its requests in turn.
//
// One coroutine writes: what goes to the client (100 and other interim heads, the response) is one sequence. Another
// one may read the body meanwhile.
#pragma once

#include "http/body.h"
#include "http/connection_facts.h"
#include "http/exchange.h"

namespace postern::http {

class Downstream {
 public:
  Downstream() = default;
  Downstream(const Downstream&) = delete;
  Downstream& operator=(const Downstream&) = delete;
  virtual ~Downstream() = default;

  [[nodiscard]] virtual const ConnectionFacts& connection() const noexcept = 0;
  // After a receive() that failed with client_closed: nothing of a request has arrived, so there is nothing to account
  // for.
  [[nodiscard]] virtual bool untouched() const noexcept = 0;

  // Reads the head into exchange.request; its views stay valid until this exchange is over. On an error the exchange
  // holds whatever was understood, and framing is lost: answer, then close.
  [[nodiscard]] virtual Task<Result<void>> receive(Exchange& exchange) = 0;

  [[nodiscard]] virtual BodySource& body() = 0;
  // Tells a client that waits for it (Expect) to send its body. Once, before the body is polled.
  [[nodiscard]] virtual Task<Result<void>> send_continue() = 0;
  // An interim response other than 101.
  [[nodiscard]] virtual Task<Result<void>> send_informational(const ResponseHead& head) = 0;

  // Starts the final response (or a 101). Buffers only: head and first bytes leave in one segment. `head.framing` says
  // how the body will come; what the client's version and method demand is done here.
  virtual void start(const ResponseHead& head) = 0;
  // `bytes` are borrowed until the task is done.
  [[nodiscard]] virtual Task<Result<void>> write(std::string_view bytes, End end) = 0;
  // Ends the response, if write(…, End::last) did not. Trailers may be empty.
  [[nodiscard]] virtual Task<Result<void>> finish(const Headers& trailers) = 0;

  // This exchange must be the last one on its connection.
  virtual void close_after_response() noexcept = 0;
  // Payload bytes of the response taken by the transport.
  [[nodiscard]] virtual std::uint64_t sent() const noexcept = 0;
  // Ends a wait for the client to take something: that call fails with `cancelled`. True if somebody waited; then the
  // exchange may be over by now.
  virtual bool interrupt_write() noexcept = 0;

  // After a 101 has been written: the raw stream, and what the client already sent beyond its request.
  [[nodiscard]] virtual Stream& raw_stream() noexcept = 0;
  [[nodiscard]] virtual std::string_view raw_leftover() noexcept = 0;
};

enum class AfterResponse : std::uint8_t { keep_alive, close };

class RequestHandler {
 public:
  // Handles one request: receives it from `client` and answers it. `close`: nothing more can be said on this exchange's
  // connection (HTTP/1) or stream (HTTP/2).
  [[nodiscard]] virtual Task<AfterResponse> handle(Downstream& client) = 0;

 protected:
  ~RequestHandler() = default;
};

}  // namespace postern::http
