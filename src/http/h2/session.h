// Session: what client and server of an HTTP/2 connection (RFC 9113) have in common: the library's session between one
// transport and many streams.
//
// Bytes in: one coroutine reads; what the library makes of them is only noted by the streams, which wake their
// coroutines at the end of the turn. Bytes out: whoever has something to say submits it and calls push(), which
// serialises into one buffer as far as windows and `max_output` allow; the buffer is written once, at the end of the
// turn, or when it is full. Nothing is serialised from inside of the library's callbacks, and no stream is destroyed
// there: a stream that is over is put on a list that the end of the turn clears.
//
// Abstract; one loop.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "http/h2/conduct.h"
#include "http/h2/counters.h"
#include "http/h2/fields.h"
#include "http/h2/limits.h"
#include "platform/buffer.h"
#include "platform/deadline.h"
#include "platform/stream.h"
#include "platform/task_set.h"

namespace postern::http::h2 {

class HttpStream;

class Session : Loop::Deferred {
 public:
  struct Services {
    Loop& loop;
    BufferPool& buffers;
    TaskSet::ErrorHandler& exceptions;
    Counters* counters;  // or nullptr
  };
  struct Rules {
    Limits limits;
    HeadLimits head;
    Duration write_idle;  // how long the peer may take next to nothing
  };

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // ---- for streams ----
  [[nodiscard]] Loop& loop() const noexcept { return services_.loop; }
  [[nodiscard]] BufferPool& buffers() const noexcept { return services_.buffers; }
  [[nodiscard]] TaskSet::ErrorHandler& exceptions() const noexcept { return services_.exceptions; }
  [[nodiscard]] const Rules& rules() const noexcept { return rules_; }
  [[nodiscard]] nghttp2_session* engine() const noexcept { return engine_.get(); }
  // Reused for every block that is submitted.
  [[nodiscard]] FieldSpace& field_space() noexcept { return field_space_; }

  // Serialises what there is, and writes if the buffer is full. Not from inside of a callback.
  void push();
  // Does so at the end of the turn.
  void push_later() noexcept { loop().defer(*this); }
  // The same for one more message that has been submitted whole. What serialises finds its code in the processor's
  // cache if it does so for several of them in a row, but the messages as well only if they are not too many.
  void push_in_company() {
    if (++company_ < kCompany) {
      push_later();
    } else {
      push();
    }
  }
  // Ends one stream; the neighbours go on.
  void reset(std::int32_t stream, std::uint32_t error_code) noexcept;
  // The stream that stands behind `id` is about to go, and may still be open.
  void forget_stream(std::int32_t id) noexcept {
    static_cast<void>(nghttp2_session_set_stream_user_data(engine_.get(), id, nullptr));
  }
  // A reader took bytes: they may be sent again. `stream` 0: of a stream that gets no more.
  void consumed(std::int32_t stream, std::size_t bytes) noexcept;
  // The peer could not send even if it wanted: other streams hold the connection's whole window.
  [[nodiscard]] bool window_taken_by_others() const noexcept;
  void on_oversized_head() noexcept { conduct_.oversized_head(); }
  void on_opened_by_us() noexcept {
    ++counters_->streams;
    conduct_.opened_by_us();
  }
  // Payload of DATA frames of all streams that was serialised.
  [[nodiscard]] std::uint64_t data_written() const noexcept { return data_written_; }
  void on_data_written(std::size_t bytes) noexcept { data_written_ += bytes; }
  // Credit of the stream alone, where that of the connection was given back when the bytes came.
  void consumed_by_stream(std::int32_t stream, std::size_t bytes) noexcept;
  // What a stream to a client leaves to the end of the turn goes out then: windows, buffer and transport have room for
  // `bytes` besides what was left before. A client that changes its mind in the same turn, and nothing else, can keep
  // it back; then takes() is false until it has gone, and for the rest of it there is a deadline.
  [[nodiscard]] bool takes(std::int32_t stream, std::size_t bytes) const noexcept;
  // `stream` takes itself off that list (ListNode) when it has nothing left to go out, or is over.
  void on_handed_over(HttpStream& stream, std::size_t bytes) noexcept;
  // For heads that are followed by a body: it is asked of the stream when there is room for it.
  [[nodiscard]] static nghttp2_data_provider body_source() noexcept;

 protected:
  enum class Role : std::uint8_t { server, client };
  Session(Role role, const Services& services, std::unique_ptr<Stream> transport, const Rules& rules);
  ~Session();

  // Announces `settings`, then opens the connection's window.
  void begin(std::span<const nghttp2_settings_entry> settings);
  // Reads until the connection is over: closed, broken, or everything said after a GOAWAY.
  [[nodiscard]] Task<void> read();
  // As if read from the transport.
  void receive(std::string_view bytes);
  // Nothing can be exchanged any more. From inside of what the reader calls.
  void give_up() noexcept { broken_ = true; }
  // Sends what there is at once, from the loop.
  void flush() {
    serialise();
    write_output();
  }
  // GOAWAY, and nothing more than what is being written goes out.
  void terminate(std::uint32_t error_code) noexcept;
  // The last GOAWAY of a graceful end: streams that are open may complete.
  void refuse_more() noexcept;
  // Ends our side and waits a little for the peer's, so that it gets all we said. Nothing can be exchanged after.
  [[nodiscard]] Task<void> close_in_order();
  void wake() noexcept { static_cast<void>(transport_->wake_reader(Wake::interrupted)); }
  // When what was handed over has not gone out for too long; MonoTime::max(): nothing waits.
  [[nodiscard]] MonoTime left_behind_until() const noexcept;
  // Those streams are cut off.
  void reset_left_behind() noexcept;
  // deadline() is another one now; not needed inside of what the reader calls.
  void move_deadline() noexcept;

  // Nothing can be exchanged any more.
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  // GOAWAY with an error was submitted, by us or by the library.
  [[nodiscard]] bool terminated() const noexcept { return terminated_; }
  // The connection was given up because the peer took next to nothing of what we wrote.
  [[nodiscard]] bool stalled() const noexcept { return stalled_; }
  // The transport takes nothing at the moment.
  [[nodiscard]] bool output_blocked() const noexcept { return output_blocked_; }
  // The peer broke the protocol, and that is why.
  [[nodiscard]] bool peer_at_fault() const noexcept { return peer_at_fault_; }
  [[nodiscard]] Stream& transport() noexcept { return *transport_; }
  [[nodiscard]] MonoTime last_received() const noexcept { return last_received_; }
  // Grows with every frame that belongs to a message.
  [[nodiscard]] std::uint64_t heard() const noexcept { return conduct_.header_blocks() + conduct_.data_frames(); }
  // Since when a header block has been under way; MonoTime::max(): none is. Nothing else can come in meanwhile.
  [[nodiscard]] MonoTime block_since() const noexcept { return block_since_; }
  [[nodiscard]] static HttpStream* stream_of(nghttp2_session* engine, std::int32_t id) noexcept;

  // ---- what the roles do differently; from inside of callbacks unless said otherwise ----
  // A request begins. nullptr: refused.
  virtual HttpStream* open_stream(std::int32_t id) = 0;
  virtual void on_settings() {}
  virtual void on_goaway(std::uint32_t /*error_code*/) {}
  virtual void on_pong() {}
  // The GOAWAY that only announces the end has been serialised.
  virtual void on_end_announced() {}
  // A stream that was opened is over on the wire.
  virtual void on_stream_over() {}
  // After bytes were received; outside.
  virtual void after_receive() {}
  // At the end of a turn in which push_later() was called; from the loop. Clears away what is over.
  virtual void at_turn_end() {}
  // When the reader has to look around, and what it does then; outside.
  [[nodiscard]] virtual MonoTime deadline() const noexcept = 0;
  virtual void on_deadline() = 0;

 private:
  static constexpr std::size_t kCompany = 16;
  struct DeleteEngine {
    void operator()(nghttp2_session* engine) const noexcept { nghttp2_session_del(engine); }
  };
  struct Callbacks;
  // Waits until the transport takes something again.
  struct OutputWatch final : Stream::WriteWatch {
    explicit OutputWatch(Session& of) noexcept : session(of) {}
    void on_wake(Wake wake) override { session.on_writable(wake); }
    Session& session;
  };

  void run_deferred() override;
  void on_writable(Wake wake);
  void serialise();
  void write_output();
  // Bytes that may still be serialised.
  [[nodiscard]] std::size_t room() const noexcept;
  [[nodiscard]] bool over() const noexcept;
  void on_reset_sent(std::uint32_t error_code) noexcept;
  void on_goaway_sent(std::int32_t last_stream, std::uint32_t error_code);
  void on_flood() noexcept;
  void on_fatal(int library_error) noexcept;

  Services services_;
  Rules rules_;
  Counters unread_counters_;  // if nobody wants to know
  Counters* counters_;
  std::unique_ptr<Stream> transport_;
  Deadline read_deadline_;
  Deadline write_deadline_;
  Buffer in_;
  Buffer out_;
  std::unique_ptr<nghttp2_session, DeleteEngine> engine_;
  Conduct conduct_;
  FieldSpace field_space_;
  MonoTime last_received_;
  MonoTime block_since_ = MonoTime::max();
  std::uint64_t block_ = 0;  // which header block that is
  bool receiving_ = false;   // inside of the library's receiving function
  bool serialising_ = false;
  bool broken_ = false;
  bool terminated_ = false;
  bool peer_at_fault_ = false;
  bool reading_ = false;
  bool output_blocked_ = false;
  bool stalling_ = false;  // the write deadline runs
  bool stalled_ = false;
  std::uint64_t written_ = 0;
  std::uint64_t written_at_mark_ = 0;
  std::uint64_t data_written_ = 0;
  std::size_t company_ = 0;                // of push_in_company(), since it was last serialised
  IntrusiveList<HttpStream> handed_over_;  // not serialised yet, in that order
  std::size_t handed_over_bytes_ = 0;      // since it was last serialised
  bool left_behind_ = false;               // some of them stayed when the others went
  MonoTime left_behind_since_{};
  OutputWatch output_watch_;
};

}  // namespace postern::http::h2
