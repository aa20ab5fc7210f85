// Arena: bump allocation for text that lives as long as one exchange. Nothing is freed one by one; reset() or the
// destructor frees all. Single-threaded.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace postern {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { reset(); }

  // Uninitialised bytes, not aligned beyond 1.
  [[nodiscard]] std::span<char> allocate(std::size_t bytes) {
    if (bytes > static_cast<std::size_t>(end_ - next_)) return allocate_block(bytes);
    char* const out = next_;
    next_ += bytes;
    return {out, bytes};
  }

  [[nodiscard]] std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    const std::span<char> out = allocate(text.size());
    std::memcpy(out.data(), text.data(), text.size());
    return {out.data(), out.size()};
  }

  // The concatenation of all parts, as one view.
  template <typename... Parts>
  [[nodiscard]] std::string_view join(const Parts&... parts) {
    const std::string_view views[] = {std::string_view(parts)...};
    std::size_t total = 0;
    for (const std::string_view view : views) total += view.size();
    const std::span<char> out = allocate(total);
    char* at = out.data();
    for (const std::string_view view : views) {
      if (!view.empty()) std::memcpy(at, view.data(), view.size());
      at += view.size();
    }
    return {out.data(), out.size()};
  }

  void reset() noexcept;

 private:
  struct Block {
    std::unique_ptr<Block> next;
    std::unique_ptr<char[]> bytes;
  };
  [[nodiscard]] std::span<char> allocate_block(std::size_t bytes);

  static constexpr std::size_t kInlineBytes = 1024;
  static constexpr std::size_t kBlockBytes = 4096;
  char inline_[kInlineBytes];
  char* next_ = inline_;
  char* end_ = inline_ + kInlineBytes;
  std::unique_ptr<Block> blocks_;
};

}  // namespace postern
