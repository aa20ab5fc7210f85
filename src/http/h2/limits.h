// What one HTTP/2 connection may cost, whoever is on the other side (facts of many attacks: rapid reset, MadeYouReset,
// CONTINUATION and control-frame floods, HPACK and header-count bombs, streams that stall).
#pragma once

#include <cstdint>

#include "platform/clock.h"

namespace postern::http::h2 {

struct Limits {
  std::uint32_t max_concurrent_streams = 128;     // SETTINGS_MAX_CONCURRENT_STREAMS that we announce
  std::uint32_t stream_window = 256 * 1024;       // bytes that a peer may send ahead of who reads, per stream
  std::uint32_t connection_window = 1024 * 1024;  // and per connection
  std::size_t max_output = 64 * 1024;             // bytes serialised ahead of the transport
  // Streams that we open on a connection before another one takes over: the identifiers of RFC 9113 5.1.1 end at 2^30.
  std::uint64_t max_exchanges = (std::uint64_t{1} << 30u) - 1024;
};

}  // namespace postern::http::h2
