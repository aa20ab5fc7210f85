// ServerConnection: one HTTP/1 client connection: waits for requests, hands each to the handler, closes in order. While
// idle it holds no buffer.
#pragma once

#include <cstdint>
#include <memory>

#include "http/connection/body_reader.h"
#include "http/connection/message_writer.h"
#include "http/downstream.h"
#include "http/h1/request_parser.h"
#include "platform/frame_pool.h"
#include "platform/intrusive_list.h"
#include "platform/network.h"

namespace postern::http {

class ServerConnection;

// What a connection needs from its listener; outlives the connection and is constant while it lives.
struct ServerLimits {
  h1::HeadLimits head;
  Duration header_timeout = std::chrono::seconds(10);
  Duration idle_timeout = std::chrono::seconds(75);
  Duration body_idle_timeout = std::chrono::seconds(30);
  std::uint64_t body_min_rate = 256;
  Duration write_idle_timeout = std::chrono::seconds(30);
  std::uint32_t max_requests = 10'000;
};

class ServerConnection final : public Downstream, public ListNode, Stream::AbortListener {
 public:
  // Told when the connection has ended and may be destroyed (not from inside this call's coroutine frame).
  class Owner {
   public:
    virtual void on_connection_aborted(ServerConnection& connection) = 0;

   protected:
    ~Owner() = default;
  };

  // `facts` outlives the connection, as `limits` and `owner` do.
  ServerConnection(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> stream, const ConnectionFacts& facts,
                   const ServerLimits& limits, Owner& owner);
  ~ServerConnection() { stream_->set_abort_listener(nullptr); }

  // The connection's life. input() may hold bytes that were read before HTTP began (behind a PROXY header).
  [[nodiscard]] Task<void> serve(RequestHandler& handler);

  [[nodiscard]] const ConnectionFacts& connection() const noexcept override { return facts_; }
  // An empty line alone leaves the connection idle (RFC 9112 2.2).
  [[nodiscard]] bool untouched() const noexcept override {
    return in_.view().find_first_not_of("\r\n") == std::string_view::npos;
  }
  [[nodiscard]] Task<Result<void>> receive(Exchange& exchange) override;
  [[nodiscard]] BodySource& body() override { return messages().body; }
  [[nodiscard]] Task<Result<void>> send_continue() override;
  [[nodiscard]] Task<Result<void>> send_informational(const ResponseHead& head) override;
  void start(const ResponseHead& head) override;
  [[nodiscard]] Task<Result<void>> write(std::string_view bytes, End end) override;
  [[nodiscard]] Task<Result<void>> finish(const Headers& trailers) override;
  void close_after_response() noexcept override { keep_alive_ = false; }
  [[nodiscard]] std::uint64_t sent() const noexcept override { return messages_ ? messages_->writer.body_bytes() : 0; }
  bool interrupt_write() noexcept override { return messages_ && messages_->writer.interrupt(); }
  [[nodiscard]] Stream& raw_stream() noexcept override { return *stream_; }
  [[nodiscard]] std::string_view raw_leftover() noexcept override { return messages().body.leftover(); }

  [[nodiscard]] Buffer& input() noexcept { return in_; }
  // For what is in input() before serve(): when its first byte came, which is when the time for the head begins.
  void head_began(MonoTime when) noexcept { head_began_ = when; }
  // Nothing of a request has arrived: may be closed at once when the gateway drains.
  [[nodiscard]] bool idle() const noexcept { return state_ == State::idle; }
  // Ends the connection after the present exchange; at once if it is idle, but a request that is already here is
  // served, and a client that has only just connected gets a second to send its first.
  void drain() noexcept;

 private:
  enum class State : std::uint8_t { idle, busy, closing };

  // What only an exchange needs: most connections are idle most of the time.
  struct Messages {
    explicit Messages(ServerConnection& of);
    static void* operator new(std::size_t size) { return FramePool::allocate(size); }
    static void operator delete(void* messages, std::size_t size) noexcept { FramePool::release(messages, size); }

    h1::RequestParser parser;
    BodyReader body;
    MessageWriter writer;
  };

  [[nodiscard]] Messages& messages() {
    if (!messages_) messages_ = std::make_unique<Messages>(*this);
    return *messages_;
  }
  void on_abort() override { owner_.on_connection_aborted(*this); }
  [[nodiscard]] Task<bool> wait_for_request();
  [[nodiscard]] Task<Result<void>> receive_more(Exchange& exchange);
  [[nodiscard]] Result<h1::Parse> parse(Exchange& exchange);
  void forget_messages();
  [[nodiscard]] Task<void> linger();

  Loop& loop_;
  const ServerLimits& limits_;
  Owner& owner_;
  std::unique_ptr<Stream> stream_;
  const ConnectionFacts& facts_;
  State state_ = State::idle;
  bool keep_alive_ = true;
  bool draining_ = false;
  bool head_request_ = false;
  bool http_1_0_ = false;
  bool bodiless_ = false;  // of the response: nothing after the head, whatever is written
  std::uint32_t requests_ = 0;
  MonoTime head_began_ = MonoTime::max();  // before this object was there
  Deadline deadline_;
  BufferPool& pool_;
  Buffer in_;
  std::unique_ptr<Messages> messages_;  // from the first byte of a request to the end of its exchange
};

}  // namespace postern::http
