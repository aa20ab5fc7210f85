#include "http/h2/raw_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "http/h2/session.h"

namespace postern::http::h2 {

RawStream::RawStream(HttpStream& stream) : stream_(stream), output_(stream.buffers_) {
  may_read_ = !stream.incoming_.empty() || stream.received_all_ || stream.failure_.has_value();
}

IoResult RawStream::try_read(std::span<char> into) {
  Buffer& incoming = stream_.incoming_;
  if (!incoming.empty()) {
    const std::size_t size = std::min(into.size(), incoming.size());
    std::memcpy(into.data(), incoming.view().data(), size);
    incoming.consume(size);
    if (incoming.empty()) {
      incoming.release();
      may_read_ = stream_.received_all_ || stream_.failure_.has_value();
    }
    stream_.received_ += size;
    stream_.give_back(size);
    return {IoStatus::ok, 0, size};
  }
  if (stream_.received_all_) return {IoStatus::eof, 0, 0};
  if (stream_.failure_) return {IoStatus::error, ECONNRESET, 0};
  may_read_ = false;
  return {IoStatus::would_block, 0, 0};
}

IoResult RawStream::try_write(std::span<const iovec> from) {
  if (stream_.failure_ || stream_.wants_end_) return {IoStatus::error, EPIPE, 0};
  std::size_t written = 0;
  for (const iovec& part : from) {
    const std::size_t size = std::min(part.iov_len, kMaxOutput - output_.size());
    output_.append({static_cast<const char*>(part.iov_base), size});
    written += size;
    if (size < part.iov_len) break;
  }
  if (written == 0) {
    may_write_ = false;
    return {IoStatus::would_block, 0, 0};
  }
  stream_.resume_data();
  stream_.session_->push();  // there is one as long as nothing has failed
  return {IoStatus::ok, 0, written};
}

void RawStream::shutdown_write() noexcept {
  if (stream_.failure_ || stream_.wants_end_) return;
  stream_.wants_end_ = true;
  stream_.resume_data();
  stream_.session_->push();
}

void RawStream::on_sent(std::size_t bytes) noexcept {
  output_.consume(bytes);
  if (output_.empty()) output_.release();
  if (!may_write_) notify();
}

void RawStream::notify() noexcept { stream_.loop_.defer(*this); }

// One at a time, the rest in the next turn: each of them may end the stream, and this with it.
void RawStream::run_deferred() {
  const bool failed = stream_.failure_.has_value();
  const bool readable = !stream_.incoming_.empty() || stream_.received_all_ || failed;
  const bool tell_reader = readable && (has_reader() || !may_read_);
  const bool tell_abort = failed && !abort_told_;
  if (!may_write_ && (output_.size() < kMaxOutput || failed)) {
    if (tell_reader || tell_abort) notify();
    on_writable();
  } else if (tell_reader) {
    if (tell_abort) notify();
    on_readable();
  } else if (tell_abort) {
    abort_told_ = true;
    on_abort();
  }
}

}  // namespace postern::http::h2
