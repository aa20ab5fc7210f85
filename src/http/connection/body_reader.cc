#include "http/connection/body_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace postern::http {
namespace {

constexpr std::size_t kFirstRead = 16 * 1024;
constexpr std::size_t kTightRead = 4 * 1024;
constexpr std::size_t kGathered = 4096;  // below this much data, what has already arrived behind it is taken, too
constexpr std::string_view kEndAfterData = "\r\n0\r\n\r\n";

}  // namespace

void BodyReader::begin(std::size_t head_size, Framing framing, std::uint64_t content_length) {
  head_used_ = head_size;
  pending_ = 0;
  framing_ = framing;
  remaining_ = framing == Framing::length ? content_length : 0;
  complete_ = framing == Framing::none || (framing == Framing::length && content_length == 0);
  timed_out_ = filled_ = false;
  flaw_.reset();
  received_ = received_at_mark_ = 0;
  waited_ = Duration(0);
  if (framing == Framing::chunked) decoder_.reset();
}

std::string_view BodyReader::available() const noexcept {
  const std::string_view rest = head_.view().substr(head_used_);
  return rest.empty() ? body_.view() : rest;
}

std::string_view BodyReader::leftover() const noexcept {
  std::string_view rest = available();
  rest.remove_prefix(pending_);
  return rest;
}

void BodyReader::consume(std::size_t bytes) noexcept {
  if (bytes == 0) return;
  if (head_used_ < head_.size()) {
    head_used_ += bytes;
  } else {
    body_.consume(bytes);
  }
}

Result<BodyPiece> BodyReader::poll() {
  consume(std::exchange(pending_, 0));
  if (flaw_) return std::unexpected(Error(flaw_->code(), flaw_->side(), std::string(flaw_->detail())));
  if (complete_) return BodyPiece{BodyPiece::Kind::end, false, {}};
  if (timed_out_) return std::unexpected(failed(rules_.timed_out));
  for (;;) {
    const std::string_view bytes = available();
    if (!bytes.empty()) {
      if (framing_ == Framing::chunked) {
        Result<BodyPiece> piece = next_chunked();
        if (!piece || piece->kind != BodyPiece::Kind::wait) return piece;
      } else {
        std::size_t size = bytes.size();
        if (framing_ == Framing::length) {
          size = static_cast<std::size_t>(std::min<std::uint64_t>(size, remaining_));
          remaining_ -= size;
          complete_ = remaining_ == 0;
        }
        pending_ = size;
        received_ += size;
        return BodyPiece{BodyPiece::Kind::data, complete_, bytes.substr(0, size)};
      }
    }
    // A chunk header may be cut in two: then what is left of it stays in front of what is read now.
    if (head_used_ < head_.size()) {
      body_.append(head_.view().substr(head_used_));
      head_used_ = head_.size();
    }
    if (body_.empty() && body_.tight()) body_.release();  // of a large block, only the next small one is taken
    const std::size_t wanted = body_.tight() ? kTightRead : filled_ ? BufferPool::kLargest : kFirstRead;
    const std::span<char> space = body_.writable(body_.empty() ? wanted : 256);
    const IoResult read = stream_.try_read(space);
    switch (read.status) {
      case IoStatus::ok:
        body_.commit(read.bytes);
        filled_ = read.bytes == space.size();
        break;
      case IoStatus::would_block:
        // Only now: what came with the last wake-up counts.
        if (!keeps_rate()) return std::unexpected(failed(rules_.timed_out));
        return BodyPiece{BodyPiece::Kind::wait, false, {}};
      case IoStatus::eof:
        if (framing_ == Framing::until_close) {
          complete_ = true;
          return BodyPiece{BodyPiece::Kind::end, false, {}};
        }
        return std::unexpected(Error(rules_.truncated, rules_.side, "the body ended too early"));
      case IoStatus::error: return std::unexpected(failed(rules_.closed));
    }
  }
}

Result<BodyPiece> BodyReader::next_chunked() {
  using Kind = h1::ChunkedDecoder::Step::Kind;
  for (;;) {
    auto step = decoder_.next(available());
    if (!step) return std::unexpected(malformed(step.error()));
    if (step->kind == Kind::data) {
      // The view lies inside what this step consumes; it is consumed at the next poll.
      pending_ = step->consumed;
      const std::string_view data = gather(step->data);
      received_ += data.size();
      return BodyPiece{BodyPiece::Kind::data, complete_ && decoder_.trailers().empty(), data};
    }
    consume(step->consumed);
    if (step->kind == Kind::end) {
      complete_ = true;
      return BodyPiece{BodyPiece::Kind::end, false, {}};
    }
    if (step->consumed == 0 || available().empty()) return BodyPiece{BodyPiece::Kind::wait, false, {}};
  }
}

// Moves the data of chunks that have already arrived together, in place: a peer that sends one byte per chunk must not
// cost a system call for each. And finds the end if it is here, so that it leaves in one segment with the data.
std::string_view BodyReader::gather(std::string_view data) {
  using Kind = h1::ChunkedDecoder::Step::Kind;
  for (;;) {
    const std::string_view rest = available().substr(pending_);
    if (rest.empty() || (data.size() >= kGathered && !rest.starts_with(kEndAfterData))) return data;
    auto step = decoder_.next(rest);
    if (!step) {
      flaw_ = malformed(step.error());
      return data;
    }
    pending_ += step->consumed;
    if (step->kind == Kind::end) complete_ = true;
    if (step->kind != Kind::data) return data;
    // The bytes between the two are the chunk's frame, which nobody needs any more; the buffer is ours.
    std::memmove(const_cast<char*>(data.data()) + data.size(), step->data.data(), step->data.size());  // NOLINT
    data = {data.data(), data.size() + step->data.size()};
  }
}

Task<Wake> BodyReader::wait() {
  const MonoTime began = loop_.now();
  deadline_.set_after(rules_.idle);
  const Wake wake = co_await stream_.readable();
  deadline_.clear();
  waited_ += loop_.now() - began;
  if (wake == Wake::timed_out) timed_out_ = true;
  co_return wake;
}

// One byte per `idle` would be progress for ever; the average must hold, too.
bool BodyReader::keeps_rate() noexcept {
  if (rules_.min_rate == 0 || waited_ < rules_.idle) return true;
  const auto seconds = std::chrono::duration<double>(waited_).count();
  const auto got = static_cast<double>(received_ - received_at_mark_);
  waited_ = Duration(0);
  received_at_mark_ = received_;
  return got >= seconds * static_cast<double>(rules_.min_rate);
}

bool BodyReader::end_message() {
  consume(std::exchange(pending_, 0));
  if (!complete_) return false;
  if (head_used_ < head_.size()) {
    head_.consume(head_used_);
  } else {
    head_ = std::move(body_);
  }
  head_used_ = 0;
  body_.release();
  if (head_.empty()) head_.release();
  return true;
}

}  // namespace postern::http
