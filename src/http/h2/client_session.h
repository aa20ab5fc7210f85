// ClientSession: one HTTP/2 connection to an origin (RFC 9113), shared by many exchanges at a time: each opens a stream
// and has it as its Upstream. It does not know what an origin is; the pool keeps it.
#pragma once

#include <memory>

#include "http/connection/client_connection.h"
#include "http/h2/counters.h"
#include "http/h2/limits.h"
#include "http/upstream.h"
#include "platform/task_set.h"

namespace postern::http::h2 {

class ClientSession {
 public:
  // Told by the loop, never from inside a call: the session takes no new stream any more (GOAWAY, a broken connection,
  // an orderly end), or has room again after it was full.
  class Owner {
   public:
    virtual void on_session_changed(ClientSession& session) = 0;

   protected:
    ~Owner() = default;
  };
  struct Services {
    Loop& loop;
    BufferPool& buffers;
    TaskSet::ErrorHandler& exceptions;
    Counters* counters = nullptr;  // of the loop, if somebody wants to know
  };

  // All references outlive the session; `owner` may be taken away with forget_owner().
  ClientSession(const Services& services, std::unique_ptr<Stream> stream, ClientTimeouts timeouts, const Limits& limits,
                Owner& owner);
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;
  // Streams that are still open fail with origin_closed; their Upstream objects may outlive the session.
  ~ClientSession();

  // Sends the connection preface and begins to read. Once.
  void start();
  // Waits for the origin's SETTINGS: only then is it known to speak HTTP/2. Errors: origin_malformed, origin_closed,
  // origin_timeout at `deadline`.
  [[nodiscard]] Task<Result<void>> ready(MonoTime deadline);

  // Whether it takes another stream at this moment.
  [[nodiscard]] bool has_room() const noexcept;
  // False for ever once the connection is closing or closed.
  [[nodiscard]] bool alive() const noexcept;
  // The origin said SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 3).
  [[nodiscard]] bool takes_websockets() const noexcept;
  [[nodiscard]] std::size_t streams() const noexcept;
  [[nodiscard]] MonoTime created() const noexcept;
  // Since when no stream has been open; MonoTime::max() while one is.
  [[nodiscard]] MonoTime idle_since() const noexcept;
  // Streams opened so far.
  [[nodiscard]] std::uint64_t exchanges() const noexcept;

  // A new stream; has_room() must be true. Nothing is sent before its start(). Destroying it before its exchange is
  // complete resets the stream (CANCEL).
  [[nodiscard]] std::unique_ptr<Upstream> open();
  // No new streams; closes when the last one has ended.
  void drain() noexcept;
  void forget_owner() noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace postern::http::h2
