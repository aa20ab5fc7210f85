// For tests of TLS: both ends of a connection in one process and in virtual time, and a peer that breaks the rules.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "platform/socket_network.h"
#include "platform/test_support.h"
#include "tls/client_context.h"
#include "tls/server_context.h"
#include "tls/test_certificates.h"
#include "tls/tls_stream.h"

namespace postern::tls {

// What both ends of a test live on.
struct World {
  ManualClock clock;
  Loop loop{clock};
  BufferPool pool;
  CountExceptions errors;
  ~World() { EXPECT_EQ(errors.count, 0); }
};

inline Task<void> shake(TlsStream& stream, MonoTime deadline, std::optional<Result<void>>& result) {
  result = co_await stream.handshake(deadline);
}

// Turns until it is true; on sockets the other side's packets take a moment.
template <typename Condition>
bool until(Loop& loop, const Condition& condition) {
  bool met = condition();  // asked once per turn: asking may change things
  for (int turn = 0; turn < 1'000'000 && !met; ++turn) {
    loop.run_ready();
    met = condition();
  }
  return met;
}

inline Task<void> connect_to(Network& network, Loop& loop, SocketAddress address, std::unique_ptr<Stream>& out) {
  auto stream = co_await network.connect(loop, address, loop.now() + 10s);
  EXPECT_TRUE(stream);
  if (stream) out = std::move(*stream);
}

// Two ends of a connection of the kernel's, which is edge-triggered and keeps what came before a reset.
inline std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_socket_pair(World& world) {
  SocketNetwork network;
  Door door;
  door.acceptor = std::move(*network.listen(world.loop, parse_socket_address("127.0.0.1:0").value(), door));
  std::unique_ptr<Stream> near;
  TaskSet tasks(world.errors);
  tasks.spawn(connect_to(network, world.loop, door.acceptor->local_address(), near));
  EXPECT_TRUE(until(world.loop, [&] { return near && !door.waiting.empty(); }));
  return {std::move(near), std::move(door.waiting[0])};
}

// "" if it went well, "pending", or the error's detail.
inline std::string outcome(const std::optional<Result<void>>& result) {
  if (!result) return "pending";
  return *result ? "" : std::string(result->error().detail());
}

// Two TlsStreams over a pair of memory streams.
class Ends {
 public:
  explicit Ends(World& world) : world_(world), client_task_(world.errors), server_task_(world.errors) {}

  // Makes both ends; the handshakes begin.
  void begin(std::shared_ptr<const ServerContext> server_context, std::shared_ptr<const ClientContext> client_context,
             std::shared_ptr<SessionSlot> slot = nullptr, MemoryOptions options = {}) {
    begin_over(make_memory_pair(world_.loop, options), std::move(server_context), std::move(client_context),
               std::move(slot));
  }
  void begin_over(std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> streams,
                  std::shared_ptr<const ServerContext> server_context,
                  std::shared_ptr<const ClientContext> client_context, std::shared_ptr<SessionSlot> slot = nullptr) {
    auto [near, far] = std::move(streams);
    server = ServerContext::accept(std::move(server_context), world_.loop, world_.pool, std::move(near), {});
    client =
        ClientContext::connect(std::move(client_context), world_.loop, world_.pool, std::move(far), std::move(slot));
    const MonoTime deadline = world_.loop.now() + 10s;
    client_task_.spawn(shake(*client, deadline, client_result));
    server_task_.spawn(shake(*server, deadline, server_result));
  }
  // The same, to their end. True if both went well.
  bool connect(std::shared_ptr<const ServerContext> server_context, std::shared_ptr<const ClientContext> client_context,
               std::shared_ptr<SessionSlot> slot = nullptr, MemoryOptions options = {}) {
    begin(std::move(server_context), std::move(client_context), std::move(slot), options);
    settle(world_.loop);
    return server_result && *server_result && client_result && *client_result;
  }
  [[nodiscard]] std::string client_outcome() const { return outcome(client_result); }
  [[nodiscard]] std::string server_outcome() const { return outcome(server_result); }
  // Before an end whose handshake runs is destroyed.
  void cancel_client() { client_task_.cancel_all(); }
  void cancel_server() { server_task_.cancel_all(); }

  std::unique_ptr<TlsStream> server;
  std::unique_ptr<TlsStream> client;
  std::optional<Result<void>> server_result;
  std::optional<Result<void>> client_result;

 private:
  World& world_;
  TaskSet client_task_;  // die before what their tasks use
  TaskSet server_task_;
};

inline IoResult put(Stream& stream, std::string_view bytes) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  return stream.try_write({&part, 1});
}

// Everything that can be read at the moment; `end` becomes what ended it.
inline std::string get(Stream& stream, IoResult* end = nullptr) {
  std::string out;
  for (;;) {
    char chunk[4096];
    const IoResult result = stream.try_read(chunk);
    if (end) *end = result;
    if (result.status != IoStatus::ok) return out;
    out.append(chunk, result.bytes);
  }
}

// The authority that most tests believe.
inline const TestIdentity& test_root() {
  static const TestIdentity root = make_test_ca();
  return root;
}
// Its certificate for `names`.
inline TestIdentity test_site(std::vector<std::string> names, TestKey key = TestKey::ec) {
  return make_test_certificate({.common_name = names.front(), .dns_names = names, .key = key}, &test_root());
}

inline std::shared_ptr<const ServerContext> make_server(const ServerOptions& options,
                                                        std::shared_ptr<TicketKeys> tickets = nullptr) {
  auto made = ServerContext::make(options, std::move(tickets));
  EXPECT_TRUE(made) << made.error().detail();
  return made ? *made : nullptr;
}
// For one site.
inline ServerOptions serving(const TestIdentity& site) {
  ServerOptions options;
  options.certificates.push_back({{}, {site.certified()}});
  return options;
}

inline std::shared_ptr<const ClientContext> make_client(const ClientOptions& options) {
  auto made = ClientContext::make(options);
  EXPECT_TRUE(made) << made.error().detail();
  return made ? *made : nullptr;
}
// Believes test_root(), sends the name and expects it.
inline ClientOptions expecting(std::string name) {
  ClientOptions options;
  options.anchors = test_root().anchors();
  options.names = {name};
  options.server_name = std::move(name);
  return options;
}

// How OpenSSL itself speaks, with the test moving its bytes: for what TlsStream would never send.
class RawPeer {
 public:
  RawPeer(World& world, std::unique_ptr<Stream> stream, const SSL_METHOD* method)
      : world_(world), stream_(std::move(stream)) {
    context_.reset(SSL_CTX_new(method));
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_NONE, nullptr);
  }
  [[nodiscard]] SSL_CTX* context() { return context_.get(); }
  [[nodiscard]] SSL* ssl() {
    if (!ssl_) {
      ssl_.reset(SSL_new(context_.get()));
      SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    }
    return ssl_.get();
  }
  void use(const TestIdentity& identity) {
    EXPECT_EQ(SSL_CTX_use_cert_and_key(context_.get(), identity.certificate().native(), identity.key.get(), nullptr, 1),
              1);
  }
  [[nodiscard]] Stream& stream() { return *stream_; }
  // What OpenSSL wants to send.
  [[nodiscard]] std::string take_output() {
    std::string out(static_cast<std::size_t>(BIO_ctrl_pending(SSL_get_wbio(ssl()))), '\0');
    if (!out.empty())
      EXPECT_EQ(BIO_read(SSL_get_wbio(ssl()), out.data(), static_cast<int>(out.size())), static_cast<int>(out.size()));
    return out;
  }
  void send(std::string bytes) {
    for (int stuck = 0; !bytes.empty() && stuck < 3;) {
      const IoResult sent = put(*stream_, bytes);
      stuck = sent.status == IoStatus::ok ? 0 : stuck + 1;
      bytes.erase(0, sent.bytes);
      settle(world_.loop);
    }
  }
  void feed() {
    settle(world_.loop);
    const std::string in = get(*stream_);
    if (!in.empty()) BIO_write(SSL_get_rbio(ssl()), in.data(), static_cast<int>(in.size()));
  }
  // One step and what it sends.
  int step() {
    const int result = SSL_do_handshake(ssl());
    send(take_output());
    return result;
  }
  bool shake(bool client) {
    if (client) {
      SSL_set_connect_state(ssl());
    } else {
      SSL_set_accept_state(ssl());
    }
    for (int i = 0; i < 100; ++i) {
      if (step() == 1) return true;
      feed();
    }
    ERR_clear_error();
    return false;
  }
  bool write(std::string_view bytes) {
    const bool done = SSL_write(ssl(), bytes.data(), static_cast<int>(bytes.size())) == static_cast<int>(bytes.size());
    send(take_output());
    return done;
  }
  std::string read() {
    feed();
    char chunk[16'384];
    std::string out;
    for (int n = 0; (n = SSL_read(ssl(), chunk, sizeof chunk)) > 0;) out.append(chunk, static_cast<std::size_t>(n));
    send(take_output());
    return out;
  }

 private:
  World& world_;
  std::unique_ptr<Stream> stream_;
  ContextPtr context_;
  SslPtr ssl_;
};

}  // namespace postern::tls
