#include "http/h2/http_stream.h"

#include <algorithm>
#include <utility>

#include "http/h2/raw_stream.h"
#include "http/h2/session.h"

namespace postern::http::h2 {
namespace {

// Less than this in a whole `write_idle` is not progress: a window that opens by a byte at a time would keep a response
// and all that it holds alive for ever.
constexpr std::uint64_t kProgress = 1024;

// Of one message. More is not worth copying, and a stream of many small messages must not pile them up.
constexpr std::size_t kMostHandedOver = 1024;

}  // namespace

// What a writer has parked is borrowed: when its frame goes, nobody may look at it any more. If it goes too early, what
// is missing must not look like the end.
class HttpStream::Parked {
 public:
  explicit Parked(HttpStream& stream) noexcept : stream_(stream) {}
  Parked(const Parked&) = delete;
  Parked& operator=(const Parked&) = delete;
  ~Parked() {
    if (!stream_.all_taken()) stream_.cut_off_ = true;
    stream_.parked_ = {};
    stream_.parked_trailers_ = nullptr;
  }

 private:
  HttpStream& stream_;
};

HttpStream::HttpStream(Session& session, const Rules& rules)
    : session_(&session),
      loop_(session.loop()),
      buffers_(session.buffers()),
      rules_(rules),
      incoming_(session.buffers()),
      lent_(session.buffers()),
      in_gate_(session.loop()),
      may_copy_(kMostHandedOver),
      out_gate_(session.loop()),
      trailers_(arena_) {}

HttpStream::~HttpStream() = default;

// ---- in ----

FieldBlock::Added HttpStream::on_field(std::string_view name, std::string_view value) {
  return block_->add(name, value, session_->rules().head);
}

void HttpStream::on_data(std::string_view bytes) {
  // A connection to an origin carries the responses of many clients: whoever reads slowly fills the window of his own
  // stream, not the one that all of them share.
  if (shares_connection()) session_->consumed(0, bytes.size());
  if (discards_) {
    give_back(bytes.size());
    return;
  }
  incoming_.append(bytes);
  in_gate_.notify();
  if (raw_) raw_->notify();
}

void HttpStream::on_end() {
  received_all_ = true;
  in_gate_.notify();
  if (raw_) raw_->notify();
}

void HttpStream::give_back(std::size_t bytes) noexcept {
  if (bytes == 0 || !session_) return;
  const bool goes_on = open_ && !received_all_;
  if (!shares_connection()) {
    session_->consumed(goes_on ? id_ : 0, bytes);
  } else if (goes_on) {
    session_->consumed_by_stream(id_, bytes);
  }
}

void HttpStream::release_lent() noexcept {
  const std::size_t bytes = lent_.size();
  lent_.release();
  give_back(bytes);
}

void HttpStream::discard_input() noexcept {
  discards_ = true;
  release_lent();
  const std::size_t bytes = incoming_.size();
  incoming_.release();
  give_back(bytes);
}

Result<BodyPiece> HttpStream::poll() {
  release_lent();
  if (!incoming_.empty()) {
    lent_ = std::move(incoming_);
    received_ += lent_.size();
    delivered_all_ = received_all_ && trailers_.fields().empty();
    return BodyPiece{BodyPiece::Kind::data, delivered_all_, lent_.view()};
  }
  if (received_all_) {
    delivered_all_ = true;
    return BodyPiece{BodyPiece::Kind::end, false, {}};
  }
  if (failure_) return std::unexpected(failure_->error());
  if (timed_out_ || !keeps_rate()) return std::unexpected(Error(rules_.body_timed_out, rules_.side));
  return BodyPiece{BodyPiece::Kind::wait, false, {}};
}

Task<Wake> HttpStream::wait() {
  if (!incoming_.empty() || received_all_ || failure_) return Wake::ready;
  return wait_for_body();
}

Task<Wake> HttpStream::wait_for_body() {
  for (;;) {
    const MonoTime began = loop_.now();
    const Wake wake = co_await in_gate_.wait(began + rules_.body_idle);
    if (!session_) co_return wake;
    // Who must not send is not slow: the streams that hold the window have deadlines of their own.
    if (session_->window_taken_by_others()) {
      if (wake == Wake::timed_out) continue;
      co_return wake;
    }
    waited_ += loop_.now() - began;
    // What came in the same turn counts.
    timed_out_ = wake == Wake::timed_out && incoming_.empty() && !received_all_;
    co_return wake;
  }
}

// As in HTTP/1: one byte per `idle` would be progress for ever (connection/body_reader.cc).
bool HttpStream::keeps_rate() noexcept {
  if (rules_.body_min_rate == 0 || waited_ < rules_.body_idle) return true;
  const auto seconds = std::chrono::duration<double>(waited_).count();
  const auto got = static_cast<double>(received_ - received_at_mark_);
  waited_ = Duration(0);
  received_at_mark_ = received_;
  return got >= seconds * static_cast<double>(rules_.body_min_rate);
}

// ---- out ----

std::string_view HttpStream::outgoing() const noexcept { return raw_ ? raw_->output() : parked_; }

HttpStream::Chunk HttpStream::next_chunk(std::size_t most) {
  const std::size_t pending = outgoing().size();
  Chunk chunk;
  if (cut_off_) {
    chunk.deferred = deferred_ = true;
    return chunk;
  }
  chunk.size = std::min(most, pending);
  chunk.last = wants_end_ && chunk.size == pending;
  chunk.deferred = chunk.size == 0 && !chunk.last;
  deferred_ = chunk.deferred;
  if (chunk.last && parked_trailers_ && !parked_trailers_->empty()) {
    OutgoingFields fields(session_->field_space());
    fields.add_all(*parked_trailers_);
    chunk.trailers =
        fields.size() != 0 && nghttp2_submit_trailer(session_->engine(), id_, fields.data(), fields.size()) == 0;
  }
  return chunk;
}

void HttpStream::on_chunk_sent(std::size_t size, bool end_stream) {
  sent_ += size;
  if (session_) session_->on_data_written(size);
  if (raw_) {
    raw_->on_sent(size);
  } else {
    parked_.remove_prefix(size);
  }
  if (end_stream) {
    on_end_sent();
  } else if (parked_.empty()) {
    if (!wants_end_) take_back();
    out_gate_.notify();
  }
}

void HttpStream::on_end_sent() noexcept {
  sent_all_ = true;
  take_back();
  out_gate_.notify();
}

void HttpStream::begin_sending(Framing framing, std::uint64_t length, bool ends) noexcept {
  has_length_ = ends || framing == Framing::length;
  unsent_ = ends ? 0 : length;
  wants_end_ = ends;
}

void HttpStream::resume_data() {
  if (!deferred_) return;
  deferred_ = false;
  static_cast<void>(nghttp2_session_resume_data(session_->engine(), id_));
}

Task<Result<void>> HttpStream::send(std::string_view bytes, End end) {
  if (has_length_ && !raw_) {
    if (bytes.size() > unsent_ || (end == End::last && bytes.size() != unsent_)) {
      return std::unexpected(Error(rules_.closed, rules_.side, "body does not have the announced length"));
    }
    unsent_ -= bytes.size();
    if (unsent_ == 0) wants_end_ = true;
  }
  if (end == End::last) wants_end_ = true;
  if (handed_over_ && !failure_) {
    if (!bytes.empty()) return send_behind(bytes);
    return Result<void>();  // goes with what is there
  }
  if (bytes.empty() && !wants_end_ && !failure_ && !cut_off_ && !raw_) {
    session_->push_later();  // a head that has no successor yet
    return Result<void>();
  }
  if (may_hand_over(bytes.size())) {
    parked_ = arena_.copy(bytes);
    may_copy_ -= bytes.size();
    hand_over();
    return Result<void>();
  }
  parked_ = bytes;
  return flush_parked();
}

Task<Result<void>> HttpStream::end_sending(const Headers& trailers, Headers* place) {
  if (has_length_ && unsent_ != 0) {
    return std::unexpected(Error(rules_.closed, rules_.side, "body does not have the announced length"));
  }
  const bool has_trailers = !std::exchange(wants_end_, true) && !trailers.empty();
  if (has_trailers) parked_trailers_ = &trailers;
  if ((has_trailers && !(place && may_copy(trailers))) || !(handed_over_ ? !failure_ : may_hand_over(0))) {
    return flush_parked();
  }
  if (has_trailers) {
    place->clear();
    for (const Field& field : trailers) {
      const std::string_view known = header_text(field.id);
      place->append(known.empty() ? arena_.copy(field.name) : known, arena_.copy(field.value), field.id);
    }
    parked_trailers_ = place;
  }
  if (!handed_over_) hand_over();
  return Result<void>();
}

bool HttpStream::may_copy(const Headers& fields) const noexcept {
  std::size_t size = 0;
  for (const Field& field : fields) size += field.name.size() + field.value.size();
  return size <= may_copy_;
}

// To an origin: the exchange has a deadline for the answer, so whatever keeps the end of a request from going out does
// not keep it for ever. To a client: nobody would be left to wait, so it must be as good as sent.
bool HttpStream::may_hand_over(std::size_t bytes) const noexcept {
  if (bytes > may_copy_ || failure_ || cut_off_ || sent_all_ || raw_) return false;
  if (shares_connection()) return wants_end_;
  return received_all_ && session_->takes(id_, bytes);
}

void HttpStream::hand_over() {
  handed_over_ = true;
  if (!shares_connection()) session_->on_handed_over(*this, parked_.size());
  resume_data();
  session_->push_in_company();
}

// It has gone out, or somebody waits for it now.
void HttpStream::take_back() noexcept {
  if (!std::exchange(handed_over_, false)) return;
  if (open_ && !shares_connection()) unlink();
}

// Not one frame of both: what was handed over goes out as it is, and the end belongs to `bytes`.
Task<Result<void>> HttpStream::send_behind(std::string_view bytes) {
  const bool wants_end = std::exchange(wants_end_, false);
  Result<void> before = co_await flush_parked();
  wants_end_ = wants_end;
  if (!before) co_return before;
  parked_ = bytes;
  co_return co_await flush_parked();
}

Task<Result<void>> HttpStream::flush_parked() {
  take_back();
  if (sent_all_) {
    parked_ = {};
    return Result<void>();
  }
  if (!failure_) {
    resume_data();
    session_->push();
  }
  if (failure_ || cut_off_) {
    parked_ = {};
    parked_trailers_ = nullptr;
    return std::unexpected(failure_ ? failure_->error() : Error(rules_.closed, rules_.side));
  }
  if (all_taken()) {
    parked_trailers_ = nullptr;
    return Result<void>();
  }
  return wait_until_taken();
}

Task<Result<void>> HttpStream::wait_until_taken() {
  const Parked parked(*this);
  std::uint64_t mark = sent_;
  std::uint64_t written_at_mark = session_->data_written();
  MonoTime deadline = loop_.now() + rules_.write_idle;
  for (;;) {
    const Wake wake = co_await out_gate_.wait(deadline);
    if (all_taken()) co_return Result<void>();
    if (failure_) co_return std::unexpected(failure_->error());
    if (wake == Wake::interrupted) co_return postern::fail(Code::cancelled, Side::gateway);
    if (wake != Wake::timed_out) continue;
    // It may be the neighbours' turn: then the connection moves, and this stream's own window is open.
    const bool waits_its_turn = session_->data_written() - written_at_mark >= kProgress &&
                                nghttp2_session_get_stream_remote_window_size(session_->engine(), id_) > 0;
    if (sent_ - mark < kProgress && !waits_its_turn) {
      co_return std::unexpected(Error(rules_.write_timed_out, rules_.side, "takes nothing"));
    }
    mark = sent_;
    written_at_mark = session_->data_written();
    deadline = loop_.now() + rules_.write_idle;
  }
}

void HttpStream::close() noexcept {
  if (handed_over_ && open_ && !shares_connection()) unlink();
  open_ = false;
}

void HttpStream::fail(const Failure& why) noexcept {
  if (failure_) return;
  failure_ = why;
  in_gate_.notify();
  out_gate_.notify();
  if (raw_) raw_->notify();
}

Task<Result<void>> HttpStream::flush_raw() {
  if (!raw_ || !wants_end_) return Result<void>();
  return flush_parked();
}

RawStream& HttpStream::raw() {
  if (!raw_) raw_ = std::make_unique<RawStream>(*this);
  return *raw_;
}

}  // namespace postern::http::h2
