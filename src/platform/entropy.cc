#include "platform/entropy.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace postern {

void SystemEntropy::fill(std::span<unsigned char> out) const noexcept {
  while (!out.empty()) {
    const ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n > 0) {
      out = out.subspan(static_cast<std::size_t>(n));
    } else if (errno != EINTR) {
      std::abort();
    }
  }
}

}  // namespace postern
