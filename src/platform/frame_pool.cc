#include "platform/frame_pool.h"

#include <new>

namespace postern {
namespace {

#if defined(__SANITIZE_ADDRESS__) || (defined(__has_feature) && __has_feature(address_sanitizer))
constexpr bool kPooled = false;
#else
constexpr bool kPooled = true;
#endif

constexpr std::size_t kGrain = 32;     // fine: an idle connection is little more than a few small frames
constexpr std::size_t kClasses = 512;  // up to 16 KiB: handle_request()'s frame holds a whole Exchange
// What a few hundred HTTP/2 streams at a time need: each is a frame of every kind and two streams.
constexpr std::size_t kMaxCachedBytes = std::size_t{8} * 1024 * 1024;

struct FreeFrame {
  FreeFrame* next;
};

// The allocator's own per-thread cache; trivially constructed and destroyed, invisible to everything above.
struct Cache {
  FreeFrame* free[kClasses];
  std::size_t bytes;
};
constinit thread_local Cache cache{};

}  // namespace

void* FramePool::allocate(std::size_t size) {
  const std::size_t index = (size - 1) / kGrain;
  if (!kPooled || index >= kClasses) return ::operator new(size);
  const std::size_t rounded = (index + 1) * kGrain;
  if (FreeFrame* const frame = cache.free[index]) {
    cache.free[index] = frame->next;
    cache.bytes -= rounded;
    return frame;
  }
  return ::operator new(rounded);
}

void FramePool::release(void* frame, std::size_t size) noexcept {
  const std::size_t index = (size - 1) / kGrain;
  if (kPooled && index < kClasses) {
    const std::size_t rounded = (index + 1) * kGrain;
    if (cache.bytes + rounded <= kMaxCachedBytes) {
      auto* const free = static_cast<FreeFrame*>(frame);
      free->next = cache.free[index];
      cache.free[index] = free;
      cache.bytes += rounded;
      return;
    }
  }
  ::operator delete(frame);
}

void FramePool::trim() noexcept {
  for (FreeFrame*& list : cache.free) {
    while (FreeFrame* const frame = list) {
      list = frame->next;
      ::operator delete(frame);
    }
  }
  cache.bytes = 0;
}

}  // namespace postern
