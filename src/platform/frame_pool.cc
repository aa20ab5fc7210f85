#include "platform/frame_pool.h"

#include <new>

namespace postern {
namespace {

#if defined(__SANITIZE_ADDRESS__) || (defined(__has_feature) && __has_feature(address_sanitizer))
constexpr bool kPooled = false;
#else
constexpr bool kPooled = true;
#endif

constexpr std::size_t kGrain = 128;
constexpr std::size_t kClasses = 128;  // up to 16 KiB: handle_request()'s frame holds a whole Exchange
constexpr unsigned kMaxCachedPerClass = 256;

struct FreeFrame {
  FreeFrame* next;
};

struct FreeList {
  FreeFrame* head;
  unsigned count;
};

// The allocator's own per-thread cache; trivially constructed and destroyed, invisible to everything above.
constinit thread_local FreeList free_lists[kClasses]{};

}  // namespace

void* FramePool::allocate(std::size_t size) {
  const std::size_t index = (size - 1) / kGrain;
  if (!kPooled || index >= kClasses) return ::operator new(size);
  FreeList& list = free_lists[index];
  if (FreeFrame* const frame = list.head) {
    list.head = frame->next;
    --list.count;
    return frame;
  }
  return ::operator new((index + 1) * kGrain);
}

void FramePool::release(void* frame, std::size_t size) noexcept {
  const std::size_t index = (size - 1) / kGrain;
  if (kPooled && index < kClasses) {
    FreeList& list = free_lists[index];
    if (list.count < kMaxCachedPerClass) {
      auto* const free = static_cast<FreeFrame*>(frame);
      free->next = list.head;
      list.head = free;
      ++list.count;
      return;
    }
  }
  ::operator delete(frame);
}

void FramePool::trim() noexcept {
  for (FreeList& list : free_lists) {
    while (FreeFrame* const frame = list.head) {
      list.head = frame->next;
      ::operator delete(frame);
    }
    list.count = 0;
  }
}

}  // namespace postern
