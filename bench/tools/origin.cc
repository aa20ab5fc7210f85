// The origin of the benchmark: one thread, epoll, as cheap as it can be, so that the proxy is what is measured.
//
//   origin --listen PORT
//
// GET /64, /16k, /1m answer with a body of that size; a request body (content-length) is read and dropped before the
// answer; /echo answers with the head it received. Keep-alive; pipelined requests are answered in order.
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "sockets.h"

namespace postern::bench {
namespace {

std::string response(std::string_view status, std::string_view body) {
  std::string text =
      "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: application/octet-stream\r\nContent-Length: ";
  text += std::to_string(body.size()) + "\r\n\r\n";
  return text.append(body);
}

struct Connection {
  int fd = -1;
  std::string input;            // an incomplete head, or requests behind an answer that is not written yet
  std::uint64_t body_left = 0;  // of the request that is being read
  std::string_view answer;      // chosen when the head was read
  std::string own_answer;       // backs `answer` for /echo
  std::string_view output;      // what of the answer is not written yet
  bool close = false;
};

class Origin {
 public:
  explicit Origin(std::uint64_t port) : listener_(listen_on(port)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
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
        } else if (!serve(*connection, event.events)) {
          close(connection->fd);
          delete connection;  // one event per connection and wait: nobody else holds it
        }
      }
    }
  }

 private:
  void control(int operation, int fd, std::uint32_t interest, Connection* connection) {
    epoll_event event{};
    event.events = interest;
    event.data.ptr = connection;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void accept_all() {
    for (int fd = 0; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      set_no_delay(fd);
      auto connection = std::make_unique<Connection>();
      connection->fd = fd;
      control(EPOLL_CTL_ADD, fd, EPOLLIN, connection.release());
    }
  }

  // False: the connection is over.
  bool serve(Connection& connection, std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
      if (!flush(connection)) return false;
      if (!connection.output.empty()) return true;
      control(EPOLL_CTL_MOD, connection.fd, EPOLLIN, &connection);
      const std::string waiting = std::move(connection.input);
      connection.input.clear();
      return consume(connection, waiting);
    }
    const ssize_t got = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
    if (connection.input.empty()) return consume(connection, bytes);
    std::string joined = std::move(connection.input);
    connection.input.clear();
    return consume(connection, joined.append(bytes));
  }

  bool consume(Connection& connection, std::string_view bytes) {
    for (;;) {
      if (connection.answer.empty()) {
        const Head head = parse_head(bytes);
        if (head.size == 0) {
          connection.input.assign(bytes);
          return true;
        }
        choose(connection, bytes.substr(0, head.size));
        connection.body_left = head.content_length;
        connection.close = head.close;
        bytes.remove_prefix(head.size);
      }
      const std::size_t body = std::min<std::uint64_t>(connection.body_left, bytes.size());
      connection.body_left -= body;
      bytes.remove_prefix(body);
      if (connection.body_left > 0) return true;
      connection.output = connection.answer;
      connection.answer = {};
      if (!flush(connection)) return false;
      if (!connection.output.empty()) {
        connection.input.assign(bytes);
        control(EPOLL_CTL_MOD, connection.fd, EPOLLOUT, &connection);
        return true;
      }
      if (bytes.empty()) return true;
    }
  }

  // False: written to the end of a connection that closes, or broken.
  static bool flush(Connection& connection) {
    const ssize_t sent = send(connection.fd, connection.output.data(), connection.output.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    connection.output.remove_prefix(static_cast<std::size_t>(sent));
    return !(connection.close && connection.output.empty());
  }

  void choose(Connection& connection, std::string_view head) {
    const std::size_t begin = head.find(' ') + 1;
    const std::string_view path = head.substr(begin, head.find(' ', begin) - begin);
    if (path == "/64") {
      connection.answer = small_;
    } else if (path == "/16k") {
      connection.answer = medium_;
    } else if (path == "/1m") {
      connection.answer = large_;
    } else if (path == "/echo") {
      connection.own_answer = response("200 OK", head);
      connection.answer = connection.own_answer;
    } else {
      connection.answer = unknown_;
    }
  }

  const std::string small_ = response("200 OK", std::string(64, 's'));
  const std::string medium_ = response("200 OK", std::string(16 * 1024, 'm'));
  const std::string large_ = response("200 OK", std::string(1024 * 1024, 'l'));
  const std::string unknown_ = response("404 Not Found", "");
  int listener_;
  int epoll_;
  std::array<char, 256 * 1024> buffer_{};
};

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  using namespace postern::bench;
  auto origin = std::make_unique<Origin>(number(option(argc, argv, "--listen")));
  origin->run();
}
