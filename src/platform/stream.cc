#include "platform/stream.h"

namespace postern {

bool Stream::wake_reader(Wake wake) noexcept {
  if (!reader_) return false;
  reader_->on_wake(wake);
  return true;
}

bool Stream::wake_writer(Wake wake) noexcept {
  if (!writer_) return false;
  writer_->on_wake(wake);
  return true;
}

}  // namespace postern
