// What a client may do on an HTTP/2 connection. Invariants: no more handlers than agreed, bounded memory, an end in
// bounded time whatever the client does, nothing left behind, and only well-formed frames in answer.
#include <cstddef>
#include <cstdint>

#include "h2_input.h"
#include "http/h2/test_server.h"

namespace {

using namespace postern;
using namespace postern::fuzz;
using namespace postern::http;
using namespace postern::http::h2;

constexpr std::size_t kStreams = 8;
// Both windows twice over (what is lent and what has come since), the output, and a block or two for each stream.
constexpr std::size_t kMostMemory = 2 * (64 * 1024) + 64 * 1024 + (kStreams + 4) * 64 * 1024;

Task<void> serve(ServerSession& session, std::string early, bool& ended) {
  co_await session.serve(std::move(early));
  ended = true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = view(data, size);
  H2World world(number_of(input));
  Service service(world.loop);
  ServerLimits limits;
  limits.head = {.max_header_count = 12, .max_header_bytes = 512, .max_target_length = 64};
  Limits http2;
  http2.max_concurrent_streams = kStreams;
  http2.stream_window = http2.connection_window = 65'535;
  const ConnectionFacts facts;
  ServerSession session({world.loop, world.buffers, world.exceptions, service}, std::move(world.near), facts, limits,
                        http2);
  bool ended = false;
  TaskSet tasks(world.exceptions);
  // An input that has its own beginning is played as it is.
  const bool greets = !input.starts_with("R");
  tasks.spawn(serve(session, greets ? std::string(kPreface) + h2_frame(4, 0, 0, "") : std::string(), ended));
  world.settle();
  world.play(input);
  check(service.most_running <= static_cast<int>(kStreams), "no more handlers than agreed");
  check(world.buffers.in_use() <= kMostMemory, "memory is bounded", std::to_string(world.buffers.in_use()));
  service.release();
  if (number_of(input) % 2 == 0) {
    // Whatever it has begun comes to an end by itself.
    world.pass(std::chrono::seconds(1000));
    check(service.running == 0 || !ended, "handlers end with their connection");
    if (!ended) session.drain();
    world.pass(std::chrono::seconds(1000));
  }
  world.close();
  check(ended && tasks.empty(), "a connection that is closed ends");
  check(service.running == 0 && session.streams() == 0, "no handler is left");
  check(world.buffers.in_use() == 0, "no buffer is left");
  return 0;
}
