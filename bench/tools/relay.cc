// The bare relay: the floor against which a gateway's cost is seen. One thread, epoll, HTTP/1.1 keep-alive with
// content-length bodies both ways, one secret header inserted, origin connections pooled (LIFO), 64 KiB reads.
//
//   relay --listen PORT --origin PORT --secret-file FILE
//
// It measures what no gateway can go below with these system calls. It is not one: it trusts both sides, deletes no
// client copy of the secret, checks no key, writes no log, knows no chunked coding, no pipelining, no timeouts, and
// closes the connection on everything it does not expect.
#include <sys/epoll.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "sockets.h"

namespace postern::bench {
namespace {

enum class Side : std::uint8_t { client, origin };

struct Connection {
  int fd = -1;
  Side side = Side::client;
  bool armed_in = true;  // what epoll is told
  bool armed_out = false;
  bool in_body = false;         // the head of the current message from this side has been forwarded
  bool asked_close = false;     // client: this request is the last
  Connection* other = nullptr;  // client <-> origin while an exchange runs
  std::uint64_t body_left = 0;  // of the message that comes from this side
  std::string input;            // incomplete head; nearly always empty
  std::string output;           // what this socket did not take yet; nearly always empty
};

class Relay {
 public:
  Relay(std::uint64_t port, std::uint64_t origin_port, std::string_view secret)
      : secret_line_("X-Backend-Secret: " + std::string(secret) + "\r\n\r\n"),
        origin_port_(origin_port),
        listener_(listen_on(port)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    control(EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events{};
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        auto* const connection = static_cast<Connection*>(event.data.ptr);
        if (connection == nullptr) {
          accept_all();
          continue;
        }
        if (connection->fd >= 0 && (event.events & EPOLLOUT) != 0) on_writable(*connection);
        if (connection->fd >= 0 && (event.events & ~std::uint32_t{EPOLLOUT}) != 0) on_readable(*connection);
      }
      dead_.clear();  // only now: a later event of the same wait may still have named them
    }
  }

 private:
  void control(int operation, int fd, std::uint32_t interest, Connection* connection) {
    epoll_event event{};
    event.events = interest;
    event.data.ptr = connection;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void arm(Connection& connection, bool in, bool out) {
    if (connection.armed_in == in && connection.armed_out == out) return;
    connection.armed_in = in;
    connection.armed_out = out;
    const unsigned interest = (in ? unsigned{EPOLLIN} : 0u) | (out ? unsigned{EPOLLOUT} : 0u);
    control(EPOLL_CTL_MOD, connection.fd, interest, &connection);
  }

  Connection* adopt(int fd, Side side) {
    auto connection = std::make_unique<Connection>();
    connection->fd = fd;
    connection->side = side;
    control(EPOLL_CTL_ADD, fd, EPOLLIN, connection.get());
    return connection.release();
  }

  void accept_all() {
    for (int fd = 0; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      set_no_delay(fd);
      adopt(fd, Side::client);
    }
  }

  // Ends the connection and, in the middle of an exchange, its counterpart.
  void drop(Connection& connection) {
    if (connection.fd < 0) return;
    if (connection.side == Side::origin && connection.other == nullptr) std::erase(pool_, &connection);
    close(connection.fd);
    connection.fd = -1;
    dead_.emplace_back(&connection);
    if (Connection* const other = std::exchange(connection.other, nullptr)) {
      other->other = nullptr;
      drop(*other);
    }
  }

  Connection* take_origin() {
    if (!pool_.empty()) {
      Connection* const connection = pool_.back();
      pool_.pop_back();
      return connection;
    }
    const int fd = connect_to(origin_port_);
    if (fd < 0) return nullptr;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return adopt(fd, Side::origin);
  }

  void on_readable(Connection& from) {
    const ssize_t got = recv(from.fd, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) {
      if (got == 0 || errno != EAGAIN) drop(from);
      return;
    }
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
    if (!from.input.empty()) {
      joined_ = std::move(from.input);
      from.input.clear();
      bytes = joined_.append(bytes);
    }
    if (from.in_body) {
      if (from.other == nullptr || bytes.size() > from.body_left) return drop(from);
      from.body_left -= bytes.size();
      Connection& to = *from.other;
      iovec part = slice(bytes);
      if (!write_to(to, from, {&part, 1})) return drop(from);
    } else if (!forward_head(from, bytes)) {
      return drop(from);
    }
    if (from.side == Side::origin && from.in_body && from.body_left == 0) finish(from);
  }

  // False: not what a relay of good-natured messages expects.
  bool forward_head(Connection& from, std::string_view bytes) {
    const Head head = parse_head(bytes);
    if (head.size == 0) {
      from.input.assign(bytes);
      return true;
    }
    if (bytes.size() - head.size > head.content_length) return false;
    if (from.side == Side::client) {
      if (from.other != nullptr) return false;
      Connection* const origin = take_origin();
      if (origin == nullptr) return false;
      from.other = origin;
      origin->other = &from;
      from.asked_close = head.close;
    } else if (from.other == nullptr) {
      return false;
    }
    from.in_body = true;
    from.body_left = head.content_length - (bytes.size() - head.size);
    const std::string_view end = from.side == Side::client ? std::string_view(secret_line_)
                                 : from.other->asked_close ? std::string_view("Connection: close\r\n\r\n")
                                                           : std::string_view("\r\n");
    std::array<iovec, 4> parts = {slice(bytes.substr(0, head.connection_begin)),
                                  slice(bytes.substr(head.connection_end, head.size - 2 - head.connection_end)),
                                  slice(end), slice(bytes.substr(head.size))};
    return write_to(*from.other, from, parts);
  }

  static iovec slice(std::string_view text) { return {const_cast<char*>(text.data()), text.size()}; }

  // Writes what the socket takes and keeps the rest; `from` is not read again until the rest is gone.
  bool write_to(Connection& to, Connection& from, std::span<iovec> parts) {
    std::size_t sent = 0;
    if (to.output.empty()) {
      msghdr message{};
      message.msg_iov = parts.data();
      message.msg_iovlen = parts.size();
      const ssize_t result = sendmsg(to.fd, &message, MSG_NOSIGNAL);
      if (result < 0 && errno != EAGAIN) return false;
      sent = result < 0 ? 0 : static_cast<std::size_t>(result);
    }
    for (const iovec& part : parts) {
      const std::size_t done = std::min(sent, part.iov_len);
      sent -= done;
      to.output.append(static_cast<const char*>(part.iov_base) + done, part.iov_len - done);
    }
    if (!to.output.empty()) {
      arm(to, to.armed_in, true);
      arm(from, false, from.armed_out);
    }
    return true;
  }

  void on_writable(Connection& to) {
    const ssize_t sent = send(to.fd, to.output.data(), to.output.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN) drop(to);
      return;
    }
    to.output.erase(0, static_cast<std::size_t>(sent));
    if (!to.output.empty()) return;
    to.output = {};
    arm(to, to.armed_in, false);
    if (to.other != nullptr) {
      arm(*to.other, true, to.other->armed_out);
    } else if (to.asked_close) {
      drop(to);
    }
  }

  // The response has been read to its end: the origin connection goes back, the client may ask again.
  void finish(Connection& origin) {
    Connection& client = *origin.other;
    if (client.body_left > 0 || !origin.output.empty()) return drop(origin);  // answered before the upload was over
    origin.other = nullptr;
    client.other = nullptr;
    origin.in_body = false;
    client.in_body = false;
    arm(origin, true, false);
    arm(client, true, client.armed_out);
    pool_.push_back(&origin);
    if (client.asked_close && client.output.empty()) drop(client);
  }

  const std::string secret_line_;
  const std::uint64_t origin_port_;
  int listener_;
  int epoll_;
  std::vector<Connection*> pool_;  // idle origin connections; the last used is used first
  std::vector<std::unique_ptr<Connection>> dead_;
  std::string joined_;
  std::array<char, 64 * 1024> buffer_{};
};

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  using namespace postern::bench;
  std::string secret = read_file(option(argc, argv, "--secret-file"));
  while (!secret.empty() && secret.back() == '\n') secret.pop_back();
  auto relay =
      std::make_unique<Relay>(number(option(argc, argv, "--listen")), number(option(argc, argv, "--origin")), secret);
  relay->run();
}
