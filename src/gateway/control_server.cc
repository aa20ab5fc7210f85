#include "gateway/control_server.h"

#include <exception>

#include "gateway/fail.h"

namespace postern::gateway {

class ControlServer::Client final : public ClientLink,
                                    Loop::Deferred,
                                    http::ServerConnection::Owner,
                                    http::RequestHandler {
 public:
  Client(ControlServer& server, std::unique_ptr<Stream> stream, const PeerAddress& peer)
      : server_(server),
        facts_{.peer = peer},
        connection_(server.loop_, server.buffers_, std::move(stream), facts_, server.limits_, *this),
        task_(server) {
    ++server_.client_count_;
  }
  ~Client() { --server_.client_count_; }
  void start() { task_.spawn(run()); }

 private:
  // Retires whatever happens: an exception is a bug, but it must not take one of the few places for ever.
  Task<void> run() {
    try {
      co_await connection_.serve(*this);
    } catch (...) {
      connection_.raw_stream().reset_on_close();
    }
    server_.loop_.defer(*this);
  }

  [[nodiscard]] ControlAnswer ask(const ControlRequest& request) const {
    try {
      return server_.handler_(request);
    } catch (const std::exception&) {
      return {500, "text/plain; charset=utf-8", "internal error\n"};
    }
  }

  Task<http::AfterResponse> handle(http::Downstream& client) override {
    http::Exchange exchange;
    Result<void> received = co_await client.receive(exchange);
    ControlAnswer answer;
    if (received) received = check(exchange);
    if (received) {
      const std::string_view target = exchange.request.target;
      const bool json = exchange.request.headers.value(http::HeaderName::accept).find("json") != std::string_view::npos;
      answer = ask({exchange.request.method_text, target.substr(0, target.find('?')), json, exchange.request.headers});
    } else {
      answer_with_problem(exchange, received.error());
      answer = {exchange.local.status, std::string(exchange.local.content_type), std::string(exchange.local.body)};
    }
    http::ResponseHead head;
    head.status = answer.status;
    head.framing = http::Framing::length;
    head.content_length = answer.body.size();
    head.headers.append(http::HeaderName::content_type, answer.content_type);
    head.headers.append(http::HeaderName::cache_control, "no-store");
    client.start(head);
    const Result<void> written = co_await client.write(answer.body, http::End::last);
    co_return written ? http::AfterResponse::keep_alive : http::AfterResponse::close;
  }

  [[nodiscard]] Result<void> check(const http::Exchange& exchange) const {
    // Nothing here takes a body.
    if (exchange.request.framing == http::Framing::chunked || exchange.request.content_length != 0) {
      return fail(Code::body_too_large, Side::client);
    }
    if (server_.guard_ == Guard::none) return {};
    const std::string_view host = exchange.request.headers.value(http::HeaderName::host);
    if (host != "postern" || exchange.request.headers.find(http::HeaderName::origin)) {
      return fail(Code::forbidden, Side::client, "the admin listener answers to Host: postern only");
    }
    return {};
  }

  void on_connection_aborted(http::ServerConnection& /*connection*/) override { server_.loop_.defer(*this); }
  void run_deferred() override { const std::unique_ptr<Client> owned(this); }

  ControlServer& server_;
  const http::ConnectionFacts facts_;
  http::ServerConnection connection_;
  TaskSet task_;
};

ControlServer::~ControlServer() {
  acceptor_.reset();
  while (ClientLink* const link = clients_.front()) const std::unique_ptr<Client> owned(static_cast<Client*>(link));
}

Result<void> ControlServer::listen(Network& network, const SocketAddress& address) {
  Result<std::unique_ptr<Acceptor>> acceptor = network.listen(loop_, address, *this);
  if (!acceptor) return std::unexpected(std::move(acceptor.error()));
  acceptor_ = std::move(*acceptor);
  return {};
}

void ControlServer::on_accept(std::unique_ptr<Stream> stream, const PeerAddress& peer) {
  if (client_count_ >= kMaxClients) return;
  auto client = std::make_unique<Client>(*this, std::move(stream), peer);
  clients_.push_back(*client);
  client.release()->start();  // owned by clients_ from here on
}

void ControlServer::on_task_exception(std::exception_ptr /*exception*/) noexcept {}

}  // namespace postern::gateway
