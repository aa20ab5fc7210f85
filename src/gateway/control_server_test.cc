#include "gateway/control_server.h"

#include <gtest/gtest.h>

#include <optional>
#include <stdexcept>

#include "platform/test_support.h"

namespace postern::gateway {
namespace {

class ControlTest : public ::testing::Test {
 protected:
  ControlTest() : loop(clock), tasks(errors) {}

  void start(ControlServer::Guard guard) {
    server.emplace(loop, [this](const ControlRequest& request) { return answer(request); }, guard);
    ASSERT_TRUE(server->listen(network, address));
  }
  ControlAnswer answer(const ControlRequest& request) {
    ++asked;
    if (request.path == "/bug") throw std::runtime_error("a bug");
    return {200, "text/plain",
            std::string(request.method) + " " + std::string(request.path) + (request.json ? " json" : "")};
  }
  Peer connect() {
    std::unique_ptr<Stream> stream;
    tasks.spawn(connect_to(stream));
    settle(loop);
    EXPECT_TRUE(stream);
    return Peer(loop, std::move(stream));
  }
  Task<void> connect_to(std::unique_ptr<Stream>& out) {
    auto stream = co_await network.connect(loop, address, loop.now() + 1s);
    if (stream) out = std::move(*stream);
  }
  std::string ask(Peer& client, const std::string& request) {
    client.send(request);
    return client.receive();
  }
  std::string once(const std::string& request) {
    Peer client = connect();
    return ask(client, request);
  }

  ManualClock clock;
  Loop loop;
  MemoryNetwork network;
  CountExceptions errors;
  const SocketAddress address = parse_socket_address("unix:/run/admin.sock").value();
  std::optional<ControlServer> server;
  TaskSet tasks;
  int asked = 0;
};

TEST_F(ControlTest, answers_one_request_after_the_other) {
  start(ControlServer::Guard::none);
  Peer client = connect();
  EXPECT_EQ(ask(client, "GET /status?x=1 HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n"),
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: no-store\r\nContent-Length: 16\r\n\r\nGET "
            "/status json");
  EXPECT_TRUE(ask(client, "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n").ends_with("Content-Length: 13\r\n\r\n"));
  EXPECT_TRUE(ask(client, "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").ends_with("POST /reload"));
  EXPECT_TRUE(client.open());
}

TEST_F(ControlTest, takes_no_body_and_nothing_malformed) {
  start(ControlServer::Guard::none);
  for (const char* request : {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
                              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"}) {
    EXPECT_TRUE(once(request).starts_with("HTTP/1.1 413 ")) << request;
  }
  EXPECT_TRUE(once("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(once("GET / HTTP/1.1\nHost: a\n\n").starts_with("HTTP/1.1 400 "));
  EXPECT_EQ(asked, 0);
}

TEST_F(ControlTest, admin_answers_no_web_page_whatever_name_it_resolved_to_the_socket) {
  start(ControlServer::Guard::same_host);
  EXPECT_TRUE(once("POST /reload HTTP/1.1\r\nHost: postern\r\nContent-Length: 0\r\n\r\n").starts_with("HTTP/1.1 200 "));
  for (const char* fields : {"Host: localhost", "Host: postern:80", "Host: evil.example",
                             "Host: postern\r\nOrigin: https://evil.example", "Host: postern\r\nOrigin: null"}) {
    const std::string got = once("POST /reload HTTP/1.1\r\n" + std::string(fields) + "\r\nContent-Length: 0\r\n\r\n");
    EXPECT_TRUE(got.starts_with("HTTP/1.1 403 ")) << fields << ": " << got;
  }
  EXPECT_EQ(asked, 1);
}

TEST_F(ControlTest, a_bug_in_what_answers_costs_a_500_and_nothing_else) {
  start(ControlServer::Guard::none);
  for (int i = 0; i < 300; ++i) {  // more than there are places
    Peer client = connect();
    EXPECT_TRUE(ask(client, "GET /bug HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 500 ")) << i;
    EXPECT_TRUE(ask(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 ")) << i;
  }
  EXPECT_EQ(errors.count, 0);
}

TEST_F(ControlTest, has_so_many_places_and_frees_those_of_silent_clients) {
  start(ControlServer::Guard::none);
  std::vector<Peer> clients;
  for (int i = 0; i < 256; ++i) clients.push_back(connect());
  Peer extra = connect();
  EXPECT_FALSE(extra.open());
  EXPECT_TRUE(ask(clients[255], "GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
  clients[0].abort();
  Peer next = connect();
  EXPECT_TRUE(next.open());
  advance(loop, clock, 75s);
  EXPECT_TRUE(clients[1].finished());
  EXPECT_TRUE(once("GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

TEST_F(ControlTest, its_end_ends_its_connections) {
  start(ControlServer::Guard::none);
  Peer idle = connect();
  Peer half = connect();
  half.send("GET / HTTP/1.1\r\nHo");
  server.reset();
  EXPECT_FALSE(idle.open());
  EXPECT_FALSE(half.open());
}

}  // namespace
}  // namespace postern::gateway
