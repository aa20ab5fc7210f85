#include "platform/socket_network.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "platform/deadline.h"

namespace postern {
namespace {

struct RawAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
};

RawAddress to_raw(const SocketAddress& address) {
  RawAddress raw;
  if (address.is_unix()) {
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    std::memcpy(un.sun_path, address.unix_path.data(), std::min(address.unix_path.size(), sizeof un.sun_path - 1));
    std::memcpy(&raw.storage, &un, sizeof un);
    raw.length = sizeof un;
  } else if (address.ip.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    const std::array<std::uint8_t, 4> bytes = address.ip.v4_bytes();
    std::memcpy(&in.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&raw.storage, &in, sizeof in);
    raw.length = sizeof in;
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(address.port);
    const std::array<std::uint8_t, 16>& bytes = address.ip.v6_bytes();
    std::memcpy(&in.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&raw.storage, &in, sizeof in);
    raw.length = sizeof in;
  }
  return raw;
}

PeerAddress from_raw(const sockaddr_storage& storage) {
  PeerAddress peer;
  if (storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &in.sin_addr, bytes.size());
    peer.ip = IpAddress::from_v4(bytes);
    peer.port = ntohs(in.sin_port);
  } else if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &in.sin6_addr, bytes.size());
    peer.ip = IpAddress::from_v6(bytes);
    peer.port = ntohs(in.sin6_port);
  }
  return peer;
}

constexpr Duration kLookAgain = std::chrono::milliseconds(2);

class Descriptor {
 public:
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string errno_text(int error) { return std::generic_category().message(error); }

class SocketStream final : public Stream, Loop::Handler {
 public:
  SocketStream(Loop& loop, int fd) noexcept : loop_(loop), fd_(fd) {}
  ~SocketStream() override {
    loop_.remove_fd(fd_);
    if (reset_on_close_) {
      const linger now{1, 0};
      ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    ::close(fd_);
  }

  [[nodiscard]] bool start() { return loop_.add_fd(fd_, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, *this); }

  IoResult try_read(std::span<char> into) override {
    const ssize_t n = ::recv(fd_, into.data(), into.size(), 0);
    if (n > 0) {
      const auto bytes = static_cast<std::size_t>(n);
      // A short read means that the socket is drained: with edge triggering the next byte brings a new event, so the
      // read that would only answer EAGAIN is saved. Not after the peer's FIN, which brings no further event.
      if (bytes < into.size() && !peer_finished_) may_read_ = false;
      return {IoStatus::ok, 0, bytes};
    }
    if (n == 0) return {IoStatus::eof, 0, 0};
    if (errno == EAGAIN || errno == EINTR) {
      may_read_ = false;
      return {IoStatus::would_block, 0, 0};
    }
    return {IoStatus::error, errno, 0};
  }

  IoResult try_write(std::span<const iovec> from) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(from.data());  // NOLINT: sendmsg does not write through it
    message.msg_iovlen = from.size();
    const ssize_t n = from.size() == 1 ? ::send(fd_, from[0].iov_base, from[0].iov_len, MSG_NOSIGNAL)
                                       : ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (n >= 0) return {IoStatus::ok, 0, static_cast<std::size_t>(n)};
    if (errno == EAGAIN || errno == EINTR) {
      may_write_ = false;
      return {IoStatus::would_block, 0, 0};
    }
    return {IoStatus::error, errno, 0};
  }

  void shutdown_write() noexcept override {
    ::shutdown(fd_, SHUT_WR);
    write_finished_ = true;
  }
  void reset_on_close() noexcept override { reset_on_close_ = true; }
  void close_in_order() noexcept override { reset_on_close_ = false; }

 private:
  void on_events(std::uint32_t events) override {
    const int fd = fd_;
    Loop& loop = loop_;
    const std::uint32_t registration = loop.registration(fd);
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) peer_finished_ = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
      Stream::on_readable();
      if (loop.registration(fd) != registration) return;  // the waiter ended this stream
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
      Stream::on_writable();
      if (loop.registration(fd) != registration) return;
    }
    // A hang-up without error, after this side has finished, only says that the peer has finished, too: what it sent
    // before may still lie unread.
    if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && !write_finished_)) Stream::on_abort();
  }

  Loop& loop_;
  int fd_;
  bool peer_finished_ = false;
  bool write_finished_ = false;
  bool reset_on_close_ = false;
};

class SocketAcceptor final : public Acceptor, Loop::Handler, Timer {
 public:
  SocketAcceptor(Loop& loop, int fd, SocketAddress address, AcceptHandler& handler)
      : loop_(loop), fd_(fd), address_(std::move(address)), handler_(handler) {}
  ~SocketAcceptor() override {
    loop_.remove_fd(fd_);
    ::close(fd_);
    if (owns_path_) ::unlink(address_.unix_path.c_str());
  }
  [[nodiscard]] bool start() { return loop_.add_fd(fd_, EPOLLIN, *this); }
  void own_path() noexcept { owns_path_ = true; }
  [[nodiscard]] SocketAddress local_address() const override { return address_; }
  void accept_pending() override { accept(kMaxPending); }

 private:
  static constexpr int kMaxPending = 65'536;  // more than any backlog
  static constexpr int kAcceptsPerTurn = 64;  // so that a flood of connections does not starve those that exist
  static constexpr Duration kPause = std::chrono::milliseconds(50);

  void on_events(std::uint32_t /*events*/) override { accept(kAcceptsPerTurn); }

  void accept(int most) {
    const int fd = fd_;
    Loop& loop = loop_;
    const std::uint32_t registration = loop.registration(fd);
    for (int i = 0; i < most; ++i) {
      sockaddr_storage storage{};
      socklen_t length = sizeof storage;
      const int connection =
          ::accept4(fd, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (connection < 0) {
        // Out of descriptors or memory: the level-triggered event would come again at once and spin.
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause();
        return;
      }
      if (storage.ss_family != AF_UNIX) {
        const int on = 1;
        ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      }
      auto stream = make_socket_stream(loop, connection);
      if (!stream) continue;
      handler_.on_accept(std::move(stream), from_raw(storage));
      if (loop.registration(fd) != registration) return;
    }
  }

  void pause() {
    if (loop_.modify_fd(fd_, 0)) loop_.arm(*this, loop_.now() + kPause);
  }
  void on_expired() override {
    if (!loop_.modify_fd(fd_, EPOLLIN)) loop_.arm(*this, loop_.now() + kPause);
  }

  Loop& loop_;
  int fd_;
  SocketAddress address_;
  AcceptHandler& handler_;
  bool owns_path_ = false;
};

// True if nothing answers on that path, so that it is left over from a process that is gone.
bool is_stale_socket(const SocketAddress& address) {
  struct stat info{};
  if (::stat(address.unix_path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return false;
  const RawAddress raw = to_raw(address);
  const int outcome = ::connect(probe, raw.get(), raw.length);
  const bool refused = outcome != 0 && errno == ECONNREFUSED;
  ::close(probe);
  return refused;
}

// A socket that does not share finds out whether anybody else has the address.
bool is_taken(const SocketAddress& address) {
  const RawAddress raw = to_raw(address);
  const int probe = ::socket(raw.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return false;
  const int on = 1;
  ::setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.ip.is_v6()) ::setsockopt(probe, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  const bool taken = ::bind(probe, raw.get(), raw.length) != 0 && errno == EADDRINUSE;
  ::close(probe);
  return taken;
}

Result<int> bind_and_listen(const SocketAddress& address) {
  const RawAddress raw = to_raw(address);
  const int fd = ::socket(raw.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const auto failed = [&](const char* step) {
    const int error = errno;
    if (fd >= 0) ::close(fd);
    return fail(Code::io_failed, Side::gateway, address.to_string() + ": " + step + ": " + errno_text(error));
  };
  if (fd < 0) return failed("socket");
  const int on = 1;
  if (address.is_unix()) {
    if (is_stale_socket(address)) ::unlink(address.unix_path.c_str());
  } else {
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.ip.is_v6()) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return failed("SO_REUSEPORT");
  }
  if (::bind(fd, raw.get(), raw.length) != 0) return failed("bind");
  if (::listen(fd, 4096) != 0) return failed("listen");
  return fd;
}

}  // namespace

std::unique_ptr<Stream> make_socket_stream(Loop& loop, int fd) {
  auto stream = std::make_unique<SocketStream>(loop, fd);
  if (!stream->start()) return nullptr;
  return stream;
}

Result<std::unique_ptr<Acceptor>> SocketNetwork::listen(Loop& loop, const SocketAddress& address,
                                                        AcceptHandler& handler, Share share) {
  if (address.unix_path.size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(Code::io_failed, Side::gateway, address.to_string() + ": the path of a Unix socket is too long");
  }
  if (share == Share::first && !address.is_unix() && address.port != 0 && is_taken(address)) {
    return fail(Code::io_failed, Side::gateway, address.to_string() + ": bind: " + errno_text(EADDRINUSE));
  }
  const Result<int> fd = bind_and_listen(address);
  if (!fd) return std::unexpected(Error(Code::io_failed, Side::gateway, std::string(fd.error().detail())));
  SocketAddress bound = address;
  if (!address.is_unix()) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getsockname(*fd, reinterpret_cast<sockaddr*>(&storage), &length) == 0) bound.port = from_raw(storage).port;
  }
  auto acceptor = std::make_unique<SocketAcceptor>(loop, *fd, std::move(bound), handler);
  if (address.is_unix()) acceptor->own_path();
  if (!acceptor->start()) {
    return fail(Code::io_failed, Side::gateway, address.to_string() + ": the event loop refuses the socket");
  }
  return acceptor;
}

Task<Result<std::unique_ptr<Stream>>> SocketNetwork::connect(Loop& loop, const SocketAddress& address,
                                                             MonoTime deadline) {
  const RawAddress raw = to_raw(address);
  const bool is_unix = address.is_unix();
  Descriptor owned(::socket(raw.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = owned.get();
  if (fd < 0) co_return fail(Code::origin_connect_failed, Side::gateway, errno_text(errno), Retry::yes);
  if (!is_unix) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  int error = 0;
  for (;;) {
    error = ::connect(fd, raw.get(), raw.length) == 0 ? 0 : errno;
    // The queue of a Unix socket is full: a TCP peer would be silent and the kernel would try again; here we do.
    if (!is_unix || error != EAGAIN) break;
    if (loop.now() >= deadline) co_return fail(Code::origin_connect_timeout, Side::origin, Retry::yes);
    co_await loop.sleep_for(kLookAgain);
  }
  // It is registered only now, because a socket that is not yet connecting reports a hang-up.
  std::unique_ptr<Stream> stream = make_socket_stream(loop, owned.release());
  if (!stream) co_return fail(Code::origin_connect_failed, Side::gateway, "event loop", Retry::yes);
  if (error != 0 && error != EINPROGRESS) {
    co_return fail(Code::origin_connect_failed, Side::origin, errno_text(error), Retry::yes);
  }
  if (error == EINPROGRESS) {
    Deadline timer(loop, *stream, Deadline::Direction::write);
    timer.set(deadline);
    stream->wait_until_writable_again();
    const Wake wake = co_await stream->writable();
    if (wake != Wake::ready) {
      co_return fail(Code::origin_connect_timeout, Side::origin, Retry::yes);
    }
    int pending = 0;
    socklen_t length = sizeof pending;
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &pending, &length);
    if (pending != 0) co_return fail(Code::origin_connect_failed, Side::origin, errno_text(pending), Retry::yes);
  }
  co_return std::move(stream);
}

}  // namespace postern
