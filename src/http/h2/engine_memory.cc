#include "http/h2/engine_memory.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <new>

#include "platform/frame_pool.h"

namespace postern::http::h2 {
namespace {

// The library gives a block back without saying how large it is.
struct alignas(std::max_align_t) Block {
  std::size_t size;  // of all, this header included
  [[nodiscard]] void* payload() noexcept { return this + 1; }
  [[nodiscard]] std::size_t capacity() const noexcept { return size - sizeof(Block); }
  static Block* of(void* payload) noexcept { return static_cast<Block*>(payload) - 1; }
};

void* allocate(std::size_t size, void* /*user*/) noexcept {
  if (size > std::numeric_limits<std::size_t>::max() / 2) return nullptr;
  const std::size_t whole = size + sizeof(Block);
  return (::new (FramePool::allocate(whole)) Block{whole})->payload();
}

void release(void* payload, void* /*user*/) noexcept {
  if (!payload) return;
  Block* const block = Block::of(payload);
  FramePool::release(block, block->size);
}

void* allocate_cleared(std::size_t count, std::size_t size, void* user) noexcept {
  if (size != 0 && count > std::numeric_limits<std::size_t>::max() / size) return nullptr;
  void* const payload = allocate(count * size, user);
  if (payload) std::memset(payload, 0, count * size);
  return payload;
}

void* reallocate(void* payload, std::size_t size, void* user) noexcept {
  if (!payload) return allocate(size, user);
  const std::size_t before = Block::of(payload)->capacity();
  if (size <= before) return payload;
  void* const bigger = allocate(size, user);
  if (!bigger) return nullptr;
  std::memcpy(bigger, payload, before);
  release(payload, user);
  return bigger;
}

}  // namespace

nghttp2_mem engine_memory() noexcept { return {nullptr, allocate, release, allocate_cleared, reallocate}; }

}  // namespace postern::http::h2
