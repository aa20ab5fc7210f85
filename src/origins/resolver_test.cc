#include "origins/resolver.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <map>
#include <optional>
#include <thread>

#include "platform/test_support.h"

namespace postern::origins {
namespace {

// A name server on UDP, on the same loop as who asks it: A and AAAA records, NXDOMAIN for other names, silence if told.
class NameServer final : Loop::Handler {
 public:
  struct Record {
    std::vector<std::string> addresses;
    std::uint32_t ttl = 60;
  };

  explicit NameServer(Loop& loop) : loop_(loop) {
    fd_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    EXPECT_TRUE(loop_.add_fd(fd_, EPOLLIN, *this));
  }
  ~NameServer() {
    loop_.remove_fd(fd_);
    ::close(fd_);
  }
  [[nodiscard]] ResolverOptions options() const { return {"127.0.0.1:" + std::to_string(port_)}; }

  std::map<std::string, Record> records;
  bool silent = false;
  int questions = 0;

 private:
  void on_events(std::uint32_t) override {
    std::array<unsigned char, 512> query{};
    sockaddr_in from{};
    socklen_t size = sizeof from;
    for (;;) {
      const ssize_t n = ::recvfrom(fd_, query.data(), query.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 12) return;
      ++questions;
      if (silent) continue;
      const std::vector<unsigned char> reply = answer({query.data(), static_cast<std::size_t>(n)});
      EXPECT_GT(::sendto(fd_, reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size), 0);
    }
  }

  std::vector<unsigned char> answer(std::span<const unsigned char> query) const {
    std::string name;
    std::size_t at = 12;
    while (query[at] != 0) {
      if (!name.empty()) name += '.';
      name.append(reinterpret_cast<const char*>(&query[at + 1]), query[at]);
      at += query[at] + 1u;
    }
    const unsigned type = query[at + 1] * 256u + query[at + 2];
    const std::size_t end_of_question = at + 5;
    std::vector<unsigned char> out(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(end_of_question));
    const auto found = records.find(name);
    out[2] = 0x81;  // a response, recursion desired
    out[3] = found == records.end() ? 0x83 : 0x80;
    for (std::size_t i = 6; i < 12; ++i) out[i] = 0;  // no answers yet, no additional records
    if (found == records.end()) return out;
    for (const std::string& text : found->second.addresses) {
      const IpAddress address = IpAddress::parse(text).value();
      if (address.is_v4() != (type == 1)) continue;
      ++out[7];
      const std::uint32_t ttl = found->second.ttl;
      const std::size_t bytes = address.is_v4() ? 4 : 16;
      for (const unsigned value :
           {0xc0u, 12u, 0u, type, 0u, 1u, ttl >> 24, ttl >> 16, ttl >> 8, ttl, 0u, static_cast<unsigned>(bytes)}) {
        out.push_back(static_cast<unsigned char>(value & 0xff));
      }
      const auto v4 = address.v4_bytes();
      const unsigned char* const data = address.is_v4() ? v4.data() : address.v6_bytes().data();
      out.insert(out.end(), data, data + bytes);
    }
    return out;
  }

  Loop& loop_;
  int fd_ = -1;
  std::uint16_t port_ = 0;
};

class ResolverTest : public ::testing::Test {
 protected:
  ResolverTest() : loop(clock), server(loop) {}

  // "address address (ttl s)", or the error.
  std::string resolve(const std::string& name) {
    Result<std::unique_ptr<Resolver>> resolver = make_resolver(loop, server.options());
    EXPECT_TRUE(resolver);
    std::optional<Result<Resolution>> result;
    (*resolver)->resolve(name, [&](Result<Resolution> answer) {
      EXPECT_FALSE(result) << "called twice";
      result = std::move(answer);
    });
    while (!result) loop.run_once();
    if (!*result) return result->error().to_string();
    std::string text;
    for (const IpAddress& address : (*result)->addresses) text += address.to_string() + ' ';
    return text + '(' + std::to_string(std::chrono::duration_cast<std::chrono::seconds>((*result)->ttl).count()) +
           " s)";
  }

  SystemClock clock;
  Loop loop;
  NameServer server;
};

TEST(UsableAddresses, ANameServerCannotPointTheGatewayAtItselfOrAtMetadata) {
  const auto usable = [](std::string_view host, std::initializer_list<const char*> addresses) {
    std::vector<IpAddress> list;
    for (const char* const text : addresses) list.push_back(IpAddress::parse(text).value());
    std::string out;
    for (const IpAddress& address : usable_addresses(host, std::move(list))) out += address.to_string() + " ";
    return out;
  };
  EXPECT_EQ(usable("orders.internal", {"192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"}),
            "192.0.2.1 10.0.0.1 2001:db8::1 fd00::1 ");
  EXPECT_EQ(usable("orders.internal", {"127.0.0.1", "192.0.2.1", "::1", "::ffff:127.0.0.1"}), "192.0.2.1 ");
  EXPECT_EQ(usable("orders.internal", {"169.254.169.254", "fe80::1", "0.0.0.0", "::", "255.255.255.255", "ff02::1",
                                       "fd00:ec2::254", "168.63.129.16", "100.100.100.200", "fd00:ec2::23",
                                       "fd20:ce::254", "fd00:c1::a9fe:a9fe", "192.0.0.192"}),
            "");
  // As a translator or an old stack would read them.
  EXPECT_EQ(usable("orders.internal", {"64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "::7f00:1", "::a9fe:a9fe",
                                       "64:ff9b::c000:201", "64:ff9b:1::1"}),
            "64:ff9b::c000:201 64:ff9b:1::1 ");
  for (const char* name : {"localhost", "LocalHost", "app.localhost"}) {
    EXPECT_EQ(usable(name, {"127.0.0.1", "192.0.2.1", "::1"}), "127.0.0.1 ::1 ") << name;
  }
  EXPECT_EQ(usable("notlocalhost", {"127.0.0.1"}), "");
  std::vector<IpAddress> many;
  for (int i = 0; i < 1000; ++i)
    many.push_back(IpAddress::from_v4({10, 0, static_cast<std::uint8_t>(i / 250), static_cast<std::uint8_t>(i % 250)}));
  EXPECT_EQ(usable_addresses("orders.internal", std::move(many)).size(), kMaxAddresses);
}

TEST_F(ResolverTest, addresses_that_a_name_may_not_stand_for_are_an_error_that_says_so) {
  server.records["a.backend.test"] = {{"169.254.169.254", "127.0.0.1"}, 60};
  EXPECT_NE(resolve("a.backend.test").find("PST-U009"), std::string::npos);
  EXPECT_NE(resolve("a.backend.test").find("link-local"), std::string::npos);
  server.records["b.backend.test"] = {{"169.254.169.254", "192.0.2.1"}, 60};
  EXPECT_EQ(resolve("b.backend.test"), "192.0.2.1 (60 s)");
}

TEST_F(ResolverTest, gives_all_addresses_sorted_and_once) {
  server.records["b.backend.test"] = {{"192.0.2.9", "192.0.2.1", "2001:db8::1", "192.0.2.9"}, 60};
  EXPECT_EQ(resolve("b.backend.test"), "2001:db8::1 192.0.2.1 192.0.2.9 (60 s)");
  server.records["six.backend.test"] = {{"2001:db8::2"}, 7};
  EXPECT_EQ(resolve("six.backend.test"), "2001:db8::2 (7 s)");
}

TEST_F(ResolverTest, honours_times_to_live_within_bounds) {
  for (const auto& [ttl, text] :
       {std::pair<std::uint32_t, std::string>{1, "1 s"}, {5, "5 s"}, {599, "599 s"}, {86'400, "600 s"}, {0, "5 s"}}) {
    server.records["ttl.backend.test"] = {{"192.0.2.1"}, ttl};
    EXPECT_EQ(resolve("ttl.backend.test"), "192.0.2.1 (" + text + ")") << ttl;
  }
}

TEST_F(ResolverTest, a_name_without_addresses_or_without_existence_is_unresolved) {
  server.records["empty.backend.test"] = {{}, 60};
  for (const char* name : {"empty.backend.test", "nowhere.backend.test"}) {
    const std::string got = resolve(name);
    EXPECT_TRUE(got.starts_with("PST-U009")) << got;
  }
  EXPECT_TRUE(resolve("not..a.name").starts_with("PST-U009"));
  EXPECT_TRUE(resolve("").starts_with("PST-U009"));
}

TEST_F(ResolverTest, several_questions_at_once_get_their_own_answers) {
  server.records["a.backend.test"] = {{"192.0.2.1"}, 60};
  server.records["b.backend.test"] = {{"192.0.2.2"}, 60};
  const Result<std::unique_ptr<Resolver>> resolver = make_resolver(loop, server.options());
  std::map<std::string, std::string> got;
  int answered = 0;
  for (const char* name : {"a.backend.test", "b.backend.test", "c.backend.test"}) {
    (*resolver)->resolve(name, [&, name](const Result<Resolution>& answer) {
      ++answered;
      got[name] = answer ? answer->addresses[0].to_string() : "none";
    });
  }
  while (answered < 3) loop.run_once();
  EXPECT_EQ(got, (std::map<std::string, std::string>{
                     {"a.backend.test", "192.0.2.1"}, {"b.backend.test", "192.0.2.2"}, {"c.backend.test", "none"}}));
}

TEST_F(ResolverTest, a_callback_may_ask_again_at_once) {
  server.records["a.backend.test"] = {{"192.0.2.1"}, 60};
  const Result<std::unique_ptr<Resolver>> resolver = make_resolver(loop, server.options());
  int answers = 0;
  (*resolver)->resolve("a.backend.test", [&](const Result<Resolution>& first) {
    EXPECT_TRUE(first);
    (*resolver)->resolve("a.backend.test", [&](const Result<Resolution>& second) {
      EXPECT_TRUE(second);
      ++answers;
    });
  });
  while (answers == 0) loop.run_once();
}

TEST_F(ResolverTest, a_resolver_that_ends_drops_what_it_was_asked_without_a_call) {
  server.silent = true;
  Result<std::unique_ptr<Resolver>> resolver = make_resolver(loop, server.options());
  const auto alive = std::make_shared<int>(0);
  (*resolver)->resolve("a.backend.test", [alive](const Result<Resolution>&) { ADD_FAILURE() << "called at the end"; });
  while (server.questions == 0) loop.run_once();
  EXPECT_EQ(alive.use_count(), 2);
  resolver->reset();
  EXPECT_EQ(alive.use_count(), 1) << "the callback is leaked";
  loop.run_ready();
}

TEST_F(ResolverTest, wrong_servers_are_an_error) { EXPECT_FALSE(make_resolver(loop, {"not an address"})); }

// resolve_now() has a loop of its own, so the server needs a thread.
TEST(ResolveNow, waits_for_all_answers_but_not_for_ever) {
  SystemClock clock;
  Loop loop(clock);
  NameServer server(loop);
  server.records["a.backend.test"] = {{"192.0.2.1"}, 60};
  server.records["b.backend.test"] = {{"192.0.2.2", "192.0.2.3"}, 60};
  const ResolverOptions options = server.options();
  std::thread thread([&] { loop.run(); });
  const KnownAddresses known = resolve_now({"a.backend.test", "b.backend.test", "c.backend.test"}, 60s, options);
  EXPECT_EQ(known.size(), 2u);
  EXPECT_EQ(known.at("b.backend.test").size(), 2u);
  EXPECT_TRUE(resolve_now({}, 60s, options).empty());
  loop.stop();
  thread.join();
  // Now nobody answers.
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(resolve_now({"a.backend.test"}, 50ms, options).empty());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s) << "a guard: 40 times the limit";
}

}  // namespace
}  // namespace postern::origins
