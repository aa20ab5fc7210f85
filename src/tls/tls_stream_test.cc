#include "tls/tls_stream.h"

#include <openssl/err.h>

#include <algorithm>
#include <random>

#include "tls/test_support.h"

namespace postern::tls {
namespace {

std::string noise(std::size_t size, unsigned seed = 1) {
  std::minstd_rand random(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

class TlsStreamTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(ERR_peek_error(), 0u); }
  void TearDown() override { EXPECT_EQ(world.pool.in_use(), 0u); }
  static std::shared_ptr<const ServerContext> server_context() {
    return make_server(serving(test_site({"a.example"})));
  }
  static std::shared_ptr<const ClientContext> client_context() { return make_client(expecting("a.example")); }
  // Both ends, through the handshake.
  void connect(MemoryOptions options = {}) {
    ASSERT_TRUE(ends.connect(server_context(), client_context(), nullptr, options))
        << ends.client_outcome() << "; " << ends.server_outcome();
  }
  World world;
  Ends ends{world};
};

// Writes all of `bytes`, a piece at a time.
Task<void> write_all(Stream& stream, std::string bytes, std::size_t piece, bool& done) {
  std::string_view left = bytes;
  while (!left.empty()) {
    const std::string_view now = left.substr(0, piece);
    const IoResult sent = put(stream, now);
    if (sent.status == IoStatus::ok) {
      left.remove_prefix(sent.bytes);
      continue;
    }
    EXPECT_EQ(sent.status, IoStatus::would_block);
    if (sent.status != IoStatus::would_block) co_return;
    const Wake wake = co_await stream.writable();
    EXPECT_EQ(wake, Wake::ready);
  }
  done = true;
}

Task<void> read_all(Stream& stream, std::string& out, IoResult& end) {
  for (;;) {
    char chunk[3000];
    const IoResult read = stream.try_read(chunk);
    if (read.status == IoStatus::ok) {
      out.append(chunk, read.bytes);
    } else if (read.status == IoStatus::would_block) {
      const Wake wake = co_await stream.readable();
      EXPECT_EQ(wake, Wake::ready);
    } else {
      end = read;
      co_return;
    }
  }
}

struct Shape {
  std::size_t capacity;
  std::size_t max_read;
  std::size_t bytes;
  std::size_t piece;
};

class Shapes : public TlsStreamTest, public ::testing::WithParamInterface<Shape> {};

TEST_P(Shapes, what_is_written_arrives_and_ends_in_order) {
  connect({.capacity = GetParam().capacity, .max_read = GetParam().max_read});
  const std::string up = noise(GetParam().bytes);
  const std::string down = noise(GetParam().bytes / 2, 2);
  bool up_done = false;
  bool down_done = false;
  std::string up_got;
  std::string down_got;
  IoResult up_end;
  IoResult down_end;
  {
    TaskSet tasks(world.errors);
    tasks.spawn(write_all(*ends.client, up, GetParam().piece, up_done));
    tasks.spawn(write_all(*ends.server, down, GetParam().piece, down_done));
    tasks.spawn(read_all(*ends.server, up_got, up_end));
    tasks.spawn(read_all(*ends.client, down_got, down_end));
    settle(world.loop);
    EXPECT_TRUE(up_done && down_done);
    ends.client->shutdown_write();
    settle(world.loop);
    EXPECT_EQ(up_end.status, IoStatus::eof);
    EXPECT_EQ(down_end.status, IoStatus::ok) << "only one direction has ended";
    ends.server->shutdown_write();
    settle(world.loop);
    EXPECT_EQ(down_end.status, IoStatus::eof);
  }
  EXPECT_TRUE(up == up_got);
  EXPECT_TRUE(down == down_got);
}

INSTANTIATE_TEST_SUITE_P(All, Shapes,
                         ::testing::Values(Shape{1, 1, 3'000, 100}, Shape{7, 3, 20'000, 20'000},
                                           Shape{1'000, 1'000, 200'000, 70'000}, Shape{16'384, 1'000'000, 50'000, 1},
                                           Shape{65'536, 1'000'000, 1'000'000, 65'536},
                                           Shape{65'536, 1'000'000, 1'000'000, 100'000},
                                           Shape{10'000'000, 1'000'000, 1'000'000, 16'385}),
                         [](const auto& shape) {
                           return std::to_string(shape.param.capacity) + "_" + std::to_string(shape.param.max_read) +
                                  "_" + std::to_string(shape.param.piece);
                         });

TEST_F(TlsStreamTest, nothing_passes_before_the_handshake) {
  ends.begin(server_context(), client_context());
  EXPECT_EQ(put(*ends.client, "early").error, ENOTCONN);
  char byte = 0;
  EXPECT_EQ(ends.server->try_read({&byte, 1}).error, ENOTCONN);
  settle(world.loop);
  EXPECT_EQ(ends.client_outcome() + ends.server_outcome(), "");
  EXPECT_EQ(get(*ends.server), "");
}

TEST_F(TlsStreamTest, small_pieces_go_into_one_record) {
  connect();
  std::string a = "GET / HTTP/1.1\r\n";
  std::string b = noise(1'000);
  std::string empty;
  std::string c = "end";
  const iovec parts[] = {
      {a.data(), a.size()}, {empty.data(), 0}, {b.data(), b.size()}, {c.data(), c.size()}, {nullptr, 0}};
  EXPECT_EQ(ends.client->try_write(parts).bytes, a.size() + b.size() + c.size());
  settle(world.loop);
  std::array<char, 4096> chunk;
  const IoResult read = ends.server->try_read(chunk);
  EXPECT_EQ(std::string_view(chunk.data(), read.bytes), a + b + c);
  EXPECT_FALSE(ends.server->may_read());
  EXPECT_EQ(put(*ends.client, "").status, IoStatus::ok);
  EXPECT_EQ(ends.client->try_write({}).status, IoStatus::ok);
}

TEST_F(TlsStreamTest, pieces_across_records_keep_their_order) {
  connect({.capacity = 1'000'000});
  std::vector<std::string> pieces;
  std::string whole;
  for (unsigned i = 0; i < 40; ++i) {
    pieces.push_back(noise(i % 7 == 3 ? 20'000 : i * 17, i));
    whole += pieces.back();
  }
  std::vector<iovec> parts;
  for (std::string& piece : pieces) parts.push_back({piece.data(), piece.size()});
  const IoResult sent = ends.client->try_write(parts);
  EXPECT_EQ(sent.bytes, 65'536u);
  settle(world.loop);
  EXPECT_TRUE(get(*ends.server) == whole.substr(0, sent.bytes));
}

TEST_F(TlsStreamTest, a_peer_that_does_not_read_makes_it_wait_with_bounded_memory) {
  connect({.capacity = 20'000});
  const std::string bytes = noise(1'000'000);
  std::size_t taken = 0;
  bool blocked = false;
  for (int i = 0; i < 1'000; ++i) {
    const IoResult sent = put(*ends.client, std::string_view(bytes).substr(taken));
    blocked = blocked || sent.status == IoStatus::would_block;
    taken += sent.bytes;
    settle(world.loop);
  }
  EXPECT_TRUE(blocked);
  EXPECT_LE(taken, 20'000u);
  EXPECT_LE(world.pool.in_use(), 128u * 1024);
  std::string got;
  for (int i = 0; i < 100'000 && got.size() < bytes.size(); ++i) {
    got += get(*ends.server);
    settle(world.loop);
    if (taken < bytes.size()) taken += put(*ends.client, std::string_view(bytes).substr(taken)).bytes;
    settle(world.loop);
  }
  EXPECT_TRUE(got == bytes);
}

TEST_F(TlsStreamTest, ciphertext_goes_out_though_nobody_waits) {
  connect({.capacity = 1'000});
  const std::string bytes = noise(50'000);
  EXPECT_EQ(put(*ends.client, bytes).status, IoStatus::would_block);
  std::string got;
  for (int i = 0; i < 200; ++i) {
    got += get(*ends.server);
    settle(world.loop);
  }
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(world.pool.in_use(), 0u);
  EXPECT_EQ(put(*ends.client, bytes).bytes, bytes.size()) << "taken now, and not sent twice";
  EXPECT_EQ(get(*ends.server), "");
}

TEST_F(TlsStreamTest, other_bytes_than_those_that_had_to_wait_are_an_error) {
  connect({.capacity = 1'000});
  EXPECT_EQ(put(*ends.client, noise(50'000)).status, IoStatus::would_block);
  for (int i = 0; i < 200; ++i) {
    get(*ends.server);
    settle(world.loop);
  }
  EXPECT_EQ(put(*ends.client, noise(50'000, 2)).error, EPROTO);
  EXPECT_EQ(ends.client->failure(), "other bytes were written than those that had to wait");
  EXPECT_EQ(put(*ends.client, noise(50'000)).error, EPROTO) << "for good";
}

TEST_F(TlsStreamTest, an_end_without_close_notify_is_an_error) {
  for (const bool data_first : {false, true}) {
    auto [near, far] = make_memory_pair(world.loop);
    auto server = ServerContext::accept(server_context(), world.loop, world.pool, std::move(near), {});
    RawPeer raw(world, std::move(far), TLS_client_method());
    std::optional<Result<void>> result;
    TaskSet tasks(world.errors);
    tasks.spawn(shake(*server, world.loop.now() + 1s, result));
    ASSERT_TRUE(raw.shake(true));
    settle(world.loop);
    ASSERT_EQ(outcome(result), "");
    if (data_first) EXPECT_TRUE(raw.write("half"));
    raw.stream().shutdown_write();
    settle(world.loop);
    IoResult end;
    EXPECT_EQ(get(*server, &end), data_first ? "half" : "");
    EXPECT_EQ(end.status, IoStatus::error);
    EXPECT_EQ(end.error, ECONNRESET);
    EXPECT_EQ(server->failure(), "closed without close_notify");
    EXPECT_EQ(server->try_read({}).status, IoStatus::ok);
    EXPECT_TRUE(server->may_read());
  }
}

TEST_F(TlsStreamTest, reset_on_close_says_no_close_notify_and_can_be_taken_back) {
  for (const bool in_order : {false, true}) {
    Ends pair(world);
    ASSERT_TRUE(pair.connect(server_context(), client_context()));
    pair.server->reset_on_close();
    if (in_order) pair.server->close_in_order();
    pair.server.reset();
    settle(world.loop);
    IoResult end;
    get(*pair.client, &end);
    EXPECT_EQ(end.status, in_order ? IoStatus::eof : IoStatus::error);
  }
}

TEST_F(TlsStreamTest, after_its_end_it_reads_but_does_not_write) {
  connect();
  ends.client->shutdown_write();
  ends.client->shutdown_write();
  EXPECT_EQ(put(*ends.client, "more").error, EPIPE);
  settle(world.loop);
  IoResult end;
  EXPECT_EQ(get(*ends.server, &end), "");
  EXPECT_EQ(end.status, IoStatus::eof);
  EXPECT_EQ(put(*ends.server, "answer").status, IoStatus::ok);
  settle(world.loop);
  EXPECT_EQ(get(*ends.client), "answer");
}

TEST_F(TlsStreamTest, close_notify_comes_after_what_was_written_before_it) {
  connect({.capacity = 1'000});
  const std::string bytes = noise(30'000);
  EXPECT_EQ(put(*ends.client, bytes).status, IoStatus::would_block);
  ends.client->shutdown_write();
  EXPECT_EQ(put(*ends.client, bytes).error, EPIPE);
  std::string got;
  IoResult end;
  for (int i = 0; i < 200 && end.status != IoStatus::eof; ++i) {
    got += get(*ends.server, &end);
    settle(world.loop);
  }
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(end.status, IoStatus::eof);
}

TEST_F(TlsStreamTest, a_reset_below_is_told_and_read) {
  class Listener final : public Stream::AbortListener {
   public:
    int aborts = 0;

   private:
    void on_abort() override { ++aborts; }
  } listener;
  connect();
  ends.client->set_abort_listener(&listener);
  ends.server->reset_on_close();
  ends.server.reset();
  settle(world.loop);
  EXPECT_GE(listener.aborts, 1);
  IoResult end;
  get(*ends.client, &end);
  EXPECT_EQ(end.error, ECONNRESET);
  EXPECT_EQ(ends.client->failure(), "") << "the network's doing";
  EXPECT_EQ(put(*ends.client, "x").status, IoStatus::error);
}

Task<void> wait_to_write_and_end(std::unique_ptr<TlsStream>& stream, Wake& wake) {
  wake = co_await stream->writable();
  stream.reset();
}
Task<void> wait_to_read_and_end(std::unique_ptr<TlsStream>& stream, Wake& wake) {
  wake = co_await stream->readable();
  stream.reset();
}

TEST_F(TlsStreamTest, whoever_is_woken_may_end_the_stream) {
  for (const int what : {0, 1, 2, 3}) {
    Ends pair(world);
    ASSERT_TRUE(pair.connect(server_context(), client_context(), nullptr, {.capacity = 1'000}));
    get(*pair.client);
    const std::string bytes = noise(30'000);
    TaskSet tasks(world.errors);
    Wake wake = Wake::interrupted;
    if (what == 0) EXPECT_EQ(put(*pair.client, bytes).status, IoStatus::would_block);
    tasks.spawn(what == 0 ? wait_to_write_and_end(pair.client, wake) : wait_to_read_and_end(pair.client, wake));
    ASSERT_TRUE(pair.client);
    if (what == 1) EXPECT_EQ(put(*pair.server, "x").status, IoStatus::ok);
    if (what == 2) pair.server->shutdown_write();
    if (what == 3) pair.server->reset_on_close(), pair.server.reset();
    for (int i = 0; i < 100 && pair.client; ++i) {
      if (pair.server) get(*pair.server);
      settle(world.loop);
    }
    EXPECT_FALSE(pair.client) << what;
    EXPECT_EQ(wake, Wake::ready);
  }
}

TEST_F(TlsStreamTest, a_deadline_and_an_owner_end_a_wait) {
  connect();
  for (const Wake why : {Wake::timed_out, Wake::interrupted}) {
    Ends pair(world);
    ASSERT_TRUE(pair.connect(server_context(), client_context()));
    get(*pair.client);
    Wake wake = Wake::ready;
    TaskSet tasks(world.errors);
    Deadline deadline(world.loop, *pair.client);
    deadline.set_after(5s);
    tasks.spawn(wait_to_read_and_end(pair.client, wake));
    if (why == Wake::interrupted) {
      EXPECT_TRUE(pair.client->wake_reader(why));
    } else {
      advance(world.loop, world.clock, 5s);
    }
    EXPECT_EQ(wake, why);
  }
}

class Watch final : public Stream::ReadWatch {
 public:
  int woken = 0;

 private:
  void on_wake(Wake /*wake*/) override { ++woken; }
};

TEST_F(TlsStreamTest, a_ticket_is_no_data_and_wakes_nobody) {
  auto [near, far] = make_memory_pair(world.loop);
  auto client = ClientContext::connect(client_context(), world.loop, world.pool, std::move(near), nullptr);
  RawPeer raw(world, std::move(far), TLS_server_method());
  raw.use(test_site({"a.example"}));
  std::optional<Result<void>> result;
  TaskSet tasks(world.errors);
  tasks.spawn(shake(*client, world.loop.now() + 1s, result));
  ASSERT_TRUE(raw.shake(false));
  settle(world.loop);
  ASSERT_EQ(outcome(result), "");
  get(*client);
  Watch watch;
  watch.watch(*client);
  SSL_new_session_ticket(raw.ssl());
  raw.step();
  SSL_key_update(raw.ssl(), SSL_KEY_UPDATE_REQUESTED);
  raw.step();
  settle(world.loop);
  EXPECT_EQ(watch.woken, 0);
  EXPECT_FALSE(client->may_read());
  EXPECT_TRUE(raw.write("x"));
  settle(world.loop);
  EXPECT_GE(watch.woken, 1);
  EXPECT_EQ(get(*client), "x");
  const int before = watch.woken;
  SSL_shutdown(raw.ssl());
  raw.send(raw.take_output());
  EXPECT_GT(watch.woken, before) << "an end is something to be read";
}

// Both ends, and either one is destroyed in every turn that there is.
TEST_F(TlsStreamTest, either_end_may_be_destroyed_in_every_state_of_a_handshake) {
  ServerOptions options = serving(test_site({"a.example"}));
  options.client_certificate_hosts = {""};
  const auto listener = make_server(options);
  for (const ProtocolVersion version : {ProtocolVersion::tls_1_2, ProtocolVersion::tls_1_3}) {
    ClientOptions expected = expecting("a.example");
    expected.max_version = version;
    expected.certificate = test_site({"client"}).certified();
    const auto origin = make_client(expected);
    for (const bool server_dies : {false, true}) {
      int turns = 0;
      for (bool over = false; !over; ++turns) {
        ASSERT_LT(turns, 10'000);
        Ends pair(world);
        pair.begin(listener, origin, std::make_shared<SessionSlot>(), {.capacity = 40, .max_read = 40});
        for (int i = 0; i < turns && !over; ++i) over = !world.loop.run_ready();
        if (server_dies) {
          pair.cancel_server();
          pair.server.reset();
        } else {
          pair.cancel_client();
          pair.client.reset();
        }
        settle(world.loop);
        const std::optional<Result<void>>& other = server_dies ? pair.client_result : pair.server_result;
        EXPECT_TRUE(other) << "whoever is left does not wait for ever";
        IoResult end;
        get(server_dies ? *pair.client : *pair.server, &end);
        EXPECT_NE(end.status, IoStatus::would_block);
      }
      EXPECT_GT(turns, 30);
      EXPECT_EQ(world.pool.in_use(), 0u);
    }
  }
}

// The kernel's streams are edge-triggered: whoever misses one event waits for ever.
TEST_F(TlsStreamTest, over_sockets_what_is_written_arrives) {
  ends.begin_over(make_socket_pair(world), server_context(), client_context());
  ASSERT_TRUE(until(world.loop, [&] { return ends.server_result && ends.client_result; }));
  ASSERT_EQ(ends.server_outcome() + ends.client_outcome(), "");
  const std::string up = noise(20'000'000);
  const std::string down = noise(10'000'000, 2);
  bool up_done = false;
  bool down_done = false;
  std::string up_got;
  std::string down_got;
  IoResult up_end;
  IoResult down_end;
  TaskSet tasks(world.errors);
  tasks.spawn(write_all(*ends.client, up, 100'000, up_done));
  tasks.spawn(write_all(*ends.server, down, 1'000'000, down_done));
  for (int i = 0; i < 100; ++i) world.loop.run_ready();  // both block first
  tasks.spawn(read_all(*ends.server, up_got, up_end));
  tasks.spawn(read_all(*ends.client, down_got, down_end));
  ASSERT_TRUE(until(world.loop, [&] { return up_done && down_done; }));
  ends.client->shutdown_write();
  ends.server->shutdown_write();
  ASSERT_TRUE(until(world.loop, [&] { return up_end.status == IoStatus::eof && down_end.status == IoStatus::eof; }));
  EXPECT_TRUE(up == up_got);
  EXPECT_TRUE(down == down_got);
}

TEST_F(TlsStreamTest, over_sockets_a_reset_says_no_close_notify_first) {
  for (const bool reset : {false, true}) {
    Ends pair(world);
    pair.begin_over(make_socket_pair(world), server_context(), client_context());
    ASSERT_TRUE(until(world.loop, [&] { return pair.server_result && pair.client_result; }));
    if (reset) pair.server->reset_on_close();
    pair.server.reset();
    IoResult end;
    ASSERT_TRUE(until(world.loop, [&] { return get(*pair.client, &end), end.status != IoStatus::would_block; }));
    EXPECT_EQ(end.status, reset ? IoStatus::error : IoStatus::eof);
  }
}

// A server end that has shaken hands with a raw client.
class AgainstRaw : public TlsStreamTest {
 protected:
  void open(int max_version = TLS1_3_VERSION, MemoryOptions options = {}) {
    auto [near, far] = make_memory_pair(world.loop, options);
    server = ServerContext::accept(server_context(), world.loop, world.pool, std::move(near), {});
    raw.emplace(world, std::move(far), TLS_client_method());
    SSL_CTX_set_max_proto_version(raw->context(), max_version);
    TaskSet tasks(world.errors);
    std::optional<Result<void>> result;
    tasks.spawn(shake(*server, world.loop.now() + 1s, result));
    ASSERT_TRUE(raw->shake(true));
    settle(world.loop);
    ASSERT_EQ(outcome(result), "");
    raw->feed();
  }
  std::unique_ptr<TlsStream> server;
  std::optional<RawPeer> raw;
};

TEST_F(AgainstRaw, key_updates_with_data_between_them_are_fine) {
  open();
  for (int i = 0; i < 200; ++i) {
    SSL_key_update(raw->ssl(), i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
    ASSERT_EQ(raw->step(), 1);
    ASSERT_TRUE(raw->write("x"));
    settle(world.loop);
    ASSERT_EQ(get(*server), "x") << i;
    ASSERT_EQ(put(*server, "y").status, IoStatus::ok);
    ASSERT_EQ(raw->read(), "y");
  }
}

TEST_F(AgainstRaw, a_flood_of_key_updates_ends_it) {
  for (const bool in_one_piece : {false, true}) {
    open();
    IoResult end;
    std::string all;
    for (int i = 0; i < 40; ++i) {
      SSL_key_update(raw->ssl(), SSL_KEY_UPDATE_REQUESTED);
      SSL_do_handshake(raw->ssl());
      if (in_one_piece) {
        all += raw->take_output();
      } else {
        raw->send(raw->take_output());
        settle(world.loop);
        EXPECT_EQ(get(*server, &end), "");
        EXPECT_EQ(end.status, i < 32 ? IoStatus::would_block : IoStatus::error) << i;
      }
      raw->feed();
      char byte = 0;
      SSL_read(raw->ssl(), &byte, 1);
    }
    if (in_one_piece) {
      raw->send(all);
      EXPECT_EQ(get(*server, &end), "");
    }
    EXPECT_EQ(end.error, EPROTO);
    EXPECT_EQ(server->failure(), "too many messages without data");
  }
}

TEST_F(AgainstRaw, padding_without_data_ends_it) {
  open();
  SSL_set_block_padding(raw->ssl(), 16'384);
  IoResult end;
  for (int i = 0; i < 12; ++i) {
    SSL_key_update(raw->ssl(), SSL_KEY_UPDATE_NOT_REQUESTED);
    raw->step();
    settle(world.loop);
    EXPECT_EQ(get(*server, &end), "");
    EXPECT_EQ(end.status, i < 7 ? IoStatus::would_block : IoStatus::error) << i;
  }
  EXPECT_EQ(end.error, EPROTO);
}

TEST_F(AgainstRaw, answers_that_nobody_reads_are_bounded) {
  open(TLS1_3_VERSION, {.capacity = 2'000});
  IoResult end;
  for (int i = 0; i < 20'000 && end.status != IoStatus::error; ++i) {
    SSL_key_update(raw->ssl(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(raw->ssl());
    ASSERT_TRUE(raw->write("x"));
    get(*server, &end);
    // The answers lie in the pipe: this client never reads.
  }
  EXPECT_EQ(end.error, EPROTO);
  EXPECT_EQ(server->failure(), "the peer makes us answer and does not read");
  EXPECT_LE(world.pool.in_use(), 256u * 1024);
  server.reset();
}

TEST_F(AgainstRaw, an_alert_is_named) {
  open();
  std::string alert = raw->take_output();
  SSL_set_verify(raw->ssl(), SSL_VERIFY_PEER, nullptr);
  // A record that this side cannot decrypt makes the raw peer answer with an alert.
  BIO_write(SSL_get_rbio(raw->ssl()),
            "\x17\x03\x03\x00\x20"
            "0123456789abcdef0123456789abcdef",
            37);
  char byte = 0;
  SSL_read(raw->ssl(), &byte, 1);
  raw->send(raw->take_output());
  settle(world.loop);
  IoResult end;
  EXPECT_EQ(get(*server, &end), "");
  EXPECT_EQ(end.error, EPROTO);
  EXPECT_EQ(server->failure(), "alert: bad record MAC");
}

TEST_F(AgainstRaw, a_bad_record_ends_it_with_an_alert) {
  for (const std::string& record : {std::string("\x17\x03\x03\x00\x20"
                                                "0123456789abcdef0123456789abcdef",
                                                37),
                                    std::string("\x17\x03\x03\xff\xff", 5), std::string("\x17\x03\x03\x00\x00", 5),
                                    std::string("GET / HTTP/1.1\r\n\r\n"), std::string(100, '\0'),
                                    std::string("\x18\x03\x03\x00\x20"
                                                "0123456789abcdef0123456789abcdef",
                                                37)}) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      open(version);
      raw->send(record);
      settle(world.loop);
      IoResult end;
      EXPECT_EQ(get(*server, &end), "");
      EXPECT_EQ(end.status, IoStatus::error) << record;
      EXPECT_EQ(end.error, EPROTO);
      EXPECT_TRUE(server->failure().starts_with("record: ")) << server->failure();
      EXPECT_EQ(put(*server, "x").status, IoStatus::error);
    }
  }
}

TEST_F(AgainstRaw, renegotiation_is_refused) {
  open(TLS1_2_VERSION);
  SSL_renegotiate(raw->ssl());
  SSL_do_handshake(raw->ssl());
  raw->send(raw->take_output());
  settle(world.loop);
  IoResult end;
  EXPECT_EQ(get(*server, &end), "");
  raw->feed();
  EXPECT_NE(SSL_do_handshake(raw->ssl()), 1);
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
  ERR_clear_error();
}

}  // namespace
}  // namespace postern::tls
