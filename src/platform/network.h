// Network: where streams come from. SocketNetwork is the kernel's; MemoryNetwork is its twin for tests.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/ip.h"
#include "platform/clock.h"
#include "platform/loop.h"
#include "platform/stream.h"
#include "platform/task.h"

namespace postern {

// An IP address with port, or the path of a Unix socket.
struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;
  std::string unix_path;  // not empty: a Unix socket

  [[nodiscard]] bool is_unix() const noexcept { return !unix_path.empty(); }
  // "192.0.2.1:80", "[2001:db8::1]:80", "unix:/run/x.sock"
  [[nodiscard]] std::string to_string() const;
  bool operator==(const SocketAddress&) const = default;
};

// Numeric addresses only; no name is resolved. The forms of to_string().
[[nodiscard]] Result<SocketAddress> parse_socket_address(std::string_view text);

// Where an accepted connection comes from; for a Unix socket all zero.
struct PeerAddress {
  IpAddress ip;
  std::uint16_t port = 0;
};

class AcceptHandler {
 public:
  // Called on the acceptor's loop.
  virtual void on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) = 0;

 protected:
  ~AcceptHandler() = default;
};

// Accepts until destroyed.
class Acceptor {
 public:
  virtual ~Acceptor() = default;
  // The address really bound (port 0 resolved).
  [[nodiscard]] virtual SocketAddress local_address() const = 0;
  // Accepts who has connected but was not accepted yet: the kernel resets them when the acceptor goes.
  virtual void accept_pending() = 0;
};

class Network {
 public:
  virtual ~Network() = default;
  // The first loop of a process makes sure that no other process has the address: SO_REUSEPORT would share it silently.
  enum class Share : std::uint8_t { first, join };
  // Binds and accepts on `loop`. Several loops bind the same TCP address (SO_REUSEPORT). `handler` outlives the
  // acceptor. The detail of an error names the reason for the operator.
  [[nodiscard]] virtual Result<std::unique_ptr<Acceptor>> listen(Loop& loop, const SocketAddress& address,
                                                                 AcceptHandler& handler, Share share) = 0;
  [[nodiscard]] Result<std::unique_ptr<Acceptor>> listen(Loop& loop, const SocketAddress& address,
                                                         AcceptHandler& handler) {
    return listen(loop, address, handler, Share::first);
  }
  // Parameters by value or outliving the task. Errors: origin_connect_failed, origin_connect_timeout (Retry::yes).
  [[nodiscard]] virtual Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, const SocketAddress& address,
                                                                      MonoTime deadline) = 0;
};

}  // namespace postern
