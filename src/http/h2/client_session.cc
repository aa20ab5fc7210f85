#include "http/h2/client_session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "http/h2/client_stream.h"
#include "http/h2/session.h"

namespace postern::http::h2 {
namespace {

// An origin that says nothing while it owes answers is asked whether it is still there; until it says so, it gets no
// more requests on that connection.
constexpr auto kSilence = std::chrono::seconds(10);
constexpr auto kPongWithin = std::chrono::seconds(10);
// If it was, and still has nothing to say, it is asked again after this. Servers of gRPC end a connection on which,
// without a word of their own in between, more than two PINGs came sooner than five minutes after the one before
// (ENHANCE_YOUR_CALM, "too_many_pings"). New requests do not change that.
constexpr auto kSilenceAgain = std::chrono::seconds(310);
constexpr unsigned kSoonPings = 2;

constexpr Failure kClosed = {Code::origin_closed, Side::origin, Retry::if_reused};
constexpr Failure kSilent = {Code::origin_timeout, Side::origin, Retry::if_reused, "no answer to a PING"};
constexpr Failure kStalled = {Code::origin_timeout, Side::origin, Retry::if_reused, "the origin takes nothing"};
constexpr Failure kDripping = {Code::origin_timeout, Side::origin, Retry::if_reused, "a header block does not end"};
constexpr Failure kMalformed = {Code::origin_malformed, Side::origin, Retry::if_reused, "the origin breaks HTTP/2"};

}  // namespace

class ClientSession::Impl final : public Session, ClientStream::Owner {
 public:
  Impl(ClientSession& self, const ClientSession::Services& services, std::unique_ptr<Stream> transport,
       ClientTimeouts timeouts, const Limits& limits, ClientSession::Owner& owner)
      : Session(Role::client, {services.loop, services.buffers, services.exceptions, services.counters},
                std::move(transport), {limits, HeadLimits{}, timeouts.idle}),
        self_(self),
        owner_(&owner),
        timeouts_(timeouts),
        created_(services.loop.now()),
        idle_since_(created_),
        ready_gate_(services.loop),
        change_(*this),
        tasks_(services.exceptions) {}
  ~Impl() {
    tasks_.cancel_all();
    lose_streams(kClosed);
  }

  void start();
  [[nodiscard]] Task<Result<void>> ready(MonoTime deadline);
  [[nodiscard]] bool has_room() const noexcept { return alive() && settled_ && !asked() && streams_ < most_streams(); }
  [[nodiscard]] bool alive() const noexcept { return !over_ && !going_ && !draining_ && !terminated() && !broken(); }
  [[nodiscard]] bool takes_websockets() const noexcept {
    return nghttp2_session_get_remote_settings(engine(), NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
  }
  [[nodiscard]] std::size_t streams() const noexcept { return streams_; }
  [[nodiscard]] MonoTime created() const noexcept { return created_; }
  [[nodiscard]] MonoTime idle_since() const noexcept { return streams_ == 0 ? idle_since_ : MonoTime::max(); }
  [[nodiscard]] std::uint64_t exchanges() const noexcept { return exchanges_; }
  [[nodiscard]] std::unique_ptr<Upstream> open();
  void drain() noexcept;
  void forget_owner() noexcept { owner_ = nullptr; }

 private:
  // Tells the owner, from the loop.
  struct Change final : Loop::Deferred {
    explicit Change(Impl& of) noexcept : impl(of) {}
    void run_deferred() override {
      if (impl.owner_) impl.owner_->on_session_changed(impl.self_);  // may be the end of all this
    }
    Impl& impl;
  };

  // ---- Session ----
  HttpStream* open_stream(std::int32_t /*id*/) override { return nullptr; }
  void on_settings() override;
  void on_goaway(std::uint32_t error_code) override;
  void on_stream_over() override { release_place(); }
  void after_receive() override;
  void at_turn_end() override;
  [[nodiscard]] MonoTime deadline() const noexcept override;
  void on_deadline() override;

  // ---- ClientStream::Owner ----
  [[nodiscard]] bool on_start() noexcept override;
  void on_given_up() noexcept override { release_place(); }

  [[nodiscard]] Task<void> run();
  [[nodiscard]] std::size_t most_streams() const noexcept;
  // Whether the origin is there is in question.
  [[nodiscard]] bool asked() const noexcept { return ping_at_ != MonoTime::max(); }
  // Grows with everything that is said of requests, on either side.
  [[nodiscard]] std::uint64_t news() const noexcept { return exchanges_ + heard(); }
  // When it is to be asked, unless it says something before.
  [[nodiscard]] MonoTime next_ping() const noexcept;
  void release_place() noexcept;
  void lose_streams(const Failure& why) noexcept;
  void tell() noexcept { loop().defer(change_); }

  ClientSession& self_;
  ClientSession::Owner* owner_;
  ClientTimeouts timeouts_;
  MonoTime created_;
  MonoTime idle_since_;
  MonoTime busy_since_{};
  MonoTime ping_at_ = MonoTime::max();              // when one was sent that was not answered yet
  std::uint64_t news_at_ping_ = ~std::uint64_t{0};  // news() when the last one was sent
  std::uint64_t heard_at_ping_ = 0;                 // heard() then
  unsigned pings_ = 0;                              // since the origin last said something of a request
  bool held_up_ = false;                            // what is written does not go out
  bool settled_ = false;                            // the origin's SETTINGS have come
  bool going_ = false;                              // GOAWAY has come
  bool draining_ = false;
  bool over_ = false;
  const Failure* late_ = nullptr;  // what took too long, if that is why
  bool was_full_ = false;          // somebody may wait for a place
  std::size_t streams_ = 0;
  std::uint64_t exchanges_ = 0;
  IntrusiveList<ClientStream> all_;  // that still know this session
  Gate ready_gate_;
  Change change_;
  TaskSet tasks_;
};

void ClientSession::Impl::start() {
  const std::array<nghttp2_settings_entry, 4> settings = {{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, rules().limits.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(rules().head.max_header_bytes)},
  }};
  begin(settings);
  tasks_.spawn(run());
}

Task<void> ClientSession::Impl::run() {
  co_await read();
  over_ = true;
  lose_streams(late_ ? *late_ : stalled() ? kStalled : peer_at_fault() ? kMalformed : kClosed);
  ready_gate_.notify();
  tell();
  co_await close_in_order();
}

Task<Result<void>> ClientSession::Impl::ready(MonoTime deadline) {
  ready_gate_.set_deadline(deadline);
  for (;;) {
    if (settled_ && alive()) co_return Result<void>();
    if (over_ || !alive()) {
      if (peer_at_fault()) co_return std::unexpected(kMalformed.error());
      co_return fail(Code::origin_closed, Side::origin, Retry::yes);
    }
    const Wake wake = co_await ready_gate_.wait_on();
    if (wake == Wake::timed_out) co_return fail(Code::origin_timeout, Side::origin, Retry::yes);
  }
}

std::size_t ClientSession::Impl::most_streams() const noexcept {
  const std::uint32_t theirs = nghttp2_session_get_remote_settings(engine(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return std::min(theirs, rules().limits.max_concurrent_streams);
}

std::unique_ptr<Upstream> ClientSession::Impl::open() {
  if (streams_++ == 0) {
    busy_since_ = loop().now();
    move_deadline();
  }
  was_full_ = !has_room();
  auto stream = std::make_unique<ClientStream>(*this, static_cast<ClientStream::Owner&>(*this), timeouts_.idle);
  all_.push_back(*stream);
  return stream;
}

bool ClientSession::Impl::on_start() noexcept {
  // The origin may have changed its mind since, or gone silent: a request that it does not take now would wait without
  // an end.
  if (!alive() || asked() || streams_ > most_streams()) {
    release_place();
    return false;
  }
  const bool quiet = news() == news_at_ping_;
  ++exchanges_;
  if (quiet) {
    busy_since_ = loop().now();
    move_deadline();
  }
  if (exchanges_ == rules().limits.max_exchanges) {
    going_ = true;
    tell();
  }
  return true;
}

void ClientSession::Impl::release_place() noexcept {
  if (streams_ == 0) return;  // all were lost before
  if (--streams_ == 0) {
    idle_since_ = loop().now();
    push_later();
    if (!alive()) tell();
  }
  if (was_full_ && has_room()) {
    was_full_ = false;
    tell();
  }
}

void ClientSession::Impl::lose_streams(const Failure& why) noexcept {
  streams_ = 0;
  idle_since_ = loop().now();
  while (ClientStream* const stream = all_.front()) {
    stream->unlink();
    if (stream->id() != 0) forget_stream(stream->id());
    stream->session_gone(why);
  }
}

void ClientSession::Impl::on_settings() {
  settled_ = true;
  ready_gate_.notify();
  const bool full = !has_room();  // from the beginning, too
  if (was_full_ && !full) tell();
  was_full_ = full;
}

void ClientSession::Impl::on_goaway(std::uint32_t /*error_code*/) {
  going_ = true;
  ready_gate_.notify();
  tell();
}

void ClientSession::Impl::at_turn_end() {
  if (draining_ && streams_ == 0 && !over_) terminate(NGHTTP2_NO_ERROR);
  if (held_up_ == output_blocked()) return;
  held_up_ = output_blocked();
  // A PING may have been among what could not go out.
  if (!held_up_ && asked()) ping_at_ = loop().now();
  move_deadline();
}

void ClientSession::Impl::drain() noexcept {
  if (std::exchange(draining_, true) || over_) return;
  tell();
  if (streams_ != 0) return;
  terminate(NGHTTP2_NO_ERROR);
  flush();
}

void ClientSession::Impl::after_receive() {
  ping_at_ = MonoTime::max();
  if (!was_full_ || !has_room()) return;
  was_full_ = false;
  tell();
}

MonoTime ClientSession::Impl::next_ping() const noexcept {
  const bool again = news() == news_at_ping_ || (pings_ >= kSoonPings && heard() == heard_at_ping_);
  return std::max(busy_since_, last_received()) + (again ? kSilenceAgain : kSilence);
}

MonoTime ClientSession::Impl::deadline() const noexcept {
  if (terminated()) return MonoTime::max();  // what is left is written, or not, in the time for that
  MonoTime when = MonoTime::max();
  if (output_blocked()) {
    // Who does not take what we write is no more silent than that; the limit for it is another one.
  } else if (asked()) {
    when = ping_at_ + kPongWithin;
  } else if (streams_ != 0) {
    when = next_ping();
  }
  if (block_since() != MonoTime::max()) when = std::min(when, block_since() + timeouts_.idle);
  return when;
}

void ClientSession::Impl::on_deadline() {
  static constexpr std::array<std::uint8_t, 8> kPing = {'a', 'l', 'i', 'v', 'e'};
  if (terminated()) return;
  const MonoTime now = loop().now();
  if (block_since() != MonoTime::max() && now >= block_since() + timeouts_.idle) {
    late_ = &kDripping;
    terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  } else if (output_blocked()) {
    return;
  } else if (asked()) {
    if (now < ping_at_ + kPongWithin) return;
    late_ = &kSilent;
    give_up();
  } else if (streams_ != 0 && now >= next_ping()) {
    ping_at_ = now;
    pings_ = heard() == heard_at_ping_ ? pings_ + 1 : 1;
    heard_at_ping_ = heard();
    news_at_ping_ = news();
    was_full_ = true;
    static_cast<void>(nghttp2_submit_ping(engine(), NGHTTP2_FLAG_NONE, kPing.data()));
    push_later();
  }
}

ClientSession::ClientSession(const Services& services, std::unique_ptr<Stream> stream, ClientTimeouts timeouts,
                             const Limits& limits, Owner& owner)
    : impl_(std::make_unique<Impl>(*this, services, std::move(stream), timeouts, limits, owner)) {}
ClientSession::~ClientSession() = default;

void ClientSession::start() { impl_->start(); }
Task<Result<void>> ClientSession::ready(MonoTime deadline) { return impl_->ready(deadline); }
bool ClientSession::has_room() const noexcept { return impl_->has_room(); }
bool ClientSession::alive() const noexcept { return impl_->alive(); }
bool ClientSession::takes_websockets() const noexcept { return impl_->takes_websockets(); }
std::size_t ClientSession::streams() const noexcept { return impl_->streams(); }
MonoTime ClientSession::created() const noexcept { return impl_->created(); }
MonoTime ClientSession::idle_since() const noexcept { return impl_->idle_since(); }
std::uint64_t ClientSession::exchanges() const noexcept { return impl_->exchanges(); }
std::unique_ptr<Upstream> ClientSession::open() { return impl_->open(); }
void ClientSession::drain() noexcept { impl_->drain(); }
void ClientSession::forget_owner() noexcept { impl_->forget_owner(); }

}  // namespace postern::http::h2
