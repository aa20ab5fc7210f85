// OriginExchange: the origin's half of one exchange: chooses endpoints, sends the request with fresh identity per
// attempt, retries what is safe, and relays the answer. It lives in the frame of handle_request().
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/loop_context.h"
#include "gateway/splice.h"
#include "http/downstream.h"
#include "http/exchange.h"
#include "origins/origin.h"
#include "origins/pool.h"
#include "platform/buffer.h"
#include "platform/event.h"
#include "platform/task_set.h"

namespace postern::gateway {

class OriginExchange final : public ListNode {
 public:
  // Facts for the account, whatever happened.
  struct Facts {
    unsigned attempts = 0;
    int endpoint = -1;  // index in the origin's set
    MonoTime sent{};    // head of the last attempt handed to the connection
    // Of the last attempt; observe::kNotMeasured if it did not get there, or had its connection from the pool.
    Duration connect = observe::kNotMeasured;
    Duration first_byte = observe::kNotMeasured;
    std::optional<tls::ClientCertificate> client_certificate;  // of the last attempt; nothing without TLS
    // Of an upgraded connection.
    std::uint64_t spliced_in = 0;
    std::uint64_t spliced_out = 0;
  };

  // All references outlive the exchange; `route` and `origin` belong to `snapshot`. `over_limit` is the error for a
  // body that grows over exchange.body_limit.
  OriginExchange(LoopContext& context, const Snapshot& snapshot, const RoutePlan& route, LoopOrigin& origin,
                 http::Exchange& exchange, http::Downstream& client, Code over_limit);
  OriginExchange(const OriginExchange&) = delete;
  OriginExchange& operator=(const OriginExchange&) = delete;
  ~OriginExchange();

  // Sends the request and receives the head of the final response (or a 101) into response().
  [[nodiscard]] Task<Result<void>> request();
  [[nodiscard]] http::ResponseHead& response() noexcept { return response_; }
  // After client.start(response): streams the body to the client, or splices an upgraded connection.
  [[nodiscard]] Task<Result<void>> relay();
  // Credentials that its attempts carried, beyond those of origins::Origin::secrets.
  [[nodiscard]] std::span<const std::string_view> sensitive() const noexcept { return sensitive_; }
  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  [[nodiscard]] const origins::Origin& origin() const noexcept { return *origin_.origin; }
  [[nodiscard]] const http::Exchange& exchange() const noexcept { return exchange_; }
  // What allowed this exchange is gone, as `why` says: what is not over at `deadline` is cut off. The earliest deadline
  // counts.
  void end_by(MonoTime deadline, Code why) noexcept;

 private:
  // Ends a wait of the main coroutine for either peer, from the loop: it will cancel the upload, which therefore must
  // not stand on the stack.
  class Interrupter final : public Loop::Deferred {
   public:
    explicit Interrupter(OriginExchange& owner) noexcept : owner_(owner) {}
    void run_deferred() override;

   private:
    OriginExchange& owner_;
  };
  class End final : public Timer {
   public:
    explicit End(OriginExchange& owner) noexcept : owner_(owner) {}
    void on_expired() override;
    Code why = Code::draining;
    MonoTime at{};

   private:
    OriginExchange& owner_;
  };

  [[nodiscard]] Task<Result<void>> take_whole_body(std::uint64_t limit);
  [[nodiscard]] Task<void> collect_body(std::uint64_t limit);
  [[nodiscard]] Task<Result<void>> attempt();
  [[nodiscard]] Task<Result<void>> tell_to_continue();
  void count_attempt(const Result<void>& outcome);
  // The origin has refused a kept token with its answer: drops that, and says whether to try again with another.
  [[nodiscard]] bool try_other_token();
  [[nodiscard]] Task<Result<void>> send_head();
  [[nodiscard]] Task<Result<void>> receive_final_head();
  [[nodiscard]] Result<void> check_switch() const;
  [[nodiscard]] bool may_retry(const Error& error, bool is_free) const noexcept;
  [[nodiscard]] Task<void> upload();
  [[nodiscard]] Task<void> upload_body();
  void keep(std::string_view bytes);
  void take_trailers();
  [[nodiscard]] Task<Result<void>> relay_body();
  [[nodiscard]] Task<Result<void>> splice();
  void judge(origins::Outcome outcome);
  // From anywhere but the main coroutine: it ends with this error, the first one if there are several.
  void stop(Error error);
  // What the exchange ends with: the error of stop() if there was one, since whatever failed, failed for that; else
  // `error`.
  [[nodiscard]] std::unexpected<Error> ended_by(Error error);

  LoopContext& context_;
  const RoutePlan& route_;
  LoopOrigin& origin_;
  http::Exchange& exchange_;
  http::Downstream& client_;
  const http::ReservedNames& reserved_;
  const Code over_limit_;
  std::shared_ptr<const EndpointView> view_;  // pinned for this exchange
  std::shared_ptr<origins::Endpoint> endpoint_;
  origins::EndpointPool* pool_ = nullptr;
  origins::Lease lease_;
  http::ResponseHead response_;
  http::Headers request_trailers_;
  std::vector<std::string_view> sensitive_;
  std::vector<tokens::TokenUse> token_uses_;      // of this attempt
  std::vector<tokens::TokenUse> refused_tokens_;  // of the one before, if the origin answered with 401
  bool token_retried_ = false;
  Facts facts_;
  MonoTime attempt_started_{};
  // Where a connection turned out to be dead that was there before `since`.
  struct Dead {
    const origins::Endpoint* endpoint = nullptr;
    MonoTime since{};
  } dead_;
  // For the answer to this attempt, interim heads and all. None while the request is still on its way: nobody can
  // answer what has not arrived, and each wait of the upload has a limit of its own.
  MonoTime head_deadline_ = MonoTime::max();
  bool attempting_ = false;
  bool continued_ = false;   // the client was told to send its body
  bool body_taken_ = false;  // some of the request body left the client's connection
  bool body_whole_ = false;  // all of it did
  // What was taken of it, while that is little: an origin that speaks HTTP/2 may say that it did not look at a request,
  // and then it is sent again. Or all of it, if the origin's identity signs it.
  Buffer kept_body_;
  bool keeping_body_ = true;
  bool collecting_ = false;  // the main coroutine waits for the whole body
  bool uploading_ = false;   // kept_body_ may be on its way
  Event collected_;
  bool awaiting_head_ = false;  // in receive_head()
  bool over_ = false;           // failed: nothing is left to stop
  bool judged_ = false;
  std::unique_ptr<Error> stop_error_;
  Splice* splice_ = nullptr;
  Interrupter interrupter_;
  End end_;
  TaskSet uploads_;  // last: cancelled before what it uses goes
};

}  // namespace postern::gateway
