#include "http/h2/server_session.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "http/h2/server_stream.h"
#include "http/h2/session.h"

namespace postern::http::h2 {
namespace {

// Between the announcement of the end and the end itself, if the client does not answer the PING that goes with it:
// what it has sent before it knew is still served (RFC 9113 6.8).
constexpr auto kDrainGrace = std::chrono::seconds(1);
constexpr std::size_t kKeyBytes = 16;  // RFC 6455 4.1

// To everybody the same share of the connection: clients of today do not use the older priorities, and what the newer
// ones say is theirs to say, not to enforce on their other streams (docs/decisions/003-http2.md).
constexpr nghttp2_extpri kFair = {NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};

}  // namespace

class ServerSession::Impl final : public Session, ServerStream::Owner {
 public:
  Impl(const ServerSession::Services& services, std::unique_ptr<Stream> transport, const ConnectionFacts& facts,
       const ServerLimits& limits, const Limits& http2)
      : Session(Role::server, {services.loop, services.buffers, services.exceptions, services.counters},
                std::move(transport), {http2, limits.head, limits.write_idle_timeout}),
        handler_(services.handler),
        facts_(facts),
        limits_(limits),
        idle_since_(services.loop.now()),
        began_(services.loop.now()) {}
  ~Impl() { abandon_all(); }

  [[nodiscard]] Task<void> serve(std::string early);
  void drain() noexcept;
  [[nodiscard]] std::size_t streams() const noexcept { return streams_.size(); }
  void reset_on_close() noexcept { transport().reset_on_close(); }

 private:
  // ---- Session ----
  HttpStream* open_stream(std::int32_t id) override;
  void on_settings() override { client_speaks_ = true; }
  // Its PING goes behind the announcement: what comes before the answer was sent by a client that did not know yet.
  void on_end_announced() override;
  void on_pong() override {
    if (draining_) end_draining();
  }
  void after_receive() override;
  void at_turn_end() override;
  [[nodiscard]] MonoTime deadline() const noexcept override;
  void on_deadline() override;

  // ---- ServerStream::Owner ----
  void on_head_complete(ServerStream& stream) override { arrived_.push_back(stream); }
  void on_abandoned(ServerStream& stream) override {
    abandoned_.push_back(stream);
    push_later();
  }
  void on_finished(ServerStream& stream) override {
    finished_.push_back(stream);
    push_later();
  }
  [[nodiscard]] std::string_view next_websocket_key(Arena& arena) override;

  void announce_end() noexcept;
  void end_draining() noexcept;
  void remove(ServerStream& stream) noexcept;
  void abandon_all() noexcept;

  RequestHandler& handler_;
  const ConnectionFacts& facts_;
  const ServerLimits& limits_;
  bool serving_ = false;
  bool client_speaks_ = false;  // its SETTINGS have come
  bool draining_ = false;
  bool refusing_ = false;  // the last GOAWAY was submitted
  std::uint32_t requests_ = 0;
  std::uint64_t keys_ = 0;
  MonoTime idle_since_;
  MonoTime began_;
  MonoTime drain_until_{};
  std::vector<std::unique_ptr<ServerStream>> streams_;
  IntrusiveList<ServerStream> arrived_;    // their heads are complete
  IntrusiveList<ServerStream> abandoned_;  // their clients are gone
  IntrusiveList<ServerStream> finished_;
};

Task<void> ServerSession::Impl::serve(std::string early) {
  const std::array<nghttp2_settings_entry, 5> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, rules().limits.max_concurrent_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, rules().limits.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(rules().head.max_header_bytes)},
      {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  serving_ = true;
  begin(settings);
  if (draining_) announce_end();
  if (!early.empty()) receive(std::exchange(early, {}));
  co_await read();
  abandon_all();
  co_await close_in_order();
}

HttpStream* ServerSession::Impl::open_stream(std::int32_t id) {
  // Those that were reset count until their handlers are gone.
  if (streams_.size() >= rules().limits.max_concurrent_streams) return nullptr;
  auto stream = std::make_unique<ServerStream>(*this, static_cast<ServerStream::Owner&>(*this), id, facts_, limits_);
  stream->place = streams_.size();
  streams_.push_back(std::move(stream));
  nghttp2_extpri fair = kFair;
  static_cast<void>(nghttp2_session_change_extpri_stream_priority(engine(), id, &fair, 1));
  if (++requests_ >= limits_.max_requests) drain();
  return streams_.back().get();
}

void ServerSession::Impl::after_receive() {
  while (ServerStream* const stream = arrived_.front()) {
    stream->unlink();
    stream->handle(handler_);
  }
}

void ServerSession::Impl::at_turn_end() {
  // Each of these is the end of a handler, which frees what it holds, and of nothing else of this session.
  while (ServerStream* const stream = abandoned_.front()) {
    stream->unlink();
    stream->abandon();
  }
  const bool some = !finished_.empty();
  while (ServerStream* const stream = finished_.front()) remove(*stream);
  if (!some || !streams_.empty()) return;
  idle_since_ = loop().now();
  move_deadline();
}

void ServerSession::Impl::remove(ServerStream& stream) noexcept {
  const std::size_t place = stream.place;
  if (place + 1 != streams_.size()) {
    std::swap(streams_[place], streams_.back());
    streams_[place]->place = place;
  }
  streams_.pop_back();
}

void ServerSession::Impl::abandon_all() noexcept {
  for (const auto& stream : streams_) forget_stream(stream->id());
  // One after the other: what a handler destroys must find the rest in order.
  while (!streams_.empty()) {
    streams_.back()->abandon();
    remove(*streams_.back());
  }
}

// ---- time ----

MonoTime ServerSession::Impl::deadline() const noexcept {
  if (terminated()) return MonoTime::max();  // what is left is written, or not, in the time for that
  MonoTime when = MonoTime::max();
  if (!client_speaks_) when = began_ + limits_.header_timeout;
  if (block_since() != MonoTime::max()) when = std::min(when, block_since() + limits_.header_timeout);
  if (streams_.empty() && !refusing_) when = std::min(when, idle_since_ + limits_.idle_timeout);
  when = std::min(when, left_behind_until());
  if (draining_ && !refusing_) when = std::min(when, drain_until_);
  return when;
}

void ServerSession::Impl::on_deadline() {
  if (terminated()) return;
  const MonoTime now = loop().now();
  if (now >= left_behind_until()) reset_left_behind();
  if (!client_speaks_ && now >= began_ + limits_.header_timeout) {
    terminate(NGHTTP2_NO_ERROR);
  } else if (block_since() != MonoTime::max() && now >= block_since() + limits_.header_timeout) {
    terminate(NGHTTP2_ENHANCE_YOUR_CALM);
  } else if (streams_.empty() && !refusing_ && now >= idle_since_ + limits_.idle_timeout) {
    end_draining();
  } else if (draining_ && now >= drain_until_) {
    end_draining();
  }
}

void ServerSession::Impl::drain() noexcept {
  if (std::exchange(draining_, true)) return;
  if (serving_) announce_end();
}

void ServerSession::Impl::announce_end() noexcept {
  drain_until_ = loop().now() + kDrainGrace;
  static_cast<void>(nghttp2_submit_shutdown_notice(engine()));
  push_later();
  move_deadline();
}

void ServerSession::Impl::on_end_announced() {
  static constexpr std::array<std::uint8_t, 8> kPing = {'d', 'r', 'a', 'i', 'n'};
  static_cast<void>(nghttp2_submit_ping(engine(), NGHTTP2_FLAG_NONE, kPing.data()));
}

void ServerSession::Impl::end_draining() noexcept {
  if (std::exchange(refusing_, true)) return;
  refuse_more();
}

// It proves nothing to anybody: RFC 6455 wants it different for every handshake, so that no cache mistakes one for
// another.
std::string_view ServerSession::Impl::next_websocket_key(Arena& arena) {
  const std::array<std::int64_t, 4> seed = {loop().now().time_since_epoch().count(),
                                            loop().wall().time_since_epoch().count(), began_.time_since_epoch().count(),
                                            static_cast<std::int64_t>(++keys_)};
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  std::size_t size = 0;
  static_cast<void>(EVP_Q_digest(nullptr, "SHA256", nullptr, seed.data(), sizeof seed, digest.data(), &size));
  std::array<unsigned char, 32> text{};
  const int length = EVP_EncodeBlock(text.data(), digest.data(), kKeyBytes);
  return arena.copy({reinterpret_cast<const char*>(text.data()), static_cast<std::size_t>(length)});  // NOLINT
}

ServerSession::ServerSession(const Services& services, std::unique_ptr<Stream> stream, const ConnectionFacts& facts,
                             const ServerLimits& limits, const Limits& http2)
    : impl_(std::make_unique<Impl>(services, std::move(stream), facts, limits, http2)) {}
ServerSession::~ServerSession() = default;

Task<void> ServerSession::serve(std::string early) { return impl_->serve(std::move(early)); }
void ServerSession::drain() noexcept { impl_->drain(); }
std::size_t ServerSession::streams() const noexcept { return impl_->streams(); }
void ServerSession::reset_on_close() noexcept { impl_->reset_on_close(); }

}  // namespace postern::http::h2
