// ServerStream: one request and its response on an HTTP/2 client connection, as the handler's Downstream.
#pragma once

#include "http/connection/server_connection.h"
#include "http/downstream.h"
#include "http/h2/http_stream.h"
#include "platform/frame_pool.h"
#include "platform/task_set.h"

namespace postern::http::h2 {

class ServerStream final : public HttpStream, public Downstream {
 public:
  // What the session does with a stream at the end of the turn, or before it hands it to the handler.
  class Owner {
   public:
    virtual void on_head_complete(ServerStream& stream) = 0;  // to be handled
    virtual void on_abandoned(ServerStream& stream) = 0;      // its handler is to be destroyed
    virtual void on_finished(ServerStream& stream) = 0;       // nobody needs it any more
    [[nodiscard]] virtual std::string_view next_websocket_key(Arena& arena) = 0;

   protected:
    ~Owner() = default;
  };

  // All outlive the stream.
  ServerStream(Session& session, Owner& owner, std::int32_t id, const ConnectionFacts& facts,
               const ServerLimits& limits);
  ~ServerStream() override;

  static void* operator new(std::size_t size) { return FramePool::allocate(size); }
  static void operator delete(void* stream, std::size_t size) noexcept { FramePool::release(stream, size); }

  // Runs the handler until it first waits.
  void handle(RequestHandler& handler);
  // Destroys the handler, wherever it waits. Not from inside of it.
  void abandon() noexcept;

  // ---- told by the session ----
  void on_block() override;
  void on_block_complete(bool end_stream) override;
  void on_reset(std::uint32_t error_code) override;
  void on_over(std::uint32_t error_code) override;
  void on_head_not_sent(int library_error) override;

  // ---- Downstream ----
  [[nodiscard]] const ConnectionFacts& connection() const noexcept override { return facts_; }
  [[nodiscard]] bool untouched() const noexcept override { return false; }
  [[nodiscard]] Task<Result<void>> receive(Exchange& exchange) override;
  [[nodiscard]] BodySource& body() override { return *this; }
  [[nodiscard]] Task<Result<void>> send_continue() override;
  [[nodiscard]] Task<Result<void>> send_informational(const ResponseHead& head) override;
  void start(const ResponseHead& head) override;
  [[nodiscard]] Task<Result<void>> write(std::string_view bytes, End end) override;
  [[nodiscard]] Task<Result<void>> finish(const Headers& trailers) override;
  // Of a stream every exchange is the last.
  void close_after_response() noexcept override {}
  [[nodiscard]] std::uint64_t sent() const noexcept override { return HttpStream::sent(); }
  bool interrupt_write() noexcept override { return out_gate().wake(Wake::interrupted); }
  [[nodiscard]] Stream& raw_stream() noexcept override;
  [[nodiscard]] std::string_view raw_leftover() noexcept override { return {}; }

  std::size_t place = 0;  // the owner's: where the stream stands in its list

 private:
  struct Conclusion;
  [[nodiscard]] Task<void> run(RequestHandler& handler);
  void conclude() noexcept;
  [[nodiscard]] Task<Result<void>> send_interim(int status, const Headers* headers);

  Owner& owner_;
  const ConnectionFacts& facts_;
  bool has_head_ = false;
  bool ends_with_head_ = false;
  bool head_request_ = false;
  bool websocket_ = false;
  bool tunnel_ = false;    // 101 was sent, as 200
  bool bodiless_ = false;  // of the response: nothing after the head, whatever is written
  bool handling_ = false;
  TaskSet tasks_;  // the handler's, which uses the rest: the destructor ends it first
  FieldBlock head_;
};

}  // namespace postern::http::h2
