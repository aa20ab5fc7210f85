// ClientStream: one request to an origin and its response, as the Upstream of one exchange. It may outlive its session,
// after which everything fails.
#pragma once

#include <memory>
#include <vector>

#include "http/h2/http_stream.h"
#include "http/upstream.h"
#include "platform/frame_pool.h"

namespace postern::http::h2 {

class ClientStream final : public HttpStream, public Upstream {
 public:
  class Owner {
   public:
    // The request is about to be sent. False: there is no place for it after all.
    [[nodiscard]] virtual bool on_start() noexcept = 0;
    // It was never started.
    virtual void on_given_up() noexcept = 0;

   protected:
    ~Owner() = default;
  };

  // Both outlive the stream, or say session_gone().
  ClientStream(Session& session, Owner& owner, Duration idle);
  // Resets the stream if the exchange is not complete.
  ~ClientStream() override;

  static void* operator new(std::size_t size) { return FramePool::allocate(size); }
  static void operator delete(void* stream, std::size_t size) noexcept { FramePool::release(stream, size); }

  // ---- told by the session ----
  void on_block() override;
  void on_block_complete(bool end_stream) override;
  void on_reset(std::uint32_t error_code) override;
  void on_over(std::uint32_t error_code) override;
  void on_head_not_sent(int library_error) override;
  // The connection is over, and `why`; Retry::if_reused counts only if no byte of the response came.
  void session_gone(const Failure& why) noexcept;

  // ---- Upstream ----
  [[nodiscard]] Version version() const noexcept override { return Version::http_2; }
  void start(const OutgoingHead& out) override;
  [[nodiscard]] Task<Result<void>> write(std::string_view bytes, End end) override { return send(bytes, end); }
  [[nodiscard]] Task<Result<void>> finish(const Headers& trailers) override;
  [[nodiscard]] Task<Result<void>> flush() override;
  [[nodiscard]] Task<Result<void>> receive_head(Method request_method, ResponseHead& head, MonoTime deadline) override;
  void set_head_deadline(MonoTime deadline) noexcept override { in_gate().set_deadline(deadline); }
  [[nodiscard]] BodySource& body() noexcept override { return *this; }
  bool interrupt() noexcept override { return in_gate().wake(Wake::interrupted) || out_gate().wake(Wake::interrupted); }
  [[nodiscard]] Stream& raw_stream() noexcept override;
  [[nodiscard]] std::string take_raw_leftover() override { return {}; }
  [[nodiscard]] Task<Result<void>> flush_raw() override { return HttpStream::flush_raw(); }

 private:
  [[nodiscard]] bool take_head(ResponseHead& head);
  [[nodiscard]] Task<Result<void>> wait_for_head(ResponseHead& head, MonoTime deadline);
  // The response cannot be used: the stream ends here.
  void refuse(std::string_view rule, std::uint32_t error_code);
  void accept_websocket(ResponseFacts& facts);

  Owner& owner_;
  Method method_ = Method::other;
  bool submitted_ = false;
  bool websocket_ = false;
  bool tunnel_ = false;    // and accepted
  bool bodiless_ = false;  // of the request
  bool answering_ = false;
  bool final_head_ = false;  // has come
  bool reset_by_origin_ = false;
  std::string_view websocket_key_;
  std::vector<std::unique_ptr<ResponseHead>> interim_heads_;  // in the order in which they came
  std::size_t interim_taken_ = 0;
  // The final one; its fields stay in block_.
  ResponseFacts final_facts_;
  bool final_taken_ = false;
  FieldBlock block_;
};

}  // namespace postern::http::h2
