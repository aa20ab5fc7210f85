// FramePool: coroutine frames from per-thread free lists, because a request creates a handful of frames of the same few
// sizes. A frame should be released on the thread that allocated it, and is where connections live, for they never
// change loops; on another thread, such as that which destroys a loop, it goes to that one's lists.
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
