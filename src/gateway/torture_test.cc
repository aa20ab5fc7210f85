// Every conversation, cut off at every turn of the loop, from every side: afterwards nothing may be left: no buffer, no
// count, no connection, no leak, and nothing touched after its death (the sanitizers say). The peers are coroutines
// here, so that a conversation runs by itself, turn by turn.
#include <functional>

#include "gateway/test_support.h"

namespace postern::gateway {
namespace {

// ---- the peers' side ------------------------------------------------------------------------------------------------

// Writes everything, waiting as often as the other side makes it wait. False if the connection failed.
Task<bool> put(Stream& stream, std::string bytes) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    iovec part{const_cast<char*>(rest.data()), rest.size()};
    const IoResult result = stream.try_write({&part, 1});
    if (result.status == IoStatus::ok) {
      rest.remove_prefix(result.bytes);
    } else if (result.status == IoStatus::would_block) {
      const Wake wake = co_await stream.writable();
      if (wake != Wake::ready) co_return false;
    } else {
      co_return false;
    }
  }
  co_return true;
}

// Reads until `marker` has come (an empty marker: until the end). False if the connection ended before.
Task<bool> take(Stream& stream, std::string& inbox, std::string marker) {
  for (;;) {
    if (!marker.empty()) {
      const std::size_t found = inbox.find(marker);
      if (found != std::string::npos) {
        inbox.erase(0, found + marker.size());
        co_return true;
      }
    }
    char chunk[512];
    const IoResult result = stream.try_read(chunk);
    if (result.status == IoStatus::ok) {
      inbox.append(chunk, result.bytes);
    } else if (result.status == IoStatus::would_block) {
      const Wake wake = co_await stream.readable();
      if (wake != Wake::ready) co_return false;
    } else {
      co_return marker.empty() && result.status == IoStatus::eof;
    }
  }
}

struct Step {
  enum class Kind : std::uint8_t { put, take, take_reset, finish, sleep, close };
  Kind kind;
  std::string text;
  Duration time{};
};
Step put(std::string text) { return {Step::Kind::put, std::move(text)}; }
Step take(std::string marker) { return {Step::Kind::take, std::move(marker)}; }
Step take_reset() { return {Step::Kind::take_reset, {}}; }
Step finish() { return {Step::Kind::finish, {}}; }
Step close() { return {Step::Kind::close, {}}; }
Step sleep(Duration time) { return {Step::Kind::sleep, {}, time}; }
using Script = std::vector<Step>;

// Plays a script on a connection; holds it open at the end, unless the script closes it.
Task<void> play(Loop& loop, std::unique_ptr<Stream>& stream, const Script& script, std::size_t& played, bool& done) {
  std::string inbox;
  for (const Step& step : script) {
    bool going = true;
    switch (step.kind) {
      case Step::Kind::put: going = co_await put(*stream, step.text); break;
      case Step::Kind::take: going = co_await take(*stream, inbox, step.text); break;
      case Step::Kind::take_reset:
        going = co_await take(*stream, inbox, "");
        going = !going;
        break;
      case Step::Kind::finish: stream->shutdown_write(); break;
      case Step::Kind::sleep: co_await loop.sleep_for(step.time); break;
      case Step::Kind::close: stream.reset(); break;
    }
    if (!going) break;
    ++played;
    if (!stream) break;
  }
  done = true;
}

// Plays one script per accepted connection, the last one again and again.
class ScriptedOrigin final : public AcceptHandler {
 public:
  ScriptedOrigin(Loop& loop, TaskSet& tasks, const std::vector<Script>& scripts)
      : loop_(loop), tasks_(tasks), scripts_(scripts) {}
  void on_accept(std::unique_ptr<Stream> stream, const PeerAddress&) override {
    const Script& script = scripts_[std::min(streams.size(), scripts_.size() - 1)];
    streams.push_back(std::make_unique<Connection>(std::move(stream)));
    tasks_.spawn(play(loop_, streams.back()->stream, script, streams.back()->played, streams.back()->done));
  }
  struct Connection {
    std::unique_ptr<Stream> stream;
    std::size_t played = 0;
    bool done = false;
  };
  std::vector<std::unique_ptr<Connection>> streams;

 private:
  Loop& loop_;
  TaskSet& tasks_;
  const std::vector<Script>& scripts_;
};

// ---- the conversations ----------------------------------------------------------------------------------------------

struct Conversation {
  const char* name;
  std::vector<Script> clients;      // all begin at once
  std::vector<Script> origin;       // one per connection
  std::string origin_options = {};  // YAML below the origin
  std::string top = {};             // YAML at the top
  // The scripts write or read, never both at once: with less room than this in the pipes they would wait for each
  // other.
  std::size_t needs_capacity = 1;
};

const std::string kHost = "Host: a\r\n\r\n";
const std::string kUpgrade =
    "GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost: a\r\n\r\n";
const std::string kSwitch =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const std::string kChunkedOk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n";

Conversation pipelined() {
  return {.name = "keep-alive, pipelined",
          .clients = {{put("GET /1 HTTP/1.1\r\n" + kHost + "GET /2 HTTP/1.1\r\n" + kHost), take("ok"), take("ok"),
                       close()}},
          .origin = {{take("\r\n\r\n"), put(kOk), take("\r\n\r\n"), put(kOk), take("")}},
          .needs_capacity = 64};
}
Conversation chunked() {
  return {
      .name = "chunked upload with trailers, chunked answer with trailers",
      .clients = {{put("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + kHost), sleep(3ms), put("3\r\nabc\r\n"),
                   sleep(3ms), put("3\r\ndef\r\n0\r\nX-T: 1\r\n\r\n"), take("X-Sum: 1\r\n\r\n"), close()}},
      .origin = {{take("X-T: 1\r\n\r\n"), put(kChunkedOk), take("")}}};
}
Conversation early_answer() {
  return {.name = "expect, early answer, lingering",
          .clients = {{put("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 900\r\n" + kHost),
                       take("100 Continue\r\n\r\n"), put(std::string(300, 'x')), take("no"), put(std::string(300, 'x')),
                       take(""), close()}},
          .origin = {{take("xx"), put("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"), take("")}},
          .needs_capacity = 64};
}
Conversation retries() {
  return {
      .name = "retries after a close and a dead pooled connection, an interim response",
      .clients = {{put("GET / HTTP/1.1\r\n" + kHost), take("ok"), sleep(5ms), put("GET / HTTP/1.1\r\n" + kHost),
                   take("ok"), close()}},
      .origin = {{take("\r\n\r\n"), close()},
                 {take("\r\n\r\n"), put("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + kOk), take("G"), close()},
                 {take("\r\n\r\n"), put(kOk), take("")}},
      .origin_options = "    retries: {attempts: 3}\n"};
}
Conversation slow_reader() {
  return {.name = "a slow reader, a body until the end",
          .clients = {{put("GET / HTTP/1.1\r\n" + kHost), take("200 OK"), sleep(5ms), take("y\r\n"), sleep(5ms),
                       take("0\r\n\r\n"), close()}},
          .origin = {{take("\r\n\r\n"), put("HTTP/1.1 200 OK\r\n\r\n" + std::string(200, 'y')), sleep(9ms),
                      put(std::string(50, 'y')), close()}}};
}
Conversation websocket() {
  return {.name = "websocket with bytes right behind the heads, half-close on both sides",
          .clients = {{put(kUpgrade + "eager"), take("hi"), put("one"), take("two"), put("three"), finish(),
                       take("four"), take(""), close()}},
          .origin = {{take("\r\n\r\n"), put(kSwitch + "hi"), take("one"), put("two"), take("three"), put("four"),
                      finish(), take(""), close()}},
          .needs_capacity = 7};
}
Conversation refusals() {
  return {.name = "rate limit, wrong targets and upgrades",
          .clients = {{put("GET / HTTP/1.1\r\n" + kHost), take("ok"), put("GET / HTTP/1.1\r\n" + kHost),
                       take("PST-P429"), take("\n"), put("GET /%2f HTTP/1.1\r\n" + kHost), take("PST-R004"), take("\n"),
                       put("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n" + kHost), take("PST-R011"),
                       take(""), close()}},
          .origin = {{take("\r\n\r\n"), put(kOk), take("")}},
          .top = "policies: [{rate_limit: {requests: 1, per: 1h}}]\n"};
}
Conversation one_connection() {
  return {.name = "three clients and one connection to the origin",
          .clients = {{put("GET /1 HTTP/1.1\r\n" + kHost), take("ok"), close()},
                      {put("GET /2 HTTP/1.1\r\n" + kHost), take("ok"), close()},
                      {put("GET /3 HTTP/1.1\r\n" + kHost), take("ok"), close()}},
          .origin = {{take("\r\n\r\n"), sleep(7ms), put(kOk), take("\r\n\r\n"), put(kOk), take("\r\n\r\n"), put(kOk),
                      take("")}},
          .origin_options = "    pool: {max_connections: 1}\n"};
}
Conversation limits() {
  return {.name = "a body over the limit, a silent origin, an answer that stops in the middle",
          .clients = {{put("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + kHost + "5\r\nabcde\r\n"), sleep(2ms),
                       put("10\r\n0123456789abcdef\r\n"), take("PST-R008"), take(""), close()},
                      {sleep(10ms), put("GET / HTTP/1.1\r\n" + kHost), take("PST-U003"), take("\n"),
                       put("GET / HTTP/1.1\r\n" + kHost), take("half"), take_reset(), close()}},
          .origin = {{take("abcde"), take("")},
                     {take("\r\n\r\n"), take("")},
                     {take("\r\n\r\n"), put("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), sleep(4ms), close()}},
          .origin_options = "    timeouts: {first_byte: 10ms}\n",
          .top = "limits: {max_body_size: 16B}\n",
          .needs_capacity = 7};
}

std::vector<Conversation> conversations() {
  return {pipelined(), chunked(),  early_answer(),   retries(), slow_reader(),
          websocket(), refusals(), one_connection(), limits()};
}

// ---- the cuts -------------------------------------------------------------------------------------------------------

enum class Cut : std::uint8_t {
  nothing,       // let it end
  client_reset,  // all clients
  client_close,
  origin_reset,  // all connections, and nobody listens any more
  origin_close,
  drain,
  reload,   // with another identity
  destroy,  // the gateway
};

const char* name_of(Cut cut) {
  constexpr const char* kNames[] = {"nothing",      "client reset", "client close", "origin reset",
                                    "origin close", "drain",        "reload",       "destroy"};
  return kNames[static_cast<std::size_t>(cut)];
}

class Errors final : public TaskSet::ErrorHandler {
 public:
  void on_task_exception(std::exception_ptr) noexcept override { ++count; }
  int count = 0;
};

// One run: `turns` turns, the cut, and what must be true afterwards. Returns whether all scripts had ended before it.
class Rehearsal {
 public:
  Rehearsal(const Conversation& conversation, MemoryOptions options, std::shared_ptr<const config::Config> before,
            std::shared_ptr<const config::Config> after)
      : gateway_(options), capacity_(options.capacity), conversation_(conversation), after_(std::move(after)) {
    tasks_.emplace(errors_);
    origin_ = std::make_unique<ScriptedOrigin>(gateway_.loop(), *tasks_, conversation_.origin);
    auto acceptor = gateway_.network.listen(gateway_.loop(), parse_socket_address("127.0.0.1:9001").value(), *origin_);
    acceptor_ = std::move(*acceptor);
    gateway_.adopt(std::move(before));
    endpoint_ = gateway_.endpoints()->front();
    for (const Script& script : conversation_.clients) {
      clients_.push_back(std::make_unique<Client>());
      tasks_->spawn(come(gateway_.loop(), gateway_.network, *clients_.back(), script));
    }
  }

  bool go(int turns, Cut cut) {
    for (int turn = 0; turn < turns && !ended(); ++turn) gateway_.loop().run_once();
    const bool over = ended();
    if (cut == Cut::nothing && capacity_ >= conversation_.needs_capacity) {
      for (std::size_t i = 0; i < clients_.size(); ++i) {
        EXPECT_EQ(clients_[i]->played, conversation_.clients[i].size()) << "client " << i << " did not come to its end";
      }
    }
    apply(cut);
    if (gateway_.worker) {
      // Whatever is still under way ends by one of its limits.
      gateway_.advance(2min);
      check("after a while");
      end_peers();
      gateway_.advance(2min);
      EXPECT_EQ(gateway_.worker->connections(), 0u);
      check("at the end");
    }
    end_peers();
    gateway_.destroy();
    EXPECT_EQ(endpoint_->in_flight, 0u);
    EXPECT_EQ(endpoint_->connections, 0u);
    EXPECT_EQ(endpoint_->waiting, 0u);
    EXPECT_EQ(errors_.count, 0);
    return over;
  }

 private:
  struct Client {
    std::unique_ptr<Stream> stream;
    std::size_t played = 0;
    bool done = false;
  };

  static Task<void> come(Loop& loop, Network& network, Client& client, const Script& script) {
    const SocketAddress address = parse_socket_address("192.0.2.1:80").value();
    auto stream = co_await network.connect(loop, address, loop.now() + 1s);
    if (!stream) {
      client.done = true;
      co_return;
    }
    client.stream = std::move(*stream);
    co_await play(loop, client.stream, script, client.played, client.done);
  }

  [[nodiscard]] bool ended() const {
    return std::all_of(clients_.begin(), clients_.end(), [](const auto& client) { return client->done; });
  }

  void check(const char* when) {
    EXPECT_EQ(endpoint_->in_flight, 0u) << when;
    EXPECT_EQ(endpoint_->waiting, 0u) << when;
    EXPECT_EQ(gateway_.buffers_in_use(), 0u) << when;
  }

  // The tasks first: a stream must not die under a coroutine that waits on it.
  void end_peers() {
    tasks_.reset();
    clients_.clear();
    origin_->streams.clear();
    acceptor_.reset();
    tasks_.emplace(errors_);
  }

  static void end(std::unique_ptr<Stream>& stream, bool reset) {
    if (stream && reset) stream->reset_on_close();
    stream.reset();
  }

  void apply(Cut cut) {
    switch (cut) {
      case Cut::nothing: return;
      case Cut::client_reset:
      case Cut::client_close:
        // The origin's scripts go on, those of the clients are over: both kinds are in one set, so all are cancelled.
        tasks_.reset();
        tasks_.emplace(errors_);
        for (const auto& client : clients_) end(client->stream, cut == Cut::client_reset);
        return;
      case Cut::origin_reset:
      case Cut::origin_close:
        tasks_.reset();
        tasks_.emplace(errors_);
        acceptor_.reset();
        for (const auto& connection : origin_->streams) end(connection->stream, cut == Cut::origin_reset);
        return;
      case Cut::drain: gateway_.worker->drain(); return;
      case Cut::reload: gateway_.adopt(after_); return;
      case Cut::destroy: gateway_.destroy(); return;
    }
  }

  Errors errors_;
  TestGateway gateway_;
  const std::size_t capacity_;
  const Conversation& conversation_;
  std::shared_ptr<const config::Config> after_;
  std::optional<TaskSet> tasks_;
  std::unique_ptr<ScriptedOrigin> origin_;
  std::unique_ptr<Acceptor> acceptor_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::shared_ptr<origins::Endpoint> endpoint_;
};

std::shared_ptr<const config::Config> configuration(const Conversation& conversation, const std::string& secret) {
  return TestGateway::configuration(
      "origins:\n  main:\n    url: http://127.0.0.1:9001\n    identity: [{shared_secret: {header: X-Secret, value: "
      "\"${file:" +
      secret + "}\"}}]\n" + conversation.origin_options +
      "routes: [{match: {path: /*}, origin: main, public: true}]\n" + conversation.top);
}

class Torture : public ::testing::TestWithParam<std::size_t> {};

#if defined(__has_feature) && __has_feature(thread_sanitizer)
constexpr int kThinning = 20;  // there is one thread here, so that sanitizer has little to find
#else
constexpr int kThinning = 1;
#endif

struct Pipes {
  MemoryOptions options;
  int stride;  // byte by byte there are thousands of turns; the cuts wander over them
};

TEST_P(Torture, cut_off_at_every_turn_from_every_side_nothing_is_left) {
  const Conversation conversation = conversations()[GetParam()];
  const auto before = configuration(conversation, "/s/a");
  const auto after = configuration(conversation, "/s/b");
  int runs = 0;
  for (const auto& [options, stride] :
       {Pipes{{}, 1}, Pipes{{.capacity = 64, .max_read = 16}, 1}, Pipes{{.capacity = 7, .max_read = 3}, 5},
        Pipes{{.capacity = 1, .max_read = 1}, 61}}) {
    for (const Cut cut : {Cut::nothing, Cut::client_reset, Cut::client_close, Cut::origin_reset, Cut::origin_close,
                          Cut::drain, Cut::reload, Cut::destroy}) {
      SCOPED_TRACE(std::string(conversation.name) + ", cut: " + name_of(cut) + ", capacity " +
                   std::to_string(options.capacity));
      for (int turns = cut == Cut::nothing ? 1'000'000 : static_cast<int>(cut) % stride;; turns += stride * kThinning) {
        SCOPED_TRACE(turns);
        Rehearsal run(conversation, options, before, after);
        ++runs;
        const bool over = run.go(turns, cut);
        if (HasFailure() || over) break;
      }
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(runs, 250 / kThinning);
}

INSTANTIATE_TEST_SUITE_P(Conversations, Torture, ::testing::Range(std::size_t{0}, std::size_t{9}));

}  // namespace
}  // namespace postern::gateway
