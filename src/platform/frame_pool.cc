#include "platform/frame_pool.h"

#include <algorithm>
#include <cstdint>
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
constexpr std::size_t kMaxClassBytes = kMaxCachedBytes / 2;  // so that no class takes it all

struct FreeFrame {
  FreeFrame* next;
};

// The allocator's own per-thread cache; trivially constructed and destroyed, invisible to everything above.
struct Cache {
  FreeFrame* free[kClasses];
  std::uint32_t class_bytes[kClasses];
  std::size_t bytes;
  std::size_t largest;  // no class above it has frames
};
constinit thread_local Cache cache{};

constexpr std::size_t size_of_class(std::size_t index) noexcept { return (index + 1) * kGrain; }
void take_off(std::size_t index) noexcept {
  cache.bytes -= size_of_class(index);
  cache.class_bytes[index] -= static_cast<std::uint32_t>(size_of_class(index));
}

// Makes room for frames of class `index`: a burst of large ones must not keep the small ones, of which every request
// needs several, from being cached. False if there is nothing larger to give back.
bool drop_larger_than(std::size_t index) noexcept {
  while (cache.largest > index && !cache.free[cache.largest]) --cache.largest;
  if (cache.largest <= index) return false;
  FreeFrame* const frame = cache.free[cache.largest];
  cache.free[cache.largest] = frame->next;
  take_off(cache.largest);
  ::operator delete(frame);
  return true;
}

}  // namespace

void* FramePool::allocate(std::size_t size) {
  const std::size_t index = (size - 1) / kGrain;
  if (!kPooled || index >= kClasses) return ::operator new(size);
  if (FreeFrame* const frame = cache.free[index]) {
    cache.free[index] = frame->next;
    take_off(index);
    return frame;
  }
  return ::operator new(size_of_class(index));
}

void FramePool::release(void* frame, std::size_t size) noexcept {
  const std::size_t index = (size - 1) / kGrain;
  if (kPooled && index < kClasses) {
    const std::size_t rounded = size_of_class(index);
    const bool fits = cache.bytes + rounded <= kMaxCachedBytes;
    if (cache.class_bytes[index] + rounded <= kMaxClassBytes && (fits || drop_larger_than(index))) {
      auto* const free = static_cast<FreeFrame*>(frame);
      free->next = cache.free[index];
      cache.free[index] = free;
      cache.bytes += rounded;
      cache.class_bytes[index] += static_cast<std::uint32_t>(rounded);
      if (cache.largest < index) cache.largest = index;
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
  std::ranges::fill(cache.class_bytes, 0);
}

}  // namespace postern
