// OriginExchange: the origin's half of one exchange: chooses endpoints, sends the request with fresh identity per
// attempt, retries what is safe, and relays the answer. It lives in the frame of handle_request().
#pragma once

#include <memory>
#include <string_view>

#include "gateway/loop_context.h"
#include "http/downstream.h"
#include "http/exchange.h"
#include "origins/origin.h"
#include "origins/pool.h"
#include "platform/task_set.h"

namespace postern::gateway {

class OriginExchange {
 public:
  // Facts for the account, whatever happened.
  struct Facts {
    unsigned attempts = 0;
    int endpoint = -1;  // index in the origin's set
    MonoTime sent{};    // head of the last attempt handed to the connection
    Duration connect{};
    Duration first_byte{};
  };

  // All references outlive the exchange. `reserved` are the names removed from trailers, too.
  OriginExchange(LoopContext& context, LoopOrigin& origin, http::Exchange& exchange, http::Downstream& client,
                 const http::ReservedNames& reserved);
  OriginExchange(const OriginExchange&) = delete;
  OriginExchange& operator=(const OriginExchange&) = delete;
  ~OriginExchange();

  // Sends the request and receives the head of the final response (or a 101) into response().
  [[nodiscard]] Task<Result<void>> request();
  [[nodiscard]] http::ResponseHead& response() noexcept { return response_; }
  // After client.start(response): streams the body to the client, or splices an upgraded connection.
  [[nodiscard]] Task<Result<void>> relay();
  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }

 private:
  // Ends receive_head() after a failed upload, from the loop: that wait's coroutine will cancel the upload, which
  // therefore must not stand on the stack.
  class Interrupter final : public Loop::Deferred {
   public:
    explicit Interrupter(OriginExchange& owner) noexcept : owner_(owner) {}
    void run_deferred() override {
      if (owner_.lease_) owner_.lease_->interrupt();
    }

   private:
    OriginExchange& owner_;
  };

  [[nodiscard]] Task<Result<void>> attempt(bool fresh_connection);
  [[nodiscard]] Task<Result<void>> send_head();
  [[nodiscard]] Task<Result<void>> receive_final_head();
  [[nodiscard]] Result<void> check_switch() const;
  [[nodiscard]] bool may_retry(const Error& error) const noexcept;
  [[nodiscard]] Task<void> upload();
  [[nodiscard]] Task<Result<void>> relay_body();
  [[nodiscard]] Task<Result<void>> splice();
  void judge(origins::Outcome outcome);
  void upload_failed(Error error);

  LoopContext& context_;
  LoopOrigin& origin_;
  http::Exchange& exchange_;
  http::Downstream& client_;
  const http::ReservedNames& reserved_;
  std::shared_ptr<const origins::EndpointSet> endpoints_;  // pinned for this exchange
  std::shared_ptr<origins::Endpoint> endpoint_;
  origins::EndpointPool* pool_ = nullptr;
  origins::Lease lease_;
  http::ResponseHead response_;
  http::Headers request_trailers_;
  Facts facts_;
  bool body_taken_ = false;  // some of the request body left the client's connection
  bool judged_ = false;
  std::unique_ptr<Error> upload_error_;
  Interrupter interrupter_;
  TaskSet uploads_;  // last: cancelled before what it uses goes
};

}  // namespace postern::gateway
