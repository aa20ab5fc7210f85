#include "origins/resolver.h"

#include <ares.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <map>

#include "base/strings.h"

namespace postern::origins {
namespace {

constexpr Duration kMinTtl = std::chrono::seconds(1);
constexpr Duration kMaxTtl = std::chrono::minutes(10);
constexpr Duration kNoTtl = std::chrono::seconds(5);  // c-ares says 0 for names of /etc/hosts, too

Resolution collect(const ares_addrinfo& info) {
  Resolution out;
  int ttl = std::numeric_limits<int>::max();
  for (const ares_addrinfo_node* node = info.nodes; node; node = node->ai_next) {
    if (node->ai_family == AF_INET) {
      sockaddr_in in{};
      std::memcpy(&in, node->ai_addr, sizeof in);
      std::array<std::uint8_t, 4> bytes{};
      std::memcpy(bytes.data(), &in.sin_addr, bytes.size());
      out.addresses.push_back(IpAddress::from_v4(bytes));
    } else if (node->ai_family == AF_INET6) {
      sockaddr_in6 in{};
      std::memcpy(&in, node->ai_addr, sizeof in);
      std::array<std::uint8_t, 16> bytes{};
      std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
      out.addresses.push_back(IpAddress::from_v6(bytes));
    }
    ttl = std::min(ttl, node->ai_ttl);
  }
  std::sort(out.addresses.begin(), out.addresses.end());
  out.addresses.erase(std::unique(out.addresses.begin(), out.addresses.end()), out.addresses.end());
  out.ttl = ttl == 0 ? kNoTtl : std::clamp<Duration>(std::chrono::seconds(ttl), kMinTtl, kMaxTtl);
  return out;
}

class AresResolver final : public Resolver, Timer {
 public:
  explicit AresResolver(Loop& loop) : loop_(loop) {}
  AresResolver(const AresResolver&) = delete;
  AresResolver& operator=(const AresResolver&) = delete;
  ~AresResolver() override {
    closing_ = true;
    if (channel_) ares_destroy(channel_);
    if (initialised_) ares_library_cleanup();
  }

  [[nodiscard]] bool open(const ResolverOptions& wanted) {
    initialised_ = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS;
    if (!initialised_) return false;
    ares_options options{};
    options.sock_state_cb = &AresResolver::on_socket_state;
    options.sock_state_cb_data = this;
    options.timeout = 2000;
    options.tries = 2;
    if (ares_init_options(&channel_, &options, ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES) !=
        ARES_SUCCESS) {
      return false;
    }
    return wanted.servers.empty() || ares_set_servers_ports_csv(channel_, wanted.servers.c_str()) == ARES_SUCCESS;
  }

  void resolve(const std::string& host, Callback callback) override {
    auto query = std::make_unique<Query>(*this, host, std::move(callback));
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    // c-ares owns the query until it calls back, which it does exactly once, at the latest in ares_destroy().
    ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, &AresResolver::on_result, query.release());
    arm_timeout();
  }

 private:
  struct Query {
    Query(AresResolver& owner, std::string name, Callback done)
        : channel(owner), host(std::move(name)), callback(std::move(done)) {}
    AresResolver& channel;
    std::string host;
    Callback callback;
  };

  // One descriptor of c-ares on the loop.
  class Socket final : public Loop::Handler {
   public:
    Socket(AresResolver& channel, int fd) : channel_(channel), fd_(fd) {}
    ~Socket() { channel_.loop_.remove_fd(fd_); }
    [[nodiscard]] bool start(std::uint32_t events) { return channel_.loop_.add_fd(fd_, events, *this); }

   private:
    void on_events(std::uint32_t events) override {
      AresResolver& channel = channel_;  // processing may close this socket
      const int fd = fd_;
      const bool in = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
      const bool out = (events & EPOLLOUT) != 0;
      ares_process_fd(channel.channel_, in ? fd : ARES_SOCKET_BAD, out ? fd : ARES_SOCKET_BAD);
      channel.arm_timeout();
    }
    AresResolver& channel_;
    int fd_;
  };

  static void on_result(void* argument, int status, int /*timeouts*/, ares_addrinfo* info) {
    const std::unique_ptr<Query> query(static_cast<Query*>(argument));
    Resolution resolution;
    if (info) {
      resolution = collect(*info);
      ares_freeaddrinfo(info);
    }
    if (query->channel.closing_) return;
    const std::size_t found = resolution.addresses.size();
    resolution.addresses = usable_addresses(query->host, std::move(resolution.addresses));
    if (status != ARES_SUCCESS || found == 0) {
      query->callback(fail(Code::origin_unresolved, Side::origin, ares_strerror(status)));
    } else if (resolution.addresses.empty()) {
      query->callback(
          fail(Code::origin_unresolved, Side::origin,
               "the name stands for addresses that a name may not stand for (loopback, link-local, metadata "
               "services); write such an address itself"));
    } else {
      query->callback(std::move(resolution));
    }
  }

  static void on_socket_state(void* self, ares_socket_t fd, int readable, int writable) {
    auto& channel = *static_cast<AresResolver*>(self);
    channel.sockets_.erase(fd);
    if (channel.closing_ || (!readable && !writable)) return;
    auto socket = std::make_unique<Socket>(channel, fd);
    const std::uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
    if (socket->start(events)) channel.sockets_[fd] = std::move(socket);
  }

  void arm_timeout() {
    timeval wait{};
    if (!ares_timeout(channel_, nullptr, &wait)) return;
    loop_.arm(*this, loop_.now() + std::chrono::seconds(wait.tv_sec) + std::chrono::microseconds(wait.tv_usec));
  }
  void on_expired() override {
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timeout();
  }

  Loop& loop_;
  ares_channel channel_ = nullptr;
  bool initialised_ = false;
  bool closing_ = false;
  std::map<int, std::unique_ptr<Socket>> sockets_;
};

}  // namespace

namespace {

// What a translator or an old stack makes of it: NAT64 (RFC 6052 2.1) and IPv4-compatible addresses (RFC 4291 2.5.5.1).
IpAddress embedded(const IpAddress& address) {
  if (!address.is_v6()) return address;
  const std::array<std::uint8_t, 16>& bytes = address.v6_bytes();
  constexpr std::array<std::uint8_t, 12> kNat64 = {0, 0x64, 0xff, 0x9b};
  constexpr std::array<std::uint8_t, 12> kCompatible = {};
  const bool translated = std::equal(kNat64.begin(), kNat64.end(), bytes.begin());
  const bool compatible = std::equal(kCompatible.begin(), kCompatible.end(), bytes.begin()) && !address.is_loopback();
  if (!translated && !compatible) return address;
  return IpAddress::from_v4({bytes[12], bytes[13], bytes[14], bytes[15]});
}

}  // namespace

std::vector<IpAddress> usable_addresses(std::string_view host, std::vector<IpAddress> addresses) {
  const bool localhost =
      iequals(host, "localhost") || (host.size() > 10 && iequals(host.substr(host.size() - 10), ".localhost"));
  // Link-local is the usual home of a metadata service; these are the others: AWS and its pod identity over IPv6, GCP
  // over IPv6, OCI, Azure, Alibaba.
  static constexpr std::array<std::string_view, 7> kMetadata = {"fd00:ec2::254",      "fd00:ec2::23", "fd20:ce::254",
                                                                "fd00:c1::a9fe:a9fe", "192.0.0.192",  "168.63.129.16",
                                                                "100.100.100.200"};
  std::erase_if(addresses, [&](const IpAddress& address) {
    const IpAddress meant = embedded(address);
    if (meant.is_loopback() != localhost || !meant.is_routable_unicast()) return true;
    return std::any_of(kMetadata.begin(), kMetadata.end(),
                       [&](std::string_view text) { return IpAddress::parse(text) == meant; });
  });
  if (addresses.size() > kMaxAddresses) addresses.resize(kMaxAddresses);
  return addresses;
}

Result<std::unique_ptr<Resolver>> make_resolver(Loop& loop, const ResolverOptions& options) {
  auto resolver = std::make_unique<AresResolver>(loop);
  if (!resolver->open(options)) return fail(Code::io_failed, Side::gateway, "c-ares cannot start");
  return resolver;
}

KnownAddresses resolve_now(const std::vector<std::string>& names, Duration limit, const ResolverOptions& options) {
  KnownAddresses out;
  if (names.empty()) return out;
  SystemClock clock;
  Loop loop(clock);
  class Limit final : public Timer {
   public:
    bool over = false;

   private:
    void on_expired() override { over = true; }
  } timer;
  loop.arm(timer, loop.now() + limit);
  std::size_t pending = names.size();
  const Result<std::unique_ptr<Resolver>> resolver = make_resolver(loop, options);
  if (!resolver) return out;
  for (const std::string& name : names) {
    (*resolver)->resolve(name, [&out, &pending, &name](Result<Resolution> result) {
      --pending;
      if (result) out[name] = std::move(result->addresses);
    });
  }
  while (pending != 0 && !timer.over) loop.run_once();
  return out;
}

}  // namespace postern::origins
