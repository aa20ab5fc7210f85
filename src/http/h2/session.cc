#include "http/h2/session.h"

#include <algorithm>
#include <cassert>
#include <new>
#include <utility>

#include "http/h2/engine_memory.h"
#include "http/h2/http_stream.h"
#include "platform/turn_budget.h"

namespace postern::http::h2 {
namespace {

constexpr std::size_t kReadSize = 16 * 1024;
constexpr std::size_t kFrameHeader = 9;
// Not worth beginning a DATA frame for.
constexpr std::size_t kLeastRoom = 1024;
// A frame may be nine bytes and still cost a look-up, a queue item and an answer.
constexpr std::size_t kWorkPerFrame = 512;
constexpr std::uint64_t kProgress = 4096;  // as in http_stream.cc, for the whole connection
constexpr auto kLingerTime = std::chrono::seconds(1);
constexpr std::size_t kMaxDiscarded = 256 * 1024;

// Bounds inside of the library, behind those of Conduct.
constexpr std::size_t kMaxOutboundAcks = 200;
constexpr std::size_t kMaxSettings = 32;
// The library counts the calls in which the header of such a frame has not come to its end, at most nine for each:
// those that a block may have (conduct.cc), however they are cut.
constexpr std::size_t kMaxContinuations = 90;
constexpr std::size_t kMaxQueued = 4000;  // frames that wait for the transport
constexpr std::size_t kMaxSentHead = 1024 * 1024;

constexpr std::int32_t kHighestStream = 0x7fffffff;

struct DeleteOption {
  void operator()(nghttp2_option* option) const noexcept { nghttp2_option_del(option); }
};
struct DeleteCallbacks {
  void operator()(nghttp2_session_callbacks* callbacks) const noexcept { nghttp2_session_callbacks_del(callbacks); }
};

// Running out of memory ends the process elsewhere, too.
void require(int result) {
  if (result != 0) throw std::bad_alloc();
}

}  // namespace

// The library's view of the session. `user` is the Session.
struct Session::Callbacks {
  static Session& of(void* user) noexcept { return *static_cast<Session*>(user); }

  static int on_begin_frame(nghttp2_session* /*engine*/, const nghttp2_frame_hd* header, void* user) {
    if (header->type == NGHTTP2_DATA) of(user).conduct_.took_data();
    return 0;
  }

  static int on_begin_headers(nghttp2_session* engine, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    Session& session = of(user);
    session.conduct_.took_head();
    HttpStream* stream = nullptr;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      stream = session.open_stream(frame->hd.stream_id);
      if (!stream) {
        session.reset(frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      }
      nghttp2_session_set_stream_user_data(engine, frame->hd.stream_id, stream);
      session.conduct_.opened_stream();
      ++session.counters_->streams;
    } else {
      stream = stream_of(engine, frame->hd.stream_id);
    }
    if (stream) stream->on_block();
    return 0;
  }

  static int on_header(nghttp2_session* engine, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t /*flags*/,
                       void* user) {
    HttpStream* const stream = stream_of(engine, frame->hd.stream_id);
    if (!stream) return 0;
    const auto text = [](const std::uint8_t* bytes, std::size_t size) {
      return std::string_view(reinterpret_cast<const char*>(bytes), size);  // NOLINT
    };
    switch (stream->on_field(text(name, name_size), text(value, value_size))) {
      case FieldBlock::Added::yes:
      case FieldBlock::Added::too_large: return 0;
      case FieldBlock::Added::hopeless:
        of(user).conduct_.oversized_head();
        of(user).reset(frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      case FieldBlock::Added::malformed: of(user).reset(frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR); break;
    }
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  // By default the library drops such a field and goes on; RFC 9113 8.1.1 calls the whole message malformed.
  static int on_invalid_header(nghttp2_session* /*engine*/, const nghttp2_frame* frame, const std::uint8_t* /*name*/,
                               std::size_t /*name_size*/, const std::uint8_t* /*value*/, std::size_t /*value_size*/,
                               std::uint8_t /*flags*/, void* user) {
    of(user).reset(frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_data_chunk(nghttp2_session* engine, std::uint8_t /*flags*/, std::int32_t id, const std::uint8_t* bytes,
                           std::size_t size, void* user) {
    if (HttpStream* const stream = stream_of(engine, id)) {
      stream->on_data({reinterpret_cast<const char*>(bytes), size});  // NOLINT
    } else {
      of(user).consumed(id, size);
    }
    return 0;
  }

  static int on_frame_recv(nghttp2_session* engine, const nghttp2_frame* frame, void* user) {
    Session& session = of(user);
    HttpStream* const stream = stream_of(engine, frame->hd.stream_id);
    const bool end_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (stream) stream->on_block_complete(end_stream);
        break;
      case NGHTTP2_DATA:
        if (stream && end_stream) stream->on_end();
        break;
      case NGHTTP2_RST_STREAM:
        ++session.counters_->resets_received;
        if (stream) stream->on_reset(frame->rst_stream.error_code);
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) session.on_settings();
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) session.on_pong();
        break;
      case NGHTTP2_GOAWAY:
        ++session.counters_->goaways_received[Counters::index(frame->goaway.error_code)];
        session.on_goaway(frame->goaway.error_code);
        break;
      default: break;
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session* engine, std::int32_t id, std::uint32_t error_code, void* user) {
    Session& session = of(user);
    if (HttpStream* const stream = stream_of(engine, id)) {
      if (stream->exchanged() && error_code == NGHTTP2_NO_ERROR) session.conduct_.completed_stream();
      stream->on_over(error_code);
    }
    session.on_stream_over();
    return 0;
  }

  static int on_frame_send(nghttp2_session* engine, const nghttp2_frame* frame, void* user) {
    Session& session = of(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        session.conduct_.sent_head();
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
          if (HttpStream* const stream = stream_of(engine, frame->hd.stream_id)) stream->on_end_sent();
        }
        break;
      case NGHTTP2_RST_STREAM: session.on_reset_sent(frame->rst_stream.error_code); break;
      case NGHTTP2_GOAWAY: session.on_goaway_sent(frame->goaway.last_stream_id, frame->goaway.error_code); break;
      default: break;
    }
    return 0;
  }

  static int on_frame_not_send(nghttp2_session* engine, const nghttp2_frame* frame, int error, void* /*user*/) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (HttpStream* const stream = stream_of(engine, frame->hd.stream_id)) stream->on_head_not_sent(error);
    return 0;
  }

  static ssize_t read_data(nghttp2_session* engine, std::int32_t id, std::uint8_t* /*buffer*/, std::size_t length,
                           std::uint32_t* flags, nghttp2_data_source* /*source*/, void* user) {
    Session& session = of(user);
    const std::size_t room = session.room();
    if (room < kLeastRoom) return NGHTTP2_ERR_PAUSE;
    HttpStream* const stream = stream_of(engine, id);
    if (!stream) return NGHTTP2_ERR_DEFERRED;
    const HttpStream::Chunk chunk = stream->next_chunk(std::min(length, room - kFrameHeader));
    if (chunk.deferred) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (chunk.last) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (chunk.trailers) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return static_cast<ssize_t>(chunk.size);
  }

  static int send_data(nghttp2_session* engine, nghttp2_frame* frame, const std::uint8_t* header, std::size_t length,
                       nghttp2_data_source* /*source*/, void* user) {
    Session& session = of(user);
    HttpStream* const stream = stream_of(engine, frame->hd.stream_id);
    if (!stream) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const std::span<char> space = session.out_.writable(kFrameHeader + length);
    const std::string_view bytes = stream->chunk_bytes(length);
    std::copy_n(reinterpret_cast<const char*>(header), kFrameHeader, space.data());  // NOLINT
    std::copy_n(bytes.data(), length, space.data() + kFrameHeader);
    session.out_.commit(kFrameHeader + length);
    session.conduct_.sent_data();
    stream->on_chunk_sent(length, (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0);
    return 0;
  }

  static nghttp2_session* make(Role role, Session& session) {
    nghttp2_session_callbacks* raw_callbacks = nullptr;
    require(nghttp2_session_callbacks_new(&raw_callbacks));
    const std::unique_ptr<nghttp2_session_callbacks, DeleteCallbacks> callbacks(raw_callbacks);
    nghttp2_session_callbacks_set_on_begin_frame_callback(raw_callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(raw_callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(raw_callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(raw_callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw_callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(raw_callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(raw_callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(raw_callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(raw_callbacks, on_frame_not_send);
    nghttp2_session_callbacks_set_send_data_callback(raw_callbacks, send_data);

    nghttp2_option* raw_option = nullptr;
    require(nghttp2_option_new(&raw_option));
    const std::unique_ptr<nghttp2_option, DeleteOption> option(raw_option);
    nghttp2_option_set_no_auto_window_update(raw_option, 1);
    nghttp2_option_set_no_closed_streams(raw_option, 1);
    nghttp2_option_set_max_continuations(raw_option, kMaxContinuations);
    nghttp2_option_set_max_outbound_ack(raw_option, kMaxOutboundAcks);
    nghttp2_option_set_max_settings(raw_option, kMaxSettings);
    nghttp2_option_set_max_send_header_block_length(raw_option, kMaxSentHead);

    nghttp2_session* engine = nullptr;
    nghttp2_mem memory = engine_memory();
    require(role == Role::server ? nghttp2_session_server_new3(&engine, raw_callbacks, &session, raw_option, &memory)
                                 : nghttp2_session_client_new3(&engine, raw_callbacks, &session, raw_option, &memory));
    return engine;
  }
};

Session::Session(Role role, const Services& services, std::unique_ptr<Stream> transport, const Rules& rules)
    : services_(services),
      rules_(rules),
      counters_(services.counters ? services.counters : &unread_counters_),
      transport_(std::move(transport)),
      read_deadline_(services.loop, *transport_),
      write_deadline_(services.loop, *transport_, Deadline::Direction::write),
      in_(services.buffers),
      out_(services.buffers),
      engine_(Callbacks::make(role, *this)),
      conduct_(role == Role::server ? Conduct::Of::client : Conduct::Of::origin),
      last_received_(services.loop.now()),
      output_watch_(*this) {
  ++counters_->connections;
}

Session::~Session() = default;

HttpStream* Session::stream_of(nghttp2_session* engine, std::int32_t id) noexcept {
  return static_cast<HttpStream*>(nghttp2_session_get_stream_user_data(engine, id));
}

nghttp2_data_provider Session::body_source() noexcept { return {{}, Callbacks::read_data}; }

void Session::begin(std::span<const nghttp2_settings_entry> settings) {
  require(nghttp2_submit_settings(engine_.get(), NGHTTP2_FLAG_NONE, settings.data(), settings.size()));
  require(nghttp2_session_set_local_window_size(engine_.get(), NGHTTP2_FLAG_NONE, 0,
                                                static_cast<std::int32_t>(rules_.limits.connection_window)));
  push_later();
}

// ---- in ----

Task<void> Session::read() {
  TurnBudget budget(loop());
  reading_ = true;
  while (!over()) {
    if (!transport_->may_read()) {
      in_.release();
      move_deadline();
      const Wake woken = co_await transport_->readable();
      read_deadline_.clear();
      if (woken == Wake::timed_out) on_deadline();
      if (woken != Wake::ready) continue;
    }
    const std::uint64_t frames = conduct_.frames();
    const IoResult got = transport_->try_read(in_.writable(kReadSize));
    if (got.status == IoStatus::would_block) continue;
    if (got.status != IoStatus::ok) {
      broken_ = true;
      break;
    }
    in_.commit(got.bytes);
    receive(in_.view());
    in_.clear();
    budget.step(got.bytes);
    budget.charge(static_cast<std::size_t>(conduct_.frames() - frames) * kWorkPerFrame);
    if (budget.spent()) co_await loop().yield();
  }
  in_.release();
  reading_ = false;
}

void Session::move_deadline() noexcept {
  if (!reading_) return;
  const MonoTime when = deadline();
  if (when == MonoTime::max()) {
    read_deadline_.clear();
  } else {
    read_deadline_.set(when);
  }
}

void Session::receive(std::string_view bytes) {
  last_received_ = loop().now();
  if (!terminated_) {
    if (!conduct_.feed(bytes, loop().now())) {
      on_flood();
    } else {
      receiving_ = true;
      // NOLINTNEXTLINE: the same bytes to the library
      const auto* const octets = reinterpret_cast<const std::uint8_t*>(bytes.data());
      const ssize_t done = nghttp2_session_mem_recv(engine_.get(), octets, bytes.size());
      receiving_ = false;
      if (done < 0) {
        on_fatal(static_cast<int>(done));
      } else if (!conduct_.settle() || nghttp2_session_get_outbound_queue_size(engine_.get()) > kMaxQueued) {
        on_flood();
      } else if (conduct_.pushed()) {  // we have said that we take none (RFC 9113 8.4)
        peer_at_fault_ = true;
        terminate(NGHTTP2_PROTOCOL_ERROR);
      }
    }
  }
  if (!conduct_.in_header_block()) {
    block_since_ = MonoTime::max();
  } else if (block_since_ == MonoTime::max() || block_ != conduct_.header_blocks()) {
    block_ = conduct_.header_blocks();
    block_since_ = last_received_;
  }
  if (nghttp2_session_want_write(engine_.get()) != 0 || over()) push_later();
  after_receive();
}

void Session::on_flood() noexcept {
  if (terminated_) return;
  ++counters_->floods;
  peer_at_fault_ = true;
  terminate(NGHTTP2_ENHANCE_YOUR_CALM);
}

void Session::on_fatal(int library_error) noexcept {
  switch (library_error) {
    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS: on_flood(); break;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
      peer_at_fault_ = true;
      terminate(NGHTTP2_PROTOCOL_ERROR);
      break;
    default: broken_ = true; break;
  }
}

// ---- out ----

std::size_t Session::room() const noexcept {
  return rules_.limits.max_output - std::min(rules_.limits.max_output, out_.size());
}

void Session::push() {
  if (broken_) return;
  serialise();
  if (room() < kLeastRoom) {
    write_output();
  }
  // Also if nothing is left to say: then somebody has to see that it is over.
  push_later();
}

void Session::serialise() {
  assert(!receiving_ && "nothing is sent from inside of the library's receiving function");
  if (serialising_ || broken_) return;
  serialising_ = true;
  while (room() >= kLeastRoom) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(engine_.get(), &bytes);
    if (size < 0) broken_ = true;
    if (size <= 0) break;
    out_.append({reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)});  // NOLINT
  }
  serialising_ = false;
  company_ = handed_over_bytes_ = 0;
  const bool left_before = std::exchange(left_behind_, !handed_over_.empty());
  if (left_behind_ && !left_before) left_behind_since_ = loop().now();
}

bool Session::takes(std::int32_t stream, std::size_t bytes) const noexcept {
  if (broken_ || terminated_ || output_blocked_ || left_behind_) return false;
  const auto windows_for = static_cast<std::int64_t>(std::max<std::size_t>(bytes, 1));  // the end alone wants one, too
  const auto before = static_cast<std::int64_t>(handed_over_bytes_);
  return room() >= kLeastRoom + kFrameHeader + bytes + handed_over_bytes_ &&
         nghttp2_session_get_remote_window_size(engine_.get()) >= windows_for + before &&
         nghttp2_session_get_stream_remote_window_size(engine_.get(), stream) >= windows_for;
}

void Session::on_handed_over(HttpStream& stream, std::size_t bytes) noexcept {
  handed_over_.push_back(stream);
  handed_over_bytes_ += bytes;
}

// While the transport takes nothing, the connection has a deadline for that.
MonoTime Session::left_behind_until() const noexcept {
  return left_behind_ && !output_blocked_ ? left_behind_since_ + rules_.write_idle : MonoTime::max();
}

void Session::reset_left_behind() noexcept {
  while (HttpStream* const stream = handed_over_.front()) {
    stream->unlink();
    reset(stream->id(), NGHTTP2_INTERNAL_ERROR);
  }
  left_behind_ = false;
}

void Session::write_output() {
  while (!broken_ && !out_.empty() && !output_blocked_) {
    const std::string_view bytes = out_.view();
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: written from, not to
    const IoResult sent = transport_->try_write({&part, 1});
    if (sent.status == IoStatus::ok) {
      written_ += sent.bytes;
      out_.consume(sent.bytes);
      if (out_.empty()) serialise();
    } else if (sent.status == IoStatus::would_block) {
      output_blocked_ = true;
      output_watch_.watch(*transport_);
      if (!stalling_ || written_ - written_at_mark_ >= kProgress) {
        stalling_ = true;
        written_at_mark_ = written_;
        write_deadline_.set_after(rules_.write_idle);
      }
    } else {
      broken_ = true;
      push_later();  // whoever reads must not be woken on this stack
    }
  }
  if (!out_.empty()) return;
  out_.release();
  if (std::exchange(stalling_, false)) write_deadline_.clear();
}

void Session::on_writable(Wake wake) {
  if (wake == Wake::timed_out) {
    if (written_ - written_at_mark_ < kProgress) {
      broken_ = stalled_ = true;
    } else {
      written_at_mark_ = written_;
      write_deadline_.set_after(rules_.write_idle);
    }
    push_later();
    return;
  }
  if (wake != Wake::ready) return;
  output_watch_.unwatch();
  output_blocked_ = false;
  left_behind_since_ = loop().now();
  run_deferred();
}

void Session::run_deferred() {
  if (!broken_) {
    serialise();
    write_output();
  }
  if (left_behind_) move_deadline();
  at_turn_end();
  // The last thing: the reader may end everything.
  if (reading_ && over()) wake();
}

bool Session::over() const noexcept {
  return broken_ || (out_.empty() && nghttp2_session_want_read(engine_.get()) == 0 &&
                     nghttp2_session_want_write(engine_.get()) == 0);
}

void Session::reset(std::int32_t stream, std::uint32_t error_code) noexcept {
  if (broken_) return;
  static_cast<void>(nghttp2_submit_rst_stream(engine_.get(), NGHTTP2_FLAG_NONE, stream, error_code));
  push_later();
}

void Session::on_reset_sent(std::uint32_t error_code) noexcept {
  ++counters_->resets_sent;
  switch (error_code) {
    case NGHTTP2_NO_ERROR:
    case NGHTTP2_CANCEL:
    case NGHTTP2_INTERNAL_ERROR: break;  // our own affair
    case NGHTTP2_REFUSED_STREAM:
      ++counters_->streams_refused;
      conduct_.refused_stream();
      break;
    default: conduct_.forced_reset(); break;
  }
}

void Session::on_goaway_sent(std::int32_t last_stream, std::uint32_t error_code) {
  if (last_stream == kHighestStream && error_code == NGHTTP2_NO_ERROR) return on_end_announced();
  ++counters_->goaways_sent[Counters::index(error_code)];
  if (error_code == NGHTTP2_NO_ERROR) return;
  // The library ends a connection only for what the peer did.
  terminated_ = true;
  if (error_code != NGHTTP2_INTERNAL_ERROR) peer_at_fault_ = true;
}

void Session::consumed(std::int32_t stream, std::size_t bytes) noexcept {
  if (broken_) return;
  if (stream != 0) {
    static_cast<void>(nghttp2_session_consume(engine_.get(), stream, bytes));
  } else {
    static_cast<void>(nghttp2_session_consume_connection(engine_.get(), bytes));
  }
  if (nghttp2_session_want_write(engine_.get()) != 0) push_later();
}

void Session::consumed_by_stream(std::int32_t stream, std::size_t bytes) noexcept {
  if (broken_) return;
  static_cast<void>(nghttp2_session_consume_stream(engine_.get(), stream, bytes));
  if (nghttp2_session_want_write(engine_.get()) != 0) push_later();
}

bool Session::window_taken_by_others() const noexcept {
  return nghttp2_session_get_local_window_size(engine_.get()) <= 0;
}

// ---- the end ----

void Session::terminate(std::uint32_t error_code) noexcept {
  if (std::exchange(terminated_, true)) return;
  static_cast<void>(nghttp2_session_terminate_session(engine_.get(), error_code));
  push_later();
}

void Session::refuse_more() noexcept {
  const std::int32_t last = nghttp2_session_get_last_proc_stream_id(engine_.get());
  static_cast<void>(nghttp2_submit_goaway(engine_.get(), NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0));
  push_later();
}

// What the peer has sent meanwhile and nobody has read would reset the connection, and with it destroy what we have
// said (RFC 9112 9.6).
Task<void> Session::close_in_order() {
  output_watch_.unwatch();
  write_deadline_.clear();
  if (!broken_) {
    transport_->shutdown_write();
    read_deadline_.set_after(kLingerTime);
    std::size_t discarded = 0;
    while (discarded < kMaxDiscarded) {
      const IoResult got = transport_->try_read(in_.writable(kReadSize));
      discarded += got.bytes;
      if (got.status == IoStatus::ok) continue;
      if (got.status != IoStatus::would_block) break;
      const Wake woken = co_await transport_->readable();
      if (woken == Wake::timed_out) break;
    }
  }
  broken_ = true;
  read_deadline_.clear();
  in_.release();
  out_.release();
}

}  // namespace postern::http::h2
