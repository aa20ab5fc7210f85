// FramePool: coroutine frames from per-thread free lists, because a request creates a handful of frames of the same few
// sizes. A frame must be released on the thread that allocated it; connections never change loops, so this holds.
// Under AddressSanitizer frames come from the heap, so that use after destroy is seen.
#pragma once

#include <cstddef>

namespace postern {

class FramePool {
 public:
  static void* allocate(std::size_t size);
  static void release(void* frame, std::size_t size) noexcept;
  // Gives the calling thread's cached frames back to the heap; a loop calls it when run() ends, and when it is
  // destroyed.
  static void trim() noexcept;
};

}  // namespace postern
