// The kernel's sockets: TCP and Unix streams on epoll, edge-triggered, registered once per connection.
#pragma once

#include "platform/network.h"

namespace postern {

class SocketNetwork final : public Network {
 public:
  using Network::listen;
  [[nodiscard]] Result<std::unique_ptr<Acceptor>> listen(Loop& loop, const SocketAddress& address,
                                                         AcceptHandler& handler, Share share) override;
  [[nodiscard]] Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, const SocketAddress& address,
                                                              MonoTime deadline) override;
};

// Takes ownership of a connected, non-blocking socket. nullptr if the loop cannot watch it (then `fd` is closed).
[[nodiscard]] std::unique_ptr<Stream> make_socket_stream(Loop& loop, int fd);

}  // namespace postern
