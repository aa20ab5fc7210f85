#include "http/h2/server_session.h"

#include <gtest/gtest.h>

#include "http/h2/test_support.h"

namespace postern::http::h2 {
namespace {

struct Server : World {
  explicit Server(MemoryOptions options = {}) : World(options) {}
  ~Server() { tasks.cancel_all(); }

  void start(std::string early = {}) {
    session = std::make_unique<ServerSession>(ServerSession::Services{loop, buffers, exceptions, service, &counters},
                                              std::move(near), facts, limits, http2);
    tasks.spawn(serve(std::move(early)));
    settle(loop);
  }

  ServerLimits limits;
  Limits http2;
  ConnectionFacts facts;
  Counters counters;
  Service service{loop};
  std::unique_ptr<ServerSession> session;
  bool ended = false;

 private:
  Task<void> serve(std::string early) {
    co_await session->serve(std::move(early));
    ended = true;
    session.reset();
  }
};

TEST(ServerSession, AnswersAGet) {
  Server server;
  server.start();
  Library client(Library::Role::client, server.far);
  const std::int32_t id = client.get("/hello?x=1", {{"accept", "*/*"}, {"te", "trailers"}});
  client.run();
  EXPECT_EQ(server.service.requests,
            std::vector<std::string>{"GET /hello?x=1 none [Host|a.example][accept|*/*][te|trailers]"});
  const Seen& seen = client.streams[id];
  EXPECT_EQ(seen.status, "200");
  EXPECT_EQ(seen.fields, "[server|test][content-length|61]");
  EXPECT_EQ(seen.body, server.service.requests[0]);
  EXPECT_TRUE(seen.ended);
  EXPECT_EQ(seen.closed, NGHTTP2_NO_ERROR);
  EXPECT_EQ(server.session->streams(), 0u);
}

}  // namespace
}  // namespace postern::http::h2
