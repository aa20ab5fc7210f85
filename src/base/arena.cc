#include "base/arena.h"

#include <algorithm>

namespace postern {

std::span<char> Arena::allocate_block(std::size_t bytes) {
  const std::size_t size = std::max(bytes, kBlockBytes);
  auto block = std::make_unique<Block>();
  block->bytes = std::make_unique_for_overwrite<char[]>(size);
  next_ = block->bytes.get();
  end_ = next_ + size;
  block->next = std::move(blocks_);
  blocks_ = std::move(block);
  char* const out = next_;
  next_ += bytes;
  return {out, bytes};
}

void Arena::reset() noexcept {
  // Iterative, so that a long chain does not recurse through destructors.
  while (blocks_) blocks_ = std::move(blocks_->next);
  next_ = inline_;
  end_ = inline_ + kInlineBytes;
}

}  // namespace postern
