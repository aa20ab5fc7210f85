// Opens connections to a proxy and keeps them: for the memory that an idle connection costs, and to warm a proxy up.
//
//   hold --port PORT --connections N [--rounds R] [--key-file FILE] [--tls yes] [--stay yes]
//
// Each connection carries R (default 1) requests GET /64, 64 connections at a time; connection i sends line i of
// FILE as X-API-Key. Then it prints "ready N". With --stay it then waits: for each line on standard input it sends a
// request on 20 connections spread over all and prints "alive K"; it ends with its input. Fails if any request fails.
#include <algorithm>
#include <array>
#include <iostream>
#include <vector>

#include "sockets.h"
#include "tls_client.h"

namespace postern::bench {
namespace {

constexpr std::size_t kAtOnce = 64;
constexpr std::size_t kProbes = 20;

class Holder {
 public:
  Holder(std::uint64_t port, const std::string& key_file, bool tls) : port_(port) {
    if (tls) tls_ = make_client_context();
    if (key_file.empty()) return;
    const std::string text = read_file(key_file);
    for (std::size_t begin = 0, end = 0; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      keys_.push_back(text.substr(begin, end - begin));
    }
  }

  void open(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const int fd = connect_to(port_);
      if (fd < 0) die("connect (connection " + std::to_string(i + 1) + ")");
      const timeval limit{.tv_sec = 10, .tv_usec = 0};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      connections_.push_back({.fd = fd, .tls = nullptr});
      if (tls_ != nullptr) {
        TlsPtr tls = make_client(*tls_, fd);
        if (SSL_connect(tls.get()) != 1) die("handshake (connection " + std::to_string(i + 1) + ")");
        connections_.back().tls = std::move(tls);
      }
      if (connections_.size() % kAtOnce == 0 || i + 1 == count) exchange(answered_, connections_.size());
    }
  }

  void again() {
    for (std::size_t begin = 0; begin < connections_.size(); begin += kAtOnce) {
      exchange(begin, std::min(begin + kAtOnce, connections_.size()));
    }
  }

  std::size_t probe() {
    std::size_t alive = 0;
    for (std::size_t i = 0; i < kProbes; ++i) {
      const std::size_t which = i * (connections_.size() - 1) / (kProbes - 1);
      if (ask(which) && answer(which)) ++alive;
    }
    return alive;
  }

 private:
  struct Connection {
    int fd;
    TlsPtr tls;  // nullptr: clear text
  };

  void exchange(std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (!ask(i)) die("send");
    }
    for (std::size_t i = begin; i < end; ++i) {
      if (!answer(i)) die("no 200 on connection " + std::to_string(i + 1));
    }
    answered_ = end;
  }

  bool ask(std::size_t i) {
    std::string request = "GET /64 HTTP/1.1\r\nHost: localhost\r\n";
    if (!keys_.empty()) request += "X-API-Key: " + keys_[i % keys_.size()] + "\r\n";
    request += "\r\n";
    const Connection& connection = connections_[i];
    if (connection.tls != nullptr) {
      const int size = static_cast<int>(request.size());
      return SSL_write(connection.tls.get(), request.data(), size) == size;
    }
    return send(connection.fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size());
  }

  bool answer(std::size_t i) {
    std::string text;
    std::array<char, 4096> part{};
    for (Head head; head.size == 0 || text.size() < head.size + head.content_length; head = parse_head(text)) {
      const Connection& connection = connections_[i];
      const ssize_t got = connection.tls == nullptr
                              ? recv(connection.fd, part.data(), part.size(), 0)
                              : SSL_read(connection.tls.get(), part.data(), static_cast<int>(part.size()));
      if (got <= 0) return false;
      text.append(part.data(), static_cast<std::size_t>(got));
    }
    return text.starts_with("HTTP/1.1 200 ");
  }

  std::uint64_t port_;
  std::vector<std::string> keys_;
  TlsContextPtr tls_;  // nullptr: clear text
  std::vector<Connection> connections_;
  std::size_t answered_ = 0;
};

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  using namespace postern::bench;
  Holder holder(number(option(argc, argv, "--port")), option(argc, argv, "--key-file"),
                !option(argc, argv, "--tls").empty());
  const std::size_t count = number(option(argc, argv, "--connections"));
  holder.open(count);
  for (std::uint64_t round = 1; round < number(option(argc, argv, "--rounds", "1")); ++round) holder.again();
  std::cout << "ready " << count << std::endl;
  if (option(argc, argv, "--stay").empty()) return 0;
  for (std::string line; std::getline(std::cin, line);) std::cout << "alive " << holder.probe() << std::endl;
  return 0;
}
