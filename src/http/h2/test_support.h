// For the tests and fuzz targets of this folder: frames made by hand, the library itself as the peer of either role,
// and a service whose requests say in their path what is to happen.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/connection/test_support.h"
#include "http/h2/conduct.h"
#include "http/h2/server_session.h"

namespace postern::http::h2 {

// ---- frames by hand ----

inline constexpr std::uint8_t kEndStreamFlag = 0x1;
inline constexpr std::uint8_t kAckFlag = 0x1;
inline constexpr std::uint8_t kEndHeadersFlag = 0x4;
inline constexpr std::uint8_t kPaddedFlag = 0x8;
inline constexpr std::uint8_t kPriorityFlag = 0x20;

inline std::string big_endian(std::uint64_t number, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>((number >> (8 * i)) & 0xffu);
  return out;
}

inline std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string out = big_endian(payload.size(), 3);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  out += big_endian(stream, 4);
  out += payload;
  return out;
}
inline std::string frame(FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  return frame(static_cast<std::uint8_t>(type), flags, stream, payload);
}

using Setting = std::pair<std::uint16_t, std::uint32_t>;
inline std::string settings(const std::vector<Setting>& entries = {}) {
  std::string payload;
  for (const auto& [id, value] : entries) payload += big_endian(id, 2) + big_endian(value, 4);
  return frame(FrameType::settings, 0, 0, payload);
}
inline std::string settings_ack() { return frame(FrameType::settings, kAckFlag, 0, ""); }
inline std::string ping() { return frame(FrameType::ping, 0, 0, "12345678"); }
inline std::string window_update(std::uint32_t stream, std::uint32_t increment) {
  return frame(FrameType::window_update, 0, stream, big_endian(increment, 4));
}
inline std::string rst_stream(std::uint32_t stream, std::uint32_t code) {
  return frame(FrameType::rst_stream, 0, stream, big_endian(code, 4));
}
inline std::string goaway(std::uint32_t last, std::uint32_t code) {
  return frame(FrameType::goaway, 0, 0, big_endian(last, 4) + big_endian(code, 4));
}
inline std::string data(std::uint32_t stream, std::string_view bytes, bool end = false) {
  return frame(FrameType::data, end ? kEndStreamFlag : 0, stream, bytes);
}

using Pairs = std::vector<std::pair<std::string, std::string>>;
// HPACK without compression (RFC 7541 6.2.2, no Huffman code): every field is the bytes that the test wrote.
inline std::string hpack(const Pairs& fields) {
  const auto number = [](std::string& out, std::size_t value) {
    if (value < 127) {
      out += static_cast<char>(value);
      return;
    }
    out += '\x7f';
    value -= 127;
    for (; value >= 128; value /= 128) out += static_cast<char>(value % 128 + 128);
    out += static_cast<char>(value);
  };
  std::string out;
  for (const auto& [name, value] : fields) {
    out += '\0';
    number(out, name.size());
    out += name;
    number(out, value.size());
    out += value;
  }
  return out;
}
inline std::string headers(std::uint32_t stream, const Pairs& fields, bool end = true) {
  const auto flags = static_cast<std::uint8_t>(kEndHeadersFlag | (end ? kEndStreamFlag : 0));
  return frame(FrameType::headers, flags, stream, hpack(fields));
}
// The four pseudo-fields of a request, then `more`.
inline Pairs request(std::string method, std::string path, const Pairs& more = {}) {
  Pairs out = {
      {":method", std::move(method)}, {":scheme", "http"}, {":authority", "a.example"}, {":path", std::move(path)}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}
inline Pairs response(std::string status, const Pairs& more = {}) {
  Pairs out = {{":status", std::move(status)}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

// ---- frames that came, as text ----

// Frame by frame what a session has said: "headers 1 :status=200 x=y end", "data 1 5 end", "rst 1 8", "goaway 3 0",
// "ping ack". Header blocks are decoded, so it must see all of them. SETTINGS and WINDOW_UPDATE are left out.
class Transcript {
 public:
  Transcript() { nghttp2_hd_inflate_new(&inflater_); }
  Transcript(const Transcript&) = delete;
  Transcript& operator=(const Transcript&) = delete;
  ~Transcript() { nghttp2_hd_inflate_del(inflater_); }

  // Only pseudo-fields of heads unless `all_fields`.
  bool all_fields = false;

  std::vector<std::string> read(std::string_view bytes) {
    std::vector<std::string> out;
    pending_ += bytes;
    while (pending_.size() >= 9) {
      const auto byte = [&](std::size_t i) {
        return static_cast<std::size_t>(static_cast<unsigned char>(pending_[i]));
      };
      const std::size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
      if (pending_.size() < 9 + length) break;
      const std::string payload = pending_.substr(9, length);
      const auto flags = static_cast<std::uint8_t>(byte(4));
      const std::string stream = std::to_string(byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8));
      const std::string text = describe(static_cast<FrameType>(byte(3)), flags, stream, payload);
      if (!text.empty()) out.push_back(text);
      pending_.erase(0, 9 + length);
    }
    return out;
  }

 private:
  static std::string number(std::string_view bytes) {
    std::size_t value = 0;
    for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
    return std::to_string(value);
  }
  std::string describe(FrameType type, std::uint8_t flags, const std::string& stream, const std::string& payload) {
    const std::string end = (flags & kEndStreamFlag) != 0 ? " end" : "";
    switch (type) {
      case FrameType::headers:
      case FrameType::continuation: {
        block_ += payload;
        if ((flags & kEndHeadersFlag) == 0) return "";
        return "headers " + stream + decode() + end;
      }
      case FrameType::data: return "data " + stream + " " + std::to_string(payload.size()) + end;
      case FrameType::rst_stream: return "rst " + stream + " " + number(payload);
      case FrameType::goaway: return "goaway " + number(payload.substr(0, 4)) + " " + number(payload.substr(4, 4));
      case FrameType::ping: return (flags & kAckFlag) != 0 ? "ping ack" : "ping";
      case FrameType::settings:
      case FrameType::window_update: return "";
      default: return "frame " + std::to_string(static_cast<int>(type)) + " " + stream;
    }
  }
  std::string decode() {
    std::string out;
    const auto* at = reinterpret_cast<const std::uint8_t*>(block_.data());
    std::size_t left = block_.size();
    for (;;) {
      nghttp2_nv field{};
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
      if (used < 0) return " undecodable";
      at += used;
      left -= static_cast<std::size_t>(used);
      const std::string name(reinterpret_cast<const char*>(field.name), field.namelen);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && (all_fields || name[0] == ':')) {
        out += " " + name + "=" + std::string(reinterpret_cast<const char*>(field.value), field.valuelen);
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    block_.clear();
    return out;
  }

  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string pending_;
  std::string block_;
};

inline std::string join(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += (out.empty() ? "" : "; ") + line;
  return out;
}

// ---- the library as the peer ----

// What one stream of the library's session has seen.
struct Seen {
  std::string status;  // or ":method :path" of a request
  std::string fields;  // "[name|value]..." without pseudo-fields
  std::string body;
  std::string trailers;
  std::vector<std::string> interim;
  std::size_t data_frames = 0;
  bool head = false;
  bool ended = false;                   // END_STREAM
  std::optional<std::uint32_t> closed;  // by which error code
};

// The library's session on the far end of a memory stream. Everything it is told to send goes out with run().
class Library {
 public:
  enum class Role : std::uint8_t { client, server };

  Library(Role role, Peer& peer, const std::vector<Setting>& entries = {}, bool opens_windows = true)
      : role_(role), peer_(peer) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, opens_windows ? 0 : 1);
    if (role == Role::client) {
      nghttp2_session_client_new2(&session, callbacks, this, option);
    } else {
      nghttp2_session_server_new2(&session, callbacks, this, option);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    std::vector<nghttp2_settings_entry> list;
    for (const auto& [id, value] : entries) list.push_back({id, value});
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, list.data(), list.size());
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() { nghttp2_session_del(session); }

  // Until neither side has anything more to say.
  void run() {
    for (bool busy = true; busy;) {
      busy = send();
      const std::string got = peer_.receive();
      if (got.empty()) continue;
      busy = true;
      if (failure == 0) {
        const ssize_t done =
            nghttp2_session_mem_recv(session, reinterpret_cast<const std::uint8_t*>(got.data()), got.size());
        if (done < 0) failure = static_cast<int>(done);
      }
    }
  }

  // `body`: nullopt is none. `end`: nothing follows it.
  std::int32_t request(const Pairs& fields, std::optional<std::string> body = std::nullopt, bool end = true) {
    const auto id = static_cast<std::int32_t>(nghttp2_session_get_next_stream_id(session));
    const nghttp2_data_provider provider = source(id, body, end);
    const std::vector<nghttp2_nv> nva = list(fields);
    return nghttp2_submit_request(session, nullptr, nva.data(), nva.size(), body ? &provider : nullptr, nullptr);
  }
  std::int32_t get(const std::string& path, const Pairs& more = {}) { return request(h2::request("GET", path, more)); }
  std::int32_t post(const std::string& path, std::string body, const Pairs& more = {}) {
    return request(h2::request("POST", path, more), std::move(body));
  }
  void respond(std::int32_t id, const Pairs& fields, std::optional<std::string> body = std::nullopt, bool end = true) {
    const nghttp2_data_provider provider = source(id, body, end);
    const std::vector<nghttp2_nv> nva = list(fields);
    nghttp2_submit_response(session, id, nva.data(), nva.size(), body ? &provider : nullptr);
  }
  void interim(std::int32_t id, const Pairs& fields) {
    const std::vector<nghttp2_nv> nva = list(fields);
    nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, id, nullptr, nva.data(), nva.size(), nullptr);
  }
  // More of a body that did not end; trailers end it.
  void more(std::int32_t id, std::string_view bytes, bool end = false, Pairs trailers = {}) {
    Body& body = bodies_[id];
    body.bytes += bytes;
    body.end = end || !trailers.empty();
    body.trailers = std::move(trailers);
    nghttp2_session_resume_data(session, id);
  }
  void reset(std::int32_t id, std::uint32_t code) { nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, code); }

  nghttp2_session* session = nullptr;
  std::map<std::int32_t, Seen> streams;
  std::vector<std::string> goaways;  // "last code"
  std::map<std::uint16_t, std::uint32_t> peer_settings;
  std::size_t pongs = 0;
  int failure = 0;

 private:
  struct Body {
    std::string bytes;
    bool end = true;
    Pairs trailers;
  };
  static Library& of(void* user) { return *static_cast<Library*>(user); }
  static std::string text(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
  }
  static std::vector<nghttp2_nv> list(const Pairs& fields) {
    std::vector<nghttp2_nv> out;
    const auto bytes = [](const std::string& value) {
      return reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data()));
    };
    for (const auto& [name, value] : fields) {
      out.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    return out;
  }
  nghttp2_data_provider source(std::int32_t id, const std::optional<std::string>& body, bool end) {
    if (body) bodies_[id] = {*body, end, {}};
    return {{}, read};
  }
  bool send() {
    std::string out;
    for (;;) {
      const std::uint8_t* bytes = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session, &bytes);
      if (size <= 0) break;
      out += text(bytes, static_cast<std::size_t>(size));
    }
    if (out.empty()) return false;
    unsent_ += out;
    const std::size_t sent = peer_.send(unsent_);
    unsent_.erase(0, sent);
    return sent != 0;
  }

  static ssize_t read(nghttp2_session* session, std::int32_t id, std::uint8_t* buffer, std::size_t length,
                      std::uint32_t* flags, nghttp2_data_source*, void* user) {
    Body& body = of(user).bodies_[id];
    const std::size_t size = std::min(length, body.bytes.size());
    if (size == 0 && !body.end) return NGHTTP2_ERR_DEFERRED;
    std::copy_n(body.bytes.data(), size, reinterpret_cast<char*>(buffer));
    body.bytes.erase(0, size);
    if (body.bytes.empty() && body.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!body.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const std::vector<nghttp2_nv> nva = list(body.trailers);
        nghttp2_submit_trailer(session, id, nva.data(), nva.size());
      }
    }
    return static_cast<ssize_t>(size);
  }
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    of(user).block_ = {};
    static_cast<void>(frame);
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    of(user).block_.emplace_back(text(name, name_size), text(value, value_size));
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size,
                     void* user) {
    of(user).streams[id].body += text(bytes, size);
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Library& self = of(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: self.on_block(self.streams[frame->hd.stream_id]); break;
      case NGHTTP2_DATA: ++self.streams[frame->hd.stream_id].data_frames; break;
      case NGHTTP2_SETTINGS:
        for (std::size_t i = 0; i < frame->settings.niv; ++i) {
          self.peer_settings[static_cast<std::uint16_t>(frame->settings.iv[i].settings_id)] =
              frame->settings.iv[i].value;
        }
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) ++self.pongs;
        break;
      case NGHTTP2_GOAWAY:
        self.goaways.push_back(std::to_string(frame->goaway.last_stream_id) + " " +
                               std::to_string(frame->goaway.error_code));
        break;
      default: break;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      self.streams[frame->hd.stream_id].ended = true;
    }
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    of(user).streams[id].closed = code;
    return 0;
  }
  void on_block(Seen& seen) {
    std::string first;
    std::string fields;
    for (const auto& [name, value] : block_) {
      if (name == ":status" || name == ":method") {
        first = value + first;
      } else if (name == ":path") {
        first += " " + value;
      } else if (name[0] != ':') {
        fields += "[" + name + "|" + value + "]";
      } else if (name == ":protocol") {
        fields += "[" + name + "|" + value + "]";
      }
    }
    if (seen.head) {
      seen.trailers = fields;
    } else if (role_ == Role::client && first[0] == '1') {
      seen.interim.push_back(first + fields);
    } else {
      seen.head = true;
      seen.status = first;
      seen.fields = fields;
    }
  }

  Role role_;
  Peer& peer_;
  Pairs block_;
  std::map<std::int32_t, Body> bodies_;
  std::string unsent_;
};
}  // namespace postern::http::h2
