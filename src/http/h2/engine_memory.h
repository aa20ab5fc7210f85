// What the HTTP/2 library allocates: from the pool of coroutine frames, because a stream makes and frees a dozen small
// blocks of the same few sizes, and the general allocator takes longer for them than the library for its work.
#pragma once

#include <nghttp2/nghttp2.h>

namespace postern::http::h2 {

// For the library's constructors, which copy it. An engine lives on one loop (FramePool).
[[nodiscard]] nghttp2_mem engine_memory() noexcept;

}  // namespace postern::http::h2
