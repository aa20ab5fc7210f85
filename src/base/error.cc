#include "base/error.h"

#include <array>

namespace postern {
namespace {

constexpr std::array kCodes = {
#define POSTERN_ERROR(name, id, status, title) CodeInfo{Code::name, id, status, title},
#include "base/error_codes.inc"
#undef POSTERN_ERROR
};

}  // namespace

const CodeInfo& info(Code code) noexcept { return kCodes[static_cast<std::size_t>(code)]; }

std::string Error::to_string() const {
  const CodeInfo& row = info(code_);
  std::string text(row.id);
  text.append(" ").append(row.title);
  if (detail_) text.append(": ").append(*detail_);
  return text;
}

}  // namespace postern
