// Console: where verbs write. Text for people and machines goes to standard output, everything about how it went to
// standard error.
#pragma once

#include <string_view>

namespace postern::cli {

class Console {
 public:
  // False if not everything could be written: then what was printed (a new key) has not arrived.
  bool out(std::string_view text) const noexcept { return write_all(1, text); }
  bool error(std::string_view text) const noexcept { return write_all(2, text); }

 private:
  static bool write_all(int fd, std::string_view text) noexcept;
};

}  // namespace postern::cli
