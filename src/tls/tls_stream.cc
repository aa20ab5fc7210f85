#include "tls/tls_stream.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tls/connection.h"

namespace postern::tls {
namespace {

constexpr std::size_t kRecord = 16 * 1024;  // the most plaintext in one record (RFC 8446 5.1)
constexpr std::size_t kBatch = 64 * 1024;   // plaintext per try_write()
// A peer that does not read can make us answer (KeyUpdate, alerts); beyond this it is hostile.
constexpr std::size_t kMaxUnsent = 128 * 1024;
// Bytes without a byte of data in them. During the handshake: a certificate chain of the largest size, cut small, or a
// ClientHello in records of one byte. After it: tickets, KeyUpdates and padding.
constexpr std::size_t kMaxHandshakeBytes = 256 * 1024;
constexpr std::size_t kMaxQuietBytes = 128 * 1024;
constexpr unsigned kMaxMessages = 32;
constexpr int kMaxReads = 16;  // records per try_read()
constexpr char kHandshakeRecord = SSL3_RT_HANDSHAKE;
constexpr char kAlertRecord = SSL3_RT_ALERT;

// Walks over the concatenation of some pieces.
class Pieces {
 public:
  explicit Pieces(std::span<const iovec> pieces) noexcept : pieces_(pieces) {}

  // The next `size` bytes in one piece: where they lie if they lie together, else copied to `scratch`.
  [[nodiscard]] std::string_view take(std::size_t size, std::span<char> scratch) noexcept {
    while (offset_ == pieces_.front().iov_len) next();
    if (pieces_.front().iov_len - offset_ >= size) return part(size);
    for (std::size_t filled = 0; filled < size;) {
      if (offset_ == pieces_.front().iov_len) {
        next();
        continue;
      }
      const std::string_view bytes = part(std::min(size - filled, pieces_.front().iov_len - offset_));
      std::memcpy(scratch.data() + filled, bytes.data(), bytes.size());
      filled += bytes.size();
    }
    return {scratch.data(), size};
  }

 private:
  void next() noexcept {
    pieces_ = pieces_.subspan(1);
    offset_ = 0;
  }
  [[nodiscard]] std::string_view part(std::size_t size) noexcept {
    const std::string_view bytes(static_cast<const char*>(pieces_.front().iov_base) + offset_, size);
    offset_ += size;
    return bytes;
  }

  std::span<const iovec> pieces_;
  std::size_t offset_ = 0;
};

std::size_t size_of(std::span<const iovec> pieces) noexcept {
  std::size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

// What a write that has to wait is known by.
using Beginning = std::array<char, 32>;

Beginning beginning_of(std::span<const iovec> pieces, std::size_t size) noexcept {
  Beginning out{};
  Beginning scratch{};
  const std::string_view bytes = Pieces(pieces).take(std::min(size, out.size()), scratch);
  std::ranges::copy(bytes, out.begin());
  return out;
}

}  // namespace

std::string_view to_string(ClientCertificate state) noexcept {
  switch (state) {
    case ClientCertificate::not_requested: return "not_requested";
    case ClientCertificate::requested_not_presented: return "requested_not_presented";
    case ClientCertificate::presented: return "presented";
  }
  return {};
}

// Between an SSL and the stream below. Invariant while nothing runs: may_write_ is true, and `out` empty, unless the
// stream below is full; then `writing` watches it.
struct TlsStream::Impl final : Transport {
  enum class Pull : std::uint8_t { data, nothing, ended };
  enum class Step : std::uint8_t { done, wait, failed };
  enum class Take : std::uint8_t { read, peek };

  class Reading final : public ReadWatch {
   public:
    explicit Reading(Impl& impl) noexcept : impl_(impl) {}

   private:
    void on_wake(Wake /*wake*/) override { impl_.on_inner_readable(); }
    Impl& impl_;
  };
  class Writing final : public WriteWatch {
   public:
    explicit Writing(Impl& impl) noexcept : impl_(impl) {}

   private:
    void on_wake(Wake /*wake*/) override { impl_.on_inner_writable(); }
    Impl& impl_;
  };

  Impl(TlsStream& outer, Loop& on, BufferPool& pool, std::unique_ptr<Stream> below, std::unique_ptr<Connection> what,
       std::string read_already)
      : stream(outer),
        loop(on),
        inner(std::move(below)),
        connection(std::move(what)),
        early(std::move(read_already)),
        out(pool) {
    usable = connect_transport(*connection, *this);
    reading.watch(*inner);
  }
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::size_t fetch(std::span<char> into) override;
  void accept(std::string_view ciphertext) override;

  [[nodiscard]] SSL* ssl() const noexcept { return connection->ssl.get(); }
  // Whether fetch() may find something, or has found the end.
  [[nodiscard]] bool fetchable() const noexcept {
    return early_used < early.size() || inner_end != PeerEnd::open || inner->may_read();
  }

  // Whether more came without data than any honest peer sends.
  [[nodiscard]] bool flooded() const noexcept {
    if (!connection->established) return quiet_bytes > kMaxHandshakeBytes;
    return quiet_bytes > kMaxQuietBytes || connection->messages > kMaxMessages;
  }

  [[nodiscard]] Step step_handshake();
  [[nodiscard]] Error handshake_error(Wake wake) const;
  [[nodiscard]] Pull pull(std::span<char> into, std::size_t& got, Take take);
  Pull end(IoStatus status, int error, std::string why);
  Pull look();
  void settle();
  [[nodiscard]] IoResult read(std::span<char> into);
  [[nodiscard]] std::size_t encrypt(std::span<const iovec> from);
  [[nodiscard]] IoResult write(std::span<const iovec> from);
  [[nodiscard]] IoResult write_failed();
  [[nodiscard]] IoResult acknowledge(std::span<const iovec> from);
  void flush();
  void close_notify();
  void finish_writing();
  void on_inner_readable();
  void on_inner_writable();

  TlsStream& stream;
  Loop& loop;
  std::unique_ptr<Stream> inner;
  std::unique_ptr<Connection> connection;
  std::string early;  // ciphertext that somebody else has read
  std::size_t early_used = 0;
  Buffer out;                          // ciphertext that `inner` did not take yet
  IoResult ended{IoStatus::ok, 0, 0};  // not ok: what every further read gets
  std::string failure;
  PeerEnd inner_end = PeerEnd::open;
  int inner_error = 0;
  int write_error = 0;
  std::size_t quiet_bytes = 0;  // ciphertext since the last data
  // Plaintext that is encrypted but not yet said to be taken, and how it begins.
  std::size_t unacknowledged = 0;
  Beginning beginning{};
  bool usable = false;
  bool first_byte_seen = false;
  bool straight = false;  // what is written now comes last: to `inner` at once, with what was kept before it
  bool finished_writing = false;
  bool inner_finished = false;
  bool reset = false;
  bool watching = false;
  Reading reading{*this};  // the watches die before what they watch
  Writing writing{*this};
};

TlsStream::Impl::~Impl() {
  const bool broken = write_error != 0 || ended.status == IoStatus::error;
  if (connection->established && !reset && !broken && !finished_writing) close_notify();
  // Else OpenSSL takes the session for a bad one, which must not be resumed.
  if (usable) SSL_set_shutdown(ssl(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

// OpenSSL asks again and again until it has data or a whole flight, so here is where floods of anything else end: the
// caller looks at the same numbers.
std::size_t TlsStream::Impl::fetch(std::span<char> into) {
  if (flooded()) return 0;
  std::size_t got = 0;
  if (early_used < early.size()) {
    got = early.copy(into.data(), into.size(), early_used);
    early_used += got;
    if (early_used == early.size()) {
      early = std::string();  // gives the memory back, too
      early_used = 0;
    }
  } else if (inner_end == PeerEnd::open && inner->may_read()) {
    const IoResult read = inner->try_read(into);
    if (read.status == IoStatus::ok) got = read.bytes;
    if (read.status == IoStatus::eof) inner_end = PeerEnd::closed;
    if (read.status == IoStatus::error) {
      inner_end = PeerEnd::reset;
      inner_error = read.error;
    }
  }
  if (got == 0) return 0;
  quiet_bytes += got;
  if (!std::exchange(first_byte_seen, true)) {
    const bool alert = connection->role == Role::client && into[0] == kAlertRecord;
    if (into[0] != kHandshakeRecord && !alert) {
      inner_end = PeerEnd::not_tls;  // not one more byte is looked at, and none answered
      return 0;
    }
  }
  return got;
}

void TlsStream::Impl::accept(std::string_view ciphertext) {
  if (write_error != 0 || finished_writing) return;
  if (straight) {
    std::array<iovec, 2> parts{};
    std::size_t count = 0;
    for (const std::string_view part : {out.view(), ciphertext}) {
      if (!part.empty()) parts[count++] = {const_cast<char*>(part.data()), part.size()};  // NOLINT: written from
    }
    const IoResult sent = inner->try_write({parts.data(), count});
    if (sent.status == IoStatus::error) {
      write_error = sent.error;
      return;
    }
    const std::size_t kept = std::min(sent.bytes, out.size());
    out.consume(kept);
    ciphertext.remove_prefix(sent.bytes - kept);
  } else if (out.size() + ciphertext.size() > kMaxUnsent) {
    write_error = EPROTO;
    end(IoStatus::error, EPROTO, "the peer makes us answer and does not read");
    return;
  }
  out.append(ciphertext);
}

// Sends what is left, as far as the stream below takes it, and restores the invariant. The caller sees to it that
// somebody who waits to write is woken if he may go on.
void TlsStream::Impl::flush() {
  while (!out.empty() && write_error == 0) {
    iovec part{const_cast<char*>(out.view().data()), out.size()};  // NOLINT: written from, not to
    const IoResult sent = inner->try_write({&part, 1});
    if (sent.status == IoStatus::error) write_error = sent.error;
    if (sent.status != IoStatus::ok) break;
    out.consume(sent.bytes);
  }
  if (out.empty() || write_error != 0) {
    out.release();
    if (std::exchange(watching, false)) writing.unwatch();
  } else if (!std::exchange(watching, true)) {
    writing.watch(*inner);
  }
  stream.may_write_ = !watching;
  if (!watching && finished_writing && !std::exchange(inner_finished, true)) inner->shutdown_write();
}

TlsStream::Impl::Step TlsStream::Impl::step_handshake() {
  if (!usable) {
    failure = "OpenSSL: no memory for a connection";
    return Step::failed;
  }
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl());
    const int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl(), result);
    bool failed = error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ;
    if (result == 1) failed = !connection->conclude();
    if (result != 1 && flooded()) {
      connection->blame("the peer sent too much for a handshake");
      failed = true;
    }
    if (result != 1 && inner_end != PeerEnd::open) failed = true;
    if (failed) failure = handshake_failure(*connection, inner_end);
    flush();  // also an alert
    if (failed) return Step::failed;
    if (result == 1) break;
    if (write_error == 0) {
      stream.may_read_ = false;
      return Step::wait;
    }
    inner_end = PeerEnd::reset;  // all that the peer may have said before is read
  }
  connection->established = true;
  quiet_bytes = 0;
  stream.may_read_ = SSL_has_pending(ssl()) == 1 || fetchable();
  return Step::done;
}

Error TlsStream::Impl::handshake_error(Wake wake) const {
  if (wake == Wake::interrupted) return {Code::cancelled, Side::gateway};
  if (wake == Wake::timed_out) {
    if (connection->role == Role::server) return {Code::tls_handshake_failed, Side::client, "not finished in time"};
    return {Code::origin_connect_timeout, Side::origin, "TLS handshake not finished in time", Retry::yes};
  }
  if (connection->role == Role::server) return {Code::tls_handshake_failed, Side::client, failure};
  return {Code::origin_tls_failed, Side::origin, failure, Retry::yes};
}

TlsStream::Impl::Pull TlsStream::Impl::end(IoStatus status, int error, std::string why) {
  ended = {status, error, 0};
  if (failure.empty()) failure = std::move(why);
  return Pull::ended;
}

// One record's worth of data at most. Everything else that comes is dealt with here, within bounds.
TlsStream::Impl::Pull TlsStream::Impl::pull(std::span<char> into, std::size_t& got, Take take) {
  if (ended.status != IoStatus::ok) return Pull::ended;
  ERR_clear_error();
  const int result = take == Take::peek ? SSL_peek_ex(ssl(), into.data(), into.size(), &got)
                                        : SSL_read_ex(ssl(), into.data(), into.size(), &got);
  if (flooded()) return end(IoStatus::error, EPROTO, "too many messages without data");
  if (result == 1) {
    connection->messages = 0;
    quiet_bytes = 0;
    return Pull::data;
  }
  switch (SSL_get_error(ssl(), result)) {
    case SSL_ERROR_WANT_READ: break;
    case SSL_ERROR_ZERO_RETURN: return end(IoStatus::eof, 0, {});
    default: {
      const std::string reason = take_openssl_error();
      if (connection->alert >= 0) return end(IoStatus::error, EPROTO, "alert: " + alert_text(connection->alert));
      return end(IoStatus::error, EPROTO, "record: " + reason);
    }
  }
  if (inner_end == PeerEnd::open) return Pull::nothing;
  if (inner_end == PeerEnd::reset) return end(IoStatus::error, inner_error, {});
  return end(IoStatus::error, ECONNRESET, "closed without close_notify");
}

// After OpenSSL has read.
void TlsStream::Impl::settle() {
  if (!watching) flush();  // an answer to a KeyUpdate, an alert
  // A message makes OpenSSL take buffers for an answer, which it would keep until the next write.
  if (connection->holds_buffers && SSL_free_buffers(ssl()) == 1) connection->holds_buffers = false;
}

IoResult TlsStream::Impl::read(std::span<char> into) {
  if (!connection->established) return {IoStatus::error, ENOTCONN, 0};
  if (into.empty()) return {IoStatus::ok, 0, 0};
  std::size_t total = 0;
  Pull last = Pull::data;
  bool more = true;
  for (int i = 0; i < kMaxReads && more && total < into.size(); ++i) {
    std::size_t got = 0;
    last = pull(into.subspan(total), got, Take::read);
    if (last == Pull::data) total += got;
    // What OpenSSL has may be the beginning of a record only; the next call finds that out.
    more = last == Pull::data && (SSL_has_pending(ssl()) == 1 || fetchable());
  }
  settle();
  stream.may_read_ = more || last == Pull::ended;
  if (total != 0) return {IoStatus::ok, 0, total};
  return last == Pull::ended ? ended : IoResult{IoStatus::would_block, 0, 0};
}

// Encrypts up to kBatch bytes and returns how many. All but the last record are kept until it goes, too.
std::size_t TlsStream::Impl::encrypt(std::span<const iovec> from) {
  std::array<char, kRecord> scratch;  // NOLINT: filled when needed
  Pieces pieces(from);
  const std::size_t total = std::min(size_of(from), kBatch);
  for (std::size_t done = 0; done < total && write_error == 0;) {
    const std::string_view piece = pieces.take(std::min(kRecord, total - done), scratch);
    done += piece.size();
    straight = done == total;
    std::size_t written = 0;
    ERR_clear_error();
    if (SSL_write_ex(ssl(), piece.data(), piece.size(), &written) != 1 && write_error == 0) {
      write_error = EPROTO;
      if (failure.empty()) failure = "record: " + take_openssl_error();
    }
    straight = false;
  }
  return total;
}

IoResult TlsStream::Impl::write(std::span<const iovec> from) {
  if (!connection->established) return {IoStatus::error, ENOTCONN, 0};
  if (finished_writing) return {IoStatus::error, EPIPE, 0};
  if (watching) flush();
  if (write_error != 0) return write_failed();
  if (watching) return {IoStatus::would_block, 0, 0};
  if (unacknowledged != 0) return acknowledge(from);
  if (size_of(from) == 0) return {IoStatus::ok, 0, 0};
  const std::size_t bytes = encrypt(from);
  flush();
  if (write_error != 0) return write_failed();
  if (!watching) return {IoStatus::ok, 0, bytes};
  unacknowledged = bytes;
  beginning = beginning_of(from, bytes);
  return {IoStatus::would_block, 0, 0};
}

// What was encrypted has gone out: now it is taken. Bytes other than those would be lost, or what they were meant to
// replace has been sent: neither may pass unnoticed.
IoResult TlsStream::Impl::acknowledge(std::span<const iovec> from) {
  const std::size_t bytes = std::exchange(unacknowledged, 0);
  const bool same = size_of(from) >= bytes && beginning_of(from, bytes) == beginning;
  if (same) return {IoStatus::ok, 0, bytes};
  write_error = EPROTO;
  failure = "other bytes were written than those that had to wait";
  return {IoStatus::error, EPROTO, 0};
}

// A peer that has hung up may have said why.
IoResult TlsStream::Impl::write_failed() {
  if (look() != Pull::nothing) stream.may_read_ = true;
  return {IoStatus::error, write_error, 0};
}

// Whether there is something to be read: data, or the end.
TlsStream::Impl::Pull TlsStream::Impl::look() {
  char byte = 0;
  std::size_t got = 0;
  const Pull found = pull({&byte, 1}, got, Take::peek);
  settle();
  return found;
}

void TlsStream::Impl::close_notify() {
  ERR_clear_error();
  straight = true;
  SSL_shutdown(ssl());
  straight = false;
  ERR_clear_error();
}

void TlsStream::Impl::finish_writing() {
  if (finished_writing) return;
  if (connection->established && write_error == 0) close_notify();
  finished_writing = true;
  if (!watching) flush();  // else when the watch says so
}

// Whoever waits for data must not be woken for a session ticket: to a pooled connection every wake-up is a word out of
// turn. If nobody waits, the next read finds out.
void TlsStream::Impl::on_inner_readable() {
  if (connection->established && stream.has_reader()) {
    const Pull found = look();
    if (found == Pull::nothing) {
      stream.may_read_ = false;
      return;
    }
  }
  stream.on_readable();  // may end everything
}

void TlsStream::Impl::on_inner_writable() {
  flush();
  if (!watching) stream.on_writable();  // may end everything
}

TlsStream::TlsStream(Loop& loop, BufferPool& pool, std::unique_ptr<Stream> inner,
                     std::unique_ptr<Connection> connection, std::string early)
    : impl_(std::make_unique<Impl>(*this, loop, pool, std::move(inner), std::move(connection), std::move(early))) {
  impl_->inner->set_abort_listener(this);
}

TlsStream::~TlsStream() { impl_->inner->set_abort_listener(nullptr); }

Task<Result<void>> TlsStream::handshake(MonoTime deadline) {
  Deadline timer(impl_->loop, *this);
  if (deadline != MonoTime::max()) timer.set(deadline);
  for (;;) {
    const Impl::Step step = impl_->step_handshake();
    if (step == Impl::Step::done) co_return Result<void>();
    if (step == Impl::Step::failed) co_return std::unexpected(impl_->handshake_error(Wake::ready));
    const Wake wake = co_await readable();
    if (wake != Wake::ready) co_return std::unexpected(impl_->handshake_error(wake));
  }
}

const Handshake& TlsStream::info() const noexcept { return impl_->connection->info; }
std::string_view TlsStream::failure() const noexcept { return impl_->failure; }
IoResult TlsStream::try_read(std::span<char> into) { return impl_->read(into); }
IoResult TlsStream::try_write(std::span<const iovec> from) { return impl_->write(from); }
void TlsStream::shutdown_write() noexcept { impl_->finish_writing(); }

void TlsStream::reset_on_close() noexcept {
  impl_->reset = true;
  impl_->inner->reset_on_close();
}

void TlsStream::close_in_order() noexcept {
  impl_->reset = false;
  impl_->inner->close_in_order();
}

void TlsStream::on_abort() { Stream::on_abort(); }

}  // namespace postern::tls
