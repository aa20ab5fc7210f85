// What a worker does around its requests: places, limits shared with other workers, and bugs that end one connection.
#include "gateway/test_support.h"

#include <new>

namespace postern::gateway {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

// Throws where a connection to an origin is made.
class BrokenNetwork final : public Network {
 public:
  explicit BrokenNetwork(Network& real) : real_(real) {}
  [[nodiscard]] Result<std::unique_ptr<Acceptor>> listen(Loop& loop, const SocketAddress& address,
                                                         AcceptHandler& handler, Share share) override {
    return real_.listen(loop, address, handler, share);
  }
  [[nodiscard]] Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, const SocketAddress& address,
                                                              MonoTime deadline) override {
    if (broken) throw std::bad_alloc();
    auto stream = co_await real_.connect(loop, address, deadline);
    co_return stream;
  }
  bool broken = false;

 private:
  Network& real_;
};

class WorkerTest : public GatewayTest {};

TEST_F(WorkerTest, an_exception_ends_its_connection_and_no_other) {
  BrokenNetwork broken(gateway.network);
  gateway.make_worker(broken);
  start_simple();
  Peer bystander = gateway.connect();
  Peer client = gateway.connect();
  broken.broken = true;
  client.send(kGet);
  EXPECT_TRUE(client.reset());
  EXPECT_EQ(gateway.worker->connections(), 1u) << "its place is free again";
  EXPECT_EQ(gateway.metric("postern_connections"), 1);
  EXPECT_EQ(gateway.endpoints()->front()->in_flight, 0u);
  EXPECT_EQ(gateway.endpoints()->front()->connections, 0u);
  EXPECT_EQ(gateway.buffers_in_use(), 0u);
  EXPECT_NE(gateway.log().find("a connection ended by an exception"), std::string::npos);
  broken.broken = false;
  bystander.send(kGet);
  Peer origin = gateway.accept();
  origin.receive();
  origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(bystander.receive().ends_with("ok"));
  gateway.destroy();
}

TEST_F(WorkerTest, a_client_that_resets_is_gone_at_once_whatever_it_was_doing) {
  start_simple("", "policies: [{body_limit: {max: 1MiB}}]\n");
  for (const std::string_view begun : {"", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                                       "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"}) {
    Peer client = gateway.connect();
    client.send(begun);
    Peer origin = gateway.try_accept();
    client.abort();
    EXPECT_EQ(gateway.worker->connections(), 0u) << begun;
    if (origin) origin.receive();
    EXPECT_FALSE(origin && origin.open()) << begun;
    EXPECT_EQ(gateway.endpoints()->front()->in_flight, 0u) << begun;
    EXPECT_EQ(gateway.buffers_in_use(), 0u) << begun;
  }
}

TEST_F(WorkerTest, a_call_before_the_thread_runs_at_once) {
  start_simple();
  bool ran = false;
  gateway.worker->call([&] { ran = true; });
  EXPECT_TRUE(ran);
}

TEST_F(WorkerTest, the_limit_on_connections_counts_those_of_all_workers) {
  start_simple("", "limits: {max_connections: 2}\n");
  Peer first = gateway.connect();
  // Another worker of the same snapshot counts in the same place.
  const auto& open = gateway.snapshot().listeners[0].open_connections;
  EXPECT_EQ(open->load(), 1u);
  open->fetch_add(1);
  Peer second = gateway.connect();
  EXPECT_TRUE(second.receive().starts_with("HTTP/1.1 503 "));
  open->fetch_sub(1);
  Peer third = gateway.connect();
  EXPECT_TRUE(third.open());
  EXPECT_EQ(open->load(), 2u);
  third.close();
  first.close();
  EXPECT_EQ(open->load(), 0u);
}

TEST_F(WorkerTest, forwarded_addresses_are_believed_from_trusted_proxies_only) {
  gateway.serve("127.0.0.1:9001");
  gateway.start(
      "trusted_proxies: [198.51.100.0/24]\norigins: {main: {url: \"http://127.0.0.1:9001\"}}\n"
      "routes: [{match: {path: /*}, origin: main, public: true}]\n");
  struct Case {
    const char* peer;
    std::string sent;
    std::string forwarded;
    std::string logged;
  };
  int records = 0;
  for (const auto& [peer, sent, forwarded, logged] :
       {Case{"203.0.113.9", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Request-Id: forged-id-1\r\n",
             "203.0.113.9", "203.0.113.9"},
        Case{"198.51.100.7", "X-Forwarded-For: 1.2.3.4\r\nX-Request-Id: proxy-id-1\r\n", "1.2.3.4, 198.51.100.7",
             "1.2.3.4"},
        Case{"198.51.100.7", "X-Forwarded-For: 6.6.6.6, 1.2.3.4, 198.51.100.8\r\n",
             "6.6.6.6, 1.2.3.4, 198.51.100.8, 198.51.100.7", "1.2.3.4"}}) {
    gateway.network.connect_as({IpAddress::parse(peer).value(), 1});
    Peer client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n" + sent + "\r\n");
    Peer origin = gateway.accept();
    const std::string head = origin.receive();
    EXPECT_NE(head.find("x-forwarded-for: " + forwarded + "\r\n"), std::string::npos) << head;
    EXPECT_EQ(head.find("proxy-id-1") != std::string::npos, sent.find("proxy-id-1") != std::string::npos) << head;
    EXPECT_EQ(head.find("forged-id-1"), std::string::npos) << head;
    EXPECT_EQ(head.find("proto: https"), std::string::npos) << head;
    origin.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    client.receive();
    ++records;
    const std::string record = gateway.records(static_cast<std::size_t>(records)).back();
    EXPECT_NE(record.find("\"client\":\"" + logged + "\""), std::string::npos) << record;
  }
}

}  // namespace
}  // namespace postern::gateway
