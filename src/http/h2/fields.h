// Header blocks of HTTP/2 between HPACK and the heads that the rest of the gateway knows. Sans-I/O.
//
// The library refuses what RFC 9113 8.2 and 8.3 call malformed; here is what it leaves to its user (number and size of
// fields, crumbs of cookies, Host against :authority), and once more what would do harm in HTTP/1 if it got through:
// a byte that ends a line or a name.
#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/error.h"
#include "http/h1/head_scanner.h"
#include "http/message.h"

namespace postern::http::h2 {

using h1::HeadLimits;

// One header block as it is decoded, field by field; text is copied into an arena and lives as long as that.
class FieldBlock {
 public:
  enum class Kind : std::uint8_t { head, trailers };
  enum class Added : std::uint8_t {
    yes,
    too_large,  // over a limit: dropped, the block can still be answered as such
    hopeless,   // far over a limit: it is not worth decoding any further
    malformed,
  };

  // `arena` outlives the block and everything made of it.
  explicit FieldBlock(Arena& arena) noexcept : arena_(arena) {}  // NOLINT: leaves said_ to begin()
  FieldBlock(const FieldBlock&) = delete;
  FieldBlock& operator=(const FieldBlock&) = delete;

  // Starts a block; nothing else but fields() and arena() before the first one. One object may take several, one after
  // the other (interim heads), to a common bound.
  void begin(Kind kind) noexcept;
  // `name` as it was on the wire, pseudo-fields included. A field costs its bytes and 32 more (RFC 9113 6.5.2); a crumb
  // of a cookie is a field. :path has its own limit.
  [[nodiscard]] Added add(std::string_view name, std::string_view value, const HeadLimits& limits);
  // The block is complete: crumbs become one Cookie (RFC 9113 8.2.3).
  void finish();

  [[nodiscard]] Headers& fields() noexcept { return fields_; }
  [[nodiscard]] const Headers& fields() const noexcept { return fields_; }
  // Code::headers_too_large or target_too_long if something was dropped.
  [[nodiscard]] bool oversized() const noexcept { return said_.oversized; }
  [[nodiscard]] bool path_too_long() const noexcept { return said_.path_too_long; }
  [[nodiscard]] Arena& arena() const noexcept { return arena_; }

  // Pseudo-fields; "" if absent, which for :authority is told apart by has_authority().
  [[nodiscard]] std::string_view method() const noexcept { return said_.method; }
  [[nodiscard]] std::string_view scheme() const noexcept { return said_.scheme; }
  [[nodiscard]] std::string_view authority() const noexcept { return said_.authority; }
  [[nodiscard]] bool has_authority() const noexcept { return said_.has_authority; }
  [[nodiscard]] std::string_view path() const noexcept { return said_.path; }
  [[nodiscard]] std::string_view protocol() const noexcept { return said_.protocol; }
  [[nodiscard]] std::string_view status() const noexcept { return said_.status; }

 private:
  [[nodiscard]] Added add_pseudo(std::string_view name, std::string_view value, const HeadLimits& limits);

  // Of the present block.
  struct Said {
    Kind kind = Kind::head;
    bool oversized = false;
    bool path_too_long = false;
    bool has_authority = false;
    std::size_t crumbs = 0;
    std::size_t crumb_bytes = 0;
    std::size_t count = 0;
    std::size_t bytes = 0;
    std::string_view method;
    std::string_view scheme;
    std::string_view authority;
    std::string_view path;
    std::string_view protocol;
    std::string_view status;
  };
  // In a union, and there from begin() on: few messages have trailers, and the others do not touch the memory for them.
  union {
    Said said_;
  };
  Arena& arena_;
  std::size_t bytes_of_all_ = 0;  // of the blocks before, too: their text stays in the arena
  Headers fields_;
};

// The head of a request as the handler gets it: Host first, made of :authority; framing by END_STREAM and
// Content-Length. An extended CONNECT for a WebSocket (RFC 8441) becomes the GET of RFC 6455 with `websocket_key`, and
// `websocket` is set. `out` comes empty. Errors (Side::client) as of an HTTP/1 head: bad_request, bad_header,
// bad_target, bad_host, bad_framing, headers_too_large, target_too_long, expectation_failed, method_refused; then `out`
// holds what was understood.
[[nodiscard]] Result<void> make_request(const FieldBlock& block, bool end_stream, std::string_view websocket_key,
                                        RequestHead& out, bool& websocket);
// The same question alone, before there is a key.
[[nodiscard]] bool asks_for_websocket(const FieldBlock& block) noexcept;

// What the head of a response says besides its fields, interim or final.
struct ResponseFacts {
  int status = 0;
  Framing framing = Framing::none;  // none: nothing follows (END_STREAM, or a status or method that has no body)
  bool announces_length = false;
  std::uint64_t content_length = 0;
};
// Error: origin_malformed.
[[nodiscard]] Result<ResponseFacts> judge_response(const FieldBlock& block, Method request_method, bool end_stream);
// The head that both make. `out` is written over.
void make_response(const ResponseFacts& facts, const Headers& fields, ResponseHead& out);

// Where the blocks of one session are put together, one after the other.
struct FieldSpace {
  std::vector<nghttp2_nv> fields;
  bool knows_request_id = false;  // HPACK's table has had the name X-Request-Id
};

// The fields of a block to be sent: views, taken by the library when it is submitted, which also makes names
// lower-case.
class OutgoingFields {
 public:
  explicit OutgoingFields(FieldSpace& space) noexcept : space_(space), fields_(space.fields) { fields_.clear(); }
  OutgoingFields(const OutgoingFields&) = delete;
  OutgoingFields& operator=(const OutgoingFields&) = delete;

  void add(std::string_view name, std::string_view value);
  // The same for a name that is in lower case and lives for ever: not copied.
  void add_constant_name(std::string_view name, std::string_view value);
  // All but those that belong to one connection (RFC 9113 8.2.2), Host, the length, which add_length() says, and
  // `nor`. Credentials go out as never indexed (RFC 7541 7.1.3): requests of others on the same connection must not be
  // able to find out by the size of theirs what is in HPACK's table.
  void add_all(const Headers& headers, HeaderName nor = HeaderName::other);
  // As add_all(), each of them a credential.
  void add_secret(const Headers& headers);
  void add_status(int status);
  void add_length(std::uint64_t length);

  [[nodiscard]] const nghttp2_nv* data() const noexcept { return fields_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return fields_.size(); }

 private:
  FieldSpace& space_;
  std::vector<nghttp2_nv>& fields_;
  std::array<char, 3> status_{};
  std::array<char, 20> length_{};
};

}  // namespace postern::http::h2
