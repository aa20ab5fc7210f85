// Buffers: blocks of 4, 16 and 64 KiB from per-loop free lists. An idle connection holds none; a busy one starts with
// the smallest and grows while reads fill it. Single-threaded, like the loop it belongs to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace postern {

class BufferPool {
 public:
  static constexpr std::array<std::size_t, 3> kSizes = {4096, 16384, 65536};
  static constexpr std::size_t kLargest = kSizes.back();

  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  // A block of the smallest size that holds `at_least` bytes (beyond 64 KiB: exactly that, not cached).
  [[nodiscard]] std::pair<char*, std::size_t> acquire(std::size_t at_least);
  void release(char* block, std::size_t size) noexcept;

  // Bytes handed out at this moment.
  [[nodiscard]] std::size_t in_use() const noexcept { return in_use_; }
  // From here on the pool is tight: blocks are still handed out, but whoever can should do with small ones, and nobody
  // should begin anything new.
  void set_limit(std::size_t bytes) noexcept { limit_ = bytes; }
  [[nodiscard]] bool tight() const noexcept { return in_use_ > limit_; }

 private:
  static constexpr std::size_t kMaxCached = 64;  // blocks per size
  std::array<std::vector<char*>, kSizes.size()> free_;
  std::size_t in_use_ = 0;
  std::size_t limit_ = ~std::size_t{0};
};

// A queue of bytes in one contiguous block: append at the end, consume from the front. Views into it are valid until
// the next call that is not const.
class Buffer {
 public:
  explicit Buffer(BufferPool& pool) noexcept : pool_(&pool) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept
      : pool_(other.pool_),
        data_(std::exchange(other.data_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        begin_(std::exchange(other.begin_, 0)),
        end_(std::exchange(other.end_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      release();
      pool_ = other.pool_;
      data_ = std::exchange(other.data_, nullptr);
      capacity_ = std::exchange(other.capacity_, 0);
      begin_ = std::exchange(other.begin_, 0);
      end_ = std::exchange(other.end_, 0);
    }
    return *this;
  }
  ~Buffer() { release(); }

  [[nodiscard]] std::string_view view() const noexcept { return {data_ + begin_, end_ - begin_}; }
  [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  void consume(std::size_t bytes) noexcept {
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  void clear() noexcept { begin_ = end_ = 0; }

  // Free space at the end, at least one byte: allocates the first block, moves bytes to the front, or doubles the block
  // as needed. Does not move bytes if there is space already.
  [[nodiscard]] std::span<char> writable(std::size_t at_least = 1);
  void commit(std::size_t bytes) noexcept { end_ += bytes; }

  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    const std::span<char> space = writable(bytes.size());
    std::memcpy(space.data(), bytes.data(), bytes.size());
    commit(bytes.size());
  }

  // See BufferPool::set_limit().
  [[nodiscard]] bool tight() const noexcept { return pool_->tight(); }
  // Gives the block back; what was in it is gone.
  void release() noexcept;

 private:
  BufferPool* pool_;
  char* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace postern
