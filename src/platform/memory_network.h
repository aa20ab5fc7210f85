// MemoryNetwork: in-process streams for tests, on any loop and in virtual time. Connections are pairs of bounded pipes,
// so backpressure, half-close, resets and fragmentation behave as on sockets.
#pragma once

#include <map>
#include <string>

#include "platform/network.h"

namespace postern {

struct MemoryOptions {
  std::size_t capacity = 64 * 1024;        // bytes in flight per direction before try_write() would block
  std::size_t max_read = ~std::size_t{0};  // at most so many bytes per try_read(): 1 makes everything fragmented
};

// Two ends of one connection, both on `loop`.
[[nodiscard]] std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_memory_pair(Loop& loop,
                                                                                           MemoryOptions options = {});

class MemoryNetwork final : public Network {
 public:
  using Network::listen;
  explicit MemoryNetwork(MemoryOptions options = {}) : options_(options) {}

  [[nodiscard]] Result<std::unique_ptr<Acceptor>> listen(Loop& loop, const SocketAddress& address,
                                                         AcceptHandler& handler, Share share) override;
  [[nodiscard]] Task<Result<std::unique_ptr<Stream>>> connect(Loop& loop, const SocketAddress& address,
                                                              MonoTime deadline) override;
  // Connections to `address` are never answered until the deadline (a black hole).
  void black_hole(const SocketAddress& address) { black_holes_[address.to_string()] = true; }
  // What accepted connections see as their peer from now on.
  void connect_as(const PeerAddress& peer) { peer_ = peer; }

 private:
  class MemoryAcceptor;
  MemoryOptions options_;
  std::map<std::string, AcceptHandler*> handlers_;
  std::map<std::string, bool> black_holes_;
  PeerAddress peer_;
};

}  // namespace postern
