// ControlServer: small answers on the control loop, for the two listeners beside the traffic and for the demo's
// backend. `observe` only reads and may be reachable; `admin` changes things and lives on a Unix socket that only its
// owner may open. Requests have no body.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "http/connection/server_connection.h"
#include "http/request_id.h"
#include "platform/network.h"
#include "platform/task_set.h"

namespace postern::gateway {

struct ControlRequest {
  std::string_view method;
  std::string_view path;
  bool json = false;  // the client asks for application/json
  const http::Headers& headers;
};

struct ControlAnswer {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

class ControlServer final : public AcceptHandler, public TaskSet::ErrorHandler {
 public:
  using Handler = std::function<ControlAnswer(const ControlRequest&)>;

  // Who may talk to it, besides being able to connect.
  enum class Guard : std::uint8_t {
    none,
    same_host,  // admin: no Origin field, and a Host that no web page can have: a browser is not a client
  };

  ControlServer(Loop& loop, Handler handler, Guard guard) : loop_(loop), handler_(std::move(handler)), guard_(guard) {}
  ~ControlServer();

  [[nodiscard]] Result<void> listen(Network& network, const SocketAddress& address);
  [[nodiscard]] SocketAddress address() const { return acceptor_->local_address(); }

 private:
  class Client;
  class ClientLink : public ListNode {};
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) override;
  void on_task_exception(std::exception_ptr exception) noexcept override;

  static constexpr std::size_t kMaxClients = 256;

  Loop& loop_;
  Handler handler_;
  Guard guard_;
  BufferPool buffers_;
  http::ServerLimits limits_;
  std::unique_ptr<Acceptor> acceptor_;
  IntrusiveList<ClientLink> clients_;
  std::size_t client_count_ = 0;
};

}  // namespace postern::gateway
