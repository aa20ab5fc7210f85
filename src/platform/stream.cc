#include "platform/stream.h"

namespace postern {

void Stream::wake_reader(Wake wake) noexcept {
  if (reader_) reader_->on_wake(wake);
}

void Stream::wake_writer(Wake wake) noexcept {
  if (writer_) writer_->on_wake(wake);
}

}  // namespace postern
