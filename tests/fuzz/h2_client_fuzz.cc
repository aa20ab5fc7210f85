// What an origin may do on an HTTP/2 connection. Invariants: every exchange comes to an end in bounded time whatever
// the origin does, memory is bounded, nothing is left behind, and only well-formed frames are sent.
#include <array>
#include <cstddef>
#include <cstdint>

#include "h2_input.h"
#include "http/h2/test_client.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::http;
using namespace postern::http::h2;

constexpr std::size_t kMostMemory = 2 * (64 * 1024) + 64 * 1024 + 16 * 64 * 1024;

class Nobody final : public ClientSession::Owner {
  void on_session_changed(ClientSession& /*session*/) override {}
};

void begin(ClientSession& session, Exchanging& exchange, Loop& loop) {
  exchange.upstream = session.open();
  exchange.deadline = loop.now() + std::chrono::seconds(100);
  exchange.upstream->start(
      {exchange.request, "https", "o.example", exchange.target, exchange.added, exchange.websocket});
  exchange.tasks.spawn(Client::send(exchange));
  exchange.tasks.spawn(Client::receive(exchange, loop));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = view(data, size);
  H2World world(number_of(input));
  world.skip(kPreface.size());
  Limits limits;
  limits.stream_window = limits.connection_window = 65'535;
  Nobody nobody;
  {
    Exchanging get("GET", "/get");
    Exchanging head("HEAD", "/head");
    Exchanging post("POST", "/post");
    Exchanging unread("GET", "/unread");
    Exchanging websocket("GET", "/ws");
    const std::array<Exchanging*, 5> all = {&get, &head, &post, &unread, &websocket};
    post.request.framing = Framing::chunked;
    post.upload = std::string(100'000, 'u');
    post.trailers.append("X-Sum", "1");
    unread.reads_body = false;
    websocket.websocket = true;
    websocket.reads_body = false;
    websocket.fields.append("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");

    ClientSession session({world.loop, world.buffers, world.exceptions}, std::move(world.near), {}, limits, nobody);
    session.start();
    world.settle();
    // An input that has its own beginning is played as it is.
    if (!input.starts_with("R")) world.send(h2_frame(4, 0, 0, std::string("\0\x08\0\0\0\x01", 6)));
    if (session.has_room()) {
      for (Exchanging* const exchange : all) begin(session, *exchange, world.loop);
    }
    world.settle();
    world.play(input);
    check(world.buffers.in_use() <= kMostMemory, "memory is bounded", std::to_string(world.buffers.in_use()));
    world.pass(std::chrono::seconds(300));
    for (const Exchanging* const exchange : all) {
      check(exchange->tasks.empty(), "every exchange ends", exchange->target);
    }
    if (number_of(input) % 2 == 0) {
      for (Exchanging* const exchange : all) exchange->upstream.reset();
      world.settle();
      session.drain();
      world.settle();
      check(session.streams() == 0 || !session.alive(), "no stream is left");
    }
    world.close();
    check(!session.alive(), "a connection that is closed is not used");
  }
  world.settle();
  check(world.buffers.in_use() == 0, "no buffer is left");
  return 0;
}
