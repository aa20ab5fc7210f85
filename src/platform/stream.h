// Stream: a connected, reliable, ordered byte stream with a readiness interface. TCP and Unix sockets, in-memory pipes
// for tests, TLS and user-space TCP are all Streams; the HTTP code does not know which.
//
// Reading and writing never wait: try_read() and try_write() do what they can at once. Waiting is separate, costs no
// coroutine frame, and ends for exactly one reason:
//
//   const Wake wake = co_await stream.readable();
//   if (wake != Wake::ready) ...            // deadline, or interrupted (drain)
//
// A Stream belongs to one loop. At most one coroutine waits per direction: a second one would never be woken.
// Destroying a waiting coroutine takes it off the stream; destroying the stream while somebody waits is a bug (the
// owner of both is the same connection).
#pragma once

#include <sys/uio.h>

#include <cassert>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>

namespace postern {

enum class IoStatus : std::uint8_t { ok, would_block, eof, error };

struct IoResult {
  IoStatus status = IoStatus::ok;
  int error = 0;          // errno with IoStatus::error
  std::size_t bytes = 0;  // with IoStatus::ok: more than 0 for a read of a non-empty span
};

enum class Wake : std::uint8_t {
  ready,        // try again
  timed_out,    // a Deadline of this stream expired
  interrupted,  // the owner wants the waiter to look around (drain, generation change)
};

class Stream {
 public:
  // Gets a wake-up. A callback twin of the awaiters, for what is not a coroutine (pooled idle connections).
  class Waiter {
   public:
    Waiter() = default;
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

   protected:
    ~Waiter() { detach(); }
    void attach(Waiter*& slot) noexcept {
      assert(!slot && "two coroutines wait for the same direction of a stream");
      slot_ = &slot;
      slot = this;
    }
    void detach() noexcept {
      if (slot_) *slot_ = nullptr;
      slot_ = nullptr;
    }

   private:
    friend class Stream;
    virtual void on_wake(Wake wake) = 0;
    Waiter** slot_ = nullptr;
  };

  class ReadableAwaiter;
  class WritableAwaiter;
  class ReadWatch;
  class WriteWatch;

  // Told when the peer has reset the connection. Not after an orderly end, which whoever reads learns by itself.
  class AbortListener {
   public:
    virtual void on_abort() = 0;

   protected:
    ~AbortListener() = default;
  };

  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  [[nodiscard]] virtual IoResult try_read(std::span<char> into) = 0;
  // Writes a prefix of the concatenation of `from`.
  [[nodiscard]] virtual IoResult try_write(std::span<const iovec> from) = 0;
  // Half-close: the peer reads EOF, this side can still read.
  virtual void shutdown_write() noexcept = 0;
  // Makes the destructor reset the connection instead of closing it in order, so that the peer cannot take a truncated
  // message for a complete one.
  virtual void reset_on_close() noexcept = 0;
  // Takes that back: the message has ended in order after all.
  virtual void close_in_order() noexcept = 0;

  [[nodiscard]] ReadableAwaiter readable() noexcept;
  [[nodiscard]] WritableAwaiter writable() noexcept;

  // For who starts a connect: the next writable() waits for an event.
  void wait_until_writable_again() noexcept { may_write_ = false; }

  void set_abort_listener(AbortListener* listener) noexcept { abort_listener_ = listener; }

  // Ends a wait in either direction with that reason, at once, from the loop (never from inside the waiter). True if
  // somebody waited: then everything may be gone by now, this stream included.
  bool wake_reader(Wake wake) noexcept;
  bool wake_writer(Wake wake) noexcept;

  // False only if a try_read() would surely not make progress; then readable() suspends.
  [[nodiscard]] bool may_read() const noexcept { return may_read_; }

 protected:
  // For implementations: the readiness hints, and what to call when they change.
  void on_readable() {
    may_read_ = true;
    wake_reader(Wake::ready);
  }
  void on_writable() {
    may_write_ = true;
    wake_writer(Wake::ready);
  }
  void on_abort() {
    if (abort_listener_) abort_listener_->on_abort();
  }
  // Whether somebody waits to read: who must work to find out if there is anything to be read can do so then only.
  [[nodiscard]] bool has_reader() const noexcept { return reader_ != nullptr; }
  bool may_read_ = false;
  bool may_write_ = true;

 private:
  friend class ReadWatch;
  friend class WriteWatch;
  Waiter* reader_ = nullptr;
  Waiter* writer_ = nullptr;
  AbortListener* abort_listener_ = nullptr;
};

class Stream::ReadableAwaiter final : Stream::Waiter {
 public:
  explicit ReadableAwaiter(Stream& stream) noexcept : stream_(stream) {}
  [[nodiscard]] bool await_ready() const noexcept { return stream_.may_read_; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    handle_ = handle;
    attach(stream_.reader_);
  }
  [[nodiscard]] Wake await_resume() const noexcept { return wake_; }

 private:
  void on_wake(Wake wake) override {
    wake_ = wake;
    detach();
    handle_.resume();
  }
  Stream& stream_;
  std::coroutine_handle<> handle_;
  Wake wake_ = Wake::ready;
};

class Stream::WritableAwaiter final : Stream::Waiter {
 public:
  explicit WritableAwaiter(Stream& stream) noexcept : stream_(stream) {}
  [[nodiscard]] bool await_ready() const noexcept { return stream_.may_write_; }
  void await_suspend(std::coroutine_handle<> handle) noexcept {
    handle_ = handle;
    attach(stream_.writer_);
  }
  [[nodiscard]] Wake await_resume() const noexcept { return wake_; }

 private:
  void on_wake(Wake wake) override {
    wake_ = wake;
    detach();
    handle_.resume();
  }
  Stream& stream_;
  std::coroutine_handle<> handle_;
  Wake wake_ = Wake::ready;
};

// Calls back when the stream becomes readable while no coroutine reads it. Derive and implement on_wake().
class Stream::ReadWatch : public Stream::Waiter {
 public:
  void watch(Stream& stream) noexcept { attach(stream.reader_); }
  void unwatch() noexcept { detach(); }

 protected:
  ~ReadWatch() = default;
};

// The same for writing. It stays on the stream until unwatch(), however often it is called back.
class Stream::WriteWatch : public Stream::Waiter {
 public:
  void watch(Stream& stream) noexcept { attach(stream.writer_); }
  void unwatch() noexcept { detach(); }

 protected:
  ~WriteWatch() = default;
};

inline Stream::ReadableAwaiter Stream::readable() noexcept { return ReadableAwaiter(*this); }
inline Stream::WritableAwaiter Stream::writable() noexcept { return WritableAwaiter(*this); }

}  // namespace postern
