// The HTTP/2 origin of the benchmark: clear text with prior knowledge, one thread, epoll, libnghttp2; what one reading
// brought is answered with one writing.
//
//   h2_origin --listen PORT
//
// GET /64 answers with a body of that size, /echo with the fields it received, one "name: value" per line. A POST of
// application/grpc gets its own message back, with grpc-status: 0 in the trailers.
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "sockets.h"

namespace postern::bench {
namespace {

constexpr std::size_t kMaxMessage = 1024 * 1024;

struct Stream {
  std::string path;
  std::string fields;  // for /echo
  std::string body;    // of the request if it is gRPC; then of the answer
  std::size_t written = 0;
  bool grpc = false;
};

struct Connection {
  int fd = -1;
  nghttp2_session* session = nullptr;
  std::unordered_map<std::int32_t, Stream> streams;
  std::string output;      // what is to be written
  bool armed_out = false;  // what epoll is told

  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    nghttp2_session_del(session);
    if (fd >= 0) close(fd);
  }
};

std::string_view view(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

nghttp2_nv field(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));  // the library copies
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

Stream* stream_of(nghttp2_session* session, std::int32_t id) {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
}

ssize_t read_body(nghttp2_session* session, std::int32_t id, std::uint8_t* into, std::size_t room, std::uint32_t* flags,
                  nghttp2_data_source* source, void*) {
  auto& stream = *static_cast<Stream*>(source->ptr);
  const std::size_t size = std::min(room, stream.body.size() - stream.written);
  std::memcpy(into, stream.body.data() + stream.written, size);
  stream.written += size;
  if (stream.written < stream.body.size()) return static_cast<ssize_t>(size);
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (stream.grpc) {
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const std::array trailers{field("grpc-status", "0"), field("grpc-message", "")};
    nghttp2_submit_trailer(session, id, trailers.data(), trailers.size());
  }
  return static_cast<ssize_t>(size);
}

void answer(nghttp2_session* session, std::int32_t id, Stream& stream) {
  std::string_view status = "200";
  if (!stream.grpc) {
    stream.body.clear();
    if (stream.path == "/64") {
      stream.body.assign(64, 's');
    } else if (stream.path == "/echo") {
      stream.body = stream.fields;
    } else {
      status = "404";
    }
  }
  const std::string size = std::to_string(stream.body.size());
  const std::array fields{field(":status", status),
                          field("content-type", stream.grpc ? "application/grpc" : "application/octet-stream"),
                          field("content-length", size)};
  nghttp2_data_provider body{};
  body.source.ptr = &stream;
  body.read_callback = read_body;
  nghttp2_submit_response(session, id, fields.data(), stream.grpc ? 2 : 3, &body);
}

int on_begin(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Stream& stream =
      static_cast<Connection*>(user)->streams[frame->hd.stream_id];  // stays where it is when the map grows
  nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, &stream);
  return 0;
}

int on_field(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
             const std::uint8_t* value, std::size_t value_size, std::uint8_t, void*) {
  Stream* const stream = stream_of(session, frame->hd.stream_id);
  if (stream == nullptr) return 0;
  if (view(name, name_size) == ":path") stream->path = view(value, value_size);
  if (view(name, name_size) == "content-type") stream->grpc = view(value, value_size) == "application/grpc";
  if (stream->path != "/echo") return 0;
  stream->fields.append(view(name, name_size)).append(": ").append(view(value, value_size)).append("\r\n");
  return 0;
}

int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size,
            void*) {
  Stream* const stream = stream_of(session, id);
  if (stream != nullptr && stream->grpc && stream->body.size() + size <= kMaxMessage)
    stream->body.append(view(bytes, size));
  return 0;
}

int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void*) {
  if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
    return 0;
  }
  if (Stream* const stream = stream_of(session, frame->hd.stream_id)) answer(session, frame->hd.stream_id, *stream);
  return 0;
}

int on_close(nghttp2_session*, std::int32_t id, std::uint32_t, void* user) {
  static_cast<Connection*>(user)->streams.erase(id);
  return 0;
}

class Origin {
 public:
  explicit Origin(std::uint64_t port) : listener_(listen_on(port)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    control(EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
    nghttp2_session_callbacks_new(&callbacks_);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks_, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks_, on_field);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks_, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks_, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks_, on_close);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events{};
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        auto* const connection = static_cast<Connection*>(event.data.ptr);
        if (connection == nullptr) {
          accept_all();
        } else if (!serve(*connection, event.events)) {
          const std::unique_ptr<Connection> over(connection);  // one event per connection and wait
        }
      }
    }
  }

 private:
  void control(int operation, int fd, std::uint32_t interest, Connection* connection) const {
    epoll_event event{};
    event.events = interest;
    event.data.ptr = connection;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void accept_all() {
    for (int fd = 0; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      set_no_delay(fd);
      auto connection = std::make_unique<Connection>();
      connection->fd = fd;
      nghttp2_session_server_new(&connection->session, callbacks_, connection.get());
      const std::array settings{nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1024}};
      nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
      if (!flush(*connection)) continue;
      control(EPOLL_CTL_ADD, fd, EPOLLIN, connection.release());
    }
  }

  // False: the connection is over.
  bool serve(Connection& connection, std::uint32_t events) {
    if ((events & ~std::uint32_t{EPOLLOUT}) != 0) {
      const ssize_t got = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
      if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
      if (got > 0 && nghttp2_session_mem_recv(connection.session, reinterpret_cast<const std::uint8_t*>(buffer_.data()),
                                              static_cast<std::size_t>(got)) < 0) {
        return false;
      }
    }
    if (!flush(connection)) return false;
    const bool out = !connection.output.empty();
    if (out != connection.armed_out) {
      control(EPOLL_CTL_MOD, connection.fd, out ? EPOLLIN | EPOLLOUT : EPOLLIN, &connection);
      connection.armed_out = out;
    }
    return nghttp2_session_want_read(connection.session) != 0 || nghttp2_session_want_write(connection.session) != 0;
  }

  static bool flush(Connection& connection) {
    if (connection.output.empty()) {
      const std::uint8_t* bytes = nullptr;
      for (ssize_t size = 0; (size = nghttp2_session_mem_send(connection.session, &bytes)) > 0;) {
        connection.output.append(view(bytes, static_cast<std::size_t>(size)));
      }
    }
    if (connection.output.empty()) return true;
    const ssize_t sent = send(connection.fd, connection.output.data(), connection.output.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    connection.output.erase(0, static_cast<std::size_t>(sent));
    return true;
  }

  int listener_;
  int epoll_;
  nghttp2_session_callbacks* callbacks_ = nullptr;
  std::array<char, 256 * 1024> buffer_{};
};

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
  using namespace postern::bench;
  auto origin = std::make_unique<Origin>(number(option(argc, argv, "--listen")));
  origin->run();
}
