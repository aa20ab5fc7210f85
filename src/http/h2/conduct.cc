#include "http/h2/conduct.h"

#include <algorithm>
#include <cstring>

namespace postern::http::h2 {
namespace {

// The level above which a peer goes, and what is forgiven per second. A price of 10 thus means 100 at once, and 10 per
// second for ever.
constexpr std::int64_t kLimit = 1000;
constexpr std::int64_t kForgivenPerSecond = 100;

constexpr std::uint32_t kReset = 10;
constexpr std::uint32_t kForcedReset = 20;  // costs us a frame, too, and no honest peer does it
constexpr std::uint32_t kRefused = 5;       // it did not know that we are full
constexpr std::uint32_t kOpened = 1;        // a stream that neither completes nor is reset pays at least this
constexpr std::uint32_t kCompleted = 5;     // earned
constexpr std::uint32_t kSettings = 50;     // one at the beginning is usual, one more is rare
constexpr std::uint32_t kPing = 10;
constexpr std::uint32_t kPriority = 2;
constexpr std::uint32_t kEmptyData = 5;
constexpr std::uint32_t kWindowUpdate = 4;  // beyond those that were earned
constexpr std::uint32_t kContinuation = 5;
constexpr std::uint32_t kMaxContinuations = 8;  // of one block, whatever the budget
constexpr std::uint32_t kGoaway = 50;
constexpr std::uint32_t kUnknown = 5;  // browsers send a few on purpose
constexpr std::uint32_t kOversizedHead = 20;
constexpr std::uint32_t kVainData = 1;  // what was on its way when we reset the stream is nobody's fault
constexpr std::uint32_t kVainHead = 10;

// A receiver answers a DATA frame with an update for the stream and one for the connection; some do for its halves.
constexpr std::uint32_t kUpdatesPerData = 4;
constexpr std::uint32_t kUpdatesPerStream = 2;
constexpr std::uint32_t kUpdatesAtFirst = 100;
constexpr std::uint32_t kMaxUpdatesEarned = 2000;

constexpr std::size_t kPrefaceSize = 24;  // RFC 9113 3.4: what a client sends before its first frame
constexpr std::uint8_t kAck = 0x1;        // SETTINGS, PING
constexpr std::uint8_t kEndStream = 0x1;  // DATA
constexpr std::uint8_t kEndHeaders = 0x4;

}  // namespace

Conduct::Conduct(Of whom) noexcept
    : window_updates_earned_(kUpdatesAtFirst), preface_left_(whom == Of::client ? kPrefaceSize : 0) {}

void Conduct::charge(std::uint32_t points) noexcept {
  level_ += std::int64_t{points} * 1000;
  if (level_ > kLimit * 1000) over_ = true;
}

bool Conduct::feed(std::string_view bytes, MonoTime now) noexcept {
  if (now > now_) {
    const auto elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(now - now_).count();
    // The remainder of a millisecond is not lost: it counts the next time.
    now_ += std::chrono::milliseconds(elapsed);
    constexpr std::int64_t kAllForgiven = 1000 * kLimit / kForgivenPerSecond + 1;  // milliseconds
    // Points per second are thousandths per millisecond.
    level_ = std::max<std::int64_t>(0, level_ - std::min<std::int64_t>(elapsed, kAllForgiven) * kForgivenPerSecond);
  }
  while (!bytes.empty()) {
    std::size_t& left = preface_left_ != 0 ? preface_left_ : payload_left_;
    if (left != 0) {
      const std::size_t skipped = std::min(left, bytes.size());
      left -= skipped;
      bytes.remove_prefix(skipped);
      if (payload_left_ == 0) block_bytes_left_ = false;
      continue;
    }
    const std::size_t taken = std::min(kFrameHeader - header_size_, bytes.size());
    std::memcpy(header_.data() + header_size_, bytes.data(), taken);
    header_size_ += taken;
    bytes.remove_prefix(taken);
    if (header_size_ < kFrameHeader) break;
    header_size_ = 0;
    on_frame((std::size_t{header_[0]} << 16u) | (std::size_t{header_[1]} << 8u) | header_[2],
             static_cast<FrameType>(header_[3]), header_[4]);
  }
  return !over_;
}

void Conduct::on_frame(std::size_t length, FrameType type, std::uint8_t flags) noexcept {
  ++frames_;
  payload_left_ = length;
  switch (type) {
    case FrameType::data:
      ++data_seen_;
      if (length == 0 && (flags & kEndStream) == 0) charge(kEmptyData);
      break;
    case FrameType::continuation:
      charge(kContinuation);
      if (++continuations_ > kMaxContinuations) over_ = true;
      block_open_ = (flags & kEndHeaders) == 0;
      block_bytes_left_ = length != 0;
      break;
    case FrameType::push_promise:
    case FrameType::headers:
      if (type == FrameType::headers) ++heads_seen_;
      continuations_ = 0;
      if (type == FrameType::push_promise) pushed_ = true;
      block_open_ = (flags & kEndHeaders) == 0;
      block_bytes_left_ = length != 0;
      break;
    case FrameType::priority:
    case FrameType::priority_update: charge(kPriority); break;
    case FrameType::rst_stream: charge(kReset); break;
    case FrameType::settings:
      if ((flags & kAck) == 0) charge(kSettings);
      break;
    case FrameType::ping:
      if ((flags & kAck) != 0) break;
      // Measuring the bandwidth means a PING for every answer; a PING for nothing is another matter.
      if (!ping_earned_) charge(kPing);
      ping_earned_ = false;
      break;
    case FrameType::goaway: charge(kGoaway); break;
    case FrameType::window_update:
      if (window_updates_earned_ == 0) {
        charge(kWindowUpdate);
      } else {
        --window_updates_earned_;
      }
      break;
    default: charge(kUnknown); break;
  }
}

bool Conduct::settle() noexcept {
  // A frame may have been seen here before the library has enough of it; then it is charged now, and the next one that
  // comes in vain is free.
  if (const std::uint64_t vain = data_seen_ - data_taken_; vain > vain_data_) {
    charge(static_cast<std::uint32_t>(vain - vain_data_) * kVainData);
    vain_data_ = vain;
  }
  if (const std::uint64_t vain = heads_seen_ - heads_taken_; vain > vain_heads_) {
    charge(static_cast<std::uint32_t>(vain - vain_heads_) * kVainHead);
    vain_heads_ = vain;
  }
  return !over_;
}

void Conduct::opened_stream() noexcept {
  charge(kOpened);
  window_updates_earned_ = std::min(kMaxUpdatesEarned, window_updates_earned_ + kUpdatesPerStream);
}

void Conduct::completed_stream() noexcept {
  level_ = std::max<std::int64_t>(0, level_ - std::int64_t{kCompleted} * 1000);
}

void Conduct::refused_stream() noexcept { charge(kRefused); }
void Conduct::forced_reset() noexcept { charge(kForcedReset); }
void Conduct::oversized_head() noexcept { charge(kOversizedHead); }

void Conduct::sent_data() noexcept {
  ping_earned_ = true;
  window_updates_earned_ = std::min(kMaxUpdatesEarned, window_updates_earned_ + kUpdatesPerData);
}

}  // namespace postern::http::h2
