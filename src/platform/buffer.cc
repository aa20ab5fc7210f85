#include "platform/buffer.h"

#include <algorithm>

namespace postern {

BufferPool::~BufferPool() {
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    for (char* const block : free_[i]) std::allocator<char>().deallocate(block, kSizes[i]);
  }
}

std::pair<char*, std::size_t> BufferPool::acquire(std::size_t at_least) {
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    if (at_least > kSizes[i]) continue;
    in_use_ += kSizes[i];
    if (!free_[i].empty()) {
      char* const block = free_[i].back();
      free_[i].pop_back();
      return {block, kSizes[i]};
    }
    return {std::allocator<char>().allocate(kSizes[i]), kSizes[i]};
  }
  in_use_ += at_least;
  return {std::allocator<char>().allocate(at_least), at_least};
}

void BufferPool::release(char* block, std::size_t size) noexcept {
  in_use_ -= size;
  for (std::size_t i = 0; i < kSizes.size(); ++i) {
    if (size == kSizes[i] && free_[i].size() < kMaxCached) {
      free_[i].push_back(block);
      return;
    }
  }
  std::allocator<char>().deallocate(block, size);
}

std::span<char> Buffer::writable(std::size_t at_least) {
  if (capacity_ - end_ >= at_least) return {data_ + end_, capacity_ - end_};
  if (data_ && capacity_ - size() >= at_least) {
    std::memmove(data_, data_ + begin_, size());
    end_ -= begin_;
    begin_ = 0;
    return {data_ + end_, capacity_ - end_};
  }
  const std::size_t wanted = std::max(size() + at_least, data_ ? 2 * capacity_ : std::size_t{1});
  const auto [block, capacity] = pool_->acquire(wanted);
  const std::size_t bytes = size();
  if (bytes != 0) std::memcpy(block, data_ + begin_, bytes);
  if (data_) pool_->release(data_, capacity_);
  data_ = block;
  capacity_ = capacity;
  begin_ = 0;
  end_ = bytes;
  return {data_ + end_, capacity_ - end_};
}

void Buffer::release() noexcept {
  if (data_) pool_->release(data_, capacity_);
  data_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

}  // namespace postern
