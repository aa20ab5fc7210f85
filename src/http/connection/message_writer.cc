#include "http/connection/message_writer.h"

#include <charconv>
#include <system_error>

#include "platform/deadline.h"

namespace postern::http {
namespace {

constexpr std::string_view kCrlf = "\r\n";
constexpr std::size_t kCopied = 1024;  // up to here, copying a body behind its head is cheaper than a second iovec
constexpr std::string_view kLastChunk = "0\r\n\r\n";
constexpr std::string_view kCrlfLastChunk = "\r\n0\r\n\r\n";

iovec part_of(std::string_view bytes) noexcept {
  return {const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: writev does not write through it
}

}  // namespace

void MessageWriter::begin_body(Framing framing, std::uint64_t content_length) noexcept {
  framing_ = framing;
  remaining_ = framing == Framing::length ? content_length : 0;
  body_bytes_ = 0;
  sending_ = false;
  complete_ = framing == Framing::none || (framing == Framing::length && content_length == 0);
}

Task<Result<void>> MessageWriter::write(std::string_view bytes, End end) {
  if (framing_ == Framing::length || framing_ == Framing::none) {
    if (bytes.size() > remaining_ || (end == End::last && bytes.size() != remaining_)) {
      return std::unexpected(Error(failure_.closed, failure_.side, "body does not have the announced length"));
    }
    remaining_ -= bytes.size();
    if (!out_.empty() && bytes.size() <= kCopied) {
      out_.append(bytes);
      body_bytes_ += bytes.size();
      if (end == End::last || remaining_ == 0) complete_ = true;
      return flush();
    }
  }
  std::array<iovec, kParts> parts;  // NOLINT: filled below
  std::size_t count = 0;
  if (!out_.empty()) parts[count++] = part_of(out_.view());
  if (!bytes.empty()) {
    if (framing_ == Framing::chunked) {
      char* at = std::to_chars(chunk_head_.data(), chunk_head_.data() + 16, bytes.size(), 16).ptr;
      *at++ = '\r';
      *at++ = '\n';
      parts[count++] = part_of({chunk_head_.data(), static_cast<std::size_t>(at - chunk_head_.data())});
    }
    parts[count++] = part_of(bytes);
    if (framing_ == Framing::chunked) parts[count++] = part_of(end == End::last ? kCrlfLastChunk : kCrlf);
  } else if (framing_ == Framing::chunked && end == End::last) {
    parts[count++] = part_of(kLastChunk);
  }
  body_bytes_ += bytes.size();
  if (end == End::last || (framing_ == Framing::length && remaining_ == 0)) complete_ = true;
  if (count == 0) return Result<void>();
  return send({parts.data(), count});
}

Task<Result<void>> MessageWriter::finish(const Headers& trailers) {
  if (!complete_ && framing_ == Framing::length) {
    return std::unexpected(Error(failure_.closed, failure_.side, "body does not have the announced length"));
  }
  if (!complete_ && framing_ == Framing::chunked) {
    complete_ = true;
    if (trailers.empty()) {
      out_.append(kLastChunk);
    } else {
      out_.append("0\r\n");
      for (const Field& field : trailers) {
        out_.append(field.name);
        out_.append(": ");
        out_.append(field.value);
        out_.append(kCrlf);
      }
      out_.append(kCrlf);
    }
  }
  complete_ = true;
  return flush();
}

Task<Result<void>> MessageWriter::flush() {
  if (out_.empty()) return Result<void>();
  const iovec part = part_of(out_.view());
  return send({&part, 1});
}

Error MessageWriter::failed(Code code, int error) const {
  if (error == 0) return {code, failure_.side};
  return {code, failure_.side, std::generic_category().message(error)};
}

Task<Result<void>> MessageWriter::send(std::span<const iovec> parts) {
  std::size_t total = 0;
  for (const iovec& part : parts) total += part.iov_len;
  sending_ = true;
  const IoResult sent = stream_.try_write(parts);
  if (sent.status == IoStatus::ok && sent.bytes == total) {
    sending_ = false;
    out_.clear();
    return Result<void>();
  }
  if (sent.status == IoStatus::error) return std::unexpected(failed(failure_.closed, sent.error));
  std::array<iovec, kParts> copy;  // NOLINT: filled below
  for (std::size_t i = 0; i < parts.size(); ++i) copy[i] = parts[i];
  const std::size_t done = sent.status == IoStatus::ok ? sent.bytes : 0;
  taken(done);
  return send_rest(copy, parts.size(), done);
}

Task<Result<void>> MessageWriter::send_rest(std::array<iovec, kParts> parts, std::size_t count, std::size_t done) {
  std::size_t first = 0;
  for (;;) {
    while (first < count && done >= parts[first].iov_len) done -= parts[first++].iov_len;
    if (first == count) break;
    parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + done;
    parts[first].iov_len -= done;
    done = 0;
    const IoResult sent = stream_.try_write({parts.data() + first, count - first});
    if (sent.status == IoStatus::ok) {
      done = sent.bytes;
      taken(done);
      continue;
    }
    if (sent.status != IoStatus::would_block) co_return std::unexpected(failed(failure_.closed, sent.error));
    Deadline deadline(loop_, stream_, Deadline::Direction::write);
    deadline.set_after(idle_);
    const Wake wake = co_await stream_.writable();
    if (wake == Wake::timed_out) co_return std::unexpected(failed(failure_.timed_out, 0));
    if (wake == Wake::interrupted) {
      std::size_t left = 0;
      for (std::size_t i = first; i < count; ++i) left += parts[i].iov_len;
      if (left == out_.size()) sending_ = false;  // nothing is lost: no part of a body was borrowed
      co_return fail(Code::cancelled, Side::gateway);
    }
  }
  sending_ = false;
  co_return Result<void>();
}

}  // namespace postern::http
