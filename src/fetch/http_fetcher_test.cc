#include "fetch/http_fetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/test_support.h"

namespace postern::fetch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using tokens::FetchRequest;
using tokens::FetchResponse;

TEST(FetchTarget, reads_where_a_url_leads) {
  const Result<Target> plain = parse_target("https://Login.Example.com/a/b?c=d");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "login.example.com");
  EXPECT_EQ(plain->port, 443);
  EXPECT_EQ(plain->authority, "login.example.com");
  EXPECT_EQ(plain->path_and_query, "/a/b?c=d");
  EXPECT_TRUE(plain->tls);
  const Result<Target> other = parse_target("https://[2001:db8::1]:8443");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->authority, "[2001:db8::1]:8443");
  EXPECT_EQ(other->path_and_query, "/");
  EXPECT_TRUE(other->address);
}

TEST(FetchTarget, goes_in_clear_to_loopback_and_metadata_servers_only) {
  for (const std::string_view url :
       {"http://127.0.0.1:8080/token", "http://[::1]/", "http://localhost/x", "http://169.254.169.254/metadata",
        "http://169.254.170.2/v2", "http://metadata.google.internal/computeMetadata", "http://[fd00:ec2::254]/"}) {
    EXPECT_TRUE(parse_target(url)) << url;
  }
  for (const std::string_view url : {"http://login.example.com/", "http://10.0.0.1/", "http://168.63.129.17/",
                                     "http://metadata.google.internal.evil.com/", "http://localhost.evil.com/",
                                     "http://127.0.0.1@evil.com/", "http://[2001:db8::1]/"}) {
    EXPECT_FALSE(parse_target(url)) << url;
  }
}

TEST(FetchTarget, refuses_what_is_none_and_does_not_repeat_it) {
  for (const std::string_view url :
       {"", "login.example.com", "ftp://x/", "https://", "https:///path", "https://u:hidden@x/", "https://x:0/",
        "https://x:99999/", "https://x/hidden#fragment", "https://x/a b", "https://x/\r\nHost: y",
        "unix:///run/hidden.sock"}) {
    const Result<Target> target = parse_target(url);
    ASSERT_FALSE(target) << url;
    EXPECT_THAT(std::string(target.error().detail()), Not(HasSubstr("hidden")));
  }
}

class FakeResolver final : public origins::Resolver {
 public:
  void resolve(const std::string& host, Callback callback) override {
    ++asked;
    const auto at = names.find(host);
    if (at != names.end()) {
      callback(origins::Resolution{at->second, 1h});
    } else if (!silent) {
      callback(fail(Code::origin_unresolved, Side::origin, "no such name"));
    }
  }
  origins::KnownAddresses names;
  bool silent = false;
  int asked = 0;
};

class FetcherTest : public ::testing::Test {
 protected:
  FetcherTest() { listen("127.0.0.1:80", door); }
  void listen(const char* address, Door& at) {
    auto acceptor = network.listen(loop, *parse_socket_address(address), at);
    ASSERT_TRUE(acceptor);
    at.acceptor = std::move(*acceptor);
  }
  static Task<void> run(HttpFetcher& fetcher, FetchRequest request, std::optional<Result<FetchResponse>>& into) {
    Result<FetchResponse> response = co_await fetcher.fetch(std::move(request));
    into.emplace(std::move(response));
  }
  void fetch(FetchRequest request) {
    result.reset();
    tasks.spawn(run(fetcher, std::move(request), result));
    settle(loop);
  }
  static FetchRequest to(std::string url, std::string body = "") {
    FetchRequest request;
    request.url = std::move(url);
    if (!body.empty()) {
      request.method = "POST";
      request.content_type = "application/x-www-form-urlencoded";
      request.body = config::Secret(body);
    }
    return request;
  }
  Peer accept(Door& at) {
    settle(loop);
    if (at.waiting.empty()) return {};
    Peer peer(loop, std::move(at.waiting.front()));
    at.waiting.pop_front();
    return peer;
  }
  // What it came to, as text.
  std::string outcome() {
    settle(loop);
    if (!result) return "waiting";
    if (!*result) return std::string(result->error().detail());
    return std::to_string((*result)->status) + " " + std::string((*result)->body.reveal());
  }
  std::string failure() {
    settle(loop);
    return result && !*result ? std::string(result->error().detail()) : "none";
  }

  ManualClock clock;
  Loop loop{clock};
  MemoryNetwork network;
  BufferPool buffers;
  FakeResolver resolver;
  Door door;
  HttpFetcher fetcher{HttpFetcher::Services{loop, network, buffers, resolver}};
  CountExceptions exceptions;
  std::optional<Result<FetchResponse>> result;
  TaskSet tasks{exceptions};
};

TEST_F(FetcherTest, sends_a_form_and_gives_back_what_was_answered) {
  fetch(to("http://127.0.0.1/token?x=1", "grant_type=client_credentials"));
  Peer server = accept(door);
  const std::string sent = server.receive();
  EXPECT_THAT(sent, HasSubstr("POST /token?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
  EXPECT_THAT(sent, HasSubstr("Content-Length: 29\r\n"));
  EXPECT_THAT(sent, HasSubstr("\r\n\r\ngrant_type=client_credentials"));
  server.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 2\r\nRetry-After: 7\r\n\r\n{}");
  EXPECT_EQ(outcome(), "400 {}");
  EXPECT_EQ((*result)->field("retry-after"), "7");
}

TEST_F(FetcherTest, reads_chunks_and_bodies_that_end_with_the_connection) {
  fetch(to("http://127.0.0.1/"));
  Peer server = accept(door);
  server.receive();
  server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
  EXPECT_EQ(outcome(), "200 abc");
  fetch(to("http://127.0.0.1/"));
  server = accept(door);
  server.receive();
  server.send("HTTP/1.1 200 OK\r\n\r\nabc");
  EXPECT_EQ(outcome(), "waiting");
  server.finish();
  EXPECT_EQ(outcome(), "200 abc");
}

TEST_F(FetcherTest, does_not_follow_a_redirect) {
  fetch(to("http://127.0.0.1/"));
  Peer server = accept(door);
  server.receive();
  server.send("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/other\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(outcome(), "302 ");
  EXPECT_FALSE(accept(door));
}

TEST_F(FetcherTest, a_body_over_its_limit_is_an_error_whatever_it_says) {
  for (const std::string_view head :
       {"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFF\r\n"}) {
    fetch(to("http://127.0.0.1/"));
    Peer server = accept(door);
    server.receive();
    server.send(head);
    for (int i = 0; i < 100; ++i) server.send(std::string(4096, 'x'));
    EXPECT_THAT(failure(), HasSubstr("larger than 262144 bytes")) << head;
  }
}

TEST_F(FetcherTest, nothing_lasts_longer_than_it_may) {
  fetch(to("http://127.0.0.1/"));
  Peer silent = accept(door);
  advance(loop, clock, 9999ms);
  EXPECT_EQ(failure(), "none");
  advance(loop, clock, 2ms);
  EXPECT_THAT(failure(), HasSubstr("in time"));

  fetch(to("http://127.0.0.1/"));
  Peer drips = accept(door);
  drips.receive();
  drips.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
  for (int i = 0; i < 101; ++i) {
    drips.send(" ");
    advance(loop, clock, 100ms);
  }
  EXPECT_THAT(failure(), HasSubstr("in time"));

  fetch(to("http://127.0.0.1/"));
  Peer drips_its_head = accept(door);
  drips_its_head.receive();
  for (int i = 0; i < 101; ++i) {
    drips_its_head.send(i == 0 ? "HTTP/1.1 200 OK\r\nX: " : "x");
    advance(loop, clock, 100ms);
  }
  EXPECT_THAT(failure(), HasSubstr("in time"));

  network.black_hole(*parse_socket_address("127.0.0.2:80"));
  fetch(to("http://127.0.0.2/"));
  advance(loop, clock, 2001ms);
  EXPECT_THAT(failure(), HasSubstr("did not accept the connection in time"));
}

TEST_F(FetcherTest, what_is_cut_off_or_no_http_is_an_error) {
  for (const std::string_view answer : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "HTTP/1.1 20", ""}) {
    fetch(to("http://127.0.0.1/"));
    Peer server = accept(door);
    server.receive();
    server.send(answer);
    server.finish();
    EXPECT_THAT(failure(), HasSubstr("closed the connection")) << answer;
  }
  fetch(to("http://127.0.0.1/"));
  Peer server = accept(door);
  server.receive();
  server.send("SSH-2.0-OpenSSH_9.2\r\n");
  EXPECT_THAT(failure(), HasSubstr("the server's answer"));
}

TEST_F(FetcherTest, names_are_resolved_and_the_next_address_is_tried) {
  resolver.names["localhost"] = {*IpAddress::parse("127.0.0.9"), *IpAddress::parse("127.0.0.1")};
  fetch(to("http://localhost/"));
  Peer server = accept(door);
  EXPECT_THAT(server.receive(), HasSubstr("Host: localhost\r\n"));
  fetch(to("https://unknown.example.com/"));
  EXPECT_THAT(failure(), HasSubstr("no such name"));
  resolver.silent = true;
  fetch(to("https://unknown.example.com/"));
  advance(loop, clock, 2001ms);
  EXPECT_THAT(failure(), HasSubstr("no answer of the name servers in time"));
}

TEST_F(FetcherTest, metadata_servers_are_named_by_their_url_alone) {
  Door metadata;
  listen("169.254.169.254:80", metadata);
  fetcher.set_proxy({"192.0.2.1", 3128, {}});
  fetch(to("http://metadata.google.internal/computeMetadata/v1/"));
  Peer server = accept(metadata);
  EXPECT_THAT(server.receive(), HasSubstr("Host: metadata.google.internal\r\n"));
  EXPECT_EQ(resolver.asked, 0) << "no name server can say where it is";
}

TEST_F(FetcherTest, asks_through_a_proxy_unless_the_host_is_excepted) {
  Door proxy;
  listen("192.0.2.1:3128", proxy);
  Door direct;
  listen("192.0.2.7:443", direct);
  resolver.names["x.example.com"] = {*IpAddress::parse("192.0.2.7")};
  fetcher.set_proxy({"192.0.2.1", 3128, {".example.com", "192.0.2.8"}});
  fetch(to("https://login.example.org/token"));
  Peer tunnel = accept(proxy);
  EXPECT_EQ(tunnel.receive(), "CONNECT login.example.org:443 HTTP/1.1\r\nHost: login.example.org:443\r\n\r\n");
  EXPECT_EQ(resolver.asked, 0) << "the proxy does that";
  tunnel.send("HTTP/1.1 200 Connection established\r\n\r\n");
  EXPECT_EQ(tunnel.receive().substr(0, 2), "\x16\x03") << "TLS begins";
  tunnel.close();
  EXPECT_THAT(failure(), HasSubstr("TLS to the server failed"));

  fetch(to("https://x.example.com/token"));
  Peer server = accept(direct);
  EXPECT_EQ(server.receive().substr(0, 2), "\x16\x03");
  EXPECT_FALSE(accept(proxy));
  server.close();
}

TEST_F(FetcherTest, what_a_proxy_says_is_not_the_answer) {
  Door proxy;
  listen("192.0.2.1:3128", proxy);
  fetcher.set_proxy({"192.0.2.1", 3128, {}});
  for (const auto& [answer, expected] : std::initializer_list<std::pair<std::string_view, std::string_view>>{
           {"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407 to CONNECT"},
           {"HTTP/1.1 200 OK\r\n\r\nmore", "sent more than its answer"},
           {"garbage\r\n\r\n", "malformed"}}) {
    fetch(to("https://login.example.org/token"));
    Peer tunnel = accept(proxy);
    tunnel.receive();
    tunnel.send(answer);
    EXPECT_THAT(failure(), HasSubstr(expected));
  }
  fetch(to("https://login.example.org/token"));
  Peer tunnel = accept(proxy);
  tunnel.receive();
  for (int i = 0; i < 10; ++i) tunnel.send(std::string(1000, 'x'));
  EXPECT_NE(failure(), "none");
}

TEST_F(FetcherTest, may_be_given_up_at_any_moment) {
  for (int turns = 0; turns < 8; ++turns) {
    TaskSet leaving(exceptions);
    std::optional<Result<FetchResponse>> nobody;
    leaving.spawn(run(fetcher, to("http://127.0.0.1/", "body"), nobody));
    for (int i = 0; i < turns; ++i) loop.run_ready();
    Peer server = accept(door);
    if (server && turns % 2 == 0) server.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx");
    leaving.cancel_all();
    settle(loop);
  }
  EXPECT_EQ(buffers.in_use(), 0u);
}

}  // namespace
}  // namespace postern::fetch
