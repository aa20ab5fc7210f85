// AccessLog: one JSON line per request. A loop formats into its own 64 KiB block without a lock and hands full blocks
// to one writer thread; the gateway calls flush() on each loop every kFlushInterval, so that lines do not lie around.
//
// What a client sent is escaped to ASCII and cut (observe/json_text.h), so no request can forge a line or a field. The
// values of a query are replaced by "…" unless configured otherwise; names and short flags stay. A Referer loses query,
// fragment and user information always. No header but User-Agent and Referer, and no body, is ever written.
//
// Fields, in this order; those in brackets are missing when there is nothing to say:
//   time request_id client method [host] [path] [query] protocol [tls] status [route] [consumer] [origin endpoint
//   attempts connect_ms first_byte_ms origin_certificate] duration_ms bytes_in bytes_out [error_code error_side
//   [error_detail]] [user_agent] [referer]
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "observe/block_writer.h"
#include "observe/json_text.h"
#include "platform/clock.h"

namespace postern::observe {

enum class QueryValues : std::uint8_t { redact, keep };

inline constexpr Duration kNotMeasured{-1};

// What is known about a request when it is over. Views are read during append() only. Empty text: left out.
struct AccessRecord {
  WallTime time{};  // when the head was complete
  std::string_view request_id;
  std::string_view client;  // effective address, without port
  std::string_view method;
  std::string_view host;
  std::string_view path;      // canonical, without query
  std::string_view query;     // raw, without '?'
  std::string_view protocol;  // "HTTP/1.1"
  std::string_view tls;       // "TLSv1.3"; empty: in clear
  int status = 0;             // sent to the client; 0: none
  std::string_view route;
  std::string_view consumer;  // id, not name
  std::string_view origin;
  std::uint32_t endpoint = 0;  // index of the last endpoint tried; these five only with an origin
  std::uint32_t attempts = 0;
  Duration connect = kNotMeasured;     // of the last attempt; kNotMeasured if the connection came from the pool
  Duration first_byte = kNotMeasured;  // from the last attempt's request sent to its response head
  // Whether the origin has seen the gateway's certificate: "presented", "requested_not_presented", "not_requested";
  // empty without TLS.
  std::string_view origin_certificate;
  Duration duration{};          // from complete head to last byte
  std::uint64_t bytes_in = 0;   // body bytes from the client
  std::uint64_t bytes_out = 0;  // body bytes to the client
  std::string_view error_code;  // CodeInfo::id; the next two only with it
  Side error_side = Side::gateway;
  std::string_view error_detail;  // Error::detail(): what the answer may not say
  std::string_view user_agent;
  std::string_view referer;
};

class AccessLog final {
 public:
  struct Options {
    BlockWriter::Options writer;
    QueryValues query_values = QueryValues::redact;
  };
  // Code::io_failed if the sink cannot be opened. `log` outlives this.
  [[nodiscard]] static Result<std::unique_ptr<AccessLog>> open(const Options& options, Log& log);
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;
  // After all LoopAccessLogs.
  ~AccessLog() = default;

  void reopen() noexcept { writer_->reopen(); }  // for SIGUSR1; async-signal-safe
  [[nodiscard]] std::uint64_t dropped() const noexcept { return writer_->dropped(); }
  [[nodiscard]] std::uint64_t write_errors() const noexcept { return writer_->write_errors(); }
  [[nodiscard]] std::uint64_t reopened() const noexcept { return writer_->reopened(); }

 private:
  friend class LoopAccessLog;
  AccessLog(std::unique_ptr<BlockWriter> writer, QueryValues query_values)
      : writer_(std::move(writer)), query_values_(query_values) {}
  const std::unique_ptr<BlockWriter> writer_;
  const QueryValues query_values_;
};

// The part of the access log that belongs to one loop, and is used by that loop only.
class LoopAccessLog final {
 public:
  static constexpr Duration kFlushInterval = std::chrono::milliseconds(500);

  explicit LoopAccessLog(AccessLog& log) noexcept : log_(log) {}
  LoopAccessLog(const LoopAccessLog&) = delete;
  LoopAccessLog& operator=(const LoopAccessLog&) = delete;
  ~LoopAccessLog() { flush(); }

  // Never blocks. Without a free block the line is dropped and counted.
  void append(const AccessRecord& record) noexcept;
  // Hands over what has gathered. An idle loop keeps no block.
  void flush() noexcept;

 private:
  AccessLog& log_;
  std::unique_ptr<Block> block_;
  TimestampText timestamp_;
};

// The pieces that hide things, for tests and for other logs.
//
// At most `limit` bytes of `query` are looked at. Writes escaped JSON text; needs room for kEscapeGrowth * limit + 16.
[[nodiscard]] char* put_redacted_query(char* out, std::string_view query, std::size_t limit) noexcept;
// What may be shown of a Referer (RFC 9110 10.1.3): scheme, host, port and path, as two pieces because user information
// lies between them. Both are "" if it has another form.
struct RefererParts {
  std::string_view scheme;  // "https://", "//" or ""
  std::string_view rest;
};
[[nodiscard]] RefererParts referer_parts(std::string_view referer) noexcept;

}  // namespace postern::observe
