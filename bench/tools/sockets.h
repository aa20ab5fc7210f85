// What the tools of the benchmark share: loopback sockets, options, and the few header fields they look at. Tools of
// measurement, trusted on both sides: nothing here is fit for a product, and none of it is part of one.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace postern::bench {

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

inline std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The value behind `--name`, or `missing`.
inline std::string option(int argc, char** argv, std::string_view name, std::string_view missing = "") {
  for (int i = 1; i + 1 < argc; ++i) {
    if (argv[i] == name) return argv[i + 1];
  }
  return std::string(missing);
}

inline std::string read_file(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) die(path);
  char part[4096];
  for (ssize_t n = 0; (n = read(fd, part, sizeof part)) > 0;) text.append(part, static_cast<std::size_t>(n));
  close(fd);
  return text;
}

inline sockaddr_in loopback(std::uint64_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

inline void set_no_delay(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Non-blocking, on 127.0.0.1.
inline int listen_on(std::uint64_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("bind");
  if (listen(fd, 4096) != 0) die("listen");
  return fd;
}

// Blocking connect: on loopback it is over at once.
inline int connect_to(std::uint64_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const sockaddr_in address = loopback(port);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(fd);
    return -1;
  }
  set_no_delay(fd);
  return fd;
}

// What a relay must know of a head, and no more.
struct Head {
  std::size_t size = 0;  // with the empty line; 0: not complete yet
  std::uint64_t content_length = 0;
  bool close = false;
  std::size_t connection_begin = 0;  // the Connection line, to be left out; equal if there is none
  std::size_t connection_end = 0;
};

inline bool starts_with_folded(std::string_view line, std::string_view lower_case_name) {
  if (line.size() < lower_case_name.size()) return false;
  for (std::size_t i = 0; i < lower_case_name.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(line[i])) != lower_case_name[i]) return false;
  }
  return true;
}

inline Head parse_head(std::string_view bytes) {
  Head head;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = bytes.find('\n', begin);
    if (end == std::string_view::npos) return {};
    const std::string_view line = bytes.substr(begin, end - begin);
    if (line == "\r") {
      head.size = end + 1;
      return head;
    }
    if (line[0] == 'C' || line[0] == 'c') {
      if (starts_with_folded(line, "content-length: ")) {
        head.content_length = number(line.substr(16));
      } else if (starts_with_folded(line, "connection: ")) {
        head.close = starts_with_folded(line.substr(12), "close");
        head.connection_begin = begin;
        head.connection_end = end + 1;
      }
    }
    begin = end + 1;
  }
  return {};
}

}  // namespace postern::bench
