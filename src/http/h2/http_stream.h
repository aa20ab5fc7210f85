// HttpStream: one stream of an HTTP/2 session, both directions of it, for both roles.
//
// In: DATA is copied once, into a buffer of the stream, and pulled from there as a BodySource; only what was taken
// opens the windows again, so a slow reader slows its sender down and nobody else. Out: a writer parks a view of its
// bytes and waits until they have gone into the session's output buffer, as far as windows and transport let them; they
// are not copied in between. Except for the little that most messages consist of: it is handed over, which means copied
// into the stream, and goes out at the end of the turn together with that of the neighbours, while its writer goes on
// or is long gone (docs/decisions/003-http2.md).
//
// What the session tells (on_...) comes from inside of the library's callbacks and is only noted; no coroutine runs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/body.h"
#include "http/h2/fields.h"
#include "http/h2/gate.h"
#include "platform/buffer.h"
#include "platform/intrusive_list.h"

namespace postern::http::h2 {

class RawStream;
class Session;

// An Error that can be given more than once. `detail` is constant text.
struct Failure {
  Code code;
  Side side;
  Retry retry = Retry::never;
  std::string_view detail = {};
  [[nodiscard]] Error error() const {
    return detail.empty() ? Error(code, side, retry) : Error(code, side, std::string(detail), retry);
  }
};

class HttpStream : public BodySource, public ListNode {
 public:
  struct Rules {
    Duration body_idle;           // without one byte of the body
    std::uint64_t body_min_rate;  // bytes per second, over every `body_idle` spent waiting for them; 0: off
    Duration write_idle;          // the peer takes next to nothing
    Code body_timed_out;
    Code write_timed_out;
    Code closed;
    Side side;  // the peer's
  };

  // The session outlives the stream, or says detach().
  HttpStream(Session& session, const Rules& rules);
  ~HttpStream() override;

  // ---- told by the session ----
  // A header block begins; fields follow, then on_block_complete().
  virtual void on_block() = 0;
  [[nodiscard]] FieldBlock::Added on_field(std::string_view name, std::string_view value);
  virtual void on_block_complete(bool end_stream) = 0;
  void on_data(std::string_view bytes);
  void on_end();                                        // END_STREAM was received
  virtual void on_reset(std::uint32_t error_code) = 0;  // the peer's RST_STREAM; on_over() follows
  virtual void on_over(std::uint32_t error_code) = 0;   // over on the wire, in order or not
  virtual void on_head_not_sent(int library_error) = 0;
  void on_end_sent() noexcept;

  // What goes into a DATA frame of at most `most` bytes.
  struct Chunk {
    std::size_t size = 0;
    bool deferred = false;  // nothing now: resumed by the next write
    bool last = false;      // nothing follows in this direction, but
    bool trailers = false;  // trailers; then they have been submitted
  };
  [[nodiscard]] Chunk next_chunk(std::size_t most);
  // The bytes of the chunk that next_chunk() has just announced; sent when this returns.
  [[nodiscard]] std::string_view chunk_bytes(std::size_t size) const noexcept { return outgoing().substr(0, size); }
  void on_chunk_sent(std::size_t size, bool end_stream);

  [[nodiscard]] std::int32_t id() const noexcept { return id_; }
  // Both directions have said all, in order, and on the wire.
  [[nodiscard]] bool exchanged() const noexcept { return received_all_ && sent_all_; }
  [[nodiscard]] bool has_failed() const noexcept { return failure_.has_value(); }

  // ---- BodySource ----
  [[nodiscard]] Result<BodyPiece> poll() override;
  [[nodiscard]] Task<Wake> wait() override;
  [[nodiscard]] bool complete() const noexcept override { return delivered_all_; }
  [[nodiscard]] const Headers& trailers() const noexcept override { return trailers_.fields(); }
  [[nodiscard]] std::uint64_t received() const noexcept override { return received_; }

 protected:
  friend class RawStream;

  // Nothing more will come or go. Whoever waits learns why; what was received before can still be read. The first
  // reason counts.
  void fail(const Failure& why) noexcept;
  // The session is about to go; after fail().
  void detach() noexcept { session_ = nullptr; }
  [[nodiscard]] Session* session() const noexcept { return session_; }
  // The stream is over on the wire: windows of its own do not matter any more.
  void close() noexcept;
  void begin(std::int32_t id) noexcept {
    id_ = id;
    open_ = true;
  }
  [[nodiscard]] bool is_open() const noexcept { return open_; }
  // What is received from here on is not wanted.
  void discard_input() noexcept;

  // ---- the sending side ----
  // What a head said of the body that follows; `ends` with the head itself.
  void begin_sending(Framing framing, std::uint64_t length, bool ends) noexcept;
  // `bytes` are borrowed until the task is done.
  [[nodiscard]] Task<Result<void>> send(std::string_view bytes, End end);
  // `trailers` are borrowed until the task is done, unless they are handed over: then they are copied into `place`,
  // which lives as long as the stream. Without a place they are not.
  [[nodiscard]] Task<Result<void>> end_sending(const Headers& trailers, Headers* place);
  // Nobody has to care for the rest any more: it is on the wire, or will be.
  [[nodiscard]] bool sent_all() const noexcept { return sent_all_ || (handed_over_ && wants_end_); }
  // Payload bytes, with those that were handed over.
  [[nodiscard]] std::uint64_t sent() const noexcept { return sent_ + (handed_over_ ? parked_.size() : 0); }
  // Something has been handed over and is not on the wire yet.
  [[nodiscard]] bool handed_over() const noexcept { return handed_over_; }
  [[nodiscard]] bool received_all() const noexcept { return received_all_; }

  // The stream as a byte stream, for what begins after a 101. Made when it is first asked for.
  [[nodiscard]] RawStream& raw();
  // What was written to it goes out with its end, if there was one, also if all that was cut off would be a reset.
  [[nodiscard]] Task<Result<void>> flush_raw();

  [[nodiscard]] Gate& in_gate() noexcept { return in_gate_; }
  [[nodiscard]] Gate& out_gate() noexcept { return out_gate_; }
  [[nodiscard]] const Rules& rules() const noexcept { return rules_; }
  [[nodiscard]] Arena& arena() noexcept { return arena_; }
  [[nodiscard]] const std::optional<Failure>& failure() const noexcept { return failure_; }
  // Where the fields of the present block go.
  void collect_into(FieldBlock& block) noexcept { block_ = &block; }
  [[nodiscard]] FieldBlock& trailer_block() noexcept { return trailers_; }

 private:
  class Parked;
  [[nodiscard]] std::string_view outgoing() const noexcept;
  [[nodiscard]] bool all_taken() const noexcept { return parked_.empty() && (!wants_end_ || sent_all_); }
  // Whether a write of `bytes` may be left to the end of the turn.
  [[nodiscard]] bool may_hand_over(std::size_t bytes) const noexcept;
  [[nodiscard]] bool may_copy(const Headers& fields) const noexcept;
  void hand_over();
  void take_back() noexcept;
  [[nodiscard]] Task<Result<void>> send_behind(std::string_view bytes);
  [[nodiscard]] Task<Result<void>> flush_parked();
  [[nodiscard]] Task<Result<void>> wait_until_taken();
  [[nodiscard]] Task<Wake> wait_for_body();
  void resume_data();
  void release_lent() noexcept;
  void give_back(std::size_t bytes) noexcept;
  [[nodiscard]] bool shares_connection() const noexcept { return rules_.side == Side::origin; }
  [[nodiscard]] bool keeps_rate() noexcept;

  // What every message touches lies together: behind the text of a short head in the arena, and before the trailers.
  Arena arena_;
  Session* session_;
  Loop& loop_;
  BufferPool& buffers_;
  Rules rules_;
  std::int32_t id_ = 0;
  bool open_ = false;

  // In.
  bool received_all_ = false;
  bool delivered_all_ = false;
  bool discards_ = false;
  bool timed_out_ = false;
  std::uint64_t received_ = 0;          // delivered
  std::uint64_t received_at_mark_ = 0;  // for min_rate
  Duration waited_{0};                  // for the peer, since the mark
  Buffer incoming_;
  Buffer lent_;  // the last piece, until the next poll()
  Gate in_gate_;

  // Out.
  bool deferred_ = false;   // the library waits for resume_data()
  bool wants_end_ = false;  // END_STREAM follows what is parked
  bool sent_all_ = false;
  bool cut_off_ = false;      // a write was given up in the middle: the end must not follow
  bool handed_over_ = false;  // what is parked, its end included, belongs to the stream: nobody waits for it
  bool has_length_ = false;
  std::uint64_t unsent_ = 0;  // of the announced length
  std::uint64_t sent_ = 0;
  std::size_t may_copy_;  // of what is still to come; what was copied stays as long as the stream does
  std::string_view parked_;
  const Headers* parked_trailers_ = nullptr;
  Gate out_gate_;

  std::optional<Failure> failure_;
  FieldBlock* block_ = nullptr;
  std::unique_ptr<RawStream> raw_;
  FieldBlock trailers_;
};

}  // namespace postern::http::h2
